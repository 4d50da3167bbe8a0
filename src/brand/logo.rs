//! The logo, a PNG file: mail programs show neither SVG nor WebP.

use std::{fs::File, io, io::Read, path::Path, sync::Arc};

use png::{Decoder, Limits};

use crate::error::file_cause;

/// The logo is part of every e-mail.
const MAX_BYTES: u64 = 100 * 1024;
const MAX_PIXELS: u32 = 2000;
/// The decoder's memory; it decodes a row at a time.
const MAX_DECODER_BYTES: usize = 4 * 1024 * 1024;
/// The area in which the logo is shown, in CSS pixels.
const SHOWN_WIDTH: u32 = 240;
const SHOWN_HEIGHT: u32 = 64;

/// A logo that was decoded once, so that every program can show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo {
    bytes: Arc<[u8]>,
    width: u32,
    height: u32,
}

impl Logo {
    /// The media type.
    pub const CONTENT_TYPE: &'static str = "image/png";

    /// Reads the file of a logo.
    ///
    /// # Errors
    /// The file and its problem in one line.
    pub fn load(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let cannot_read = |error| format!("{name} cannot be read: {}", file_cause(&error));
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(cannot_read)?;
        let mut limited = file.take(MAX_BYTES + 1);
        limited.read_to_end(&mut bytes).map_err(cannot_read)?;
        Self::parse(bytes).map_err(|problem| format!("{name} {problem}"))
    }

    /// Parses the content of a PNG file.
    ///
    /// # Errors
    /// The problem, without the name of the file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
            let kib = MAX_BYTES / 1024;
            return Err(format!(
                "has more than {kib} KiB, which each e-mail would contain"
            ));
        }
        let (width, height) = decode(&bytes).map_err(|problem| match problem {
            Problem::Format => {
                "is no complete PNG file; other formats, such as SVG, are not shown by mail programs"
                    .to_owned()
            }
            Problem::Size => format!("has more than {MAX_PIXELS} pixels in width or height"),
        })?;
        Ok(Self {
            bytes: bytes.into(),
            width,
            height,
        })
    }

    /// Returns the content of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns width and height to show it with, in CSS pixels: at most 240 by 64, never enlarged.
    pub fn shown_size(&self) -> (u32, u32) {
        let (width, height) = (self.width, self.height);
        if width <= SHOWN_WIDTH && height <= SHOWN_HEIGHT {
            (width, height)
        } else if width * SHOWN_HEIGHT > height * SHOWN_WIDTH {
            (SHOWN_WIDTH, (height * SHOWN_WIDTH / width).max(1))
        } else {
            ((width * SHOWN_HEIGHT / height).max(1), SHOWN_HEIGHT)
        }
    }
}

enum Problem {
    Format,
    Size,
}

/// Decodes the whole image, so that a damaged or incomplete file is found at the start. Returns its
/// width and height.
fn decode(bytes: &[u8]) -> Result<(u32, u32), Problem> {
    let format = |_| Problem::Format;
    let limits = Limits {
        bytes: MAX_DECODER_BYTES,
    };
    let decoder = Decoder::new_with_limits(io::Cursor::new(bytes), limits);
    let mut reader = decoder.read_info().map_err(format)?;
    let size = reader.info().size();
    if size.0.max(size.1) > MAX_PIXELS {
        return Err(Problem::Size);
    }
    while reader.next_row().map_err(format)?.is_some() {}
    reader.finish().map_err(format)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        let pixels = usize::try_from(width * height).unwrap();
        writer.write_image_data(&vec![0; pixels]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn problem_of(bytes: Vec<u8>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logo.png");
        fs::write(&path, bytes).unwrap();
        let problem = Logo::load(&path).unwrap_err();
        let name = path.display().to_string();
        problem.strip_prefix(&name).unwrap().trim().to_owned()
    }

    #[test]
    fn complete_png_is_kept_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logo.png");
        fs::write(&path, png(30, 20)).unwrap();
        let logo = Logo::load(&path).unwrap();
        assert_eq!(logo.bytes(), png(30, 20));
    }

    #[test]
    fn logo_fits_its_area_without_being_enlarged() {
        for (size, shown) in [
            ((30, 20), (30, 20)),
            ((240, 64), (240, 64)),
            ((480, 128), (240, 64)),
            ((2000, 100), (240, 12)),
            ((2000, 1), (240, 1)),
            ((100, 1000), (6, 64)),
            ((1, 2000), (1, 64)),
        ] {
            let logo = Logo::parse(png(size.0, size.1)).unwrap();
            assert_eq!(logo.shown_size(), shown, "{size:?}");
        }
    }

    #[test]
    fn other_and_damaged_files_are_rejected() {
        let whole = png(200, 200);
        let cut = whole[..whole.len() - 20].to_vec();
        let without_end = whole[..whole.len() - 12].to_vec();
        let mut damaged = whole.clone();
        damaged[50] ^= 0xff;
        for bytes in [
            Vec::new(),
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(),
            b"GIF89a".to_vec(),
            cut,
            without_end,
            damaged,
        ] {
            let problem = problem_of(bytes);
            assert!(problem.starts_with("is no complete PNG file"), "{problem}");
        }
    }

    #[test]
    fn large_files_and_images_are_rejected() {
        let mut large = png(10, 10);
        large.resize(usize::try_from(MAX_BYTES).unwrap() + 1, 0);
        assert!(problem_of(large).starts_with("has more than 100 KiB"));
        assert!(problem_of(png(2001, 1)).starts_with("has more than 2000 pixels"));
        assert!(problem_of(png(1, 2001)).starts_with("has more than 2000 pixels"));
    }

    #[test]
    fn missing_file_and_folder_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Logo::load(&folder.path().join("logo.png")).unwrap_err();
        assert!(missing.ends_with("logo.png cannot be read: there is no such file"));
        let problem = Logo::load(folder.path()).unwrap_err();
        assert!(
            problem.ends_with("cannot be read: is a directory"),
            "{problem}"
        );
    }
}
