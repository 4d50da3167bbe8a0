//! Tests of the notations of numbers.

use super::*;

pub(super) fn parsed(text: &str) -> Option<String> {
    PhoneNumber::parse(text).ok().map(|number| number.0)
}

fn assert_all(cases: &[&str], expected: &str) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|text| (*text, parsed(text)))
        .filter(|(_, found)| found.as_deref() != Some(expected))
        .collect();
    assert!(wrong.is_empty(), "expected {expected}: {wrong:#?}");
}

#[test]
fn leading_0_means_a_german_number() {
    for (text, number) in [
        ("0721 91374-0", "+49721913740"),
        ("+49 (0)721 / 91374-0", "+49721913740"),
        ("0049 721 913740", "+49721913740"),
        ("(0721) 913740", "+49721913740"),
        ("+43 1 58858", "+43158858"),
        ("+1 650-253-0000", "+16502530000"),
        ("0151 23456789", "+4915123456789"),
        ("+49721913740", "+49721913740"),
        ("0721\u{A0}9137\u{2013}40", "+49721913740"),
    ] {
        assert_eq!(parsed(text).as_deref(), Some(number), "{text}");
    }
}

#[test]
fn spaces_dashes_and_marks_are_ignored() {
    let blanks = "\u{9}\u{20}\u{A0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200A}\u{202F}\u{205F}\u{3000}";
    let dashes =
        "-\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{FE58}\u{FE63}\u{FF0D}\u{2043}";
    let marks = "\u{AD}\u{61C}\u{180E}\u{200B}\u{200C}\u{200D}\u{200E}\u{200F}\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2060}\u{2063}\u{2066}\u{2067}\u{2068}\u{2069}\u{FE0F}\u{FEFF}";
    let others = "/.\u{2044}\u{2215}\u{FF0F}\u{FF0E}\u{B7}\u{2022}";
    for c in [blanks, dashes, marks, others].concat().chars() {
        for text in [
            format!("+49{c}211{c}123456"),
            format!("{c}+49{c}211 123{c}456{c}"),
            format!("0211{c}123456"),
        ] {
            let at_end = "-/.".contains(c) || dashes.contains(c) || others.contains(c);
            if at_end && text.starts_with(c) {
                continue;
            }
            assert_eq!(
                parsed(&text).as_deref(),
                Some("+49211123456"),
                "U+{:04X}",
                u32::from(c)
            );
        }
    }
}

