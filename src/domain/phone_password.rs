//! Phone passwords (rules 13 to 17): what counts as the same when it is spoken, what
//! is refused, and what the service makes itself. How tries are limited is in [`attempts`].

pub mod attempts;

use std::{collections::HashSet, fmt, sync::LazyLock};

use chrono::{DateTime, Utc};
use unicode_normalization::UnicodeNormalization;

use crate::{
    domain::{ids::CustomerNumber, text},
    error::Invalid,
};

const MIN_CHARS: usize = 6;
const MAX_CHARS: usize = 64;
/// Before folding, which makes most texts shorter and some longer.
const MAX_SPOKEN_CHARS: usize = 256;
/// How many words a generated one has.
pub const GENERATED_WORDS: usize = 3;

/// One word a line; see the licence beside it.
static WORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("phone_password/words.txt").lines().collect());

/// Folded, one a line; see the licence beside it.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("phone_password/common.txt").lines().collect());

/// What was said or entered as a phone password, folded: the text itself is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct FoldedPassword(String);

/// It must not get into a log by way of `{:?}`.
impl fmt::Debug for FoldedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FoldedPassword(…)")
    }
}

impl FoldedPassword {
    /// Folds what a caller said. Whatever it is, it can be checked: that it cannot be
    /// right must not be told faster.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty or beyond all bounds.
    pub fn of_spoken(text: &str) -> std::result::Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("must not be empty"));
        }
        if text.chars().nth(MAX_SPOKEN_CHARS).is_some() {
            return Err(Invalid::new(format!(
                "must have at most {MAX_SPOKEN_CHARS} characters"
            )));
        }
        Ok(Self(fold(text)))
    }

    /// Folds a password that is to be set, unless it is too short, too long or too common.
    ///
    /// # Errors
    /// [`Invalid`] with what is wrong; the text does not repeat the value.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        text::free_text(text, MAX_SPOKEN_CHARS)?;
        let folded = fold(text);
        if !(MIN_CHARS..=MAX_CHARS).contains(&folded.chars().count()) {
            return Err(Invalid::new(format!(
                "must have {MIN_CHARS} to {MAX_CHARS} characters, blanks and hyphens not counted"
            )));
        }
        if COMMON.contains(folded.as_str()) || is_repetition(&folded) {
            return Err(Invalid::new("is too common: others would guess it"));
        }
        Ok(Self(folded))
    }

    /// Rule 14: the customer number and the contact's own name are no passwords.
    ///
    /// # Errors
    /// [`Invalid`] with which of them it is.
    pub fn judge_for(
        &self,
        number: &CustomerNumber,
        display_name: &str,
    ) -> std::result::Result<(), Invalid> {
        let refuse = |why: &str| Err(Invalid::new(why));
        let said = bare(&self.0);
        if said == bare(&fold(number.as_str())) {
            return refuse("must not be the customer number");
        }
        let words: Vec<_> = display_name
            .split(|c: char| !c.is_alphanumeric())
            .map(fold)
            .filter(|word| !word.is_empty())
            .collect();
        // A digit before or behind it makes it no secret.
        let said = said.trim_matches(|c: char| c.is_ascii_digit());
        if !said.is_empty() && is_made_of(said, &words) {
            return refuse("must not be the contact's own name");
        }
        Ok(())
    }

    /// The folded text, to be hashed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Rule 14: three words, made of `random`; about 39 bits.
pub fn generate(random: [u32; GENERATED_WORDS]) -> String {
    let count = WORDS.len().max(1);
    let words = random.map(|number| {
        let index = usize::try_from(number).unwrap_or_default() % count;
        WORDS.get(index).copied().unwrap_or_default()
    });
    words.join(" ")
}

/// Rule 14: what sounds the same becomes the same text. Folding what is folded changes
/// nothing.
pub fn fold(text: &str) -> String {
    let mut folded = fold_once(text);
    // What one step takes away can bring together what the next one folds.
    loop {
        let again = fold_once(&folded);
        if again == folded {
            return folded;
        }
        folded = again;
    }
}

fn fold_once(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    let folded = caseless::default_case_fold_str(&composed);
    let mut result = String::with_capacity(folded.len());
    for c in folded.nfc().filter(|c| !is_silent(*c)) {
        match c {
            'ä' => result.push_str("ae"),
            'ö' => result.push_str("oe"),
            'ü' => result.push_str("ue"),
            'ß' => result.push_str("ss"),
            // Of the four letters i of Turkish, capitals leave two that nobody hears.
            'ı' => result.push('i'),
            _ => result.push(c),
        }
    }
    result.nfkc().collect()
}

/// Whether it is nothing but some of these words, in whatever order.
fn is_made_of(said: &str, words: &[String]) -> bool {
    // Where a row of words can end. A search that goes back would take for ever for a
    // name of many alike.
    let mut ends = vec![said];
    let mut seen = HashSet::new();
    while let Some(rest) = ends.pop() {
        if rest.is_empty() {
            return true;
        }
        if seen.insert(rest.len()) {
            ends.extend(
                words
                    .iter()
                    .filter_map(|word| rest.strip_prefix(word.as_str())),
            );
        }
    }
    false
}

/// What is heard of it: nobody says a comma.
fn bare(folded: &str) -> String {
    folded.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Blanks, hyphens, what is not printed, and the dot that a Turkish capital leaves.
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

/// One or two characters over and over, or a run such as 234567.
fn is_repetition(folded: &str) -> bool {
    let chars: Vec<char> = folded.chars().collect();
    let is_pair = chars
        .iter()
        .zip(chars.iter().skip(2))
        .all(|(one, other)| one == other);
    let steps = || {
        chars
            .iter()
            .zip(chars.iter().skip(1))
            .map(|(one, next)| i64::from(u32::from(*next)) - i64::from(u32::from(*one)))
    };
    is_pair || steps().all(|step| step == 1) || steps().all(|step| step == -1)
}

/// The phone password of a contact, as it is shown (never itself).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhonePasswordState {
    /// When it was set; `None`: none is set.
    pub set_time: Option<DateTime<Utc>>,
    /// Until when no try is checked; `None`: not locked.
    pub locked_until: Option<DateTime<Utc>>,
    /// Whether it has to be set anew.
    pub is_void: bool,
}

#[cfg(test)]
mod tests;
