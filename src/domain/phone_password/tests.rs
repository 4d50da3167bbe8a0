//! What counts as the same phone password, and what is refused as one.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> std::result::Result<FoldedPassword, Invalid> {
    FoldedPassword::parse(text)
}

#[test]
fn rule_14_what_sounds_the_same_is_the_same() {
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
            assert_eq!(fold(text), fold(same[0]), "{text:?} and {:?}", same[0]);
        }
    }
}

#[test]
fn rule_14_what_sounds_different_stays_different() {
    for (one, other) in [
        ("muller", "müller"),
        ("maße", "mase"),
        ("roter dachs 7", "roter dachs 8"),
        ("café", "cafe"),
        ("a.b", "ab"),
    ] {
        assert_ne!(fold(one), fold(other));
    }
}

#[test]
fn rule_14_six_to_sixty_four_characters_after_folding() {
    let long = "xq7".repeat(21) + "z";
    for good in ["dachs7", "da-ch s7", "dächs7", long.as_str()] {
        assert!(parse(good).is_ok(), "{good:?}");
    }
    let too_long = format!("{long}y");
    for bad in [
        "",
        "dachs",
        "d a c h s",
        "------",
        "däch",
        "  \u{AD} ",
        too_long.as_str(),
    ] {
        let expected = "must have 6 to 64 characters, blanks and hyphens not counted";
        // "däch" has five letters when it is folded.
        assert_eq!(parse(bad), Err(Invalid::new(expected)), "{bad:?}");
    }
    assert!(parse("dachs\0sieben").is_err());
}

#[test]
fn rule_14_what_others_would_guess_is_refused() {
    for bad in [
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
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn rule_14_neither_the_customer_number_nor_the_name() {
    let number = CustomerNumber::parse("K-100177").unwrap();
    let check = |text: &str| {
        let name = "Dr. Wolfdiether Großmann-Maier";
        parse(text).unwrap().judge_for(&number, name)
    };
    for bad in [
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
        assert!(check(bad).is_err(), "{bad:?}");
    }
    for good in ["100178", "roter dachs", "wolfdiether dachs"] {
        assert_eq!(check(good), Ok(()), "{good:?}");
    }
}

#[test]
fn a_name_of_many_words_alike_is_compared_in_no_time() {
    let number = CustomerNumber::parse("K-1").unwrap();
    let name = "a aa ".repeat(40);
    let password = FoldedPassword::of_spoken(&format!("{}b", "a".repeat(60))).unwrap();
    assert_eq!(password.judge_for(&number, &name), Ok(()));
}

#[test]
fn whatever_a_caller_says_can_be_checked() {
    for said in ["x", "\0", "Passwort", "123456", &"ä".repeat(256)] {
        assert!(FoldedPassword::of_spoken(said).is_ok());
    }
    for not_said in ["", &"ä".repeat(257)] {
        assert!(FoldedPassword::of_spoken(not_said).is_err());
    }
}

#[test]
fn a_generated_one_can_be_set_and_is_not_guessed_soon() {
    let bits = f64::from(u32::try_from(WORDS.len()).unwrap()).log2() * 3.0;
    assert!(bits > 38.5, "{bits} bits");
    let mut folded: Vec<_> = WORDS.iter().map(|word| fold(word)).collect();
    folded.sort_unstable();
    folded.dedup();
    assert_eq!(folded.len(), WORDS.len());
    for seed in 0..2_000u32 {
        let random = [seed, seed.wrapping_mul(7919), seed.wrapping_mul(104_729)];
        let password = generate(random);
        assert_eq!(password.split(' ').count(), 3, "{password}");
        assert!(parse(&password).is_ok(), "{password}");
    }
}

#[test]
fn the_list_of_common_ones_is_folded() {
    assert!(COMMON.len() > 500);
    for common in COMMON.iter() {
        assert_eq!(fold(common), *common);
        assert!(
            (MIN_CHARS..=MAX_CHARS).contains(&common.chars().count()),
            "{common}"
        );
    }
}

#[test]
fn debug_does_not_show_it() {
    assert_eq!(
        format!("{:?}", parse("roter dachs").unwrap()),
        "FoldedPassword(…)"
    );
}

proptest! {
    #[test]
    fn rule_14_folding_what_is_folded_changes_nothing(text in any::<String>()) {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded);
    }

    #[test]
    fn rule_14_capitals_blanks_hyphens_and_umlauts_do_not_count(
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
            prop_assert_eq!(fold(&same), fold(&plain));
        }
    }
}
