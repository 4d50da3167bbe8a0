//! Cards as phones and mail programs write them.

use proptest::{collection::vec, prop_assert, prop_assert_eq, proptest, sample::select};
use rstest::rstest;

use super::*;
use crate::cli::import::{encoding::UNREADABLE, rejects::tests::assert_rejected_again};

const CARDS: &str = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:17\r\nFN:Anna\r\n  Groß\\, Dr.\r\n\
    X-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Freunde,Standard,Technik\r\nROLE:Inhaber\r\n\
    EMAIL:alt@example.com\r\nEMAIL;PREF=1:anna@example.com\r\nLANG:de\r\n\
    TEL;VALUE=uri;TYPE=\"voice,cell\":tel:+49-151-23456789;ext=3\r\n\
    TEL;TYPE=fax:+49 721 1234560\r\nX-INVOICE-EMAIL-ENABLED:ja\r\nNOTE:nicht für Fremde\r\n\
    X-Kontakt-E-Mail:info@example.com\r\nEND:VCARD\r\n\
    begin:vcard\r\nVERSION:3.0\r\nFN:Bernd\r\nN:Maier;Bernd\r\nx-customer-number:K-2\r\n\
    item1.TEL;TYPE=WORK,VOICE:0721 1234567\r\nTEL;TYPE=HOME:0721 1234568\r\n\
    EMAIL;TYPE=INTERNET:erste@example.com\r\nEMAIL;TYPE=INTERNET,PREF:bernd@example.com\r\n\
    end:vcard\r\n";

fn read_bytes(bytes: impl Into<Vec<u8>>) -> Vec<Row> {
    read(&SourceFile::new(bytes.into(), None)).unwrap().rows
}

/// The columns of a row that hold something.
fn cells(row: &Row) -> Vec<(&'static str, &str)> {
    let Content::Fields(fields) = &row.content else {
        panic!("{:?}", row.content);
    };
    let cells = Column::ALL.map(Column::name).into_iter().zip(fields.iter());
    cells.filter(|(_, cell)| !cell.is_empty()).collect()
}

/// The value of a column of the one card.
fn cell(bytes: &[u8], column: Column) -> String {
    let rows = read_bytes(bytes);
    assert_eq!(rows.len(), 1);
    let cells = cells(&rows[0]);
    let found = cells.iter().find(|(name, _)| *name == column.name());
    found.map_or_else(String::new, |(_, cell)| (*cell).to_owned())
}

/// A card of a version and some lines.
fn card(version: &str, lines: &[u8]) -> Vec<u8> {
    let head = format!("BEGIN:VCARD\r\nVERSION:{version}\r\n");
    [head.as_bytes(), lines, b"\r\nEND:VCARD\r\n"].concat()
}

fn name(version: &str, lines: &[u8]) -> String {
    cell(&card(version, lines), Column::DisplayName)
}

#[test]
fn versions_3_and_4_are_read_and_a_note_is_no_restriction() {
    let rows = read_bytes(CARDS);
    assert_eq!(
        cells(&rows[0]),
        [
            ("customer_number", "K-1"),
            ("types", "Standard\nTechnik\nInhaber"),
            ("display_name", "Anna Groß, Dr."),
            ("locale", "de"),
            ("email", "anna@example.com"),
            ("phone_numbers", "tel:+49-151-23456789;ext=3"),
            ("invoice_email_enabled", "ja"),
            ("external_id", "urn:uuid:17"),
            ("contact_data_email", "info@example.com"),
        ]
    );
    assert_eq!(rows[1].line, 18);
    assert_eq!(
        cells(&rows[1]),
        [
            ("customer_number", "K-2"),
            ("display_name", "Bernd"),
            ("email", "bernd@example.com"),
            ("phone_numbers", "0721 1234567\n0721 1234568"),
            ("given_name", "Bernd"),
            ("family_name", "Maier"),
        ]
    );
}

