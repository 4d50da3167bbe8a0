//! `resolve FILE`: the answers, the report, and what is refused.

use std::fs;

use rstest::rstest;

use crate::process::{Backend, Ended, Place};

/// The sample customers, one that is not on file, and a line that is no number.
const NUMBERS: &str = "\u{feff}K-1001\r\nK-1002\n\n  K-1003 \nK-0\nno number\n";

async fn place_with_samples(backend: Backend) -> Place {
    let place = Place::on(backend).await.with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = place.serve(&["serve", "--demo"]);
    server.signal("TERM");
    assert!(server.wait().status.success());
    fs::write(place.path().join("numbers"), NUMBERS).unwrap();
    place
}

fn succeeded(ended: &Ended) {
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[rstest]
#[tokio::test]
async fn each_number_has_its_row_and_the_report_names_whom_nobody_reaches(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let csv = place.run(&["resolve", "numbers", "--purpose", "invoice"]);
    succeeded(&csv);
    let rows: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(
        rows[..3],
        [
            "customer_number,delivery,emails,attention_line,error",
            "K-1001,EMAIL,anna.schmidt@muster.example;buchhaltung@muster.example,\
             \"z.Hd. Bernd Maier, Buchhaltung Filiale Süd\",",
            "K-1002,POSTAL,,z.Hd. Emil Groß,",
        ]
    );
    assert!(rows[3].starts_with("K-1003,"), "{}", rows[3]);
    assert_eq!(
        rows[4],
        "K-0,,,,there is no customer with this customer_number"
    );
    assert!(rows[5].starts_with("no number,,,,"), "{}", rows[5]);
    assert_eq!(rows.len(), 6);
    assert!(
        csv.stderr.contains("5 customers answered"),
        "{}",
        csv.stderr
    );
    for unreached in [
        "K-1002: by post",
        "K-0: there is no customer",
        "no number: ",
    ] {
        assert!(csv.stderr.contains(unreached), "{}", csv.stderr);
    }
    assert!(!csv.stderr.contains("K-1001"), "{}", csv.stderr);
}

#[rstest]
#[tokio::test]
async fn files_hold_the_answers_as_json_lines_and_the_report(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let arguments = "resolve numbers --purpose security-notice --format jsonl --output answers \
                     --report report";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ended = place.run(&arguments);
    succeeded(&ended);
    assert_eq!(ended.stdout, "");
    let answers = fs::read_to_string(place.path().join("answers")).unwrap();
    let answers: Vec<serde_json::Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0]["customer_number"], "K-1001");
    assert_eq!(answers[0]["delivery"], "EMAIL");
    assert!(answers[0]["emails"][0].is_string());
    assert_eq!(answers[3]["delivery"], "");
    let report = fs::read_to_string(place.path().join("report")).unwrap();
    assert!(report.contains("K-0: there is no customer"), "{report}");
    assert!(!place.path().join("answers.part").exists());
}

#[rstest]
#[case::no_file(&["resolve", "missing", "--purpose", "invoice"], "missing cannot be read")]
#[case::no_purpose(&["resolve", "numbers"], "--purpose")]
#[case::unknown_purpose(&["resolve", "numbers", "--purpose", "party"], "invoice")]
#[case::no_room(
    &["resolve", "numbers", "--purpose", "invoice", "--attention-line-chars", "3"],
    "--attention-line-chars: must be at least 8"
)]
#[case::no_folder(
    &["resolve", "numbers", "--purpose", "invoice", "--output", "none/answers"],
    "none/answers.part cannot be written"
)]
#[tokio::test]
async fn what_cannot_be_done_is_said(#[case] arguments: &[&str], #[case] said: &str) {
    let place = Place::new();
    assert!(place.run(&["migrate", "up"]).status.success());
    fs::write(place.path().join("numbers"), NUMBERS).unwrap();
    let ended = place.run(arguments);
    assert!(!ended.status.success());
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}
