//! The accent color, and its contrast by WCAG 2.2.

use std::fmt;

use crate::error::Invalid;

/// An opaque sRGB color.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color([u8; 3]);

impl Default for Color {
    fn default() -> Self {
        Self([0x0b, 0x4a, 0x80])
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Color {
    /// Black.
    pub const BLACK: Self = Self([0; 3]);
    /// White.
    pub const WHITE: Self = Self([u8::MAX; 3]);

    /// Creates a color of its red, green and blue parts.
    pub const fn new(parts: [u8; 3]) -> Self {
        Self(parts)
    }

    /// Parses `#rrggbb`.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || Invalid::new("must be a color as #rrggbb, such as #0b4a80");
        let digits = text.trim().strip_prefix('#').ok_or_else(form)?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(form());
        }
        let [_, parts @ ..] = u32::from_str_radix(digits, 16)
            .map_err(|_| form())?
            .to_be_bytes();
        Ok(Self(parts))
    }

    /// Returns black or white, whichever has more contrast on this color: at least 4.5, as WCAG
    /// requires of text (1.4.3).
    pub fn text_color(self) -> Self {
        [Self::WHITE, Self::BLACK]
            .into_iter()
            .max_by(|one, other| self.contrast(*one).total_cmp(&self.contrast(*other)))
            .unwrap_or(Self::WHITE)
    }

    /// Returns this color, made darker or lighter until its contrast to `background` is at least
    /// `ratio`, or black or white if none is.
    pub fn readable_on(self, background: Self, ratio: f64) -> Self {
        let target = background.text_color();
        (0..100)
            .map(|percent| self.mixed(target, percent))
            .find(|color| color.contrast(background) >= ratio)
            .unwrap_or(target)
    }

    /// Mixes this color with `percent` of another one.
    pub fn mixed(self, other: Self, percent: u8) -> Self {
        let share = u32::from(percent.min(100));
        let mix = |from: u8, to: u8| {
            let part = (u32::from(from) * (100 - share) + u32::from(to) * share) / 100;
            u8::try_from(part).unwrap_or(u8::MAX)
        };
        let ([r1, g1, b1], [r2, g2, b2]) = (self.0, other.0);
        Self([mix(r1, r2), mix(g1, g2), mix(b1, b2)])
    }

    /// Returns the contrast ratio of two colors, 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Returns the relative luminance, 0 to 1.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Color {
        Color::parse(text).unwrap()
    }

    /// All colors whose parts are multiples of 17.
    fn many_colors() -> impl Iterator<Item = Color> {
        (0..4096u16).map(|index| {
            let part = |shift: u16| u8::try_from((index >> shift) & 15).unwrap() * 17;
            Color::new([part(8), part(4), part(0)])
        })
    }

    #[test]
    fn colors_have_six_hexadecimal_digits() {
        assert_eq!(color(" #0B4a80 ").to_string(), "#0b4a80");
        for bad in [
            "",
            "#",
            "0b4a80",
            "#0b4a8",
            "#0b4a800",
            "#0b4",
            "#0b4a8g",
            "#+b4a80",
            "blue",
            "#0b4a8ü",
            "#fff;}",
            "rgb(1,2,3)",
        ] {
            assert!(Color::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        for (one, other, ratio) in [
            ("#000000", "#ffffff", 21.0),
            ("#ffffff", "#ffffff", 1.0),
            ("#777777", "#ffffff", 4.48),
            ("#767676", "#ffffff", 4.54),
            ("#0000ff", "#ffffff", 8.59),
            ("#ff0000", "#ffffff", 4.0),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let contrast = color(one).contrast(color(other));
                assert!(
                    (contrast - ratio).abs() < 0.005,
                    "{one} {other}: {contrast}"
                );
            }
        }
    }

    #[test]
    fn text_is_readable_on_every_color() {
        for color in many_colors() {
            assert!(color.contrast(color.text_color()) >= 4.5, "{color}");
        }
        assert_eq!(color("#ffdd00").text_color(), Color::BLACK);
        assert_eq!(color("#0b4a80").text_color(), Color::WHITE);
    }

    #[test]
    fn colors_are_readable_on_light_and_dark_backgrounds() {
        for background in [Color::WHITE, color("#1b2127")] {
            for color in many_colors() {
                let readable = color.readable_on(background, 7.0);
                assert!(readable.contrast(background) >= 7.0, "{color}");
                if color.contrast(background) >= 7.0 {
                    assert_eq!(readable, color);
                }
            }
        }
    }
}
