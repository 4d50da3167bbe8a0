//! Phone passwords (rules 13 to 17): normalization of spoken passwords, rejected passwords, and
//! generated ones. [`attempts`] limits the attempts.

pub mod attempts;

use std::{collections::HashSet, fmt, sync::LazyLock};

use chrono::{DateTime, Utc};
use unicode_normalization::UnicodeNormalization;

use crate::{
    domain::{ids::CustomerNumber, text},
    error::Violation,
};

const MIN_CHARS: usize = 6;
const MAX_CHARS: usize = 64;
/// Before the normalization, which shortens most texts and lengthens some.
const MAX_SPOKEN_CHARS: usize = 256;
/// The number of words of a generated password.
pub const GENERATED_WORDS: usize = 3;

/// One word per line; see `phone_password/LICENSES.md`.
static WORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("phone_password/words.txt").lines().collect());

/// Common passwords, normalized, one per line; see `phone_password/LICENSES.md`.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("phone_password/common.txt").lines().collect());

/// A spoken or entered phone password in normalized form. The original text is not stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NormalizedPassword(String);

/// Hides the password from log lines that print `{:?}`.
impl fmt::Debug for NormalizedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NormalizedPassword(…)")
    }
}

impl NormalizedPassword {
    /// Normalizes a candidate password. Accepts passwords that cannot have been set, so that
    /// checking them takes the same time.
    ///
    /// # Errors
    /// [`Violation`] if it is empty or longer than 256 characters.
    pub fn from_spoken(text: &str) -> std::result::Result<Self, Violation> {
        if text.is_empty() {
            return Err(Violation::Required);
        }
        if text.chars().nth(MAX_SPOKEN_CHARS).is_some() {
            return Err(Violation::TooLong {
                max: MAX_SPOKEN_CHARS,
            });
        }
        Ok(Self(normalize(text)))
    }

    /// Normalizes a password that is to be set.
    ///
    /// # Errors
    /// [`Violation`] if it is too short, too long or too common. Its text does not repeat the value.
    pub fn parse(text: &str) -> std::result::Result<Self, Violation> {
        text::free_text(text, MAX_SPOKEN_CHARS)?;
        let normalized = normalize(text);
        let (min, max) = (MIN_CHARS, MAX_CHARS);
        let chars = normalized.chars().count();
        if chars < min {
            return Err(Violation::PasswordTooShort { min, max });
        }
        if chars > max {
            return Err(Violation::PasswordTooLong { min, max });
        }
        if COMMON.contains(normalized.as_str()) || is_repetition(&normalized) {
            return Err(Violation::PasswordTooCommon);
        }
        Ok(Self(normalized))
    }

    /// Rejects the customer number and the contact's own name (rule 14).
    ///
    /// # Errors
    /// [`Violation`] that names which of them it is.
    pub fn check_for(
        &self,
        customer_number: &CustomerNumber,
        display_name: &str,
    ) -> std::result::Result<(), Violation> {
        let password = alphanumeric(&self.0);
        if password == alphanumeric(&normalize(customer_number.as_str())) {
            return Err(Violation::PasswordIsCustomerNumber);
        }
        let words: Vec<_> = display_name
            .split(|c: char| !c.is_alphanumeric())
            .map(normalize)
            .filter(|word| !word.is_empty())
            .collect();
        // Leading or trailing digits do not make a name secret.
        let password = password.trim_matches(|c: char| c.is_ascii_digit());
        if !password.is_empty() && consists_of(password, &words) {
            return Err(Violation::PasswordIsDisplayName);
        }
        Ok(())
    }

    /// Returns the normalized text, for hashing. It is a secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Generates a password of three words from `random`, with about 39 bits of entropy (rule 14).
pub fn generate(random: [u32; GENERATED_WORDS]) -> String {
    let count = WORDS.len().max(1);
    let words = random.map(|number| {
        let index = usize::try_from(number).unwrap_or_default() % count;
        WORDS.get(index).copied().unwrap_or_default()
    });
    words.join(" ")
}

/// Normalizes a text so that texts that sound the same become equal (rule 14). Idempotent.
pub fn normalize(text: &str) -> String {
    let mut normalized = normalize_once(text);
    // Removing characters can create sequences that normalize further.
    loop {
        let again = normalize_once(&normalized);
        if again == normalized {
            return normalized;
        }
        normalized = again;
    }
}

fn normalize_once(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    let folded = caseless::default_case_fold_str(&composed);
    let mut result = String::with_capacity(folded.len());
    for c in folded.nfc().filter(|c| !is_silent(*c)) {
        match c {
            'ä' => result.push_str("ae"),
            'ö' => result.push_str("oe"),
            'ü' => result.push_str("ue"),
            'ß' => result.push_str("ss"),
            // Case folding maps the Turkish letters i to two that sound alike.
            'ı' => result.push('i'),
            _ => result.push(c),
        }
    }
    result.nfkc().collect()
}

/// Returns true if the password is a concatenation of some of these words, in any order.
fn consists_of(password: &str, words: &[String]) -> bool {
    // Remainders after a sequence of words. Visiting each once avoids exponential backtracking for
    // names of many similar words.
    let mut remainders = vec![password];
    let mut seen = HashSet::new();
    while let Some(rest) = remainders.pop() {
        if rest.is_empty() {
            return true;
        }
        if seen.insert(rest.len()) {
            remainders.extend(
                words
                    .iter()
                    .filter_map(|word| rest.strip_prefix(word.as_str())),
            );
        }
    }
    false
}

/// Removes punctuation, which is not spoken.
fn alphanumeric(normalized: &str) -> String {
    normalized.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whitespace, hyphens, unprintable characters, and the combining dot of the Turkish capital I.
fn is_silent(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '-' | '\u{AD}'
                | '\u{307}'
                | '\u{58A}'
                | '\u{5BE}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2010}'..='\u{2015}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{2069}'
                | '\u{2212}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
        )
}

/// Returns true for one or two repeated characters, and for a sequence such as 234567.
fn is_repetition(normalized: &str) -> bool {
    let chars: Vec<char> = normalized.chars().collect();
    let is_pair = chars
        .iter()
        .zip(chars.iter().skip(2))
        .all(|(first, second)| first == second);
    let steps = || {
        chars
            .iter()
            .zip(chars.iter().skip(1))
            .map(|(c, next)| i64::from(u32::from(*next)) - i64::from(u32::from(*c)))
    };
    is_pair || steps().all(|step| step == 1) || steps().all(|step| step == -1)
}

/// The visible state of a contact's phone password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhonePasswordState {
    /// The time at which the password was set; `None`: none is set.
    pub set_time: Option<DateTime<Utc>>,
    /// The end of the lock; `None`: not locked.
    pub locked_until: Option<DateTime<Utc>>,
    /// True if a new password has to be set.
    pub is_revoked: bool,
}

#[cfg(test)]
mod tests;
