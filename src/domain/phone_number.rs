//! Phone numbers, kept as E.164.

use std::fmt;

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use crate::error::Invalid;

const MAX_CHARS: usize = 40;

/// A phone number in E.164, such as `+4972191374`.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads `+49 721 91374-0`, `0049…`, or a German national number with its leading 0.
    ///
    /// # Errors
    /// [`Invalid`] for whatever is not a number that can be dialled from abroad. A
    /// number without + or 0 is refused, because its area code is not known.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let not_a_number =
            || Invalid::new("must be a phone number, such as +49 721 1234567 or 0721 1234567");
        let shape_fits = text.chars().count() <= MAX_CHARS
            && text.trim_start_matches('(').starts_with(['+', '0'])
            && text.matches('+').count() <= 1
            && text.chars().all(|c| c.is_ascii_digit() || is_separator(c));
        if !shape_fits {
            return Err(not_a_number());
        }
        let number = PHONE_NUMBER_UTIL
            .parse(text, Some(Region::DE))
            .map_err(|_| not_a_number())?;
        // Not one that can be dialled only within its own town.
        let possible = PHONE_NUMBER_UTIL.is_possible_number_with_reason(&number);
        if possible != Ok(NumberLengthType::IsPossible) {
            return Err(not_a_number());
        }
        let e164 = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164);
        // The library keeps the leading 0 where the rest would be too short: 0110.
        if e164.starts_with("+490") {
            return Err(not_a_number());
        }
        Ok(Self(e164.into_owned()))
    }

    /// A value that storage once took from `as_str`.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What people and word processors put between digits.
fn is_separator(c: char) -> bool {
    matches!(c, '+' | ' ' | '-' | '.' | '/' | '(' | ')')
        || matches!(c, '\u{A0}' | '\u{202F}' | '\u{2010}'..='\u{2015}')
}

/// A number is personal data: it must not get into a log by way of `{:?}`.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_to_e164_and_reads_a_leading_0_as_german() {
        for (given, kept) in [
            ("0721 91374-0", "+49721913740"),
            ("+49 (0)721 / 91374-0", "+49721913740"),
            ("0049 721 913740", "+49721913740"),
            ("(0721) 913740", "+49721913740"),
            ("+43 1 58858", "+43158858"),
            ("+1 650-253-0000", "+16502530000"),
            ("0151 23456789", "+4915123456789"),
            ("+49721913740", "+49721913740"),
            ("0721\u{A0}9137\u{2013}40", "+49721913740"),
        ] {
            assert_eq!(
                PhoneNumber::parse(given).expect(given).as_str(),
                kept,
                "{given}"
            );
        }
    }

    #[test]
    fn refuses_what_cannot_be_dialled_from_abroad() {
        let long = "0".repeat(41);
        for bad in [
            "",
            "+",
            "0",
            "abc",
            "110",
            "913740",
            "0721 91374 ext. 3",
            "0800-FLOWERS",
            "+999 123456",
            "+49 1",
            "012",
            "0110",
            "06",
            "+1 2530000",
            "(721) 913740",
            "(49) 721 913740",
            "++49721913740",
            "0721\n913740",
            "+49721913740;x=1",
            "+4972191374000000000",
            "٠٧٢١٩١٣٧٤٠",
            long.as_str(),
        ] {
            assert!(PhoneNumber::parse(bad).is_err(), "{bad:?}");
        }
    }
}
