//! Files of phones, spreadsheets and other systems, from import to export.

use std::{collections::BTreeSet, fs};

use rstest::rstest;
use serde_json::Value;

use super::{REJECTED, assert_output, rejects_files};
use crate::process::{Ended, Sandbox};

const OPTIONS: [&str; 2] = ["--create-customers", "--emails-confirmed"];

fn import(sandbox: &Sandbox, file: &str, options: &[&str]) -> Ended {
    let arguments = [&["import", file][..], &OPTIONS, options].concat();
    sandbox.run(&arguments)
}

/// Exports customer K-1; null if it is not on file.
pub(super) fn export(sandbox: &Sandbox) -> Value {
    let ended = sandbox.run(&["export", "K-1"]);
    serde_json::from_str(&ended.stdout).unwrap_or_default()
}

fn names(sandbox: &Sandbox) -> BTreeSet<String> {
    let export = export(sandbox);
    let contacts = export["contacts"].as_array().cloned().unwrap_or_default();
    let names = contacts
        .iter()
        .map(|contact| contact["displayName"].as_str());
    names.map(|name| name.unwrap().to_owned()).collect()
}

/// Imports a file, and returns the names that are on file afterwards.
fn imported(file: &str, bytes: &[u8], options: &[&str]) -> (Ended, BTreeSet<String>) {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join(file), bytes).unwrap();
    let ended = import(&sandbox, file, options);
    let names = names(&sandbox);
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
fn cards_from_the_field_are_read_as_intended(#[case] card: &[u8], #[case] name: &str) {
    let (ended, names) = imported("a.vcf", card, &[]);
    assert_output(
        &ended,
        0,
        "read as UTF-8\n1 imported, 0 already on file, 0 rejected",
    );
    assert_eq!(names, BTreeSet::from([name.to_owned()]));
}

#[test]
fn cards_of_groups_are_skipped_and_reported() {
    let cards = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Kunden\r\nX-ADDRESSBOOKSERVER-KIND:group\r\n\
         X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:1234\r\nUID:grp-1\r\nX-CUSTOMER-NUMBER:K-1\r\n\
         CATEGORIES:Standard\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:4.0\r\nKIND:group\r\n\
         FN:Gruppe\r\nMEMBER:urn:uuid:1\r\nUID:grp-2\r\nX-CUSTOMER-NUMBER:K-1\r\n\
         CATEGORIES:Standard\r\nEND:VCARD\r\n";
    let (ended, names) = imported("a.vcf", cards.as_bytes(), &[]);
    assert_output(
        &ended,
        0,
        "0 imported, 0 already on file, 0 rejected, 2 skipped\n",
    );
    assert!(
        ended.stdout.contains("    lines 1, 10\n"),
        "{}",
        ended.stdout
    );
    assert_eq!(names, BTreeSet::new());
}

#[test]
fn rejected_row_is_rejected_again_until_corrected() {
    let sandbox = Sandbox::new();
    let row = "\"K-1\";\"Standard\";\"Firma \\\"Blau\\\" GmbH\";\"a@b.example\"\r\n";
    let file = format!("Kundennummer;Typ;Name;E-Mail\r\n{row}");
    fs::write(sandbox.path().join("a.csv"), file).unwrap();
    let none = "0 imported, 0 already on file, 1 rejected";
    assert_output(&import(&sandbox, "a.csv", &[]), REJECTED, none);
    assert_output(&import(&sandbox, "a.rejects.csv", &[]), REJECTED, none);
    let path = sandbox.path().join("a.rejects.csv");
    let rejects = fs::read_to_string(&path).unwrap();
    assert!(rejects.ends_with(row), "{rejects}");
    fs::write(&path, rejects.replace("\\\"", "\"\"")).unwrap();
    assert_output(&import(&sandbox, "a.rejects.csv", &[]), 0, "1 imported");
    assert_eq!(
        names(&sandbox),
        BTreeSet::from(["Firma \"Blau\" GmbH".to_owned()])
    );
}

