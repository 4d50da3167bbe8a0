//! Parses the notation of a number: invisible characters, labels, URIs, extensions.

use percent_encoding::percent_decode_str;
use rlibphonenumber::PHONE_NUMBER_UTIL;
use unicode_normalization::UnicodeNormalization;

use super::numbering::{self, MAX_EXTENSION_DIGITS, WrittenNumber};
use crate::error::Violation;

/// The maximum length of a text. URIs with parameters are longer than numbers.
const MAX_CHARS: usize = 256;
/// The maximum number of digits of an extension that a word introduces.
const MAX_WRITTEN_EXTENSION: usize = 6;

/// Words that may precede a number, without punctuation.
const LABELS: &[&str] = &[
    "call",
    "cell",
    "durchwahl",
    "festnetz",
    "fon",
    "handy",
    "handynr",
    "handynummer",
    "m",
    "mobil",
    "mobile",
    "mobilfunk",
    "mobilnr",
    "mobilnummer",
    "mobiltelefon",
    "phone",
    "rufnr",
    "rufnummer",
    "t",
    "tel",
    "telefon",
    "telefonnr",
    "telefonnummer",
    "telephone",
    "telnr",
    "telnummer",
];
/// Words that may separate a number from its extension.
const EXTENSION_WORDS: &[&str] = &[
    "app",
    "apparat",
    "durchwahl",
    "dw",
    "ext",
    "extension",
    "klappe",
    "kl",
    "nebenstelle",
    "nst",
    "x",
];
/// URI schemes. Microsoft Teams writes a phone number as `4:+49…`.
const SCHEMES: &[&str] = &["4", "callto", "h323", "sip", "sips", "sms", "tel"];
/// Dialling codes that suppress the caller's own number.
const CLIR_PREFIXES: [&str; 2] = ["#31#", "*31#"];

/// A number as written, extracted from the URI or header around it.
#[derive(Debug)]
pub struct Notation {
    /// The text of the number; the user part of a SIP URI.
    number: String,
    host: Option<String>,
    is_uri: bool,
    parameters: Vec<(String, String)>,
}

impl Notation {
    /// Extracts the number from a URI (`sip:`, `tel:`, `callto:` …), a name-addr
    /// (`"Anna" <sip:…>;tag=…`, RFC 3261) or quotation marks, or takes the whole text.
    ///
    /// # Errors
    /// [`Violation`] if the text is too long or contains control characters.
    pub fn read(text: &str) -> Result<Self, Violation> {
        if text.chars().nth(MAX_CHARS).is_some() {
            return Err(Violation::TooLong { max: MAX_CHARS });
        }
        let text = clean(&percent_decode_str(text).decode_utf8_lossy())?;
        let address = text.rsplit_once('<').map_or(text.as_str(), |(_, address)| {
            address.split('>').next().unwrap_or_default()
        });
        let address = without_quotes(address);
        let (scheme, address) = match address.split_once(':') {
            Some((scheme, rest)) if is_one_of(SCHEMES, scheme.trim()) => {
                (scheme.trim().to_lowercase(), rest.trim_start_matches("//"))
            }
            _ => (String::new(), address),
        };
        let (user, host) = match address.split_once('@') {
            Some((user, host)) => (user, Some(host)),
            // A SIP URI without a user consists of a host only.
            None if scheme.starts_with("sip") && !is_number(address) => ("", Some(address)),
            None => (address, None),
        };
        let mut parts = user.split(';');
        let number = parts.next().unwrap_or_default();
        // A password may follow the user name.
        let number = host.and(number.split_once(':')).map_or(number, |(n, _)| n);
        let number = number.trim();
        let mut prefixes = CLIR_PREFIXES.iter();
        let dialled = prefixes.find_map(|prefix| number.strip_prefix(prefix));
        Ok(Self {
            number: dialled.unwrap_or(number).trim().to_owned(),
            host: host.map(|host| without_parameters(host).to_lowercase()),
            is_uri: !scheme.is_empty() || host.is_some(),
            parameters: parts.map(parameter).collect(),
        })
    }

    /// Returns the number, or the word that replaces a withheld one.
    pub fn user(&self) -> &str {
        &self.number
    }