#[rstest]
#[case::named("FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:D=C3=BCrr=20Bau")]
#[case::bare("fn;quoted-printable:D=C3=BCrr Bau")]
#[case::bare_with_charset("FN;CHARSET=UTF-8;QUOTED-PRINTABLE:D=c3=bcrr Bau")]
#[case::latin_1("FN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:D=FCrr Bau")]
#[case::quoted_charset("FN;ENCODING=quoted-printable;CHARSET=\"windows-1252\":D=FCrr Bau")]
#[case::latin_1_by_letters("FN;QUOTED-PRINTABLE:D=FCrr Bau")]
#[case::soft_break("FN;ENCODING=QUOTED-PRINTABLE:D=C3=BC=\r\nrr Bau")]
#[case::soft_break_and_fold("FN;ENCODING=QUOTED-PRINTABLE:D=C3=\r\n =BCrr Bau")]
#[case::soft_break_and_tab("FN;ENCODING=QUOTED-PRINTABLE:D=C3=BCrr=\r\n\t=20Bau")]
#[case::soft_break_and_blank("FN;ENCODING=QUOTED-PRINTABLE:D=C3=BCrr= \r\n=20Bau")]
#[case::soft_break_at_the_end("FN;ENCODING=QUOTED-PRINTABLE:D=C3=BCrr Bau=")]
#[case::soft_break_in_head("FN;CHARSET=UTF-8;\r\n ENCODING=QUOTED-PRINTABLE:D=C3=BCrr Bau")]
#[case::fold_in_triplet("FN;QUOTED-PRINTABLE:D=C3=B\r\n Crr Bau")]
#[case::fold_after_sign("FN;QUOTED-PRINTABLE:D=C3=\r\n BCrr Bau")]
#[case::base64("FN;ENCODING=BASE64;CHARSET=UTF-8:RMO8cnIgQmF1")]
#[case::base64_bare("FN;BASE64:RMO8cnIg\r\n QmF1")]
#[case::base64_of_version_3("FN;ENCODING=b:RMO8cnIgQmF1")]
#[case::base64_without_padding("FN;ENCODING=b;CHARSET=latin1:RPxyciBCYXU")]
#[case::eight_bit("FN;ENCODING=8BIT;CHARSET=UTF-8:Dürr Bau")]
#[case::group_and_capitals("Item1.Fn;Charset=utf-8;Encoding=Quoted-Printable:D=C3=BCrr Bau")]
fn encoded_values_are_decoded(#[case] line: &str) {
    for version in ["2.1", "3.0", "4.0"] {
        assert_eq!(name(version, line.as_bytes()), "Dürr Bau", "{version}");
    }
}

#[rstest]
#[case("FN;ENCODING=QUOTED-PRINTABLE:Anna=\r\nEMAIL:anna@x.example")]
#[case("FN;ENCODING=QUOTED-PRINTABLE:An=\r\nna=\r\nitem1.EMAIL;PREF:anna@x.example")]
#[case("FN:Anna\r\nNOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0A=\r\n\r\nEMAIL;PREF:anna@x.example")]
#[case("FN:Anna\r\nNOTE;QUOTED-PRINTABLE:a=\r\n\r\nLANG:de\r\nEMAIL:anna@x.example")]
#[case("FN:Anna\r\nURL;QUOTED-PRINTABLE:http://x.example/?a=\r\nEMAIL:anna@x.example")]
#[case("URL;QUOTED-PRINTABLE:x=\r\nX-A:b=\r\nFN:Anna\r\nEMAIL:anna@x.example")]
#[case("FN;QUOTED-PRINTABLE:An=\r\r\nna\r\r\nEMAIL:anna@x.example\r\r\n\r\r\n\r\r\n")]
fn soft_line_break_ends_before_the_next_property(#[case] lines: &str) {
    for version in ["2.1", "3.0"] {
        let card = card(version, lines.as_bytes());
        assert_eq!(cell(&card, Column::DisplayName), "Anna");
        assert_eq!(cell(&card, Column::Email), "anna@x.example");
    }
}

#[rstest]
#[case("FN:Anna\r\nEMAIL;TYPE=\"work:anna@x.example", "EMAIL")]
#[case("FN:Anna\r\nemail;TYPE=INTERNET=a@x.example", "EMAIL")]
#[case("N:Schmidt;Anna\r\nNOTE:x\r\nFN Anna", "FN")]
fn card_with_a_malformed_head_is_rejected(#[case] lines: &str, #[case] name: &str) {
    let rows = read_bytes(card("3.0", lines.as_bytes()));
    let reason = format!("row: {name} {MALFORMED_HEAD}");
    assert_eq!(rows[0].content, Content::Unreadable(reason));
}

