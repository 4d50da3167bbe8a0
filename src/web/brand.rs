//! The brand on the page: the accent color as a part of its style sheet, and the logo.

use axum::{
    body::Bytes,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::IntoResponse,
    routing::{MethodRouter, get},
};

use crate::brand::{Brand, Color, Logo};

const STYLE: &str = include_str!("page/style.css");
/// The cards of the two color schemes in the style sheet.
const LIGHT_CARD: Color = Color::WHITE;
const DARK_CARD: Color = Color::new([0x1b, 0x21, 0x27]);
/// The contrast of accents that are text or a focus ring on a card.
const CONTRAST: f64 = 7.0;
/// Change of the button under the pointer, in percent.
const HOVER_PERCENT: u8 = 20;
/// A new logo is shown within an hour, whichever instance delivers it.
const LOGO_CACHE: &str = "public, max-age=3600";

/// Returns the style sheet with the accent color. The light scheme shows it unchanged, the dark one
/// lightened where it would vanish.
pub(super) fn style(accent: Color) -> String {
    let light = variables(accent, LIGHT_CARD);
    let dark = variables(accent.readable_on(DARK_CARD, CONTRAST), DARK_CARD);
    format!(
        "{STYLE}\n:root {{\n{light}}}\n\n\
         @media (prefers-color-scheme: dark) {{\n:root {{\n{dark}}}\n}}\n"
    )
}

fn variables(button: Color, card: Color) -> String {
    let text = button.text_color();
    // Away from the text, so that its contrast grows.
    let hover = button.mixed(text.text_color(), HOVER_PERCENT);
    let ring = button.readable_on(card, CONTRAST);
    format!(
        "--button: {button};\n--button-hover: {hover};\n--button-text: {text};\n--ring: {ring};\n"
    )
}

/// Returns the route of the logo, which answers 404 without one.
pub(super) fn logo<S: Clone + Send + Sync + 'static>(brand: &Brand) -> MethodRouter<S> {
    let logo = brand.logo.as_ref();
    let bytes = logo.map(|logo| Bytes::copy_from_slice(logo.bytes()));
    get(move || async move {
        let headers = [
            (CONTENT_TYPE, Logo::CONTENT_TYPE),
            (CACHE_CONTROL, LOGO_CACHE),
        ];
        match bytes {
            Some(bytes) => (headers, bytes).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a variable in the part of a scheme.
    fn variable(part: &str, name: &str) -> Color {
        let (_, rest) = part.rsplit_once(&format!("--{name}: ")).unwrap();
        Color::parse(rest.split(';').next().unwrap()).unwrap()
    }

    #[test]
    fn accents_are_readable_in_both_schemes() {
        for accent in [
            "#0b4a80", "#ffffff", "#000000", "#ffdd00", "#7f7f7f", "#ff0000", "#00ff00", "#1b2127",
        ] {
            let accent = Color::parse(accent).unwrap();
            let style = style(accent);
            let (light, dark) = style.rsplit_once("@media").unwrap();
            assert_eq!(variable(light, "button"), accent);
            for (scheme, card) in [(light, LIGHT_CARD), (dark, DARK_CARD)] {
                let text = variable(scheme, "button-text");
                for background in ["button", "button-hover"] {
                    let contrast = text.contrast(variable(scheme, background));
                    assert!(contrast >= 4.5, "{accent} {background}: {contrast}");
                }
                let ring = variable(scheme, "ring");
                assert!(ring.contrast(card) >= CONTRAST, "{accent}");
            }
            assert!(variable(dark, "button").contrast(DARK_CARD) >= CONTRAST);
        }
    }

    #[test]
    fn schemes_have_the_cards_of_the_style_sheet() {
        let (light, dark) = STYLE.split_once("@media").unwrap();
        assert_eq!(variable(light, "card"), LIGHT_CARD);
        let (dark, _) = dark.split_once('}').unwrap();
        assert_eq!(variable(dark, "card"), DARK_CARD);
    }
}
