//! Files as phones, spreadsheets and other systems write them, from the import to the export.

use std::{collections::BTreeSet, fs};

use rstest::rstest;
use serde_json::Value;

use super::{REFUSED, assert_says, refused_files};
use crate::process::{Ended, Place};

const OPTIONS: [&str; 2] = ["--create-customers", "--emails-confirmed"];

fn import(place: &Place, file: &str, options: &[&str]) -> Ended {
    let arguments = [&["import", file][..], &OPTIONS, options].concat();
    place.run(&arguments)
}

/// Exports customer K-1; null where it is not on file.
pub(super) fn export(place: &Place) -> Value {
    let ended = place.run(&["export", "K-1"]);
    serde_json::from_str(&ended.stdout).unwrap_or_default()
}

fn names(place: &Place) -> BTreeSet<String> {
    let export = export(place);
    let contacts = export["contacts"].as_array().cloned().unwrap_or_default();
    let names = contacts
        .iter()
        .map(|contact| contact["displayName"].as_str());
    names.map(|name| name.unwrap().to_owned()).collect()
}

/// Imports a file, and gives the names that are on file then.
fn imported(file: &str, bytes: &[u8], options: &[&str]) -> (Ended, BTreeSet<String>) {
    let place = Place::new();
    fs::write(place.path().join(file), bytes).unwrap();
    let ended = import(&place, file, options);
    let names = names(&place);
    (ended, names)
}

#[rstest]
#[case::fold_inside_character(
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Annegret M\xC3\r\n \xBCller-L\xC3\xBCdenscheidt\r\n\
      X-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard\r\nEND:VCARD\r\n",
    "Annegret Müller-Lüdenscheidt"
)]
#[case::bare_quoted_printable(
    b"begin:vcard\r\nversion:2.1\r\nfn;quoted-printable:D=C3=BCrr Bau GmbH\r\n\
      email;internet:info@duerr.example\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard\r\n\
      END:VCARD\r\n",
    "Dürr Bau GmbH"
)]
fn case_cards_are_read_as_they_are_meant(#[case] card: &[u8], #[case] name: &str) {
    let (ended, names) = imported("a.vcf", card, &[]);
    assert_says(
        &ended,
        0,
        "read as UTF-8\n1 taken, 0 already there, 0 refused",
    );
    assert_eq!(names, BTreeSet::from([name.to_owned()]));
}

#[test]
fn case_cards_of_groups_are_skipped_and_told() {
    let cards = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Kunden\r\nX-ADDRESSBOOKSERVER-KIND:group\r\n\
         X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:1234\r\nUID:grp-1\r\nX-CUSTOMER-NUMBER:K-1\r\n\
         CATEGORIES:Standard\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:4.0\r\nKIND:group\r\n\
         FN:Gruppe\r\nMEMBER:urn:uuid:1\r\nUID:grp-2\r\nX-CUSTOMER-NUMBER:K-1\r\n\
         CATEGORIES:Standard\r\nEND:VCARD\r\n";
    let (ended, names) = imported("a.vcf", cards.as_bytes(), &[]);
    assert_says(
        &ended,
        0,
        "0 taken, 0 already there, 0 refused, 2 skipped\n",
    );
    assert!(
        ended.stdout.contains("    lines 1, 10\n"),
        "{}",
        ended.stdout
    );
    assert_eq!(names, BTreeSet::new());
}

#[test]
fn case_a_refused_row_is_refused_again_until_it_is_changed() {
    let place = Place::new();
    let row = "\"K-1\";\"Standard\";\"Firma \\\"Blau\\\" GmbH\";\"a@b.example\"\r\n";
    let file = format!("Kundennummer;Typ;Name;E-Mail\r\n{row}");
    fs::write(place.path().join("a.csv"), file).unwrap();
    let none = "0 taken, 0 already there, 1 refused";
    assert_says(&import(&place, "a.csv", &[]), REFUSED, none);
    assert_says(&import(&place, "a.refused.csv", &[]), REFUSED, none);
    let path = place.path().join("a.refused.csv");
    let refused = fs::read_to_string(&path).unwrap();
    assert!(refused.ends_with(row), "{refused}");
    fs::write(&path, refused.replace("\\\"", "\"\"")).unwrap();
    assert_says(&import(&place, "a.refused.csv", &[]), 0, "1 taken");
    assert_eq!(
        names(&place),
        BTreeSet::from(["Firma \"Blau\" GmbH".to_owned()])
    );
}

#[test]
fn a_refused_card_is_refused_again_until_it_is_changed() {
    let place = Place::new();
    let card = |lines: &str| format!("BEGIN:VCARD\r\nVERSION:3.0\r\n{lines}\r\nEND:VCARD\r\n");
    let good = card("FN:Anna\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard");
    let bad = card("FN;CHARSET=UTF-8:J?rg\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard");
    let open = "BEGIN:VCARD\r\nFN:Carla\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard\r\n";
    let file = format!("{bad}{open}{good}END:VCARD\r\n").into_bytes();
    let file: Vec<_> = file
        .into_iter()
        .map(|b| if b == b'?' { 0xF6 } else { b })
        .collect();
    fs::write(place.path().join("a.vcf"), file).unwrap();
    let ended = import(&place, "a.vcf", &[]);
    assert_says(&ended, REFUSED, "1 taken, 0 already there, 3 refused");
    let ended = import(&place, "a.refused.vcf", &[]);
    assert_says(&ended, REFUSED, "0 taken, 0 already there, 3 refused");
    assert_eq!(
        refused_files(&place),
        ["a.refused.refused.vcf", "a.refused.vcf"]
    );
    let path = place.path().join("a.refused.vcf");
    let refused = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&refused).replace('\u{FFFD}', "ö");
    fs::write(&path, text).unwrap();
    let ended = import(&place, "a.refused.vcf", &[]);
    assert_says(&ended, REFUSED, "1 taken, 0 already there, 2 refused");
    let expected = ["Anna", "Jörg"].map(str::to_owned);
    assert_eq!(names(&place), BTreeSet::from(expected));
}

