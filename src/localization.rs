//! The languages of people, and one catalogue of texts per language.
//!
//! The catalogues are Fluent files, with plural forms and numbers as each language writes them.

mod language;

use std::sync::LazyLock;

pub use fluent_bundle::FluentArgs as Arguments;
use fluent_bundle::{FluentResource, FluentValue, concurrent::FluentBundle};

pub use self::language::Language;

type Catalogue = FluentBundle<FluentResource>;

static GERMAN: LazyLock<Catalogue> =
    LazyLock::new(|| catalogue(Language::German, include_str!("localization/de.ftl")));
static ENGLISH: LazyLock<Catalogue> =
    LazyLock::new(|| catalogue(Language::English, include_str!("localization/en.ftl")));

/// Returns a text in a language. It is empty if the catalogue lacks it, which a test rules out.
pub fn text(language: Language, id: &str, arguments: &Arguments<'_>) -> String {
    let catalogue = match language {
        Language::German => &*GERMAN,
        Language::English => &*ENGLISH,
    };
    let message = catalogue.get_message(id);
    let Some(pattern) = message.and_then(|message| message.value()) else {
        return String::new();
    };
    let mut errors = Vec::new();
    let text = catalogue.format_pattern(pattern, Some(arguments), &mut errors);
    text.into_owned()
}

fn catalogue(language: Language, source: &str) -> Catalogue {
    let locale = language.as_str().parse().into_iter().collect();
    let mut catalogue = FluentBundle::new_concurrent(locale);
    // Texts are shown as they are; isolation marks would be copied with them.
    catalogue.set_use_isolating(false);
    catalogue.set_formatter(Some(match language {
        Language::German => |value, _| grouped(value, '.'),
        Language::English => |value, _| grouped(value, ','),
    }));
    let parsed = FluentResource::try_new(source.to_owned());
    let resource = parsed.unwrap_or_else(|(resource, _)| resource);
    // Only an id that occurs twice can fail.
    let _ = catalogue.add_resource(resource);
    catalogue
}

/// Formats a whole number with a separator between thousands.
fn grouped(value: &FluentValue<'_>, separator: char) -> Option<String> {
    let FluentValue::Number(number) = value else {
        return None;
    };
    let digits = number.as_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(separator);
        }
        grouped.push(digit);
    }
    Some(grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_as_the_language_writes_them() {
        for (number, german, english) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1.000", "1,000"),
            (12_345, "12.345", "12,345"),
            (1_234_567, "1.234.567", "1,234,567"),
        ] {
            let number = FluentValue::from(number);
            assert_eq!(grouped(&number, '.').unwrap(), german);
            assert_eq!(grouped(&number, ',').unwrap(), english);
        }
    }

    #[test]
    fn catalogues_are_valid_fluent() {
        for source in [
            include_str!("localization/de.ftl"),
            include_str!("localization/en.ftl"),
        ] {
            let resource = FluentResource::try_new(source.to_owned());
            let resource = resource.map_err(|(_, errors)| errors).unwrap();
            let mut catalogue = Catalogue::new_concurrent(Vec::new());
            assert!(catalogue.add_resource(resource).is_ok());
        }
    }

    #[test]
    fn a_text_that_is_missing_is_empty() {
        assert_eq!(text(Language::German, "missing", &Arguments::new()), "");
    }
}
