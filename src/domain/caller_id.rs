//! Caller IDs as telephone systems report them: a number, or a withheld number (rule 21).

use unicode_normalization::UnicodeNormalization;

use crate::{
    domain::phone_number::{Notation, PhoneNumber},
    error::Violation,
};

/// Parts of expressions for a withheld number, such as `Rufnummer unterdrückt` and
/// `PrivateCaller`, in lower case and reduced to letters.
const WITHHELD_STEMS: &[&str] = &[
    "anonym",
    "blocked",
    "geheim",
    "inconnu",
    "keinecallerid",
    "keinenummer",
    "keinerufnummer",
    "masqué",
    "nichtbekannt",
    "nichtuebermittelt",
    "nichtverfügbar",
    "nichtübermittelt",
    "nocallerid",
    "nonumber",
    "notavailable",
    "ohnenummer",
    "ohnerufnummer",
    "privat",
    "privé",
    "restricted",
    "unavailable",
    "unbekannt",
    "unknown",
    "unterdrueck",
    "unterdrück",
    "withheld",
];
/// Expressions for a withheld number that also occur within other words.
const WITHHELD_WORDS: &[&str] = &[
    "clir",
    "hidden",
    "hiddennumber",
    "interactionwithotherservice",
    "keine",
    "na",
    "none",
    "null",
    "numeromasque",
    "o",
    "outofarea",
    "p",
    "payphone",
    "prive",
];
/// The Asterisk channel technologies whose channel names contain the caller's number.
const CHANNEL_TECHNOLOGIES: &[&str] = &["PJSIP", "SIP"];
/// The number of hexadecimal digits of the sequence number in an Asterisk channel name.
const CHANNEL_SUFFIX_DIGITS: usize = 8;
/// Words that gateways spell on the keypad where only digits are possible, such as 266696687.
const ON_THE_KEYPAD: &[&str] = &[
    "anonymous",
    "blocked",
    "private",
    "restricted",
    "unavailable",
    "unknown",
];
const KEYPAD: &[(&str, char)] = &[
    ("abc", '2'),
    ("def", '3'),
    ("ghi", '4'),
    ("jkl", '5'),
    ("mno", '6'),
    ("pqrs", '7'),
    ("tuv", '8'),
    ("wxyz", '9'),
];
/// Some exchanges send zeros in place of a missing number.
const MIN_ZEROS: usize = 4;

/// A parsed caller ID.
#[derive(Clone, Debug)]
pub enum CallerId {
    /// The possible readings of the text, at least one; mostly exactly one.
    Numbers(Vec<PhoneNumber>),
    /// The caller or a network withholds the number. A blank text means the same.
    Withheld,
}

impl CallerId {
    /// Parses a caller ID: all notations of [`PhoneNumber::parse`], Asterisk channel names, and the
    /// words, numbers and SIP hosts that mean a withheld number.
    ///
    /// # Errors
    /// [`Violation`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let notation = Notation::read(channel_user(text).unwrap_or(text))?;
        if is_withheld(notation.user()) {
            return Ok(Self::Withheld);
        }
        match (PhoneNumber::readings(&notation), notation.host()) {
            (Ok(numbers), _) => Ok(Self::Numbers(numbers)),
            // RFC 3323: sip:anonymous@anonymous.invalid.
            (Err(_), Some(host)) if host.trim_end_matches('.').ends_with(".invalid") => {
                Ok(Self::Withheld)
            }
            (Err(invalid), _) => Err(invalid),
        }
    }
}

/// Extracts the user from an Asterisk channel name such as `PJSIP/0211123456-00000001`.
fn channel_user(text: &str) -> Option<&str> {
    let (technology, rest) = text.trim().split_once('/')?;
    let (user, suffix) = rest.rsplit_once('-')?;
    let is_channel = CHANNEL_TECHNOLOGIES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(technology))
        && suffix.len() == CHANNEL_SUFFIX_DIGITS
        && suffix.chars().all(|c| c.is_ascii_hexdigit());
    is_channel.then_some(user)
}

fn is_withheld(user: &str) -> bool {
    let word: String = user
        .nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric())
        .collect();
    let has_digits = word.chars().any(char::is_numeric);
    let digits = word.trim_start_matches("00");
    user.is_empty()
        || WITHHELD_WORDS.contains(&word.as_str())
        || (!has_digits && WITHHELD_STEMS.iter().any(|stem| word.contains(stem)))
        || (word.len() >= MIN_ZEROS && word.chars().all(|c| c == '0'))
        || ON_THE_KEYPAD
            .iter()
            .any(|word| keypad_digits(word) == digits)
}

/// Returns the keypad digits of a word.
fn keypad_digits(word: &str) -> String {
    let key = |letter: char| {
        let mut keys = KEYPAD.iter();
        keys.find(|(letters, _)| letters.contains(letter))
            .map(|(_, digit)| *digit)
    };
    word.chars().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_for_a_withheld_number_are_recognized() {
        for text in [
            "Blocked Call",
            "Caller ID blocked",
            "Rufnummer nicht übermittelt",
            "nicht u\u{308}bermittelt",
            "nicht uebermittelt",
            "ohne Rufnummer",
            "Private Nummer",
            "privater Anruf",
            "anonymus",
            "Anonyme",
            "keine",
            "Keine Rufnummer",
            "No Caller ID",
            "Geheim",
            "Geheimnummer",
            "asserted-unknown",
            "Withheld by caller",
            "caller withheld",
            "Coverage Unavailable",
            "Interaction with other service",
            "Payphone",
            "P",
            "O",
            "n/a",
            "Inconnu",
            "Numéro masqué",
            "Privé",
            "privato",
            "sip:x@ANONYMOUS.INVALID.",
            "sip:x@anonymous.invalid.;user=phone",
            "PJSIP/anonymous-00000001",
            "\"Anonymous\"",
            "unknown.",
            "",
            " \u{200E}\t",
            "sip:@pbx.example",
            "0000",
        ] {
            let found = CallerId::parse(text);
            assert!(
                matches!(found, Ok(CallerId::Withheld)),
                "{text:?}: {found:?}"
            );
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in [
            "++",
            "+",
            "-",
            "_",
            ".",
            "#",
            "()",
            "\"",
            "?",
            "0",
            "00",
            "000",
            "+0",
            "abc",
            "Anna",
            "Hiddensee",
            "Paul",
            "private 0211 123456",
            "anonymous 12",
            "sip:anna@pbx.example",
            "PJSIP/anna-00000001",
        ] {
            let found = CallerId::parse(text);
            assert!(found.is_err(), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn channel_names_are_parsed_as_their_number() {
        for text in [
            "PJSIP/0211123456-00000001",
            "SIP/0211123456-0000abcd",
            "pjsip/+49211123456-0000ABCD",
        ] {
            let Ok(CallerId::Numbers(numbers)) = CallerId::parse(text) else {
                panic!("{text}");
            };
            let numbers: Vec<_> = numbers.iter().map(PhoneNumber::as_str).collect();
            assert_eq!(numbers, ["+49211123456"], "{text}");
            assert!(PhoneNumber::parse(text).is_err(), "{text}");
        }
        for text in ["PJSIP/0211123456", "XYZ/0211123456-00000001"] {
            assert!(CallerId::parse(text).is_err(), "{text}");
        }
    }
}
