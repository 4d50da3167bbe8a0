//! The attention line of an invoice (rule 23): `z.Hd. Anna Schmidt, Bernd Maier`.

use unicode_segmentation::UnicodeSegmentation;

/// The room when the caller names none, in characters.
pub const DEFAULT_ROOM_CHARS: usize = 70;
/// The least room: the prefix, one character and the ellipsis.
pub const MIN_ROOM_CHARS: usize = 8;
const PREFIX: &str = "z.Hd. ";
const SEPARATOR: &str = ", ";
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
/// A name that does not fit is left out whole, and a later, shorter one may still
/// follow. Only a first name that does not fit alone is cut, never inside what a
/// reader sees as one character, and ends in an ellipsis.
pub fn compose<'a>(names: impl IntoIterator<Item = &'a str>, room_chars: usize) -> AttentionLine {
    let mut line = AttentionLine::default();
    let mut used_chars = PREFIX.len();
    for name in names {
        let name_chars = name.chars().count();
        if line.text.is_empty() {
            let room_for_name = room_chars.saturating_sub(PREFIX.len());
            let fitting = if name_chars <= room_for_name {
                name.to_owned()
            } else {
                cut(name, room_for_name)
            };
            used_chars += fitting.chars().count();
            line.text = format!("{PREFIX}{fitting}");
        } else if used_chars + SEPARATOR.len() + name_chars <= room_chars {
            used_chars += SEPARATOR.len() + name_chars;
            line.text.push_str(SEPARATOR);
            line.text.push_str(name);
        } else {
            line.names_left_out.push(name.to_owned());
        }
    }
    line
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
            for name in names.iter().skip(1) {
                prop_assert!(composed.names_left_out.contains(name) || composed.text.contains(name.as_str()));
            }
        }
    }
}
