//! Tests of the normalization and of rejected passwords.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> std::result::Result<NormalizedPassword, Violation> {
    NormalizedPassword::parse(text)
}

#[test]
fn rule_14_passwords_that_sound_the_same_are_equal() {
    for same in [
        &[
            "Müller 77",
            "mueller77",
            "MUELLER-77",
            "mü ller 77",
            "MÜLLER\u{2011}77",
        ][..],
        &["mu\u{308}ller77", "Müller77"],
        &["Straße 12", "strasse12", "STRASSE 12", "STRAẞE-12"],
        &["１２３ ＡＢＣ", "123abc"],
        &[
            "İstanbul",
            "istanbul",
            "ISTANBUL",
            "ıstanbul",
            "i\u{307}stanbul",
        ],
        &["Käse Öl", "kaeseoel", "KAESE OEL"],
        &["ﬁlter kaffee", "Filterkaffee"],
        &["a\u{AD}b\u{200B}c\u{FEFF}def", "abc def"],
        &["eins\u{A0}zwei\u{2003}drei\tvier", "Eins Zwei Drei Vier"],
        &["ΣΟΦΟΣ", "σοφος", "σοφοσ"],
    ] {
        for text in same {
            assert_eq!(
                normalize(text),
                normalize(same[0]),
                "{text:?} and {:?}",
                same[0]
            );
        }
    }
}

#[test]
fn rule_14_passwords_that_sound_different_differ() {
    for (first, second) in [
        ("muller", "müller"),
        ("maße", "mase"),
        ("roter dachs 7", "roter dachs 8"),
        ("café", "cafe"),
        ("a.b", "ab"),
    ] {
        assert_ne!(normalize(first), normalize(second));
    }
}

#[test]
fn rule_14_password_has_6_to_64_normalized_characters() {
    let long = "xq7".repeat(21) + "z";
    for valid in ["dachs7", "da-ch s7", "dächs7", long.as_str()] {
        assert!(parse(valid).is_ok(), "{valid:?}");
    }
    let too_long = format!("{long}y");
    for invalid in [
        "",
        "dachs",
        "d a c h s",
        "------",
        "däch",
        "  \u{AD} ",
        too_long.as_str(),
    ] {
        let expected = "must have 6 to 64 characters, blanks and hyphens not counted";
        // "däch" normalizes to five letters.
        let violation = parse(invalid).unwrap_err();
        assert_eq!(violation.to_string(), expected, "{invalid:?}");
        let is_long = invalid == too_long;
        let reason = if is_long { "TOO_LONG" } else { "TOO_SHORT" };
        assert_eq!(violation.reason(), reason, "{invalid:?}");
    }
    assert!(parse("dachs\0sieben").is_err());
}

#[test]
fn rule_14_common_passwords_are_rejected() {
    for invalid in [
        "Passwort",
        "pass-wort",
        "PASS WORT",
        "123456",
        "12 34 56",
        "abcdefg",
        "7654321",
        "aaaaaaa",
        "121212",
        "qwertz",
    ] {
        assert!(parse(invalid).is_err(), "{invalid:?}");
    }
}

#[test]
fn rule_14_customer_number_and_own_name_are_rejected() {
    let number = CustomerNumber::parse("K-100177").unwrap();
    let check = |text: &str| {
        let name = "Dr. Wolfdiether Großmann-Maier";
        parse(text).unwrap().check_for(&number, name)
    };
    for invalid in [
        "K-100177",
        "k100177",
        "Dr. Wolfdiether Großmann-Maier",
        "wolfdiether",
        "Grossmann",
        "drwolfdietherGROSSMANNmaier",
        "Maier Großmann Wolfdiether Dr",
        "Großmann-Maier, Dr. Wolfdiether",
        "Wolfdiether1",
        "7 Grossmann 77",
    ] {
        assert!(check(invalid).is_err(), "{invalid:?}");
    }
    for valid in ["100178", "roter dachs", "wolfdiether dachs"] {
        assert_eq!(check(valid), Ok(()), "{valid:?}");
    }
}

#[test]
fn name_of_many_similar_words_is_checked_quickly() {
    let number = CustomerNumber::parse("K-1").unwrap();
    let name = "a aa ".repeat(40);
    let password = NormalizedPassword::from_spoken(&format!("{}b", "a".repeat(60))).unwrap();
    assert_eq!(password.check_for(&number, &name), Ok(()));
}

#[test]
fn any_spoken_text_can_be_checked() {
    for spoken in ["x", "\0", "Passwort", "123456", &"ä".repeat(256)] {
        assert!(NormalizedPassword::from_spoken(spoken).is_ok());
    }
    for invalid in ["", &"ä".repeat(257)] {
        assert!(NormalizedPassword::from_spoken(invalid).is_err());
    }
}

#[test]
fn generated_password_is_valid_and_has_38_bits() {
    let bits = f64::from(u32::try_from(WORDS.len()).unwrap()).log2() * 3.0;
    assert!(bits > 38.5, "{bits} bits");
    let mut normalized: Vec<_> = WORDS.iter().map(|word| normalize(word)).collect();
    normalized.sort_unstable();
    normalized.dedup();
    assert_eq!(normalized.len(), WORDS.len());
    for seed in 0..2_000u32 {
        let random = [seed, seed.wrapping_mul(7919), seed.wrapping_mul(104_729)];
        let password = generate(random);
        assert_eq!(password.split(' ').count(), 3, "{password}");
        assert!(parse(&password).is_ok(), "{password}");
    }
}

#[test]
fn common_passwords_are_normalized() {
    assert!(COMMON.len() > 500);
    for common in COMMON.iter() {
        assert_eq!(normalize(common), *common);
        assert!(
            (MIN_CHARS..=MAX_CHARS).contains(&common.chars().count()),
            "{common}"
        );
    }
}

#[test]
fn debug_output_hides_the_password() {
    assert_eq!(
        format!("{:?}", parse("roter dachs").unwrap()),
        "NormalizedPassword(…)"
    );
}

proptest! {
    #[test]
    fn rule_14_normalization_is_idempotent(text in any::<String>()) {
        let normalized = normalize(&text);
        prop_assert_eq!(normalize(&normalized), normalized);
    }

    #[test]
    fn rule_14_case_spaces_hyphens_and_umlauts_are_ignored(
        words in prop::collection::vec("[a-zäöüß0-9]{1,8}", 1..4),
        separator in "[ \\-\u{A0}\u{2010}]{0,2}",
    ) {
        let plain = words.concat();
        let spoken = words.join(&separator);
        for same in [
            spoken.to_uppercase(),
            spoken.replace('ä', "ae").replace('ö', "oe").replace('ü', "ue").replace('ß', "ss"),
            spoken.replace('ü', "u\u{308}"),
            spoken,
        ] {
            prop_assert_eq!(normalize(&same), normalize(&plain));
        }
    }
}
