//! Display names, composed of the parts that other systems keep.

/// The parts of a person's name; empty ones are not given.
#[derive(Clone, Copy, Default)]
pub(super) struct NameParts<'n> {
    pub(super) salutation: &'n str,
    pub(super) title: &'n str,
    pub(super) given: &'n str,
    /// Further given names.
    pub(super) additional: &'n str,
    pub(super) family: &'n str,
    /// Text after the name, such as `jun.`
    pub(super) suffix: &'n str,
}

/// Salutations as they precede a family name. Others, such as `Firma`, are about no person.
const SALUTATIONS: &[(&str, &str)] = &[
    ("herr", "Herr"),
    ("herrn", "Herr"),
    ("hr", "Herr"),
    ("frau", "Frau"),
    ("fr", "Frau"),
    ("familie", "Familie"),
    ("mr", "Mr"),
    ("mrs", "Mrs"),
    ("ms", "Ms"),
    ("miss", "Miss"),
];

/// Composes a display name: `Dr. Anna Groß`, or `Frau Dr. Groß` without a given name.
pub(super) fn compose(parts: &NameParts<'_>) -> String {
    // vCards have no property for the salutation: some programs put it before the title.
    let (found, title) = split_salutation(parts.title);
    let salutation = split_salutation(parts.salutation).0.or(found);
    let is_needed = parts.given.is_empty() && !parts.family.is_empty();
    let salutation = salutation.filter(|_| is_needed).unwrap_or_default();
    let in_order = [
        salutation,
        title,
        parts.given,
        parts.additional,
        parts.family,
        parts.suffix,
    ];
    let given: Vec<_> = in_order
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if parts.given.is_empty() && parts.family.is_empty() && parts.additional.is_empty() {
        return String::new();
    }
    given.join(" ")
}

/// A salutation at the beginning of a text, and the rest.
fn split_salutation(text: &str) -> (Option<&'static str>, &str) {
    let text = text.trim();
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let first = first.trim_end_matches('.').to_lowercase();
    let known = SALUTATIONS.iter().find(|(name, _)| *name == first);
    known.map_or((None, text), |(_, written)| (Some(*written), rest.trim()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(["Herr", "Dr.", "Hans", "Müller"], "Dr. Hans Müller")]
    #[case(["Frau", "Dr.", "", "Müller"], "Frau Dr. Müller")]
    #[case(["Herrn", "", "", "Müller"], "Herr Müller")]
    #[case(["", "Herr Dr.", "", "Müller"], "Herr Dr. Müller")]
    #[case(["", "Herr", "Hans", "Müller"], "Hans Müller")]
    #[case(["Firma", "", "", "Müller GmbH"], "Müller GmbH")]
    #[case(["Mr.", "", "Hans", ""], "Hans")]
    #[case(["Herr", "Dr.", "", ""], "")]
    fn a_name_is_composed_of_its_parts(#[case] parts: [&str; 4], #[case] name: &str) {
        let [salutation, title, given, family] = parts;
        let parts = NameParts {
            salutation,
            title,
            given,
            family,
            ..NameParts::default()
        };
        assert_eq!(compose(&parts), name);
    }
}
