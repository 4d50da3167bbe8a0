//! The texts of errors and violations for people, from the catalogues of [`localization`].

use std::{collections::HashMap, time::Duration};

use crate::{
    error::Violation,
    localization::{self, Arguments, Language},
};

const MINUTE_SECONDS: u64 = 60;
/// Up to this many minutes, a waiting time is given in minutes; beyond, in hours.
const MAX_MINUTES: u64 = 120;

/// Returns the text of an error, which may name what is in its `ErrorInfo`.
pub(super) fn of_error(
    reason: &str,
    metadata: &HashMap<String, String>,
    retry_delay: Option<Duration>,
    language: Language,
) -> String {
    let mut arguments = Arguments::new();
    for (name, value) in metadata {
        match value.parse::<u64>() {
            Ok(number) => arguments.set(name.as_str(), number),
            Err(_) => arguments.set(name.as_str(), value.as_str()),
        }
    }
    if let Some(delay) = retry_delay {
        let (unit, count) = waiting_time(delay);
        arguments.set("unit", unit);
        arguments.set("count", count);
    }
    localization::text(language, &text_id(reason), &arguments)
}

fn text_id(reason: &str) -> String {
    reason.to_ascii_lowercase().replace('_', "-")
}

/// Returns the text of a violation.
pub(super) fn of_violation(violation: Violation, language: Language) -> String {
    let mut arguments = Arguments::new();
    for (name, limit) in violation.limits() {
        arguments.set(name, limit);
    }
    localization::text(language, violation.text_id(), &arguments)
}

/// Rounds up, so that a person who waits this long does not retry too early.
fn waiting_time(delay: Duration) -> (&'static str, u64) {
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    let minutes = seconds.div_ceil(MINUTE_SECONDS).max(1);
    if minutes > MAX_MINUTES {
        ("hours", minutes.div_ceil(60))
    } else {
        ("minutes", minutes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;
    use crate::{
        api::status::{localized, reason},
        error::{Error, samples},
    };

    const CATALOGUES: [&str; 2] = [
        include_str!("../localization/de.ftl"),
        include_str!("../localization/en.ftl"),
    ];
    const MAX_CHARS: usize = 200;

    fn assert_fit(what: &str, [german, english]: [String; 2]) {
        assert_ne!(german, english, "{what}");
        for text in [german, english] {
            assert!(text.ends_with(['.', '?']), "{what}: {text:?}");
            assert!(text.chars().count() <= MAX_CHARS, "{what}: {text}");
            // Placeholders, and the isolation marks around values.
            let is_technical = |c| matches!(c, '{' | '}' | '$' | '\u{2068}' | '\u{2069}');
            assert!(!text.contains(is_technical), "{what}: {text}");
        }
    }

    fn both(text: impl Fn(Language) -> String) -> [String; 2] {
        [Language::German, Language::English].map(text)
    }

    #[test]
    fn every_error_has_a_text_in_each_language() {
        for error in samples::errors() {
            let texts = both(|language| localized(&error, language));
            assert_fit(&format!("{error:?}"), texts);
        }
    }

    #[test]
    fn every_violation_has_a_text_in_each_language() {
        for violation in samples::violations() {
            let texts = both(|language| of_violation(violation, language));
            assert_fit(&format!("{violation:?}"), texts);
        }
    }

    #[test]
    fn catalogues_have_the_texts_of_errors_and_violations_only() {
        let errors = samples::errors();
        let errors = errors.iter().map(|error| text_id(reason(error)));
        let violations = samples::violations();
        let violations = violations.iter().map(|violation| violation.text_id());
        let mut used: BTreeSet<_> = errors.chain(violations.map(str::to_owned)).collect();
        used.insert("wait".to_owned());
        for catalogue in CATALOGUES {
            let lines = catalogue.lines().filter(|line| !line.starts_with('#'));
            let ids = lines.filter_map(|line| line.split_once(" ="));
            let ids = ids.filter(|(id, _)| !id.starts_with(' '));
            let ids: BTreeSet<_> = ids.map(|(id, _)| id.to_owned()).collect();
            assert_eq!(ids, used);
        }
    }

    #[rstest]
    #[case(0, "in einer Minute", "in one minute")]
    #[case(60, "in einer Minute", "in one minute")]
    #[case(61, "in 2 Minuten", "in 2 minutes")]
    #[case(7_200, "in 120 Minuten", "in 120 minutes")]
    #[case(7_201, "in 3 Stunden", "in 3 hours")]
    #[case(3_600_000, "in 1.000 Stunden", "in 1,000 hours")]
    fn waiting_times_are_rounded_up_and_written_out(
        #[case] seconds: u64,
        #[case] german: &str,
        #[case] english: &str,
    ) {
        let retry_after = Duration::from_secs(seconds);
        let texts = both(|language| localized(&Error::AgentBlocked { retry_after }, language));
        assert!(texts[0].contains(german), "{texts:?}");
        assert!(texts[1].contains(english), "{texts:?}");
    }

    #[test]
    fn limits_are_in_the_texts() {
        let [german, english] = both(|language| {
            let violation = Violation::TooLong { max: 1_000 };
            of_violation(violation, language)
        });
        assert_eq!(german, "Bitte geben Sie höchstens 1.000 Zeichen ein.");
        assert_eq!(english, "Please enter at most 1,000 characters.");
        let texts = both(|language| localized(&Error::ContactLimit { limit: 1 }, language));
        assert!(texts[0].contains("höchstens ein Ansprechpartner"));
        assert!(texts[1].contains("Only one contact"));
    }
}
