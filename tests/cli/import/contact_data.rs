//! Contact data and notification settings of customers, as columns.

use std::fs;

use rstest::rstest;

use super::{
    REJECTED, assert_output, files::export, rejects, row_counts::RowCounts, sandbox_with_samples,
};
use crate::process::{Backend, Ended, Sandbox};

const HEADER: &str = "Kundennummer;Typ;Name;Kontakt-E-Mail;Stammdaten-Telefon;\
                      Sicherheitshinweise;Wartung;Störungen\n";

fn import(sandbox: &Sandbox, rows: &str, options: &[&str]) -> Ended {
    let file = sandbox.path().join("contacts.csv");
    fs::write(file, format!("{HEADER}{rows}")).unwrap();
    let arguments = [
        &["import", "contacts.csv", "--create-customers"][..],
        options,
    ]
    .concat();
    sandbox.run(&arguments)
}

#[rstest]
#[tokio::test]
async fn created_customer_has_the_data_of_its_rows(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let rows = "K-1;Technik;Berta;;0721 1234567;;;nein\n\
                K-1;Standard;Anna;info@x.example;;ja;nein;\n";
    let before = RowCounts::of(&sandbox).await;
    let dry = import(&sandbox, rows, &["--dry-run"]);
    assert_output(&dry, 0, "customers that would be created: 1\n");
    assert_eq!(RowCounts::of(&sandbox).await, before);
    assert_output(&import(&sandbox, rows, &[]), 0, "2 imported");
    let first = export(&sandbox);
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

    // Repeating the import changes nothing.
    let before = RowCounts::of(&sandbox).await;
    let again = import(&sandbox, rows, &[]);
    assert_output(&again, 0, "0 imported, 2 already on file, 0 rejected\n");
    assert!(!again.stdout.contains("differ"), "{}", again.stdout);
    assert_eq!(RowCounts::of(&sandbox).await, before);
}

#[rstest]
#[tokio::test]
async fn customer_on_file_is_unchanged_and_reported(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let rows = "K-1;Standard;Anna;info@x.example;;;;\n";
    assert_output(&import(&sandbox, rows, &[]), 0, "1 imported");
    let before = export(&sandbox)["customer"].clone();
    let rows = "K-1;Standard;Berta;other@x.example;;;nein;\n";
    let ended = import(&sandbox, rows, &[]);
    let message = "contact data or settings differ from what is on file, and were not changed";
    assert_output(&ended, 0, message);
    assert_eq!(export(&sandbox)["customer"], before);
}

#[tokio::test]
async fn contradicting_rows_are_all_rejected() {
    let sandbox = sandbox_with_samples(Backend::Sqlite).await;
    let rows = "K-1;Standard;Anna;info@x.example;;;;\n\
                K-2;Standard;Anna;info@x.example;;;;nein\n\
                K-1;Technik;Berta;;;;;\n\
                K-1;Technik;Carla;other@x.example;;;;\n\
                K-2;Standard;Berta;INFO@x.example;;;;ja\n";
    let ended = import(&sandbox, rows, &[]);
    assert_output(
        &ended,
        REJECTED,
        "0 imported, 0 already on file, 5 rejected",
    );
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
    assert_eq!(rejects(&sandbox), expected);
    let again = sandbox.run(&["import", "contacts.rejects.csv", "--create-customers"]);
    assert_output(
        &again,
        REJECTED,
        "0 imported, 0 already on file, 5 rejected",
    );
}

#[rstest]
#[tokio::test]
async fn killed_import_leaves_customer_data_complete_or_absent(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    // More rows than one transaction imports, with the data in the last one.
    let others = (0..30).map(|number| format!("K-1;Standard;Anna {number};;;;;\n"));
    let mut rows = others.collect::<Vec<_>>().concat();
    rows.push_str("K-1;Standard;Berta;info@x.example;;;;nein\n");
    let sandbox = sandbox.with("FAILPOINTS", "import-written=1*off->return");
    fs::write(
        sandbox.path().join("contacts.csv"),
        format!("{HEADER}{rows}"),
    )
    .unwrap();
    let mut running = sandbox.start(&["import", "contacts.csv", "--create-customers"]);
    running.until(|running| running.stderr().contains("halted at import-written"));
    running.signal("KILL");
    running.wait();
    let sandbox = sandbox.with("FAILPOINTS", "");
    let ended = import(&sandbox, &rows, &[]);
    assert_output(&ended, 0, "11 imported, 20 already on file, 0 rejected\n");
    assert!(!ended.stdout.contains("differ"), "{}", ended.stdout);
    let customer = &export(&sandbox)["customer"];
    assert_eq!(customer["contactData"]["email"], "info@x.example");
    assert_ne!(customer["notificationSettings"]["outages"], true);
}