    /// Returns the host of a SIP URI, in lower case.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Returns the number without its label, and its extension.
    ///
    /// # Errors
    /// [`Violation`] if the text contains anything else.
    pub(super) fn written(&self) -> Result<WrittenNumber<'_>, Violation> {
        let is_allowed = |name: &str| self.is_uri || matches!(name, "ext" | "phone-context");
        if !self.parameters.iter().all(|(name, _)| is_allowed(name)) {
            return Err(Violation::SeveralPhoneNumbers);
        }
        let (number, mut extension) = split_extension(without_label(&self.number)?)?;
        if let Some(written) = self.parameter("ext") {
            let digits = written.replace(['-', '.', ' ', '(', ')'], "");
            if extension.replace(digits).is_some() {
                return Err(Violation::NotAPhoneNumber);
            }
        }
        check_separators(number)?;
        let context = self.parameter("phone-context");
        Ok(WrittenNumber {
            number,
            extension,
            context: context.filter(|context| context.starts_with('+')),
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Replaces variants of spaces, dashes, brackets and digits of any script by ASCII characters, and
/// drops direction marks and other invisible characters.
fn clean(text: &str) -> Result<String, Violation> {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if is_invisible(c) {
            continue;
        }
        if c.is_control() && c != '\t' || matches!(c, '\u{2028}' | '\u{2029}') {
            return Err(Violation::NotAPhoneNumber);
        }
        if c.is_numeric() && !c.is_ascii_digit() {
            // Numeric, but no digit: a footnote or list item such as ¹ or ①.
            let digit = PHONE_NUMBER_UTIL.normalize_digits_only(c.to_string());
            if digit.is_empty() {
                return Err(Violation::NotAPhoneNumber);
            }
            cleaned.push_str(&digit);
        } else {
            cleaned.extend(std::iter::once(c).nfkc().map(plain));
        }
    }
    Ok(cleaned.trim().nfc().collect())
}

fn plain(c: char) -> char {
    match c {
        // Middle dots and bullets, as on letterheads, and telephone symbols.
        '\u{B7}' | '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22C5}' | '\u{30FB}' | '\u{260E}'
        | '\u{260F}' | '\u{2706}' | '\u{1F4DE}' | '\u{1F4F1}' | '\u{1F4F2}' | '\u{1F57F}' => ' ',
        _ if c.is_whitespace() => ' ',
        '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{2212}'
        | '\u{2E3A}'
        | '\u{2E3B}'
        | '\u{58A}'
        | '\u{30FC}'
        | '~'
        | '_'
        | '\u{301C}'
        | '\u{223C}' => '-',
        '\u{2044}' | '\u{2215}' => '/',
        '[' | '{' => '(',
        ']' | '}' => ')',
        _ => c,
    }
}

/// Returns true for joiners, direction marks, soft hyphens and variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206F}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
    )
}

/// Strips surrounding quotation marks and one trailing punctuation mark. A text that consists of
/// marks only is returned unchanged.
fn without_quotes(address: &str) -> &str {
    let is_quote = |c: char| {
        matches!(
            c,
            ' ' | '"' | '\'' | '`' | '\u{AB}' | '\u{BB}' | '\u{2018}'
                ..='\u{201F}' | '\u{2039}' | '\u{203A}'
        )
    };
    let text = address.trim_matches(is_quote);
    let text = text.strip_suffix([',', ';', '.', '#']).unwrap_or(text);
    let text = text.trim_end_matches(is_quote);
    if text.is_empty() {
        address.trim()
    } else {
        text
    }
}

fn is_one_of(words: &[&str], text: &str) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn without_parameters(host: &str) -> &str {
    host.split([';', '?', ':'])
        .next()
        .unwrap_or_default()
        .trim()
}

fn parameter(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.trim().to_lowercase(), value.trim().to_owned())
}

fn is_number(address: &str) -> bool {
    let digits = without_parameters(address);
    digits.starts_with(is_number_start) && !digits.contains(['.', '['])
}

fn is_number_start(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '+' | '(')
}

/// Strips a leading label such as `Tel.:`.
fn without_label(text: &str) -> Result<&str, Violation> {
    let start = text.find(is_number_start).unwrap_or(text.len());
    let (label, number) = text.split_at(start);
    let word = letters(label, &['.', ':', '-', ' ']).ok_or(Violation::NotAPhoneNumber)?;
    if word.is_empty() || is_one_of(LABELS, &word) {
        Ok(number)
    } else {
        Err(Violation::NotAPhoneNumber)
    }
}

/// Returns the letters of a text. `None` if it contains characters other than letters and `marks`.
fn letters(text: &str, marks: &[char]) -> Option<String> {
    let word: String = text.chars().filter(|c| !marks.contains(c)).collect();
    word.chars().all(char::is_alphabetic).then_some(word)
}

/// Splits off an extension that a word introduces: `0721 91374 Durchwahl 12`.
fn split_extension(text: &str) -> Result<(&str, Option<String>), Violation> {
    let Some(start) = text.find(|c: char| c.is_alphabetic() || c == '#') else {
        return Ok((text, None));
    };
    let (number, rest) = text.split_at(start);
    let digits = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (word, extension) = rest.split_at(digits);
    let word = letters(word, &['.', ':', '-', ' ', '#']).unwrap_or_default();
    let is_extension = (word.is_empty() || is_one_of(EXTENSION_WORDS, &word))
        && (1..=MAX_WRITTEN_EXTENSION).contains(&extension.len())
        && extension.chars().all(|c| c.is_ascii_digit());
    if !is_extension {
        return Err(Violation::NotAPhoneNumber);
    }
    let number = number.trim_end_matches([' ', ',', ';']);
    Ok((number, Some(extension.to_owned())))
}

/// Checks that the text contains only separators within a number, and not between two numbers.
fn check_separators(number: &str) -> Result<(), Violation> {
    let allowed = |c: char| c.is_ascii_digit() || "+ -./()".contains(c);
    if !number.chars().all(allowed) || number.contains("..") {
        return Err(Violation::NotAPhoneNumber);
    }
    let tight = number.replace([' ', '(', ')'], "");
    let is_second_number = |(at, _): (usize, &str)| {
        let (before, after) = tight.split_at(at);
        let after = after.trim_start_matches('/');
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
        // `0721/913740`, `+49/0721/913740`, but not `0721 913740/0171 1234567`, `-10/-11` or
        // `0721 913740/913741`.
        after.starts_with('-')
            || digits(after) > MAX_EXTENSION_DIGITS
                && (after.starts_with(['0', '+']) && digits(before) > 4
                    || numbering::is_assigned(before))
    };
    if tight.match_indices('/').any(is_second_number) {
        return Err(Violation::SeveralPhoneNumbers);
    }
    Ok(())
}
