//! Property tests of numbers in all notations, and of arbitrary texts.

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    proptest, sample,
};

use super::{PhoneNumber, tests::parsed};

/// Generates numbers of many lengths and countries.
fn any_number() -> impl Strategy<Value = String> {
    let german = (
        sample::select(vec!["211", "30", "4921", "721", "33203"]),
        "[1-9][0-9]{3,7}",
    )
        .prop_map(|(area, number)| format!("+49{area}{number}"));
    let mobile = "1(51|60|71|76)[1-9][0-9]{6,7}".prop_map(|number| format!("+49{number}"));
    let foreign = prop_oneof![
        "[1-9][0-9]{7}".prop_map(|number| format!("+431{number}")),
        "[2-9][0-9]{6}".prop_map(|number| format!("+4144{number}")),
        "[2-9][0-9]{6}".prop_map(|number| format!("+1650{number}")),
        "[1-9][0-9]{7}".prop_map(|number| format!("+3906{number}")),
    ];
    prop_oneof![4 => german, 2 => mobile, 2 => foreign]
}

fn any_separator() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just(""),
        4 => sample::select(vec![
            " ", "-", "\u{A0}", "\u{202F}", "\u{2007}", "\u{2009}", "\u{3000}", "\u{2011}",
            "\u{2013}", "\u{2212}", "\u{200E}", "\u{2060}", "\u{FEFF}", " - ", " \u{202A}",
        ]),
    ]
}

proptest! {
    #[test]
    fn every_notation_is_parsed_as_the_same_number(
        number in any_number(),
        separators in proptest::collection::vec(any_separator(), 20),
        form in 0..7_usize,
        is_wide in any::<bool>(),
    ) {
        let digits = number.trim_start_matches('+');
        let is_german = digits.starts_with("49");
        let national = digits.get(2..).unwrap();
        let written = match form {
            0 => format!("00{digits}"),
            1 if is_german => format!("0{national}"),
            2 if is_german => format!("+49(0){national}"),
            3 if is_german => format!("Tel.: 0049 {national}"),
            4 if is_german && digits.len() > 10 => digits.to_owned(),
            _ => number.clone(),
        };
        let at = written.find(|c: char| c.is_ascii_digit() || c == '+').unwrap();
        let (label, rest) = written.split_at(at);
        let mut spaced = label.to_owned();
        for (index, c) in rest.chars().enumerate() {
            let wide = char::from_u32(u32::from(c) + 0xFEE0).unwrap();
            spaced.push(if is_wide && c.is_ascii_digit() { wide } else { c });
            spaced.push_str(separators.get(index).unwrap_or(&""));
        }
        let spaced = if form == 6 { format!("\"A\" <sip:{spaced}@a.example;user=phone>") } else { spaced };
        proptest::prop_assert_eq!(parsed(&spaced), Some(number), "{}", spaced);
    }

    #[test]
    fn any_text_is_parsed_or_rejected(text in ".{0,60}") {
        if let Ok(number) = PhoneNumber::parse(&text) {
            proptest::prop_assert_eq!(parsed(number.as_str()), Some(number.0));
        }
    }

    #[test]
    fn stored_number_is_parsed_as_itself(text in "[-+0-9 ()/.;:@<>=xepsithl]{0,30}") {
        if let Ok(number) = PhoneNumber::parse(&text) {
            proptest::prop_assert_eq!(parsed(number.as_str()), Some(number.0));
        }
    }
}
