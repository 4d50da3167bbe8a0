//! Phone numbers, kept as E.164: one parser for the API, for imports and for caller IDs.

mod notation;
mod numbering;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::notation::Notation;
use self::numbering::MAX_EXTENSION_DIGITS;
use crate::error::Invalid;

/// The shortest line that a caller's extension is looked up under, in digits with the country code.
const MIN_LINE_DIGITS: usize = 7;
/// The most digits of a number with its country code (E.164).
const MAX_DIGITS: usize = 15;

/// A phone number in E.164, such as `+4972191374`.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads a number as people paste it (`+49 (0)721 / 91374-0`, `0049…`, `Tel.: 0721…`) or as
    /// telephone systems write it (`tel:` and `sip:` URIs, `49…` without plus). A leading 0 is
    /// read as German.
    ///
    /// # Errors
    /// [`Invalid`] for anything that is not one number that can be dialled from abroad, for more
    /// than 15 digits, and for digits that could be an international as well as a national number.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut readings = Self::readings(&Notation::read(text)?)?;
        match (readings.pop(), readings.pop()) {
            (Some(number), None) if number.digits() > MAX_DIGITS => Err(Self::too_long(MAX_DIGITS)),
            (Some(number), None) => Ok(number),
            _ => Err(numbering::incomplete()),
        }
    }

    /// The numbers that a text can mean, at least one; the first is the likelier one. Digits
    /// with neither + nor 0 can be an international number, or a German one that lost its 0.
    /// A number with an extension has up to 19 digits.
    ///
    /// # Errors
    /// [`Invalid`] where it means none that can be dialled from abroad.
    pub fn readings(notation: &Notation) -> Result<Vec<Self>, Invalid> {
        const MAX: usize = MAX_DIGITS + MAX_EXTENSION_DIGITS;
        let readings = numbering::resolve(&notation.written()?)?;
        let numbers: Vec<_> = readings.into_iter().map(Self).collect();
        if numbers.iter().any(|number| number.digits() > MAX) {
            return Err(Self::too_long(MAX));
        }
        Ok(numbers)
    }

    fn digits(&self) -> usize {
        self.0.trim_start_matches('+').len()
    }

    fn too_long(max: usize) -> Invalid {
        Invalid::new(format!(
            "must have at most {max} digits with its country code; give each number separately"
        ))
    }

    /// A value that storage once took from `as_str`.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The numbers of which this one may be an extension: itself without its last 1 to 4
    /// digits, as far as that leaves a number (rule 21).
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = (1..=MAX_EXTENSION_DIGITS).filter_map(|cut| {
            let length = self.0.len().checked_sub(cut)?;
            self.0.get(..length)
        });
        lines.take_while(|line| line.len() > MIN_LINE_DIGITS)
    }
}

/// A number is personal data: it must not get into a log by way of `{:?}`.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}