#[test]
fn uncertain_text_in_rejected_cards_keeps_the_doubt() {
    let good = card("3.0", b"FN:M\xFCller\r\nCATEGORIES:Y\xFDld\xFDz");
    let group = card("3.0", b"KIND:group\r\nFN:Y\xFDld\xFDz");
    let bad = card("3.0", b"FN:Y\xFDld\xFDz");
    let likely = card("3.0", b"FN:G\xF3mez");
    let name = |cards: [&[u8]; 3]| {
        let rows = read_bytes(cards.concat());
        cells(&rows[2])[0].1.to_owned()
    };
    assert_eq!(
        name([&card("3.0", b"FN:M\xFCller"), &group, &likely]),
        "Gómez"
    );
    assert_eq!(
        name([&card("3.0", b"FN:M\xFCller"), &bad, &likely]),
        "G\u{FFFD}mez"
    );
    assert_eq!(name([&good, &bad, &likely]), "G\u{FFFD}mez");
    assert_eq!(name([&good, &group, &likely]), "Gómez");
}

#[rstest]
#[case::within_a_character(b"FN:Annegret M\xC3\r\n \xBCller", "Annegret Müller")]
#[case::tab(b"FN:Annegret M\xC3\r\n\t\xBCller", "Annegret Müller")]
#[case::twice(b"FN:Annegret\r\n  M\xC3\r\n \xBCller", "Annegret Müller")]
#[case::in_the_name(b"F\r\n N:Annegret M\xC3\xBCller", "")]
#[case::latin_1(b"FN;CHARSET=ISO-8859-1:Annegret M\xFC\r\n ller", "Annegret Müller")]
#[case::by_letters(b"FN:Annegret M\xFC\r\n ller", "Annegret Müller")]
fn lines_are_unfolded_before_bytes_are_decoded(#[case] lines: &[u8], #[case] expected: &str) {
    assert_eq!(name("3.0", lines), expected);
    for line_break in ["\n", "\r", "\n\n", "\r\n\r\n"] {
        let text = String::from_utf8_lossy(lines);
        if !text.contains(UNREADABLE) {
            let text = text.replace("\r\n", line_break);
            assert_eq!(name("4.0", text.as_bytes()), expected);
        }
    }
}

#[rstest]
#[case::blank_is_content("2.1", b"FN:Anna\r\n Maria", "Anna Maria")]
#[case::tab_is_a_blank("2.1", b"FN:Anna\r\n\tMaria", "Anna Maria")]
#[case::not_in_a_character("2.1", b"FN:Annegret M\xC3\r\n \xBCller", "Annegret Müller")]
#[case::later_versions("3.0", b"FN:Anna\r\n Maria", "AnnaMaria")]
fn version_2_1_keeps_the_blank_of_a_fold(
    #[case] version: &str,
    #[case] lines: &[u8],
    #[case] expected: &str,
) {
    assert_eq!(name(version, lines), expected);
}

#[rstest]
#[case::broken_utf_8(b"FN;CHARSET=UTF-8:J\xF6rg")]
#[case::unknown_charset(b"FN;CHARSET=UTF-7:J+APY-rg")]
#[case::contradicted_charset(b"FN;CHARSET=ISO-8859-1:J\xC3\xB6rg")]
#[case::no_base64(b"FN;ENCODING=b:!!!")]
#[case::unnamed_quoted_printable(b"FN:J=C3=B6rg")]
#[case::cp850(b"FN;QUOTED-PRINTABLE:J=94rg")]
#[case::half_a_sign(b"FN;ENCODING=QUOTED-PRINTABLE:Anna=2")]
#[case::no_sign(b"FN;ENCODING=QUOTED-PRINTABLE:Anna=ZZ Schmidt")]
#[case::turkish(b"FN;QUOTED-PRINTABLE:G=FCl Y=FDld=FDz")]
#[case::torn(b"FN:J\xC3\xB6rg\r\nM\xC3\xBCller")]
fn uncertain_name_is_not_decoded(#[case] lines: &[u8]) {
    let name = name("3.0", lines);
    assert!(name.contains(UNREADABLE), "{name}");
}

