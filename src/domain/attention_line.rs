//! The attention line of an invoice (rule 23): `z.Hd. Anna Schmidt, Bernd Maier`.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_segmentation::UnicodeSegmentation;

/// The default maximum length, in characters.
pub const DEFAULT_ROOM_CHARS: usize = 70;
/// The smallest maximum length: the prefix, one character and the ellipsis.
pub const MIN_ROOM_CHARS: usize = 8;
const PREFIX: &str = "z.Hd. ";
const SEPARATOR: &str = ", ";
/// The separator if a name contains a comma; as long as [`SEPARATOR`].
const SEPARATOR_OF_NAMES_WITH_COMMAS: &str = "; ";
const ELLIPSIS: char = '…';

/// A composed attention line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttentionLine {
    /// The line with its prefix, up to the maximum length; empty without names.
    pub text: String,
    /// The names that did not fit, in input order.
    pub omitted_names: Vec<String>,
}

/// Composes a line of at most `max_chars` characters (Unicode scalar values, prefix included).
///
/// A leading `z.Hd.` of a name is dropped. Names that are equal after trimming, in NFC, appear
/// once. A name that does not fit is omitted as a whole, and a later, shorter one may still
/// follow. Only a first name that does not fit alone is truncated, at a grapheme cluster boundary,
/// and ends in an ellipsis.
pub fn compose<'a>(names: impl IntoIterator<Item = &'a str>, max_chars: usize) -> AttentionLine {
    let mut fitting: Vec<Cow<'_, str>> = Vec::new();
    let mut omitted_names = Vec::new();
    let mut used_chars = PREFIX.len();
    for name in distinct(names) {
        let name_chars = name.chars().count();
        if fitting.is_empty() {
            let max_name_chars = max_chars.saturating_sub(PREFIX.len());
            let name = if name_chars <= max_name_chars {
                Cow::Borrowed(name)
            } else {
                Cow::Owned(truncate(name, max_name_chars))
            };
            used_chars += name.chars().count();
            fitting.push(name);
        } else if used_chars + SEPARATOR.len() + name_chars <= max_chars {
            used_chars += SEPARATOR.len() + name_chars;
            fitting.push(Cow::Borrowed(name));
        } else {
            omitted_names.push(name.to_owned());
        }
    }
    if fitting.is_empty() {
        return AttentionLine::default();
    }
    let separator = if fitting.iter().any(|name| name.contains(',')) {
        SEPARATOR_OF_NAMES_WITH_COMMAS
    } else {
        SEPARATOR
    };
    AttentionLine {
        text: format!("{PREFIX}{}", fitting.join(separator)),
        omitted_names,
    }
}

/// Returns the distinct names without their prefixes, in input order.
fn distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let (mut distinct, mut seen) = (Vec::new(), Vec::new());
    for name in names {
        let name = without_prefix(name);
        let normal = if is_nfc(name) {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(name.nfc().collect())
        };
        if !name.is_empty() && !seen.contains(&normal) {
            distinct.push(name);
            seen.push(normal);
        }
    }
    distinct
}

/// Strips all leading prefixes from a name, in the spellings of [`prefix_len`].
fn without_prefix(name: &str) -> &str {
    let mut name = name.trim();
    while let Some(prefix) = prefix_len(name) {
        let rest = name.get(prefix..).unwrap_or_default();
        name = rest.trim_start_matches(|c: char| c == ':' || c.is_whitespace());
    }
    name
}

/// Returns the length in bytes of a leading `z.Hd.`: in any case, with or without spaces and dots,
/// also as `z.Hdn.`, and as `z.H.` with both dots. `Z. H.` in upper case are a person's initials.
fn prefix_len(name: &str) -> Option<usize> {
    let rest = name.strip_prefix(['z', 'Z'])?;
    let (rest, has_dot) = match rest.trim_start().strip_prefix('.') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.trim_start();
    let initials = name.starts_with('Z') && rest.starts_with('H');
    let rest = rest.strip_prefix(['h', 'H'])?;
    let end = |rest: &str| Some(name.len() - rest.len());
    let Some(rest) = rest.strip_prefix(['d', 'D']) else {
        let rest = rest.strip_prefix('.').filter(|_| has_dot && !initials)?;
        return end(rest);
    };
    let rest = rest.strip_prefix(['n', 'N']).unwrap_or(rest);
    match rest.chars().next() {
        Some('.') => end(rest.strip_prefix('.')?),
        Some(next) if next != ':' && !next.is_whitespace() => None,
        Some(_) | None => end(rest),
    }
}

