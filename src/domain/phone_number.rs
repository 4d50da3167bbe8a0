//! Phone numbers in E.164, with one parser for the API, imports and caller IDs.

mod notation;
mod numbering;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::notation::Notation;
use self::numbering::MAX_EXTENSION_DIGITS;
use crate::error::Violation;

/// The minimum number of digits, country code included, of a number that is looked up as the line of
/// an extension.
const MIN_LINE_DIGITS: usize = 7;
/// The maximum number of digits, country code included (E.164).
const MAX_DIGITS: usize = 15;

/// A phone number in E.164, such as `+4972191374`.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Parses a number as people paste it (`+49 (0)721 / 91374-0`, `0049…`, `Tel.: 0721…`) or as
    /// telephone systems write it (`tel:` and `sip:` URIs, `49…` without plus). A number with a
    /// leading 0 is German.
    ///
    /// # Errors
    /// [`Violation`] unless the text is a single number that can be dialled from abroad, for more than
    /// 15 digits, and for digits that can be both an international and a national number.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let mut readings = Self::readings(&Notation::read(text)?)?;
        match (readings.pop(), readings.pop()) {
            (Some(number), None) if number.digits() > MAX_DIGITS => {
                Err(Violation::TooManyDigits { max: MAX_DIGITS })
            }
            (Some(number), None) => Ok(number),
            _ => Err(Violation::IncompletePhoneNumber),
        }
    }

    /// Returns the possible readings of a text, at least one, the most likely first. Digits without
    /// a leading + or 0 can be an international number, or a German one without its 0. A number
    /// with an extension has up to 19 digits.
    ///
    /// # Errors
    /// [`Violation`] if there is no reading that can be dialled from abroad.
    pub fn readings(notation: &Notation) -> Result<Vec<Self>, Violation> {
        const MAX: usize = MAX_DIGITS + MAX_EXTENSION_DIGITS;
        let readings = numbering::resolve(&notation.written()?)?;
        let numbers: Vec<_> = readings.into_iter().map(Self).collect();
        if numbers.iter().any(|number| number.digits() > MAX) {
            return Err(Violation::TooManyDigits { max: MAX });
        }
        Ok(numbers)
    }

    fn digits(&self) -> usize {
        self.0.trim_start_matches('+').len()
    }

    /// Wraps a value that was stored from [`as_str`](Self::as_str), without validation.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Iterates over the numbers of which this one may be an extension: the number without its last
    /// 1 to 4 digits, down to the minimum length (rule 21).
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = (1..=MAX_EXTENSION_DIGITS).filter_map(|extension| {
            let length = self.0.len().checked_sub(extension)?;
            self.0.get(..length)
        });
        lines.take_while(|line| line.len() > MIN_LINE_DIGITS)
    }
}

/// Hides the number, which is personal data, from log lines that print `{:?}`.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}