#[rstest]
#[case::parts("N:Groß;Anna;Maria,Ida;Dr.;M.A.", "Dr. Anna Maria Ida Groß M.A.")]
#[case::empty_name("FN:\r\nFN: \r\nN:Groß;Anna;;;", "Anna Groß")]
#[case::salutation("N:Groß;;;Frau Dr.;", "Frau Dr. Groß")]
#[case::escapes("N:Groß\\, von;Anna\\;x;;;", "Anna;x Groß, von")]
#[case::organization("N:;;;;\r\nORG:Groß GmbH;Buchhaltung", "Groß GmbH, Buchhaltung")]
#[case::nickname("NICKNAME:Anni,Ann", "Anni")]
#[case::double_blank("FN;QUOTED-PRINTABLE:Anna =\r\n  Gro=C3=9F", "Anna Groß")]
#[case::line_break("FN:Anna\\nGroß", "Anna Groß")]
#[case::encoded_line_break("FN;QUOTED-PRINTABLE:Anna=0D=0AGro=C3=9F", "Anna Groß")]
#[case::backslash("FN:A\\\\B\\:C\\\"D\\E", "A\\B:C\"D\\E")]
#[case::nothing("NOTE:Anna", "")]
fn display_name_falls_back_to_other_properties(#[case] lines: &str, #[case] expected: &str) {
    assert_eq!(name("3.0", lines.as_bytes()), expected);
}

#[rstest]
#[case(
    "EMAIL;INTERNET:a@x.example\r\nEMAIL;INTERNET;PREF:b@x.example",
    "b@x.example",
    1
)]
#[case(
    "EMAIL;PREF=2:a@x.example\r\nEMAIL;PREF=1;TYPE=work:b@x.example",
    "b@x.example",
    1
)]
#[case("EMAIL;TYPE=PREF:\r\nEMAIL:a@x.example", "a@x.example", 0)]
#[case("EMAIL:mailto:a%2Bb@x.example?subject=x", "a+b@x.example", 0)]
#[case("EMAIL;PREF=1:/o=Exchange\r\nEMAIL:a@x.example", "a@x.example", 1)]
#[case("EMAIL:Anna <a@x.example>", "a@x.example", 0)]
#[case("EMAIL:keine\r\nEMAIL:auch keine", "keine", 0)]
#[case("EMAIL:a@x.example\r\nEMAIL:A@X.example", "a@x.example", 0)]
#[case(
    "EMAIL:a@x.example\r\nitem1.EMAIL:b@x.example\r\nEMAIL:x",
    "a@x.example",
    2
)]
fn preferred_valid_address_is_used(#[case] lines: &str, #[case] email: &str, #[case] notes: usize) {
    let rows = read_bytes(card("3.0", lines.as_bytes()));
    assert_eq!(cells(&rows[0]), [("email", email)]);
    assert_eq!(rows[0].notes.len(), notes, "{:?}", rows[0].notes);
}

#[rstest]
#[case(
    "TEL;WORK;VOICE:0721 1234567\r\nTEL;WORK;FAX:0721 1234568",
    "0721 1234567",
    0
)]
#[case("TEL;TYPE=VOICE,FAX:0721 1234567", "0721 1234567", 0)]
#[case(
    "TEL;HOME_FAX:0721 1\r\nTEL;TYPE=WORKFAX:0721 2\r\nTEL;X-FAX:0721 3",
    "",
    0
)]
#[case("TEL;TYPE=\"home fax\":0721 1\r\nTEL;TYPE=OTHER-FAX:0721 2", "", 0)]
#[case("item1.TEL:0721 1\r\nitem1.X-ABLabel:_$!<HomeFAX>!$_", "", 0)]
#[case(
    "item1.TEL:0721 1234567\r\nitem1.X-ABLabel:Zentrale",
    "0721 1234567",
    0
)]
#[case("TEL:intern 17\r\nTEL:0721 1234567", "0721 1234567", 1)]
#[case("TEL:intern 17\r\nTEL:intern 18", "intern 17\nintern 18", 0)]
#[case(
    "TEL;VALUE=uri:tel:+49-721-1234567;ext=5",
    "tel:+49-721-1234567;ext=5",
    0
)]
#[case("TEL:0721 1234567\\, 0721 1234568", "0721 1234567\n0721 1234568", 0)]
fn valid_numbers_are_used(#[case] lines: &str, #[case] numbers: &str, #[case] notes: usize) {
    let rows = read_bytes(card("2.1", lines.as_bytes()));
    let cells = cells(&rows[0]);
    let found = cells.first().map_or("", |(_, cell)| *cell);
    assert_eq!(found, numbers);
    assert_eq!(rows[0].notes.len(), notes, "{:?}", rows[0].notes);
}

