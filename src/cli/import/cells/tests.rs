//! Cells of single rows.

use contact_service::domain::contact_types::ContactType;
use rstest::rstest;

use super::*;

fn read(cells: &[(&str, &str)]) -> Result<FileRow, String> {
    let mut names = vec!["customer_number", "types", "display_name"];
    let mut values = vec!["K-1", "STANDARD", "Anna"];
    for (name, value) in cells {
        if let Some(index) = names.iter().position(|known| known == name) {
            values[index] = value;
        } else {
            names.push(name);
            values.push(value);
        }
    }
    let header = Header::read(&names.into(), &[]).unwrap();
    contact_row(&header, &values.into())
}

#[test]
fn full_row_is_parsed() {
    let row = read(&[
        ("types", "Technik|Buchhaltung, Authorized signatory"),
        ("locale", "en-GB"),
        ("email", "Anna@Müller.example"),
        (
            "phone_numbers",
            "0721 1234567 | +49 721 1234567\n0151 23456789",
        ),
        ("invoice_email_enabled", "Ja"),
        ("restrictions_note", "Nur bis\n500 Euro"),
        ("denied_order_types", "cancellation;domain_transfer"),
    ]);
    let contact = row.ok().unwrap().contact;
    let types = [
        ContactType::Accounting,
        ContactType::Technical,
        ContactType::AuthorizedSignatory,
    ];
    assert_eq!(contact.types, types.into_iter().collect());
    assert_eq!(contact.fields.locale, Some(Locale::English));
    assert_eq!(
        contact.email.unwrap().as_str(),
        "Anna@xn--mller-kva.example"
    );
    let numbers = contact.fields.phone_numbers.unwrap();
    let numbers: Vec<_> = numbers.iter().map(PhoneNumber::as_str).collect();
    assert_eq!(numbers, ["+497211234567", "+4915123456789"]);
    assert_eq!(contact.fields.invoice_email_enabled, Some(true));
    assert_eq!(contact.fields.denied_order_types.unwrap().len(), 2);
}

#[rstest]
#[case(&[("customer_number", "K 1")], "customer_number: must have 1 to 32")]
#[case(&[("display_name", " ")], "display_name: must not be empty")]
#[case(&[("types", "")], "types: must hold at least one type")]
#[case(&[("types", "STANDARD,Chef")], "types[1]: must be a known contact type")]
#[case(&[("locale", "fr")], "locale: must be \"de\" or \"en\"")]
#[case(&[("email", "zq7k@")], "email: ")]
#[case(&[("phone_numbers", "0721 1234567|zq7k")], "phone_numbers[1]: ")]
#[case(&[("phone_numbers", "1|2|3|4|5|6|7|8|9|10|11")], "phone_numbers: must hold at most 10")]
#[case(&[("invoice_email_enabled", "zq7k")], "invoice_email_enabled: must be yes or no")]
#[case(&[("allowed_order_types", "a,zq7k!")], "allowed_order_types[1]: ")]
#[case(&[("restrictions_note", "a\u{0}")], "restrictions_note: ")]
#[case(&[("external_id", "a\nb")], "external_id: ")]
#[case(&[("display_name", "J\u{FFFD}rg")], "display_name: cannot be decoded")]
#[case(&[("locale", "fr"), ("email", "zq7k")], "; ")]
fn reason_names_the_column_and_not_the_value(#[case] cells: &[(&str, &str)], #[case] why: &str) {
    let error = read(cells).err().unwrap();
    assert!(error.contains(why), "{error}");
    assert!(!error.contains("zq7k"), "{error}");
}

#[rstest]
#[case("a, b;c|d\ne", &["a", "b", "c", "d", "e"])]
#[case("4,92112E+11", &["4,92112E+11"])]
#[case("0721 1,4,92112E+11;x", &["0721 1", "4,92112E+11", "x"])]
#[case("tel:+49-721-1;ext=5;isub=1;tel:+49-721-2", &["tel:+49-721-1;ext=5;isub=1", "tel:+49-721-2"])]
#[case(" ;, ", &[])]
fn cell_is_split_into_values(#[case] cell: &str, #[case] values: &[&str]) {
    assert_eq!(split_list(cell), values);
}

#[rstest]
#[case("4,92112E+11", "phone_numbers[0]: is in scientific notation")]
#[case("4.92112e+11", "phone_numbers[0]: is in scientific notation")]
fn scientific_notation_is_rejected(#[case] cell: &str, #[case] why: &str) {
    let error = read(&[("phone_numbers", cell)]).err().unwrap();
    assert!(error.contains(why), "{error}");
    let error = read(&[("customer_number", cell)]).err().unwrap();
    assert!(
        error.contains("customer_number: is in scientific"),
        "{error}"
    );
}

#[test]
fn equal_numbers_count_once_and_links_are_accepted() {
    let numbers = "0721 1234567|+49 721 1234567|".repeat(6);
    let row = read(&[("phone_numbers", &numbers), ("email", "MAILTO:a@x.example")]);
    let contact = row.ok().unwrap().contact;
    assert_eq!(contact.fields.phone_numbers.unwrap().len(), 1);
    assert_eq!(contact.email.unwrap().as_str(), "a@x.example");
}

#[test]
fn text_markers_of_spreadsheets_are_removed() {
    let row = read(&[
        ("customer_number", "'0123"),
        ("phone_numbers", "'0211 1234567"),
    ]);
    let contact = row.ok().unwrap().contact;
    assert_eq!(contact.customer_number.as_str(), "0123");
    let numbers = contact.fields.phone_numbers.unwrap();
    assert_eq!(numbers[0].as_str(), "+492111234567");
}

#[test]
fn contact_data_and_settings_are_parsed() {
    let row = read(&[
        ("Kontakt-E-Mail", "info@example.com"),
        ("Stammdaten-Telefon", "0721 1234567"),
        ("Sicherheitshinweise", "nein"),
        ("Wartung", ""),
        ("Störungen", "ja"),
    ]);
    let customer = row.ok().unwrap().customer;
    assert_eq!(
        customer.email.unwrap().unwrap().as_str(),
        "info@example.com"
    );
    assert_eq!(
        customer.phone_number.unwrap().unwrap().as_str(),
        "+497211234567"
    );
    assert_eq!(customer.security_notices, Some(false));
    assert_eq!(customer.planned_maintenance, None);
    assert_eq!(customer.outages, Some(true));
    let error = read(&[("Wartung", "zq7k"), ("Kontakt-E-Mail", "zq7k")]).err();
    let error = error.unwrap();
    assert!(error.contains("contact_data_email: must be"), "{error}");
    assert!(
        error.contains("planned_maintenance: must be yes or no"),
        "{error}"
    );
}

#[test]
fn key_of_a_row_depends_on_its_external_id_only() {
    let key = |cells| read(cells).ok().unwrap().key;
    let one = key(&[("external_id", "17")]);
    assert!(one == key(&[("external_id", " 17 "), ("display_name", "Berta")]));
    assert!(one != key(&[]));
    assert!(key(&[]) == key(&[("locale", "en"), ("types", "OTHER")]));
}
