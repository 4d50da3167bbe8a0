//! Validation of stored texts: length and forbidden characters.

use crate::error::Violation;

/// Validates a text of one line and trims it: 1 to `max_chars` characters, without control
/// characters, line separators, invisible characters or bidirectional overrides.
///
/// # Errors
/// [`Violation`] if the text is empty, too long or contains such a character.
pub fn single_line(text: &str, max_chars: usize) -> Result<String, Violation> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Violation::Required);
    }
    check_length(text, max_chars)?;
    if text.chars().any(|c| is_unprintable(c) || is_invisible(c)) {
        return Err(Violation::NotASingleLine);
    }
    Ok(text.to_owned())
}

/// Validates a text of one line like [`single_line`], and accepts an empty one.
///
/// # Errors
/// [`Violation`] if the text is too long or contains a character that is not allowed.
pub fn optional_line(text: &str, max_chars: usize) -> Result<String, Violation> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    single_line(text, max_chars)
}

/// Validates a text that may be empty and may contain line breaks and tabs.
///
/// # Errors
/// [`Violation`] if the text has more than `max_chars` characters, or other control characters.
pub fn free_text(text: &str, max_chars: usize) -> Result<String, Violation> {
    check_length(text, max_chars)?;
    let allowed = |c: char| matches!(c, '\n' | '\r' | '\t');
    if text.chars().any(|c| is_unprintable(c) && !allowed(c)) {
        return Err(Violation::ControlCharacters);
    }
    Ok(text.to_owned())
}

fn check_length(text: &str, max_chars: usize) -> Result<(), Violation> {
    if text.chars().nth(max_chars).is_some() {
        return Err(Violation::TooLong { max: max_chars });
    }
    Ok(())
}

/// Returns true for control characters (PostgreSQL rejects NUL), line and paragraph separators, and
/// characters that change the direction of text, which can make a name read as another one.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for characters that make a name look empty or like another one. Joiners (U+200C,
/// U+200D) are allowed, as some scripts need them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
    ) || matches!(
        c,
        '\u{2060}'..='\u{2064}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_line_trims_and_counts_characters_not_bytes() {
        assert_eq!(single_line("  Jürgen Groß ", 11).unwrap(), "Jürgen Groß");
        assert!(single_line("Jürgen Groß", 10).is_err());
    }

    #[test]
    fn single_line_rejects_breaks_and_invisible_characters() {
        for invalid in [
            "",
            "   ",
            "a\0b",
            "a\nb",
            "a\rb",
            "a\u{2028}b",
            "a\u{202E}b",
            "a\u{85}b",
            "\u{3164}",
            "a\u{200B}b",
        ] {
            assert!(single_line(invalid, 100).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn free_text_keeps_line_breaks_and_rejects_nul() {
        assert_eq!(free_text("a\r\n\tb", 10).unwrap(), "a\r\n\tb");
        assert_eq!(free_text("", 10).unwrap(), "");
        assert!(free_text("a\0", 10).is_err());
        assert!(free_text("12345678901", 10).is_err());
    }
}
