//! A caller ID as a telephone system reports it: a number, or that it is withheld (rule 21).

use unicode_normalization::UnicodeNormalization;

use crate::{
    domain::phone_number::{Notation, PhoneNumber},
    error::Invalid,
};

/// Words for a withheld number, in lower case, without anything between their letters.
const WITHHELD: &[&str] = &[
    "anonym",
    "anonymeranruf",
    "anonymeranrufer",
    "anonymous",
    "anonymouscall",
    "anonymouscaller",
    "blocked",
    "blockednumber",
    "calleridwithheld",
    "callerunknown",
    "clir",
    "hidden",
    "hiddennumber",
    "idunavailable",
    "idwithheld",
    "keinecallerid",
    "keinenummer",
    "keinerufnummer",
    "na",
    "nichtbekannt",
    "nichtverfügbar",
    "nocallerid",
    "none",
    "nonumber",
    "nonumberavailable",
    "notavailable",
    "null",
    "numbernotavailable",
    "numberunavailable",
    "numberwithheld",
    "nummerunbekannt",
    "nummerunterdrückt",
    "outofarea",
    "privat",
    "private",
    "privatecall",
    "privatecaller",
    "privatenumber",
    "restricted",
    "restrictednumber",
    "rufnummerunbekannt",
    "rufnummerunterdrückt",
    "unavailable",
    "unbekannt",
    "unbekanntenummer",
    "unbekannteranruf",
    "unbekannteranrufer",
    "unbekannterufnummer",
    "unknown",
    "unknowncall",
    "unknowncaller",
    "unknownnumber",
    "unterdrueckt",
    "unterdrückt",
    "unterdrücktenummer",
    "unterdrückterufnummer",
    "withheld",
    "withheldnumber",
];
/// Words that gateways spell on the keypad where only digits are possible: 266696687.
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
/// Some exchanges send only zeros where there is no number.
const MIN_ZEROS: usize = 4;

/// A caller's number, or the fact that it is withheld.
#[derive(Clone, Debug)]
pub enum CallerId {
    /// The numbers that the text can mean, at least one; most mean exactly one.
    Numbers(Vec<PhoneNumber>),
    /// The caller or a network withholds the number. A blank text says so, too.
    Withheld,
}

impl CallerId {
    /// Reads a caller ID: all that [`PhoneNumber::parse`] takes, and the words, numbers and SIP
    /// hosts that mean a withheld number.
    ///
    /// # Errors
    /// [`Invalid`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let notation = Notation::read(text)?;
        if is_withheld(notation.user()) {
            return Ok(Self::Withheld);
        }
        match (PhoneNumber::readings(&notation), notation.host()) {
            (Ok(numbers), _) => Ok(Self::Numbers(numbers)),
            // RFC 3323: sip:anonymous@anonymous.invalid.
            (Err(_), Some(host)) if host.ends_with(".invalid") => Ok(Self::Withheld),
            (Err(invalid), _) => Err(invalid),
        }
    }
}

fn is_withheld(user: &str) -> bool {
    let word: String = user
        .nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric())
        .collect();
    let digits = word.trim_start_matches("00");
    WITHHELD.contains(&word.as_str())
        || word.is_empty()
        || (word.len() >= MIN_ZEROS && word.chars().all(|c| c == '0'))
        || ON_THE_KEYPAD.iter().any(|word| spelled(word) == digits)
}

/// The digits under which the keypad of a telephone has the letters.
fn spelled(word: &str) -> String {
    let key = |letter: char| {
        let mut keys = KEYPAD.iter();
        keys.find(|(letters, _)| letters.contains(letter))
            .map(|(_, digit)| *digit)
    };
    word.chars().filter_map(key).collect()
}
