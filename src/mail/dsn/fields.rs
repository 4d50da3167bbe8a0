//! Fields in the form of headers (RFC 5322, 2.2): delivery reports, feedback reports, and the headers
//! of returned messages.
//!
//! Written by hand, because these texts are often broken: `mail-parser` skips over lines that are no
//! field and over repeated blank lines, which separate recipients here.

/// A field with its unfolded value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) value: String,
}

impl Field<'_> {
    /// Returns true if the field has this name, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A field, or a line that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Field(Field<'a>),
    Blank,
    Other,
}

/// Iterates over the fields of a text, without an allocation per line that is none.
pub(super) fn items(text: &str) -> impl Iterator<Item = Item<'_>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        if line.trim().is_empty() {
            return Some(Item::Blank);
        }
        let Some((name, value)) = split(line) else {
            return Some(Item::Other);
        };
        let mut value = value.trim().to_owned();
        while let Some(line) = lines.next_if(|line| is_continuation(line)) {
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(line.trim());
        }
        Some(Item::Field(Field { name, value }))
    })
}

/// Returns the fields up to the first blank line.
pub(super) fn header(text: &str) -> impl Iterator<Item = Field<'_>> {
    let items = items(text.trim_start()).take_while(|item| *item != Item::Blank);
    items.filter_map(|item| match item {
        Item::Field(field) => Some(field),
        Item::Blank | Item::Other => None,
    })
}

/// Returns the text without comments in parentheses (RFC 5322, 3.2.2), which can be nested.
pub(super) fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let kept = text.chars().filter(|c| {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => {
                depth -= 1;
                return false;
            }
            _ => {}
        }
        depth == 0
    });
    kept.collect::<String>().trim().to_owned()
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    // Some servers write a space before the colon.
    let name = name.trim_end_matches([' ', '\t']);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then_some((name, value))
}

fn is_continuation(line: &str) -> bool {
    line.starts_with([' ', '\t']) && !line.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: &str) -> Item<'static> {
        let value = value.to_owned();
        Item::Field(Field { name, value })
    }

    #[test]
    fn folded_value_becomes_one_line() {
        let text = "Diagnostic-Code: smtp;\r\n 550 5.1.1\r\n\tunknown\r\n\r\nAction : failed\r\n";
        let expected = [
            field("Diagnostic-Code", "smtp; 550 5.1.1 unknown"),
            Item::Blank,
            field("Action", "failed"),
        ];
        assert_eq!(items(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn value_may_begin_on_the_second_line() {
        let fields = items("Final-Recipient:\n rfc822; a@example.com");
        let expected = [field("Final-Recipient", "rfc822; a@example.com")];
        assert_eq!(fields.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn line_without_name_is_no_field() {
        for line in [
            "hello",
            ": value",
            "two words: value",
            "  Folded: first",
            "ä: b",
        ] {
            assert_eq!(items(line).collect::<Vec<_>>(), [Item::Other], "{line:?}");
        }
    }

    #[test]
    fn header_ends_at_the_first_blank_line() {
        let names: Vec<_> = header("\r\n\nA: 1\nmbox line\nB: 2\n \nC: 3")
            .map(|f| f.name)
            .collect();
        assert_eq!(names, ["A", "B"]);
    }

    #[test]
    fn comments_are_removed_even_if_unbalanced() {
        for (text, expected) in [
            ("failed (bad (very) mailbox)", "failed"),
            ("(x) 5.1.1", "5.1.1"),
            ("5.1.1 (open", "5.1.1"),
            ("5.1.1 ) (", "5.1.1 )"),
            ("", ""),
        ] {
            assert_eq!(without_comments(text), expected, "{text:?}");
        }
    }
}