#[test]
fn a_broken_line_of_utf_8_is_refused_and_the_rest_is_taken() {
    let file = b"Kundennummer;Typ;Name\nK-1;Standard;K\xC3\xA4the\nK-1;Technik;J\xF6rg\n";
    let (ended, names) = imported("a.csv", file, &[]);
    assert_says(
        &ended,
        REFUSED,
        "read as UTF-8\n1 taken, 0 already there, 1 refused",
    );
    let why = "  display_name: cannot be decoded with certainty: use --encoding or correct it\n";
    assert!(ended.stdout.contains(why), "{}", ended.stdout);
    assert!(ended.stdout.contains("    line 3\n"), "{}", ended.stdout);
    assert_eq!(names, BTreeSet::from(["Käthe".to_owned()]));
}

#[rstest]
#[case::excel(b"K-1;Standard;M\xFCller", &[], "windows-1252", Some("Müller"))]
#[case::mac_undetected(b"K-1;Standard;M\x9Fller", &[], "an unknown encoding", None)]
#[case::mac(b"K-1;Standard;M\x9Fller", &["--encoding", "macintosh"], "macintosh", Some("Müller"))]
fn encodings_are_named_where_they_are_not_certain(
    #[case] row: &[u8],
    #[case] options: &[&str],
    #[case] encoding: &str,
    #[case] name: Option<&str>,
) {
    let file = [b"Kundennummer;Typ;Name\r\n", row].concat();
    let (ended, names) = imported("a.csv", &file, options);
    let said = format!("read as {encoding}\n");
    let code = if name.is_some() { 0 } else { REFUSED };
    assert_says(&ended, code, &said);
    assert_eq!(names.iter().next().map(String::as_str), name);
}

#[rstest]
#[case(&["--encoding", "cp850"], "iconv -f CP850")]
#[case(&["--map", "Fax"], "must be COLUMN=NAME")]
#[case(&["--map", "Fax=zq7k"], "\"zq7k\" must be - or one of customer_number")]
fn a_wrong_option_is_explained(#[case] options: &[&str], #[case] said: &str) {
    let ended = import(&Place::new(), "a.csv", options);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn unicode_text_of_excel_with_columns_of_other_names_is_taken() {
    let text = "\u{FEFF}Kd-Nr\tRolle\tAnrede\tVorname\tNachname\tTelefon\tMobil\tFax\tOrt\r\n\
         =\"K-1\"\tHauptansprechpartner/Rechnungsempfänger\tFrau\tAnna\tGroß\t'0721 1234567\t\
         0151 23456789\t1\tx\r\n\r\nK-1\tTech-C\tHerr\t\t\"von\r\nBerg\"\t\t\t\t\t\t\r\n";
    let bytes: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (ended, names) = imported("a.txt", &bytes, &["--map", "Fax=-", "--map", "Ort=-"]);
    assert_says(
        &ended,
        REFUSED,
        "read as UTF-16LE\n1 taken, 0 already there, 1 refused",
    );
    assert_eq!(names, BTreeSet::from(["Anna Groß".to_owned()]));
    let text = text.replace("von\r\nBerg", "Berg").replace("Kd-Nr", "Nr");
    let maps = [
        "--map",
        "Nr=Kundennummer",
        "--map",
        "Nachname+Vorname=Name",
        "--map",
        "*=-",
    ];
    let (ended, names) = imported("a.csv", text.as_bytes(), &maps);
    assert_says(&ended, 0, "read as UTF-8\n2 taken");
    let expected = ["Groß Anna", "Berg"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
}

#[test]
fn help_report_and_log_fit_one_screen() {
    let place = Place::new();
    let help = place.run(&["import", "--help"]).printed();
    assert!(help.lines().count() <= 24, "{help}");
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
    for flag in ["--dry-run", "--map", "--encoding", "contact-service --help"] {
        assert!(help.contains(flag), "{help}");
    }
    assert!(!help.contains("--smtp-url"), "{help}");
    assert!(place.run(&["--help"]).printed().contains("--smtp-url"));
    assert!(
        place
            .run(&["export", "--help"])
            .printed()
            .contains("--smtp-url")
    );

    let row = |number: usize| match number % 7 {
        0 => format!("K-1;Standard,x{number};Anna {number};de;\n"),
        1 => format!("K-1;Standard;;de;a{number}@x.example\n"),
        2 => format!("K-1;Standard;Anna {number};fr;\n"),
        3 => format!("K-1;Standard;Anna {number};de;x\n"),
        4 => format!("K {number};Standard;Anna;de;\n"),
        5 => format!("K-1;Standard;Anna {number};fr;x;{}\n", "y".repeat(200)),
        _ => format!("K-{number};Standard;Anna;de;\n"),
    };
    let rows: String = (0..700).map(row).collect();
    let file = format!("Kundennummer;Typ;Name;Sprache;E-Mail\n{rows}");
    fs::write(place.path().join("a.csv"), file).unwrap();
    let ended = import(&place, "a.csv", &[]);
    assert_says(&ended, REFUSED, "100 taken, 0 already there, 600 refused\n");
    assert!(ended.stdout.lines().count() <= 20, "{}", ended.stdout);
    assert!(
        ended.stdout.lines().all(|line| line.chars().count() < 80),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("customers created: 100\n"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.stderr, "");
}
