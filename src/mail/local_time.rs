//! Times as people write them, with the name of their zone.

use chrono::{DateTime, Datelike, Offset, Utc};
use chrono_tz::Tz;

use crate::domain::contact::Locale;

const GERMAN_WEEKDAYS: [&str; 7] = [
    "Montag",
    "Dienstag",
    "Mittwoch",
    "Donnerstag",
    "Freitag",
    "Samstag",
    "Sonntag",
];
const GERMAN_MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];
/// German abbreviations of the European zones.
const GERMAN_ZONES: [(&str, &str); 6] = [
    ("CET", "MEZ"),
    ("CEST", "MESZ"),
    ("WET", "WEZ"),
    ("WEST", "WESZ"),
    ("EET", "OEZ"),
    ("EEST", "OESZ"),
];

/// Formats a time of `zone`: `Samstag, 5. Dezember 2026, 14:30 Uhr (MEZ)`, or
/// `Saturday, 5 December 2026, 14:30 (CET)`.
pub(super) fn spell_time(time: DateTime<Utc>, zone: Tz, locale: Locale) -> String {
    let time = time.with_timezone(&zone);
    let zone = zone_name(&time, locale);
    match locale {
        Locale::German => {
            let weekday = time.weekday().num_days_from_monday();
            let weekday = name_of(&GERMAN_WEEKDAYS, weekday);
            let month = name_of(&GERMAN_MONTHS, time.month0());
            let (day, year, clock) = (time.day(), time.year(), time.format("%H:%M"));
            format!("{weekday}, {day}. {month} {year}, {clock} Uhr ({zone})")
        }
        Locale::English => format!("{} ({zone})", time.format("%A, %-d %B %Y, %H:%M")),
    }
}

fn name_of<'a>(names: &[&'a str], index: u32) -> &'a str {
    let index = usize::try_from(index).ok();
    let name = index.and_then(|index| names.get(index));
    name.copied().unwrap_or_default()
}

/// Returns the abbreviation of the zone, or its offset as `GMT+5:30` where it has none.
fn zone_name(time: &DateTime<Tz>, locale: Locale) -> String {
    let abbreviation = time.format("%Z").to_string();
    if !abbreviation.starts_with(['+', '-']) {
        let mut german = GERMAN_ZONES.iter();
        return match german.find(|(name, _)| locale == Locale::German && *name == abbreviation) {
            Some((_, german)) => (*german).to_owned(),
            None => abbreviation,
        };
    }
    let minutes = time.offset().fix().local_minus_utc() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    if minutes == 0 {
        format!("GMT{sign}{hours}")
    } else {
        format!("GMT{sign}{hours}:{minutes:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_name_their_zone_in_winter_and_summer() {
        let (winter, summer) = ("2026-12-05T13:30:00Z", "2026-06-30T22:05:00Z");
        for (zone, time, german, english) in [
            (
                Tz::Europe__Berlin,
                winter,
                "Samstag, 5. Dezember 2026, 14:30 Uhr (MEZ)",
                "Saturday, 5 December 2026, 14:30 (CET)",
            ),
            (
                Tz::Europe__Berlin,
                summer,
                "Mittwoch, 1. Juli 2026, 00:05 Uhr (MESZ)",
                "Wednesday, 1 July 2026, 00:05 (CEST)",
            ),
            (
                Tz::America__New_York,
                winter,
                "Samstag, 5. Dezember 2026, 08:30 Uhr (EST)",
                "Saturday, 5 December 2026, 08:30 (EST)",
            ),
            (
                Tz::Europe__Istanbul,
                summer,
                "Mittwoch, 1. Juli 2026, 01:05 Uhr (GMT+3)",
                "Wednesday, 1 July 2026, 01:05 (GMT+3)",
            ),
            (
                Tz::Asia__Kathmandu,
                winter,
                "Samstag, 5. Dezember 2026, 19:15 Uhr (GMT+5:45)",
                "Saturday, 5 December 2026, 19:15 (GMT+5:45)",
            ),
            (
                Tz::America__Sao_Paulo,
                winter,
                "Samstag, 5. Dezember 2026, 10:30 Uhr (GMT-3)",
                "Saturday, 5 December 2026, 10:30 (GMT-3)",
            ),
        ] {
            let time = time.parse().unwrap();
            assert_eq!(spell_time(time, zone, Locale::German), german);
            assert_eq!(spell_time(time, zone, Locale::English), english);
        }
    }

    #[test]
    fn every_weekday_and_month_has_a_german_name() {
        let start: DateTime<Utc> = "2026-01-05T11:00:00Z".parse().unwrap();
        for (index, month) in GERMAN_MONTHS.iter().enumerate() {
            let time = start + chrono::Months::new(u32::try_from(index).unwrap());
            let spelt = spell_time(time, Tz::Europe__Berlin, Locale::German);
            assert!(spelt.contains(&format!(", 5. {month} 2026, ")), "{spelt}");
        }
        for (index, weekday) in GERMAN_WEEKDAYS.iter().enumerate() {
            let time = start + chrono::TimeDelta::days(i64::try_from(index).unwrap());
            let spelt = spell_time(time, Tz::Europe__Berlin, Locale::German);
            assert!(spelt.starts_with(&format!("{weekday}, ")), "{spelt}");
        }
    }
}