#[test]
fn digits_of_any_script_are_accepted() {
    assert_all(
        &[
            "\u{FF0B}\u{FF14}\u{FF19}\u{3000}\u{FF12}\u{FF11}\u{FF11}\u{3000}\u{FF11}\u{FF12}\u{FF13}\u{FF14}\u{FF15}\u{FF16}",
            "\u{FF10}\u{FF12}\u{FF11}\u{FF11}\u{FF0F}\u{FF11}\u{FF12}\u{FF13}\u{FF14}\u{FF15}\u{FF16}",
            "\u{FE62}49 211 123456",
            "٠٢١١ ١٢٣٤٥٦",
            "۰۲۱۱۱۲۳۴۵۶",
            "०२११ १२३४५६",
        ],
        "+49211123456",
    );
    for bad in [
        "0211 123456\u{B9}",
        "0211 12345\u{2465}",
        "0211 12345\u{BD}",
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn prefixes_and_trunk_zeros_lead_to_the_same_number() {
    assert_all(
        &[
            "+49 (0) 211 123456",
            "+49(0)211123456",
            "+49 ( 0 ) 211 123456",
            "0049(0)211 123456",
            "0049 0211 123456",
            "+49-0-211-123456",
            "+49 0211 123456",
            "+490211123456",
            "00490211123456",
            "490211123456",
            "+49 (211) 123456",
            "+49 (0211) 123456",
            "(+49) 211 123456",
            "(0049) 211 123456",
            "[0211] 123456",
            "+49/211/123456",
            "+49/0211/123456",
            "++49 211 123456",
            "+0049 211 123456",
            "+0211 123456",
            "00+49 211 123456",
            "0+49 211 123456",
            "49211123456",
            "49 211 123456",
            "(49) 211 123456",
            "00211123456",
            "0 0211 123456",
            "00049211123456",
            "0 0049 211 123456",
            "011 49 211 123456",
        ],
        "+49211123456",
    );
    assert_all(&["+34 (0) 912 345 678", "+34912345678"], "+34912345678");
    assert_all(&["+39 06 1234 5678", "+39 (06) 12345678"], "+390612345678");
    assert_all(
        &["+44 (0)20 7946 0018", "0044 20 7946 0018"],
        "+442079460018",
    );
    assert_all(&["0041446681800", "+41 (0)44 668 18 00"], "+41446681800");
    assert_all(&["16502530000"], "+16502530000");
    assert_all(&["4915123456789", "0049 151 23456789"], "+4915123456789");
}

#[test]
fn ambiguous_digits_without_0_are_rejected() {
    for bad in [
        "913740",
        "211123456",
        "2111234567",
        "1511234567",
        "15112345678",
        // Virginia, or a German mobile number.
        "15712345678",
        "33123456789",
        // Emden, or Düsseldorf.
        "4921123456",
        "(721) 913740",
    ] {
        let invalid = PhoneNumber::parse(bad).expect_err(bad);
        assert!(
            invalid.to_string().contains("must begin with +"),
            "{bad}: {invalid:?}"
        );
    }
}

#[test]
fn labels_are_stripped() {
    for label in [
        "Tel: ",
        "Tel.: ",
        "Tel. ",
        "tel ",
        "TEL:",
        "Tel.-Nr.: ",
        "Telefon: ",
        "Telefon ",
        "Telefonnummer: ",
        "Fon ",
        "Fon: ",
        "Mobil: ",
        "Mobil ",
        "Handy: ",
        "Phone: ",
        "T: ",
        "T ",
        "M. ",
        "\u{260E} ",
        "\u{260E}\u{FE0F} ",
        "\u{2121} ",
        "\u{1F4DE}",
    ] {
        assert_all(
            &[
                &format!("{label}0211 123456"),
                &format!("{label}+49 (0)211 / 123456"),
                &format!("{label}(0211) 123456"),
            ],
            "+49211123456",
        );
    }
    for bad in [
        "Fax: 0211 123456",
        "Anna 0211 123456",
        "0211 123456 Anna",
        "Tel.:",
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn extension_is_appended_to_the_number() {
    assert_all(
        &[
            "0211 123456-12",
            "0211 123456 - 12",
            "0211 123456 Durchwahl 12",
            "0211 123456, Durchwahl: 12",
            "0211 123456 DW 12",
            "0211 123456 Dw. -12",
            "0211 123456 App. 12",
            "0211 123456 ext. 12",
            "0211 123456 ext 12",
            "0211 123456 Extension 12",
            "+49211123456x12",
            "+49 211 123456 #12",
            "+49211123456;ext=12",
            "tel:+49-211-123456;ext=12",
            "sip:+49211123456;ext=12@pbx.example;user=phone",
            "0211 123456-0 Durchwahl 12",
        ],
        "+4921112345612",
    );
    assert_all(&["0043 1 58858 Klappe 12"], "+4315885812");
    for bad in [
        "+1 650 253 0000 ext. 12",
        "0211 123456 ext.",
        "0211 123456 ext. 12 ext. 13",
        "0211 123456 ext. 1234567",
        "0211 123456 x",
        "0211 123456 Raum 12",
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn uris_are_parsed_as_their_number() {
    assert_all(
        &[
            "sip:+49211123456@pbx.example",
            "sip:+49211123456@pbx.example;user=phone;transport=udp",
            "sip:+49211123456@10.0.0.1:5060;transport=tcp",
            "sip:+49211123456@[2001:db8::1]:5060",
            "SIP:+49211123456@PBX.EXAMPLE",
            "sips:+49211123456@pbx.example;user=phone",
            "sip:+49-211-123456@pbx.example",
            "sip:0211123456@pbx.example",
            "sip:0049211123456@pbx.example",
            "sip:49211123456@pbx.example",
            "sip:%2B49211123456@pbx.example",
            "sip:%2b49211123456@pbx.example",
            "sip:+49211123456:secret@pbx.example",
            "sip:+49211123456;phone-context=+49@pbx.example",
            "sip:+49211123456;npdi;rn=+49212@pbx.example;user=phone?Subject=x",
            "sip:+49211123456",
            "<sip:+49211123456@pbx.example>;tag=a1b2",
            "<sip:+49211123456@pbx.example;user=phone>;tag=a1b2",
            "\"Anna\" <sip:+49211123456@pbx.example>",
            "\"Anna <3\" <sip:+49211123456@pbx.example>;tag=1",
            "Anna Schmidt <sip:+49211123456@pbx.example>",
            "\"0171 1234567\" <sip:+49211123456@pbx.example>",
            "<tel:+49211123456>",
            "+49211123456@pbx.example",
            "tel:+49-211-123456",
            "tel:+49-211-123456;phone-context=example.com",
            "tel:+49-211-123456;phone-context=+1",
            "tel:0211123456;phone-context=+49",
            "tel:0211123456;phone-context=pbx.example",
            "tel:211123456;phone-context=+49",
            "tel:123456;phone-context=+49211",
            "tel:123456;phone-context=+49-211",
            "tel:%2B49211123456",
            "TEL:+49(0)211.123456",
            "tel:+49211123456;isub=12345;x-vendor=1",
            "%2B49211123456",
            "callto:+49211123456",
            "callto://+49211123456",
            "tel://+49211123456",
            "h323:+49211123456",
            "h323:+49211123456@pbx.example",
            "sms:+49211123456",
            "4:+49211123456",
        ],
        "+49211123456",
    );
    for bad in [
        "sip:anna@example.com",
        "anna@example.com",
        "sip:12@pbx.example",
        "sip:10.0.0.1",
        "tel:12;phone-context=pbx.example",
        "https://example.com/+49211123456",
        "+49211123456;x=1",
        "0211 123456; 0171 1234567",
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn marks_and_codes_around_a_number_are_stripped() {
    assert_all(
        &[
            "#31#0211123456",
            "*31#0211123456",
            "#31# 0211 123456",
            "sip:%2331%230211123456@pbx.example",
            "\"0211 123456\"",
            "\"+49 211 123456\",",
            "\"+49 211 123456,\"",
            "„0211 123456“",
            "‚0211 123456‘",
            "»0211 123456«",
            "« 0211 123456 »",
            "“0211 123456”",
            "'0211 123456",
            "'+49211123456'",
            "\"sip:+49211123456@pbx.example\"",
            "0211 123456,",
            "0211 123456;",
            "0211 123456.",
            "0211 123456 .",
            "0211 123456#",
            "0211_123456",
            "+49_211_123_456",
        ],
        "+49211123456",
    );
    for bad in [
        "\"\"",
        "\"",
        "'",
        "#31#",
        "#32#0211123456",
        "0211 123456##",
        "0211 123456,,12",
        "0211 123456p12",
        "0211 \"123456\" 7",
        "0211 123456, 7",
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn text_other_than_one_number_is_rejected() {
    let long = "0".repeat(300);
    for bad in [
        "",
        " ",
        "\u{200E}",
        "+",
        "0",
        "abc",
        "110",
        "0721 91374 extra 3",
        "0800-FLOWERS",
        "+999 123456",
        "+49 1",
        "012",
        "0110",
        "06",
        "+1 2530000",
        "0721\n913740",
        "0721\u{2028}913740",
        "0721\0913740",
        "+4972191374000000000",
        "+49 721 9137 4000 0000 0",
        "+49721+913740",
        "0721+913740",
        "0721 9137...",
        "0721 91374, 0721 91375",
        "0721 913740 / 0171 1234567",
        "0721 913740/+49 171 1234567",
        "0721 9137-10/-11",
        "0721 91374 oder 0721 91375",
        "anonymous",
        "+266696687",
        "0000000000",
        "\u{FFFD}0721 913740",
        "%FF0721 913740",
        long.as_str(),
    ] {
        assert_eq!(parsed(bad), None, "{bad:?}");
    }
}

#[test]
fn two_numbers_are_not_joined() {
    for (bad, reason) in [
        ("0211 123456/123457", "one phone number"),
        ("0211/123456/123457", "one phone number"),
        ("+49 (0)211 123456 / 123457-0", "one phone number"),
        ("0721 91374/91375", "one phone number"),
        ("0171 1234567/1234568", "one phone number"),
        ("0211 123456 123457", "at most 15 digits"),
        ("+49 211 123456789012", "at most 15 digits"),
        ("+49 211 123456-12345", "at most 15 digits"),
        ("0211 123456 ext. 123456", "at most 15 digits"),
    ] {
        let invalid = PhoneNumber::parse(bad).expect_err(bad);
        assert!(invalid.to_string().contains(reason), "{bad}: {invalid:?}");
    }
    for (text, number) in [
        ("0211 123456/12", "+4921112345612"),
        ("0211/123456/12", "+4921112345612"),
        ("033203/12345", "+493320312345"),
        ("0049 (0)33203/12345", "+493320312345"),
        ("0049 (0) 211 / 12 34 56", "+49211123456"),
        ("0049 (0)89/12345678", "+498912345678"),
        ("0049 211/123456", "+49211123456"),
        ("0049 (0)4921/12345", "+49492112345"),
        ("+49/33203/123456", "+4933203123456"),
        ("+1 650/253-0000", "+16502530000"),
        ("+33 1 23/45 67 89", "+33123456789"),
        ("0211 123456-1234", "+492111234561234"),
    ] {
        assert_eq!(parsed(text).as_deref(), Some(number), "{text}");
    }
}

#[test]
fn extension_has_at_most_four_digits() {
    let number = PhoneNumber::parse("+4921112345612").unwrap();
    let lines: Vec<_> = number.lines().collect();
    assert_eq!(
        lines,
        ["+492111234561", "+49211123456", "+4921112345", "+492111234"]
    );
    let short = PhoneNumber("+493012345".into());
    assert_eq!(short.lines().collect::<Vec<_>>(), ["+49301234", "+4930123"]);
}
