//! `--help` of each command: its length, and the settings that it lists.

#[path = "help/reads.rs"]
mod reads;

use std::collections::BTreeSet;

use rstest::rstest;

use self::reads::settings_read_by;
use crate::process::Sandbox;

const MAX_LINES: usize = 32;
const MAX_COLUMNS: usize = 80;
/// Headings one of which is the first of the settings.
const FIRST_HEADINGS: [&str; 3] = ["Data and database:", "Network:", "Access tokens:"];

fn help(arguments: &[&str]) -> String {
    let arguments = [arguments, &["--help"]].concat();
    Sandbox::new().run(&arguments).printed()
}

/// Returns the flags of lines that begin with one, such as `--dry-run`, without the dashes.
fn flags(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start);
    let flags = lines.filter_map(|line| match line.split_once(", --") {
        Some((short, flag)) if short.len() == 2 && short.starts_with('-') => Some(flag),
        _ => line.strip_prefix("--"),
    });
    flags
        .map(|flag| flag.split([' ', '=']).next().unwrap_or_default())
        .collect()
}

/// Splits help into the part of the command and the part of the settings.
fn split(help: &str) -> (&str, &str) {
    let starts = FIRST_HEADINGS
        .iter()
        .filter_map(|heading| help.find(heading));
    help.split_at(starts.min().expect("no settings"))
}

fn settings(help: &str) -> BTreeSet<String> {
    let (_, settings) = split(help);
    let names = flags(settings).into_iter();
    names
        .map(|flag| flag.to_uppercase().replace('-', "_"))
        .collect()
}

#[rstest]
#[case(&["import"], &["dry-run", "emails-confirmed", "create-customers", "map", "encoding"])]
#[case(&["export"], &["output"])]
#[case(&["report-bounces"], &["bounce-address", "sent", "accept-burst", "output"])]
#[case(
    &["resolve"],
    &[
        "all", "purpose", "by-address", "output", "resume", "format", "report",
        "attention-line-chars",
    ]
)]
#[case(&["token"], &["sub", "scope", "customer", "ttl"])]
#[case(&["migrate"], &[])]
#[case(&["migrate", "up"], &["distributed", "move-rows"])]
#[case(&["migrate", "grants"], &["role", "reader", "schema"])]
#[case(&["backup"], &[])]
#[case(&["keys", "status"], &[])]
#[case(&["verify-data"], &["format"])]
#[case(&["healthcheck"], &[])]
fn help_of_small_commands_fits_one_screen(#[case] command: &[&str], #[case] own: &[&str]) {
    let help = help(command);
    assert!(help.lines().count() <= MAX_LINES, "{help}");
    let is_narrow = |line: &str| line.chars().count() <= MAX_COLUMNS;
    assert!(help.lines().all(is_narrow), "{help}");
    let (before_settings, _) = split(&help);
    let mut flags = flags(before_settings);
    flags.retain(|flag| *flag != "help");
    assert_eq!(flags, own, "{help}");
}

/// Derives the settings from the fields of the configuration that the sources of a command name.
#[rstest]
#[case("import")]
#[case("export")]
#[case("report-bounces")]
#[case("resolve")]
#[case("token")]
#[case("migrate")]
#[case("backup")]
#[case("keys")]
#[case("verify-data")]
#[case("healthcheck")]
fn help_lists_the_settings_that_the_command_reads(#[case] command: &str) {
    let help = help(&[command]);
    assert_eq!(settings(&help), settings_read_by(command), "{help}");
}

#[test]
fn help_of_serve_lists_all_settings_under_headings() {
    let all = help(&[]);
    let serve = help(&["serve"]);
    for (help, own) in [
        (&all, &["help", "version"][..]),
        (&serve, &["demo", "help", "testing"]),
    ] {
        let (before_settings, rest) = split(help);
        let mut flags = flags(before_settings);
        flags.sort_unstable();
        assert_eq!(flags, own, "{help}");
        // The name of the variable is shown with each setting.
        let variables = rest.matches("[env: ").count();
        assert_eq!(settings(help).len(), variables, "{help}");
        assert!(variables > 30, "{help}");
    }
    assert_eq!(settings(&all), settings(&serve));
    let of_serve = settings_read_by("serve");
    let listed = settings(&serve);
    let missing: Vec<_> = of_serve.difference(&listed).collect();
    assert_eq!(missing, [""; 0]);
}
