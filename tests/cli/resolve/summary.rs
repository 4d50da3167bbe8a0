//! The summary on standard error, and whether its numbers add up.

use std::{collections::BTreeMap, fs};

use rstest::rstest;

use super::{all::sandbox_with_customers, succeeded};
use crate::process::Backend;

/// The numbers of one purpose.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) by_email: usize,
    pub(super) mails: usize,
    /// `by post`, `not at all` and `unresolved`, each with its reasons.
    pub(super) unreached: BTreeMap<String, (usize, BTreeMap<String, usize>)>,
}

/// The parsed summary.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) customers: usize,
    pub(super) purposes: BTreeMap<String, Numbers>,
}

impl Summary {
    /// Parses standard error up to the lines of unreached customers.
    pub(super) fn parse(stderr: &str) -> Self {
        let mut lines = stderr.lines();
        let head = lines.next().unwrap().strip_suffix(" customers");
        let mut summary = Self {
            customers: head.unwrap().parse().unwrap(),
            ..Self::default()
        };
        let (mut purpose, mut kind) = (String::new(), String::new());
        for line in lines {
            if let Some(name) = line.strip_suffix(':')
                && !line.starts_with(' ')
            {
                name.clone_into(&mut purpose);
                summary.purposes.insert(purpose.clone(), Numbers::default());
                continue;
            }
            let Some(numbers) = summary.purposes.get_mut(&purpose) else {
                panic!("{line}");
            };
            if !line.starts_with("  ") {
                return summary;
            }
            let (name, count) = line.split_once(": ").unwrap();
            if let Some(reason) = name.strip_prefix("    ") {
                let (_, reasons) = numbers.unreached.get_mut(&kind).unwrap();
                reasons.insert(reason.to_owned(), count.parse().unwrap());
            } else if name == "  by e-mail" {
                let (customers, mails) = count.split_once(", in ").unwrap();
                numbers.by_email = customers.parse().unwrap();
                numbers.mails = mails.strip_suffix(" mails").unwrap().parse().unwrap();
            } else {
                name.trim().clone_into(&mut kind);
                let count = (count.parse().unwrap(), BTreeMap::new());
                numbers.unreached.insert(kind.clone(), count);
            }
        }
        summary
    }

    /// Counts rows of JSON lines as the summary should.
    fn count(rows: &str) -> Self {
        let mut summary = Self::default();
        let mut last = String::new();
        for row in rows.lines() {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            summary.customers += usize::from(last != text("customer_number"));
            last = text("customer_number");
            let numbers = summary.purposes.entry(text("purpose")).or_default();
            for kind in ["by post", "not at all", "unresolved"] {
                numbers.unreached.entry(kind.to_owned()).or_default();
            }
            let kind = match row["delivery"].as_str().unwrap() {
                "EMAIL" => {
                    numbers.by_email += 1;
                    numbers.mails += row["emails"].as_array().unwrap().len();
                    assert_eq!(text("reason"), "");
                    continue;
                }
                "POSTAL" => "by post",
                "NONE" => "not at all",
                "" => "unresolved",
                other => panic!("{other}"),
            };
            let (count, reasons) = numbers.unreached.get_mut(kind).unwrap();
            *count += 1;
            *reasons
                .entry(text("reason").replace(';', ", "))
                .or_default() += 1;
        }
        summary
    }
}

#[rstest]
#[tokio::test]
async fn numbers_of_summary_and_report_add_up(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_customers(backend, 700).await;
    let numbers = (0..710).map(|n| format!("B-{n}"));
    let invalid = ["no number", "B 1"].map(str::to_owned);
    let numbers: Vec<_> = numbers.chain(invalid).collect();
    fs::write(sandbox.path().join("numbers"), numbers.join("\n")).unwrap();
    let arguments = "resolve numbers --purpose outage,invoice,general --format jsonl \
                     --report report";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ended = sandbox.run(&arguments);
    succeeded(&ended);
    let summary = Summary::parse(&ended.stderr);
    assert_eq!(summary, Summary::count(&ended.stdout), "{}", ended.stderr);
    assert_eq!(summary.customers, 712);
    let mut unreached = 0;
    for (purpose, numbers) in &summary.purposes {
        let kinds: usize = numbers.unreached.values().map(|(count, _)| count).sum();
        assert_eq!(numbers.by_email + kinds, 712, "{purpose}");
        for (count, reasons) in numbers.unreached.values() {
            assert_eq!(reasons.values().sum::<usize>(), *count, "{purpose}");
        }
        unreached += kinds;
        let (_, reasons) = &numbers.unreached["unresolved"];
        assert_eq!(reasons["CUSTOMER_NOT_FOUND"], 10);
        assert_eq!(reasons["INVALID_CUSTOMER_NUMBER"], 2);
    }
    assert_eq!(summary.purposes["GENERAL"].by_email, 466);
    assert_eq!(summary.purposes["OUTAGE"].unreached["not at all"].0, 327);
    assert_eq!(summary.purposes["INVOICE"].unreached["by post"].0, 700);
    let report = fs::read_to_string(sandbox.path().join("report")).unwrap();
    assert_eq!(report.lines().count(), unreached);
}
