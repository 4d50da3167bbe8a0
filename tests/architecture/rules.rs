//! The rules of the domain: `docs/reference/domain-rules.md` lists each with the functions that enforce
//! it, and code and tests cite its number.

use std::collections::{BTreeMap, BTreeSet};

/// A rule of the page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The files and functions that enforce it.
    pub(crate) enforced_by: Vec<(String, String)>,
    pub(crate) has_statement: bool,
    pub(crate) has_source: bool,
}

/// Reads the sections `## Rule N` of the page.
pub(crate) fn read_rules(page: &str) -> BTreeMap<u32, Rule> {
    let mut rules: BTreeMap<u32, Rule> = BTreeMap::new();
    let mut current = None;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            current = heading.strip_prefix("Rule ").map(|n| n.parse().unwrap());
            if let Some(number) = current {
                assert!(!rules.contains_key(&number), "rule {number} is there twice");
                rules.insert(number, Rule::default());
            }
            continue;
        }
        let Some(rule) = current.and_then(|number| rules.get_mut(&number)) else {
            continue;
        };
        let cells: Vec<_> = line.split('`').collect();
        match cells[..] {
            ["| ", file, " | ", function, " |"] => {
                rule.enforced_by
                    .push((file.to_owned(), function.to_owned()));
            }
            _ if line.starts_with("Source: ") => rule.has_source = true,
            _ => rule.has_statement |= !line.is_empty() && !line.starts_with('|'),
        }
    }
    rules
}

/// The numbers that a text cites, such as `rule 16`, `Rules 7, 8 and 10` or `rules 13 to 17`.
pub(crate) fn cited_rules(text: &str) -> BTreeSet<u32> {
    // A citation may be wrapped in the middle of a comment.
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || "/()`\"".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    let mut cited = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        if !matches!(*word, "rule" | "Rule" | "rules" | "Rules") {
            continue;
        }
        let mut is_range = false;
        let mut last: Option<u32> = None;
        for word in words.iter().skip(index + 1) {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse::<u32>() {
                let first: u32 = last.filter(|_| is_range).unwrap_or(number);
                cited.extend(first..=number);
                (last, is_range) = (Some(number), false);
                let ends = word.strip_prefix(&digits).unwrap();
                if !ends.is_empty() && ends != "," {
                    break;
                }
            } else if last.is_some() && *word == "to" {
                is_range = true;
            } else if last.is_none() || *word != "and" {
                break;
            }
        }
    }
    cited
}
