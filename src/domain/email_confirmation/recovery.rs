//! Recovers a token from a damaged link: encodings, line breaks, parameters, quotation marks.

use crate::domain::ids::CustomerNumber;

pub(super) const SECRET_BYTES: usize = 32;
/// The maximum number of nested percent-encodings, such as those of a mail client and a tracker.
const MAX_DECODINGS: usize = 3;
/// The link up to its `#`, which quoted-printable encodes as `=23`.
const BEFORE_HASH: &str = "confirm=";
const HASH_DIGITS: &str = "23";

/// Decodes nested percent-encodings.
pub(crate) fn decoded(text: &str) -> String {
    (0..MAX_DECODINGS).fold(text.to_owned(), |text, _| {
        percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned()
    })
}

/// Returns the customer number and the random bits of the first token in a text.
pub(super) fn find_token(text: &str) -> Option<(CustomerNumber, [u8; SECRET_BYTES])> {
    // Soft line breaks of quoted-printable.
    let text = decoded(text).replace("=\r\n", "").replace("=\n", "");
    text.match_indices('.').find_map(|(dot, _)| {
        let (before, after) = text.split_at(dot);
        // The digits first: they are rarer than customer numbers.
        let secret = secret_at_start(after.get(1..)?)?;
        let customer_number = number_at_end(before)?;
        Some((customer_number, secret))
    })
}

/// Returns the text before the first dot, without leading whitespace and punctuation.
pub(super) fn number_before_dot(text: &str) -> &str {
    text.trim_start_matches(|c| !is_number_char(c))
        .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .split_once('.')
        .map_or("", |(number, _)| number)
}

/// Accepts lower-case digits in the exact number only, so that a token has a single
/// representation.
fn secret_at_start(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let value = |c: char| match c {
        '0'..='9' | 'a'..='f' => c.to_digit(16).and_then(|value| u8::try_from(value).ok()),
        _ => None,
    };
    let mut chars = text.chars();
    let mut secret = [0; SECRET_BYTES];
    for byte in &mut secret {
        let high = value(chars.find(|c| !is_gap(*c))?)?;
        let low = value(chars.find(|c| !is_gap(*c))?)?;
        *byte = high << 4 | low;
    }
    let has_more = chars.next().and_then(value).is_some();
    (!has_more).then_some(secret)
}

/// Whitespace separates the number from preceding words; after the `#` of a link there is none.
fn number_at_end(text: &str) -> Option<CustomerNumber> {
    let text = text.trim_end_matches(is_gap);
    let end = text.rsplit(|c| !is_number_char(c) && !is_gap(c)).next()?;
    let before = text.get(..text.len() - end.len())?;
    let start = before.len().saturating_sub(BEFORE_HASH.len());
    let has_encoded_hash = before
        .get(start..)
        .is_some_and(|before| before.eq_ignore_ascii_case(BEFORE_HASH));
    let after_hash = if has_encoded_hash {
        end.strip_prefix(HASH_DIGITS)
    } else {
        before.ends_with('#').then_some(end)
    };
    let number = after_hash.or_else(|| end.rsplit(char::is_whitespace).next())?;
    let number: String = number.chars().filter(|c| is_number_char(*c)).collect();
    CustomerNumber::parse(&number).ok()
}

const fn is_number_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

/// Whitespace, line breaks and invisible characters.
fn is_gap(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{AD}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{2069}'
                | '\u{FEFF}'
        )
}

#[cfg(test)]
mod tests {
    use crate::domain::email_confirmation::{ConfirmationToken, token::tests::token};

    #[test]
    fn incomplete_or_altered_token_is_rejected() {
        let text = token().reveal();
        for invalid in [
            "",
            ".",
            "K-1001",
            "K-1001.0f",
            "https://x.example/confirm",
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text.to_uppercase(),
            &text.replace("a7", "g7"),
            &text.replace('.', ""),
            &text.replace("K-1001", ""),
            &text.replace("K-1001", &"K".repeat(33)),
            &text.replacen("a7", "\u{e4}", 1),
            &text.replacen("a7", "a_7", 1),
        ] {
            assert!(ConfirmationToken::parse(invalid).is_none(), "{invalid:?}");
        }
    }

    #[test]
    fn token_is_found_within_a_longer_text() {
        let text = token().reveal();
        for form in [
            "TOKEN",
            " TOKEN\r\n",
            "\u{a0}TOKEN\u{200b}",
            "#TOKEN.",
            "<TOKEN>",
            "(\"TOKEN\"),",
            "\u{201e}TOKEN\u{201c}!",
            "\u{e4}TOKEN\u{e4}",
            "a TOKEN",
            "TOKEN a",
            "https://x/confirm#TOKEN",
            "Bitte: https://x.example:8080/confirm#TOKEN.",
            "/confirm/TOKEN",
            "a.b.example/confirm TOKEN?utm=1",
            "%23TOKEN",
            "%2523TOKEN",
            "/confirm=23TOKEN",
            "/Confirm%3D23TOKEN",
            "token=TOKEN",
            "token=TOKEN&utm_source=x.y",
            "TOKEN?utm_source=x",
            "TOKEN&utm=x",
            "TOKEN:~:text=x",
            "[x](https://x/confirm#TOKEN)",
            "K-1.0f TOKEN",
        ] {
            let damaged = form.replace("TOKEN", &text);
            let found = ConfirmationToken::parse(&damaged);
            assert_eq!(found, Some(token()), "{form:?}");
            let number = ConfirmationToken::customer_number_in(&damaged);
            assert_eq!(number, "K-1001", "{form:?}");
        }
    }

    #[test]
    fn whitespace_and_encodings_within_a_token_are_ignored() {
        let text = token().reveal();
        let dot = text.find('.').unwrap();
        for gap in [
            "\n",
            "\r\n",
            "\r\n ",
            " ",
            "\t",
            "\u{a0}",
            "\u{200b}",
            "\u{ad}",
            "\u{feff}",
            "=\r\n",
            "=\n",
            "%0A",
            "%20",
            "%0D%0A",
            "=%0D%0A",
            "%3D%0D%0A",
            "%E2%80%8B",
            "%250A",
        ] {
            for at in [1, 3, dot, dot + 1, dot + 2, 40, text.len() - 1] {
                let (before, after) = text.split_at(at);
                let damaged = format!("{before}{gap}{after}");
                let linked = format!("https://x/confirm#{damaged}");
                let found = ConfirmationToken::parse(&linked);
                assert_eq!(found, Some(token()), "{linked:?}");
                // Without a #, whitespace can separate words.
                if at >= dot {
                    let found = ConfirmationToken::parse(&damaged);
                    assert_eq!(found, Some(token()), "{damaged:?}");
                }
            }
        }
        for dot in ["%2E", "%2e", "%252E"] {
            let found = ConfirmationToken::parse(&text.replace('.', dot));
            assert_eq!(found, Some(token()), "{dot}");
        }
    }

    #[test]
    fn text_without_token_yields_the_number_before_its_dot() {
        for (text, number) in [("K-1.0f", "K-1"), (" #K-1.0f", "K-1"), ("nothing", "")] {
            assert_eq!(ConfirmationToken::customer_number_in(text), number);
        }
    }
}
