//! The attention line of an invoice (rule 23): `z.Hd. Anna Schmidt, Bernd Maier`.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_segmentation::UnicodeSegmentation;

/// The room when the caller names none, in characters.
pub const DEFAULT_ROOM_CHARS: usize = 70;
/// The least room: the prefix, one character and the ellipsis.
pub const MIN_ROOM_CHARS: usize = 8;
const PREFIX: &str = "z.Hd. ";
const SEPARATOR: &str = ", ";
/// Between names of which one contains a comma; as long as [`SEPARATOR`].
const SEPARATOR_OF_NAMES_WITH_COMMAS: &str = "; ";
const ELLIPSIS: char = '…';

/// A composed line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttentionLine {
    /// The line with its prefix, at most as long as the room; empty without names.
    pub text: String,
    /// The names that did not fit, in the order given.
    pub names_left_out: Vec<String>,
}

/// Puts the names into a line of at most `room_chars` characters (Unicode scalar
/// values, prefix included).
///
/// A name that begins with `z.Hd.` itself is used without it. Names are equal if they are so
/// after trimming, in NFC; the first of them is used. A name that does not fit is left out whole,
/// and a later, shorter one may still follow. Only a first name that does not fit alone is cut,
/// never inside what a reader sees as one character, and ends in an ellipsis.
pub fn compose<'a>(names: impl IntoIterator<Item = &'a str>, room_chars: usize) -> AttentionLine {
    let mut fitting: Vec<Cow<'_, str>> = Vec::new();
    let mut names_left_out = Vec::new();
    let mut used_chars = PREFIX.len();
    for name in distinct(names) {
        let name_chars = name.chars().count();
        if fitting.is_empty() {
            let room_for_name = room_chars.saturating_sub(PREFIX.len());
            let name = if name_chars <= room_for_name {
                Cow::Borrowed(name)
            } else {
                Cow::Owned(cut(name, room_for_name))
            };
            used_chars += name.chars().count();
            fitting.push(name);
        } else if used_chars + SEPARATOR.len() + name_chars <= room_chars {
            used_chars += SEPARATOR.len() + name_chars;
            fitting.push(Cow::Borrowed(name));
        } else {
            names_left_out.push(name.to_owned());
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
        names_left_out,
    }
}

/// The names without a prefix of their own, each once, in the order given.
fn distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let (mut distinct, mut known) = (Vec::new(), Vec::new());
    for name in names {
        let name = without_prefix(name);
        let normal = if is_nfc(name) {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(name.nfc().collect())
        };
        if !name.is_empty() && !known.contains(&normal) {
            distinct.push(name);
            known.push(normal);
        }
    }
    distinct
}

/// A name without what stands for "to the attention of" at its beginning, in the spellings of
/// [`prefix_of`], however often.
fn without_prefix(name: &str) -> &str {
    let mut name = name.trim();
    while let Some(prefix) = prefix_of(name) {
        let rest = name.get(prefix..).unwrap_or_default();
        name = rest.trim_start_matches(|c: char| c == ':' || c.is_whitespace());
    }
    name
}

/// The length in bytes of a leading `z.Hd.`: in any case, with or without blanks and either dot,
/// also as `z.Hdn.`, and `z.H.` with both dots. `Z. H.` in capitals is a person's initials.
fn prefix_of(name: &str) -> Option<usize> {
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

/// The longest beginning of `name` that has room together with the ellipsis.
fn cut(name: &str, room_chars: usize) -> String {
    let mut left = room_chars.saturating_sub(1);
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

    fn line(names: &[&str], room: usize) -> (String, Vec<String>) {
        let line = compose(names.iter().copied(), room);
        (line.text, line.names_left_out)
    }

    #[test]
    fn rule_23_names_follow_one_another_as_long_as_there_is_room() {
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
    fn rule_23_a_name_that_does_not_fit_is_left_out_whole_and_a_shorter_one_may_follow() {
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
    fn rule_23_a_first_name_that_alone_does_not_fit_is_cut_with_an_ellipsis() {
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
    #[case::not_next_to_one_another(&["Anna", "Bernd", "Anna"], "z.Hd. Anna, Bernd")]
    #[case::case_counts(&["Anna", "ANNA"], "z.Hd. Anna, ANNA")]
    #[case::comma(&["Maier, Bernd", "Anna"], "z.Hd. Maier, Bernd; Anna")]
    #[case::comma_later(&["Anna", "Bernd", "Muster GmbH, Einkauf"], "z.Hd. Anna; Bernd; Muster GmbH, Einkauf")]
    #[case::comma_alone(&["Maier, Bernd"], "z.Hd. Maier, Bernd")]
    #[case::only_a_prefix(&["z.Hd.", "Anna"], "z.Hd. Anna")]
    fn rule_23_names_appear_once(#[case] names: &[&str], #[case] expected: &str) {
        assert_eq!(line(names, 70), (expected.into(), vec![]));
    }

    #[test]
    fn rule_23_an_omitted_name_with_a_comma_changes_nothing() {
        assert_eq!(
            line(&["Anna", "Muster GmbH, Einkauf", "Bernd"], 20),
            (
                "z.Hd. Anna, Bernd".into(),
                vec!["Muster GmbH, Einkauf".into()]
            )
        );
    }

    #[rstest]
    fn rule_23_a_leading_prefix_is_dropped(
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
    fn rule_23_a_name_that_only_resembles_a_prefix_is_kept(
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
    fn no_names_no_line() {
        assert_eq!(line(&[], 70), (String::new(), vec![]));
    }

    #[test]
    fn a_cut_does_not_split_what_is_read_as_one_character() {
        // "e" with a combining acute accent, twice.
        assert_eq!(line(&["e\u{301}e\u{301}x"], 10).0, "z.Hd. e\u{301}…");
    }

    proptest! {
        #[test]
        fn the_line_never_exceeds_the_room_and_no_name_is_lost(
            names in proptest::collection::vec("\\PC{1,20}", 0..6),
            room in MIN_ROOM_CHARS..100,
        ) {
            let composed = compose(names.iter().map(String::as_str), room);
            prop_assert!(composed.text.chars().count() <= room);
            for name in distinct(names.iter().map(String::as_str)).into_iter().skip(1) {
                prop_assert!(composed.names_left_out.iter().any(|left| left == name) || composed.text.contains(name));
            }
        }
    }
}
