//! Contact data and notification settings of customers, as columns.

use std::fs;

use rstest::rstest;

use super::{REFUSED, assert_says, files::export, place_with_samples, refused, stock::Stock};
use crate::process::{Backend, Ended, Place};

const HEADER: &str = "Kundennummer;Typ;Name;Kontakt-E-Mail;Stammdaten-Telefon;\
                      Sicherheitshinweise;Wartung;Störungen\n";

fn import(place: &Place, rows: &str, options: &[&str]) -> Ended {
    let file = place.path().join("contacts.csv");
    fs::write(file, format!("{HEADER}{rows}")).unwrap();
    let arguments = [
        &["import", "contacts.csv", "--create-customers"][..],
        options,
    ]
    .concat();
    place.run(&arguments)
}

#[rstest]
#[tokio::test]
async fn a_created_customer_gets_what_its_rows_say(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let rows = "K-1;Technik;Berta;;0721 1234567;;;nein\n\
                K-1;Standard;Anna;info@x.example;;ja;nein;\n";
    let before = Stock::of(&place).await;
    let dry = import(&place, rows, &["--dry-run"]);
    assert_says(&dry, 0, "customers that would be created: 1\n");
    assert_eq!(Stock::of(&place).await, before);
    assert_says(&import(&place, rows, &[]), 0, "2 taken");
    let first = export(&place);
    let customer = &first["customer"];
    assert_eq!(customer["contactData"]["email"], "info@x.example");
    assert_eq!(customer["contactData"]["phoneNumber"], "+497211234567");
    let settings = &customer["notificationSettings"];
    assert_eq!(settings["securityNotices"], true);
    assert_ne!(settings["plannedMaintenance"], true);
    assert_ne!(settings["outages"], true);
    let created = &first["auditEvents"][0];
    assert_eq!(created["kind"], "EVENT_KIND_CUSTOMER_CREATED");
    let fields = [
        "contact_data.email",
        "contact_data.phone_number",
        "notification_settings.planned_maintenance",
        "notification_settings.outages",
    ];
    assert_eq!(created["changedFields"], serde_json::json!(fields));

    // Repeated, it changes nothing.
    let before = Stock::of(&place).await;
    let again = import(&place, rows, &[]);
    assert_says(&again, 0, "0 taken, 2 already there, 0 refused\n");
    assert!(!again.stdout.contains("differ"), "{}", again.stdout);
    assert_eq!(Stock::of(&place).await, before);
}

#[rstest]
#[tokio::test]
async fn a_customer_on_file_keeps_what_it_has_and_the_report_says_so(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let rows = "K-1;Standard;Anna;info@x.example;;;;\n";
    assert_says(&import(&place, rows, &[]), 0, "1 taken");
    let before = export(&place)["customer"].clone();
    let rows = "K-1;Standard;Berta;other@x.example;;;nein;\n";
    let ended = import(&place, rows, &[]);
    let said = "contact data or settings differ from what is on file, and were not changed";
    assert_says(&ended, 0, said);
    assert_eq!(export(&place)["customer"], before);
}

#[tokio::test]
async fn rows_that_contradict_each_other_are_all_refused() {
    let place = place_with_samples(Backend::Sqlite).await;
    let rows = "K-1;Standard;Anna;info@x.example;;;;\n\
                K-2;Standard;Anna;info@x.example;;;;nein\n\
                K-1;Technik;Berta;;;;;\n\
                K-1;Technik;Carla;other@x.example;;;;\n\
                K-2;Standard;Berta;INFO@x.example;;;;ja\n";
    let ended = import(&place, rows, &[]);
    assert_says(&ended, REFUSED, "0 taken, 0 already there, 5 refused");
    let reason = |column: &str, lines: &str| {
        format!("{column}: lines {lines} of the same customer contradict each other")
    };
    let email = reason("contact_data_email", "2 and 5");
    let outages = reason("outages", "3 and 6");
    let of_line = [
        (2, &email),
        (3, &outages),
        (4, &email),
        (5, &email),
        (6, &outages),
    ];
    let expected = of_line.map(|(line, reason)| (line, reason.clone()));
    assert_eq!(refused(&place), expected);
    let again = place.run(&["import", "contacts.refused.csv", "--create-customers"]);
    assert_says(&again, REFUSED, "0 taken, 0 already there, 5 refused");
}

#[rstest]
#[tokio::test]
async fn a_kill_leaves_a_customer_with_all_of_it_or_none(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    // More rows than one transaction takes, and the data is in the last one.
    let others = (0..30).map(|number| format!("K-1;Standard;Anna {number};;;;;\n"));
    let mut rows = others.collect::<Vec<_>>().concat();
    rows.push_str("K-1;Standard;Berta;info@x.example;;;;nein\n");
    let place = place.with("FAILPOINTS", "import-written=1*off->return");
    fs::write(place.path().join("contacts.csv"), format!("{HEADER}{rows}")).unwrap();
    let mut running = place.start(&["import", "contacts.csv", "--create-customers"]);
    running.until(|running| running.stderr().contains("halted at import-written"));
    running.signal("KILL");
    running.wait();
    let place = place.with("FAILPOINTS", "");
    let ended = import(&place, &rows, &[]);
    assert_says(&ended, 0, "11 taken, 20 already there, 0 refused\n");
    assert!(!ended.stdout.contains("differ"), "{}", ended.stdout);
    let customer = &export(&place)["customer"];
    assert_eq!(customer["contactData"]["email"], "info@x.example");
    assert_ne!(customer["notificationSettings"]["outages"], true);
}