#[test]
fn rejected_card_is_rejected_again_until_corrected() {
    let sandbox = Sandbox::new();
    let card = |lines: &str| format!("BEGIN:VCARD\r\nVERSION:3.0\r\n{lines}\r\nEND:VCARD\r\n");
    let good = card("FN:Anna\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard");
    let bad = card("FN;CHARSET=UTF-8:J?rg\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard");
    let open = "BEGIN:VCARD\r\nFN:Carla\r\nX-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Standard\r\n";
    let file = format!("{bad}{open}{good}END:VCARD\r\n").into_bytes();
    let file: Vec<_> = file
        .into_iter()
        .map(|b| if b == b'?' { 0xF6 } else { b })
        .collect();
    fs::write(sandbox.path().join("a.vcf"), file).unwrap();
    let ended = import(&sandbox, "a.vcf", &[]);
    assert_output(
        &ended,
        REJECTED,
        "1 imported, 0 already on file, 3 rejected",
    );
    let ended = import(&sandbox, "a.rejects.vcf", &[]);
    assert_output(
        &ended,
        REJECTED,
        "0 imported, 0 already on file, 3 rejected",
    );
    assert_eq!(
        rejects_files(&sandbox),
        ["a.rejects.rejects.vcf", "a.rejects.vcf"]
    );
    let path = sandbox.path().join("a.rejects.vcf");
    let rejects = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&rejects).replace('\u{FFFD}', "ö");
    fs::write(&path, text).unwrap();
    let ended = import(&sandbox, "a.rejects.vcf", &[]);
    assert_output(
        &ended,
        REJECTED,
        "1 imported, 0 already on file, 2 rejected",
    );
    let expected = ["Anna", "Jörg"].map(str::to_owned);
    assert_eq!(names(&sandbox), BTreeSet::from(expected));
}

#[test]
fn line_of_broken_utf_8_is_rejected_and_others_imported() {
    let file = b"Kundennummer;Typ;Name\nK-1;Standard;K\xC3\xA4the\nK-1;Technik;J\xF6rg\n";
    let (ended, names) = imported("a.csv", file, &[]);
    assert_output(
        &ended,
        REJECTED,
        "read as UTF-8\n1 imported, 0 already on file, 1 rejected",
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
fn uncertain_encodings_must_be_named(
    #[case] row: &[u8],
    #[case] options: &[&str],
    #[case] encoding: &str,
    #[case] name: Option<&str>,
) {
    let file = [b"Kundennummer;Typ;Name\r\n", row].concat();
    let (ended, names) = imported("a.csv", &file, options);
    let message = format!("read as {encoding}\n");
    let code = if name.is_some() { 0 } else { REJECTED };
    assert_output(&ended, code, &message);
    assert_eq!(names.iter().next().map(String::as_str), name);
}

#[rstest]
#[case(&["--encoding", "cp850"], "iconv -f CP850")]
#[case(&["--map", "Fax"], "must be COLUMN=NAME")]
#[case(&["--map", "Fax=zq7k"], "\"zq7k\" must be - or one of customer_number")]
fn invalid_option_is_explained(#[case] options: &[&str], #[case] message: &str) {
    let ended = import(&Sandbox::new(), "a.csv", options);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn unicode_text_of_excel_with_mapped_columns_is_imported() {
    let text = "\u{FEFF}Kd-Nr\tRolle\tAnrede\tVorname\tNachname\tTelefon\tMobil\tFax\tOrt\r\n\
         =\"K-1\"\tHauptansprechpartner/Rechnungsempfänger\tFrau\tAnna\tGroß\t'0721 1234567\t\
         0151 23456789\t1\tx\r\n\r\nK-1\tTech-C\tHerr\t\t\"von\r\nBerg\"\t\t\t\t\t\t\r\n";
    let bytes: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (ended, names) = imported("a.txt", &bytes, &["--map", "Fax=-", "--map", "Ort=-"]);
    assert_output(
        &ended,
        REJECTED,
        "read as UTF-16LE\n1 imported, 0 already on file, 1 rejected",
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
    assert_output(&ended, 0, "read as UTF-8\n2 imported");
    let expected = ["Groß Anna", "Berg"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
}

#[test]
fn report_and_log_fit_one_screen() {
    let sandbox = Sandbox::new();
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
    fs::write(sandbox.path().join("a.csv"), file).unwrap();
    let ended = import(&sandbox, "a.csv", &[]);
    assert_output(
        &ended,
        REJECTED,
        "100 imported, 0 already on file, 600 rejected\n",
    );
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
