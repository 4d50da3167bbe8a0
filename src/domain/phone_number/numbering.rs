//! Converts numbers to E.164: prefixes, trunk zeros, extensions.

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber as Parsed, PhoneNumberFormat, Region,
};

use crate::error::Violation;

/// With fewer digits, a number without + and 0 can be a national number without its 0.
const MIN_BARE_DIGITS: usize = 11;
/// The maximum number of digits that an extension adds to a number on file (rule 21).
pub(super) const MAX_EXTENSION_DIGITS: usize = 4;
const GERMANY: &str = "49";
/// The countries in which an extension is dialled after the number: Germany and Austria.
const WITH_DIRECT_DIALLING: [&str; 2] = ["+49", "+43"];
/// The international prefix of North America.
const NORTH_AMERICAN_PREFIX: &str = "011";

/// A number with its extension; digits, `+` and separators only.
pub(super) struct WrittenNumber<'t> {
    pub(super) number: &'t str,
    pub(super) extension: Option<String>,
    /// A global `phone-context` (RFC 3966), such as `+49`.
    pub(super) context: Option<&'t str>,
}

/// Returns the possible readings, the most likely first.
pub(super) fn resolve(written: &WrittenNumber<'_>) -> Result<Vec<String>, Violation> {
    let number = written.number;
    let tight = number.replace(' ', "");
    let without_bracketed_zero = tight.replace("(0)", "");
    let mut readings = readings(&digits_of(&tight), written.context);
    if readings.is_empty() && without_bracketed_zero != tight {
        readings = self::readings(&digits_of(&without_bracketed_zero), written.context);
    }
    let is_bare = !tight.trim_start_matches('(').starts_with(['+', '0']);
    if readings.is_empty() {
        return Err(if is_bare {
            Violation::IncompletePhoneNumber
        } else {
            Violation::NotAPhoneNumber
        });
    }
    let Some(extension) = &written.extension else {
        return Ok(readings);
    };
    let is_central_office = tight.ends_with("-0");
    let dialled = readings
        .iter()
        .map(|number| dial_directly(number, is_central_office, extension));
    dialled.collect()
}

/// Returns true if a text without a label is a number in an assigned range.
pub(super) fn is_assigned(number: &str) -> bool {
    let digits = digits_of(&number.replace("(0)", ""));
    // `0049 211` is the start of an international number, not a number after an outside-line 0.
    if let Some(rest) = digits.strip_prefix("00") {
        return international(rest).is_some_and(|reading| reading.is_valid());
    }
    let readings = readings(&digits, None);
    let mut found = readings.iter().filter_map(|number| read(number));
    found.any(|reading| reading.is_valid())
}

/// Keeps the digits and plus signs.
fn digits_of(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_digit() || *c == '+')
        .collect()
}

fn readings(digits: &str, context: Option<&str>) -> Vec<String> {
    // Some systems prepend a plus to any number, or an outside-line 0 to the plus.
    let zeros = digits.trim_start_matches('0');
    let after_plus = zeros.trim_start_matches('+');
    let has_plus = zeros.starts_with('+');
    if after_plus.contains('+') {
        return Vec::new();
    }
    let digits = if has_plus { after_plus } else { digits };
    if let Some(context) = context
        && !has_plus
        && let Some(number) = in_context(digits, context)
    {
        return vec![number];
    }
    if digits.starts_with('0') {
        with_zero(digits).into_iter().collect()
    } else if has_plus {
        international(digits)
            .map(Reading::into_e164)
            .into_iter()
            .collect()
    } else {
        bare(digits)
    }
}

/// Prepends the country code of the context to a local number. A longer context is the start of
/// the number itself.
fn in_context(digits: &str, context: &str) -> Option<String> {
    let context = digits_of(context);
    let context = context.trim_start_matches('+');
    if digits.starts_with("00") || (digits.starts_with('0') && context.len() > 3) {
        return None;
    }
    international(&format!("{context}{digits}")).map(Reading::into_e164)
}