/// Truncates `name` so that it fits together with the ellipsis.
fn truncate(name: &str, max_chars: usize) -> String {
    let mut left = max_chars.saturating_sub(1);
    let mut text = String::new();
    for cluster in name.graphemes(true) {
        let Some(rest) = left.checked_sub(cluster.chars().count()) else {
            break;
        };
        left = rest;
        text.push_str(cluster);
    }
    text.truncate(text.trim_end().len());
    text.push(ELLIPSIS);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn line(names: &[&str], max: usize) -> (String, Vec<String>) {
        let line = compose(names.iter().copied(), max);
        (line.text, line.omitted_names)
    }

    #[test]
    fn rule_23_names_are_added_while_they_fit() {
        let names = ["Anna Schmidt", "Bernd Maier"];
        let whole = "z.Hd. Anna Schmidt, Bernd Maier";
        assert_eq!(line(&names, 70), (whole.into(), vec![]));
        assert_eq!(line(&names, whole.len()), (whole.into(), vec![]));
        assert_eq!(
            line(&names, whole.len() - 1),
            ("z.Hd. Anna Schmidt".into(), vec!["Bernd Maier".into()])
        );
    }

    #[test]
    fn rule_23_shorter_name_may_follow_an_omitted_one() {
        let names = ["Anna", "Buchhaltung der Muster GmbH", "Bernd"];
        assert_eq!(
            line(&names, 20),
            (
                "z.Hd. Anna, Bernd".into(),
                vec!["Buchhaltung der Muster GmbH".into()]
            )
        );
    }

    #[test]
    fn rule_23_too_long_first_name_is_truncated() {
        assert_eq!(
            line(&["Anna Schmidt"], 18),
            ("z.Hd. Anna Schmidt".into(), vec![])
        );
        assert_eq!(
            line(&["Anna Schmidt"], 17),
            ("z.Hd. Anna Schmi…".into(), vec![])
        );
        assert_eq!(line(&["Anna Schmidt"], 12), ("z.Hd. Anna…".into(), vec![]));
        assert_eq!(
            line(&["Anna", "B"], MIN_ROOM_CHARS),
            ("z.Hd. A…".into(), vec!["B".into()])
        );
    }

    #[rstest]
    #[case::equal_after_trimming(&["Anna", " Anna "], "z.Hd. Anna")]
    #[case::equal_in_nfc(&["Müller", "Mu\u{308}ller"], "z.Hd. Müller")]
    #[case::equal_without_prefix(&["z.Hd. Anna", "Anna"], "z.Hd. Anna")]
    #[case::not_adjacent(&["Anna", "Bernd", "Anna"], "z.Hd. Anna, Bernd")]
    #[case::case_counts(&["Anna", "ANNA"], "z.Hd. Anna, ANNA")]
    #[case::comma(&["Maier, Bernd", "Anna"], "z.Hd. Maier, Bernd; Anna")]
    #[case::comma_later(&["Anna", "Bernd", "Muster GmbH, Einkauf"], "z.Hd. Anna; Bernd; Muster GmbH, Einkauf")]
    #[case::comma_alone(&["Maier, Bernd"], "z.Hd. Maier, Bernd")]
    #[case::prefix_only(&["z.Hd.", "Anna"], "z.Hd. Anna")]
    fn rule_23_names_appear_once(#[case] names: &[&str], #[case] expected: &str) {
        assert_eq!(line(names, 70), (expected.into(), vec![]));
    }

    #[test]
    fn rule_23_omitted_name_keeps_the_separator() {
        assert_eq!(
            line(&["Anna", "Muster GmbH, Einkauf", "Bernd"], 20),
            (
                "z.Hd. Anna, Bernd".into(),
                vec!["Muster GmbH, Einkauf".into()]
            )
        );
    }

    #[rstest]
    fn rule_23_leading_prefix_is_dropped(
        #[values(
            "z.Hd. ",
            "z.Hd.",
            "z. Hd. ",
            "z. Hd.",
            "Z.HD. ",
            "z.hd.",
            "z.H. ",
            "z. H. ",
            "z.h.",
            "Z.h.",
            "zHd. ",
            "ZHD ",
            "z.Hd ",
            "z . Hd. ",
            "z.\u{a0}Hd.\u{a0}",
            "z.Hd.: ",
            "z.Hdn. ",
            "z.Hd. z.Hd. "
        )]
        prefix: &str,
    ) {
        assert_eq!(line(&[&format!("{prefix}Anna")], 70).0, "z.Hd. Anna");
    }

    #[rstest]
    fn rule_23_name_that_resembles_a_prefix_is_kept(
        #[values(
            "Zhang Wei",
            "Z. Hdez",
            "Zh. Iwanow",
            "Z. H. Berg",
            "Z.H. Berg",
            "Zhdan",
            "z",
            "z."
        )]
        name: &str,
    ) {
        assert_eq!(line(&[name], 70).0, format!("z.Hd. {name}"));
    }

    #[test]
    fn line_without_names_is_empty() {
        assert_eq!(line(&[], 70), (String::new(), vec![]));
    }

    #[test]
    fn truncation_keeps_grapheme_clusters() {
        // "e" with a combining acute accent, twice.
        assert_eq!(line(&["e\u{301}e\u{301}x"], 10).0, "z.Hd. e\u{301}…");
    }

    proptest! {
        #[test]
        fn line_fits_and_every_name_is_in_it_or_omitted(
            names in proptest::collection::vec("\\PC{1,20}", 0..6),
            max in MIN_ROOM_CHARS..100,
        ) {
            let composed = compose(names.iter().map(String::as_str), max);
            prop_assert!(composed.text.chars().count() <= max);
            for name in distinct(names.iter().map(String::as_str)).into_iter().skip(1) {
                prop_assert!(composed.omitted_names.iter().any(|omitted| omitted == name) || composed.text.contains(name));
            }
        }
    }
}
