//! The language of a person, negotiated by `Accept-Language` (RFC 9110, 12.5.4).

/// A language in which texts are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// German.
    German,
    /// English.
    English,
}

impl Language {
    /// Returns `de` or `en` (BCP 47).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }

    /// Returns the preferred language of an `Accept-Language` header: `default` without a header, and
    /// English if it accepts neither language.
    pub fn preferred(accepted: Option<&str>, default: Self) -> Self {
        let Some(accepted) = accepted.filter(|text| !text.trim().is_empty()) else {
            return default;
        };
        let mut best = (Self::English, 0.0);
        for range in accepted.split(',') {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let language = match tag.trim().split('-').next().unwrap_or_default() {
                tag if tag.eq_ignore_ascii_case("de") => Self::German,
                tag if tag.eq_ignore_ascii_case("en") => Self::English,
                _ => continue,
            };
            let quality = parameters.trim().strip_prefix("q=").unwrap_or("1");
            let quality = quality.trim().parse().unwrap_or(0.0);
            // The first of equal qualities wins.
            if quality > best.1 {
                best = (language, quality);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_language_of_the_browser_is_selected() {
        use Language::{English, German};
        for (accepted, language) in [
            (None, German),
            (Some(""), German),
            (Some("de"), German),
            (Some("de-AT,de;q=0.9,en;q=0.8"), German),
            (Some("en-US,en;q=0.9,de;q=0.8"), English),
            (Some("fr,de;q=0.5,en;q=0.4"), German),
            (Some("fr, en;q=0.5, DE;q=0.7"), German),
            (Some("fr-FR, it"), English),
            (Some("*"), English),
            (Some("de;q=0, en;q=0.1"), English),
            (Some("de;q=x"), English),
            (Some("den, e"), English),
        ] {
            let preferred = Language::preferred(accepted, German);
            assert_eq!(preferred, language, "{accepted:?}");
        }
        assert_eq!(Language::preferred(None, English), English);
    }
}