#[rstest]
#[case("KIND:group", false)]
#[case("Kind:GROUP", false)]
#[case("X-ADDRESSBOOKSERVER-KIND:group", false)]
#[case("X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:1", false)]
#[case("MEMBER:urn:uuid:1", false)]
#[case("X-EVOLUTION-LIST:TRUE", false)]
#[case("KIND:location", false)]
#[case("KIND:application", false)]
#[case("KIND:device", false)]
#[case("KIND:org", true)]
#[case("KIND:individual", true)]
#[case("KIND:x-robot", true)]
fn only_persons_and_departments_are_contacts(#[case] line: &str, #[case] expected: bool) {
    let row = &read_bytes(card("4.0", format!("FN:Anna\r\n{line}").as_bytes()))[0];
    assert_eq!(matches!(row.content, Content::Fields(_)), expected);
}

#[test]
fn incomplete_card_rejects_itself_only() {
    let open = "BEGIN:VCARD\nVERSION:4.0\nFN:Carla\n";
    let rows = read_bytes(format!(
        "{open}{CARDS}\nwhat is this\n\n{CARDS}\n\x1A\n{open}"
    ));
    let is_unreadable = |row: &Row| matches!(row.content, Content::Unreadable(_));
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.line, is_unreadable(row)))
        .collect();
    let expected = [
        (1, true),
        (4, false),
        (21, false),
        (32, true),
        (34, false),
        (51, false),
        (63, true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn nested_card_of_an_agent_is_skipped_with_a_reason() {
    let rows = read_bytes(card(
        "2.1",
        b"FN:Anna\r\nAGENT:\r\nBEGIN:VCARD\r\nFN:Berta\r\nTEL:0721 1\r\nEND:VCARD\r\nUID:7",
    ));
    assert_eq!(
        cells(&rows[0]),
        [("display_name", "Anna"), ("external_id", "7")]
    );
    assert_eq!((rows[1].line, rows.len()), (5, 2));
    assert_eq!(rows[1].content, Content::NoContact(AGENT));
}

#[test]
fn unfolded_photos_and_unread_properties_are_ignored() {
    let photo = "/9j/4AAQSkZJRgABAQEAYABgAAD=\r\n".repeat(10_000);
    let lines = format!(
        "PHOTO;JPEG;ENCODING=BASE64:\r\n{photo}\r\nNOTE:a\r\nb und\r\n c\r\nN:;Anna\r\nADR:=C3=BC"
    );
    assert_eq!(name("2.1", lines.as_bytes()), "Anna");
}

#[test]
fn empty_property_does_not_hide_another_one() {
    let rows = read_bytes(card(
        "3.0",
        b"FN:\nFN: \nFN:Anna\nUID:\nUID:17\nEMAIL;TYPE=PREF:\nEMAIL:\nEMAIL:anna@example.com\n\
          TEL:\nTEL:0721 1234567\nX-CUSTOMER-NUMBER:\nX-KUNDENNUMMER:K-1",
    ));
    assert_eq!(
        cells(&rows[0]),
        [
            ("customer_number", "K-1"),
            ("display_name", "Anna"),
            ("email", "anna@example.com"),
            ("phone_numbers", "0721 1234567"),
            ("external_id", "17"),
        ]
    );
}

#[test]
fn lines_may_end_with_a_carriage_return_only() {
    let summary = |text: &str| -> Vec<_> {
        let rows = read_bytes(text);
        let summary = rows
            .iter()
            .map(|row| (row.line, format!("{:?}", row.content)));
        summary.collect()
    };
    assert_eq!(summary(&CARDS.replace("\r\n", "\r")), summary(CARDS));
}

#[test]
fn concatenated_files_may_have_marks_between_cards() {
    let rows = read_bytes(format!("\u{FEFF}{CARDS}\u{FEFF}{CARDS}"));
    assert_eq!(
        rows.iter().map(|row| row.line).collect::<Vec<_>>(),
        [1, 18, 28, 45]
    );
    assert_eq!(cells(&rows[0]), cells(&rows[2]));
}

#[test]
fn utf_16_file_keeps_the_charset_of_encoded_values_only() {
    let text = "FN;CHARSET=ISO-8859-1:Jörg\nORG;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller";
    let text = String::from_utf8(card("2.1", text.as_bytes())).unwrap();
    let units = "\u{FEFF}"
        .encode_utf16()
        .chain(text.encode_utf16().collect::<Vec<_>>());
    let bytes: Vec<_> = units.flat_map(u16::to_le_bytes).collect();
    assert_eq!(cell(&bytes, Column::DisplayName), "Jörg");
    let bytes: Vec<_> = text
        .replace("FN;", "X-FN;")
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    assert_eq!(cell(&bytes, Column::DisplayName), "Müller");
}

#[rstest]
#[case("\r\n", false)]
#[case("customer_number;types;display_name\nK-1;STANDARD;Anna\n", false)]
#[case("\n begin:vcard \n", true)]
#[case("BEGIN : VCARD\nFN:A\n", true)]
fn file_without_a_card_is_rejected(#[case] text: &str, #[case] expected: bool) {
    let source = SourceFile::new(text.into(), None);
    assert_eq!(are_in(&source.bytes), expected);
    assert_eq!(read(&source).is_ok(), expected);
}

#[rstest]
#[case::cards("BEGIN:VCARD\nEND:VCARD\n")]
#[case::cards_within_a_card("BEGIN:VCARD\nAGENT:\nBEGIN:VCARD\nEND:VCARD\n")]
fn file_with_too_many_cards_is_rejected(#[case] card: &str) {
    let source = SourceFile::new(card.repeat(MAX_ROWS + 1).into(), None);
    let problem = read(&source).err();
    assert_eq!(
        problem.as_deref(),
        Some("has more than 1,000,000 cards: split it")
    );
}

const LINES: &[&[u8]] = &[
    b"BEGIN:VCARD",
    b"BEGIN:VCARD",
    b"begin:vcard ",
    b"END:VCARD",
    b"END:VCARD",
    b"END:VCARD\x1A",
    b" BEGIN:VCARD",
    b"VERSION:2.1",
    b"VERSION:3.0",
    b"FN:Anna",
    b"FN:M\xC3",
    b" \xBCller",
    b"\t=C3=BC",
    b"FN;QUOTED-PRINTABLE:M=C3=",
    b"FN;CHARSET=latin1:M\xFC",
    b"AGENT:",
    b"TEL;WORK:0721 1234567",
    b"EMAIL:anna@example.com",
    b"PHOTO;ENCODING=b:/9j/4AAQ=",
    b"X-CUSTOMER-NUMBER:K-1",
    b"CATEGORIES:Standard",
    b"X-IMPORT-LINE:17",
    b"X-IMPORT-REASON:x",
    b"what is this",
    b"",
    b" ",
    b"\0",
];

proptest! {
    /// No card is lost silently: each is read, rejected or skipped, and rejected ones are rejected again.
    #[test]
    fn every_card_is_accounted_for(
        lines in vec(select(LINES), 1..30),
        line_break in select(&["\r\n", "\n", "\r"][..]),
    ) {
        let bytes = lines.join(line_break.as_bytes());
        // Which is the start of text in UTF-16.
        proptest::prop_assume!(bytes.first() != Some(&0));
        let begins = lines.iter().filter(|line| {
            line.trim_ascii_end().eq_ignore_ascii_case(b"BEGIN:VCARD")
        });
        let begins = begins.count();
        let source = SourceFile::new(bytes, None);
        if let Ok(table) = read(&source) {
            let is_card = |row: &&Row| row.content != Content::Unreadable(NO_CARD.to_owned());
            // An indented line begins a card where none is open.
            let cards = table.rows.iter().filter(is_card).count();
            prop_assert!(cards >= begins, "{cards} of {begins}");
            assert_rejected_again(&source, &table);
        } else {
            prop_assert_eq!(begins, 0);
        }
    }
}