/// Reads `00` as the international prefix. If that yields no number, reads the first 0 as the digit
/// with which private exchanges dial an outside line.
fn with_zero(digits: &str) -> Option<String> {
    let Some(rest) = digits.strip_prefix("00") else {
        return national(digits).map(Reading::into_e164);
    };
    if let Some(number) = international(rest) {
        return Some(number.e164);
    }
    let after_outside_line = digits.get(1..).unwrap_or_default();
    let number = match after_outside_line.strip_prefix("00") {
        Some(rest) => international(rest),
        None => germany(after_outside_line),
    };
    number.filter(Reading::is_valid).map(Reading::into_e164)
}

/// Reads a German number with its 0. No German number starts with 011, so that is the international
/// prefix of North America.
fn national(digits: &str) -> Option<Reading> {
    let number = germany(digits);
    if let Some(rest) = digits.strip_prefix(NORTH_AMERICAN_PREFIX)
        && let Some(other) = international(rest).filter(Reading::is_valid)
        && !number.as_ref().is_some_and(Reading::is_valid)
    {
        return Some(other);
    }
    number
}

/// Reads digits without + and 0, as SIP trunks deliver them. Readings as numbers of other countries
/// may be German numbers without their 0.
fn bare(digits: &str) -> Vec<String> {
    if digits.len() < MIN_BARE_DIGITS {
        return Vec::new();
    }
    if digits.starts_with(GERMANY) {
        return international(digits)
            .map(Reading::into_e164)
            .into_iter()
            .collect();
    }
    let Some(number) = international(digits).filter(Reading::is_valid) else {
        return Vec::new();
    };
    let german = germany(&format!("0{digits}")).filter(Reading::is_valid);
    [Some(number), german]
        .into_iter()
        .flatten()
        .map(Reading::into_e164)
        .collect()
}

/// A parsed number of a possible length.
struct Reading {
    parsed: Parsed,
    e164: String,
}

impl Reading {
    /// Returns true if the number is in an assigned range.
    fn is_valid(&self) -> bool {
        PHONE_NUMBER_UTIL.is_valid_number(&self.parsed)
    }

    fn into_e164(self) -> String {
        self.e164
    }
}

fn international(digits: &str) -> Option<Reading> {
    if digits.starts_with('0') {
        return None;
    }
    read(&format!("+{digits}"))
}

fn germany(digits: &str) -> Option<Reading> {
    read(digits).filter(|reading| reading.e164.starts_with("+49"))
}

fn read(text: &str) -> Option<Reading> {
    let parsed = PHONE_NUMBER_UTIL.parse(text, Some(Region::DE)).ok()?;
    // Rejects numbers that can be dialled only within their own town.
    let possible = PHONE_NUMBER_UTIL.is_possible_number_with_reason(&parsed);
    if possible != Ok(NumberLengthType::IsPossible) {
        return None;
    }
    let e164 = PHONE_NUMBER_UTIL
        .format(&parsed, PhoneNumberFormat::E164)
        .into_owned();
    // The library keeps the leading 0 if the rest would be too short: 0110.
    let is_whole = !e164.starts_with("+490");
    is_whole.then_some(Reading { parsed, e164 })
}

/// Returns the number of an extension: its digits appended to the number, or in place of the 0 of
/// the central office. In other countries extensions cannot be dialled directly.
fn dial_directly(
    number: &str,
    is_central_office: bool,
    extension: &str,
) -> Result<String, Violation> {
    let has_direct_dialling = WITH_DIRECT_DIALLING
        .iter()
        .any(|country| number.starts_with(country));
    if !has_direct_dialling || !extension.chars().all(|c| c.is_ascii_digit()) {
        return Err(Violation::ExtensionNotDialable);
    }
    let line = match number.strip_suffix('0') {
        Some(line) if is_central_office => line,
        Some(_) | None => number,
    };
    let dialled = read(&format!("{line}{extension}"));
    dialled
        .map(Reading::into_e164)
        .ok_or(Violation::ExtensionNotDialable)
}
