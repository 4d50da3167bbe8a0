//! The structure of the sources: arrows that ARCHITECTURE.md does not draw fail here, and so do circles
//! of files, files outside of the modules, files and functions that are too long, and migrations that
//! an older version would not survive.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/lengths.rs"]
mod lengths;
#[path = "architecture/names.rs"]
mod names;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/schema.rs"]
mod schema;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;

use self::{
    circles::circles,
    lengths::long_functions,
    names::Names,
    rules::{cited_rules, read_rules},
};

/// The modules of the binary, which may name all of the crate.
const COMMAND_LINE: [&str; 2] = ["main", "cli"];

/// The paths of this crate that a module may name besides itself; a file outside of every module fails.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "api",
            "app",
            "brand",
            "mail",
            "web",
            "storage",
            "error",
            "crypto::keyring",
            "connection_limit",
            "observability",
        ],
    ),
    (
        "api",
        &[
            "app",
            "domain",
            "error",
            "clock",
            "crypto::keyring",
            "connection_limit",
            "localization",
            "observability",
        ],
    ),
    (
        "app",
        &[
            "storage",
            "mail::MailSignal",
            "mail::MailFolder",
            "domain",
            "clock",
            "crypto",
            "error",
            "failpoint",
            "observability::metrics",
        ],
    ),
    (
        "mail",
        &[
            "storage",
            "brand",
            "domain",
            "clock",
            "crypto::keyring",
            "crypto::one_time_code",
            "crypto::random",
            "error",
            "failpoint",
            "observability::metrics",
        ],
    ),
    (
        "web",
        &[
            "app",
            "brand",
            "domain",
            "error",
            "connection_limit",
            "localization",
            "observability::metrics",
        ],
    ),
    (
        "storage",
        &[
            "domain",
            "error",
            "observability::metrics",
            "observability::request",
            "observability::statement",
        ],
    ),
    ("domain", &["error"]),
    (
        "config",
        &[
            "api::auth::AuthSettings",
            "api::auth::KeySource",
            "brand",
            "crypto::keyring::VersionedKeys",
            "crypto::password_hasher::HashCost",
            "mail::HeloName",
            "mail::PublicUrl",
            "mail::Sender",
            "mail::SmtpUrl",
            "server::TlsFiles",
            "storage::DatabaseUrl",
            "error",
        ],
    ),
    ("observability", &["config", "error"]),
    ("crypto", &["domain", "error"]),
    ("brand", &["error"]),
    ("connection_limit", &["observability::metrics"]),
    ("localization", &[]),
    ("failpoint", &[]),
    ("clock", &[]),
    ("error", &[]),
];

/// Libraries that only some modules may name.
const OWNERS: &[(&str, &[&str])] = &[
    ("tonic", &["api", "server", "cli::healthcheck"]),
    ("tonic_health", &["server", "cli::healthcheck"]),
    ("tonic_reflection", &["server"]),
    ("tonic_types", &["api"]),
    ("tonic_web", &["api"]),
    ("tonic_prost", &["api"]),
    ("prost", &["api"]),
    ("prost_types", &["api", "server::testing"]),
    ("prost_reflect", &["api"]),
    ("sea_orm", &["storage"]),
    ("sea_orm_migration", &["storage"]),
    ("sqlx", &["storage"]),
    ("lettre", &["mail"]),
    ("mail_parser", &["mail"]),
    ("argon2", &["crypto::password_hasher"]),
    ("thread_priority", &["crypto::password_hasher"]),
    ("flume", &["crypto::password_hasher"]),
    ("quick_cache", &["api", "storage"]),
    (
        "csv",
        &["cli::resolve", "cli::report_bounces", "cli::import"],
    ),
    ("encoding_rs", &["cli::import"]),
    ("indicatif", &["cli::resolve", "cli::progress"]),
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("minijinja", &["mail", "web"]),
    ("fluent_bundle", &["localization"]),
    ("png", &["brand"]),
    ("fail", &["failpoint", "main"]),
    // Not the library's name: its own module has the same.
    ("metrics::counter", &["observability"]),
    ("metrics::gauge", &["observability"]),
    ("metrics::histogram", &["observability"]),
    ("metrics_exporter_prometheus", &["observability"]),
    ("opentelemetry", &["observability"]),
    ("opentelemetry_sdk", &["observability"]),
    ("opentelemetry_otlp", &["observability"]),
    ("tracing_opentelemetry", &["observability"]),
    ("metrics_process", &["observability"]),
    ("rustix", &["server"]),
    ("x509_cert", &["server"]),
    ("rustls", &["server", "mail"]),
    ("tokio_rustls", &["server", "mail"]),
    ("tracing_appender", &["observability"]),
    ("curve25519_dalek", &["api"]),
    ("std::env", &["main", "cli", "config"]),
];

/// What the pure domain does not touch: I/O, the time, randomness, threads.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "aws_lc_rs",
    "chrono::Utc::now",
    "chrono::Local",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 70;
const VAGUE_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "misc", "utils"];

fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every arrow of a module that is not drawn in the tables above.
fn forbidden_arrows(module: &str, source: &str) -> Vec<String> {
    let layer = module.split("::").next().unwrap();
    let may_name_all = COMMAND_LINE.contains(&layer);
    let row = ARROWS.iter().find(|(name, _)| *name == layer);
    let Some((_, allowed)) = row.or(may_name_all.then_some(&("", &[]))) else {
        return vec![format!("{module}: is not in the table of arrows")];
    };
    let is_forbidden = |path: &str| {
        if let Some(inside) = path.strip_prefix("crate::") {
            let may_name = |allowed: &&str| is_within(inside, allowed);
            return !may_name_all && !is_within(inside, layer) && !allowed.iter().any(may_name);
        }
        let is_foreign = |&(library, owners): &(&str, &[&str])| {
            is_within(path, library) && !owners.iter().any(|owner| is_within(module, owner))
        };
        OWNERS.iter().any(is_foreign)
            || (layer == "domain" && NOT_IN_DOMAIN.iter().any(|library| is_within(path, library)))
    };
    let mut forbidden: Vec<_> = Names::of(module, source)
        .into_iter()
        .filter(|path| is_forbidden(path))
        .map(|path| format!("{module}: may not name {path}"))
        .collect();
    forbidden.dedup();
    forbidden
}

/// The checkout, asked for when the test runs: another one may have built it.
fn root() -> PathBuf {
    std::env::var("CARGO_MANIFEST_DIR").unwrap().into()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    files(folder, &["rs"])
}

fn files(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = root();
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if extensions
                .iter()
                .any(|e| path.extension() == Some(e.as_ref()))
            {
                let source = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), source));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found.sort();
    found
}

fn module_of(path: &Path) -> String {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let segments = path.iter().map(|segment| segment.to_str().unwrap());
    segments.collect::<Vec<_>>().join("::")
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn only_the_arrows_of_the_architecture_are_drawn() {
    let sources = sources("src");
    let modules = sources.iter().filter(|(path, _)| !path.ends_with("lib.rs"));
    let wrong: Vec<_> = modules
        .flat_map(|(path, source)| forbidden_arrows(&module_of(path), source))
        .collect();
    assert_none(&wrong);
}

/// A file is understood without those that name it.
#[test]
fn no_files_name_one_another_in_a_circle() {
    let sources = sources("src").into_iter();
    let files: Vec<_> = sources
        .map(|(path, source)| (module_of(&path), source))
        .collect();
    let found = circles(&files);
    let lines = found.iter().map(|circle| circle.join(" "));
    assert_none(&lines.collect::<Vec<_>>());
}

#[rstest]
#[case::of_two("use super::b::B;", "use super::a::A;")]
#[case::through_the_root("use super::B;", "")]
#[case::by_a_path("fn f() { crate::module::b::f() }", "fn f(a: &super::a::A) {}")]
fn a_circle_is_found(#[case] a: &str, #[case] b: &str) {
    let files = [
        ("module", "pub use self::{a::A, b::B};"),
        ("module::a", a),
        ("module::b", b),
    ];
    let files = files.map(|(module, source)| (module.to_owned(), source.to_owned()));
    assert_eq!(circles(&files).len(), 1);
}

#[test]
fn files_that_name_others_downwards_are_no_circle() {
    let files = [
        ("module", "pub use self::{a::A, b::B};"),
        (
            "module::a",
            "use super::b::B; #[cfg(test)] mod tests { use crate::module::A; }",
        ),
        (
            "module::b",
            "#[cfg(test)] mod tests { use crate::module::a::A; }",
        ),
    ];
    let files = files.map(|(module, source)| (module.to_owned(), source.to_owned()));
    assert_eq!(circles(&files), [[""; 0]; 0]);
}

#[test]
fn no_file_and_no_function_is_too_long_to_be_read_at_once() {
    let mut wrong = Vec::new();
    for (path, source) in sources("src").into_iter().chain(sources("tests")) {
        let path = path.display();
        let lines = source.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{path}: has {lines} lines"));
        }
        let long = long_functions(&source).into_iter();
        wrong.extend(long.map(|name| format!("{path}: {name} is over {LONGEST_FUNCTION} lines")));
    }
    assert_none(&wrong);
}

#[test]
fn every_rule_of_the_domain_is_enforced_and_tested() {
    let page = fs::read_to_string(root().join("docs/reference/domain-rules.md")).unwrap();
    let rules = read_rules(&page);
    let mut wrong = Vec::new();
    for (number, rule) in &rules {
        if !rule.has_statement || !rule.has_source || rule.enforced_by.is_empty() {
            wrong.push(format!(
                "rule {number}: has no statement, source or function"
            ));
        }
        for (file, function) in &rule.enforced_by {
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            let is_there = ["(", "<"].map(|end| source.contains(&format!("fn {function}{end}")));
            if is_there == [false, false] {
                wrong.push(format!("rule {number}: {file} has no function {function}"));
            }
        }
    }
    let mut tested = BTreeSet::new();
    let sources = files("src", &["rs"]).into_iter();
    for (path, source) in sources.chain(files("tests", &["rs", "py"])) {
        let cited = cited_rules(&source);
        let unknown = cited.iter().filter(|number| !rules.contains_key(number));
        wrong.extend(unknown.map(|number| format!("{}: rule {number} is unknown", path.display())));
        // The checks of the sources quote numbers of rules that they do not test.
        if path.starts_with("tests") && !path.starts_with("tests/architecture") {
            tested.extend(cited);
        }
    }
    let untested = rules.keys().filter(|number| !tested.contains(number));
    wrong.extend(untested.map(|number| format!("rule {number}: no test cites it")));
    assert_none(&wrong);
}

#[rstest]
#[case("Rule 16: the limits", &[16])]
#[case("see rules 7, 8 and 10.", &[7, 8, 10])]
#[case("(rules 13 to 15, 20)", &[13, 14, 15, 20])]
#[case("these rules hold for 3 of 4", &[])]
#[case("rule 2, whatever 3 others do", &[2])]
fn citations_of_rules_are_read(#[case] text: &str, #[case] expected: &[u32]) {
    assert_eq!(Vec::from_iter(cited_rules(text)), expected);
}

#[test]
fn every_file_says_what_it_owns_and_has_a_name_that_tells() {
    let mut wrong = Vec::new();
    for (path, source) in sources("src").into_iter().chain(sources("tests")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "mod" || VAGUE_NAMES.contains(&name) {
            wrong.push(format!("{}: has a name that says nothing", path.display()));
        }
        if path.starts_with("src") && !source.starts_with("//! ") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
    }
    assert_none(&wrong);
}

#[rstest]
#[case::a_use_upwards("storage", "use crate::app::App;")]
#[case::a_use_past_a_layer("api::contacts", "use crate::{error::Error, storage::Database};")]
#[case::a_group_in_a_group("api", "use crate::{app::{App}, storage::{self, Outcome}};")]
#[case::a_path_in_an_expression("app::contacts", "fn f() { crate::api::convert::x() }")]
#[case::a_path_in_a_type("app", "fn f(a: &crate::config::Config) {}")]
#[case::a_path_in_a_macro("app", "fn f() { tracing::info!(x = crate::api::x()) }")]
#[case::a_path_in_a_visibility("app", "pub(in crate::api) fn f() {}")]
#[case::a_relative_path("storage::contacts", "use super::super::app::App;")]
#[case::a_relative_path_of_a_nested_module("domain", "mod tests { use super::super::app::App; }")]
#[case::a_renamed_crate("domain", "use crate as everything;")]
#[case::everything_of_the_crate("app", "use crate::*;")]
#[case::more_of_a_module_than_is_allowed("config", "use crate::api::auth::Authenticator;")]
#[case::a_module_without_a_row("cache", "")]
#[case::tonic_in_a_use("app", "use tonic::Status;")]
#[case::tonic_in_an_attribute("app", "#[tonic::async_trait] impl A for B {}")]
#[case::tonic_in_a_type("error", "impl From<tonic::Status> for Error {}")]
#[case::tonic_in_a_derive("domain", "#[derive(prost::Message)] struct A;")]
#[case::an_extern_crate("app", "extern crate tonic;")]
#[case::the_database_in_a_use("error", "use sea_orm::DbErr;")]
#[case::the_database_in_an_expression("app", "fn f() { let _ = sea_orm::DbBackend::Sqlite; }")]
#[case::the_database_below_a_root_path("api", "use ::sqlx::Connection;")]
#[case::a_migration_outside_of_storage("server", "use sea_orm_migration::MigratorTrait;")]
#[case::a_task_in_the_domain("domain::contact", "fn f() { tokio::spawn(g()); }")]
#[case::a_file_in_the_domain("domain", "use std::{fmt, fs};")]
#[case::a_socket_in_the_domain("domain", "fn f(a: std::net::TcpStream) {}")]
#[case::the_time_in_the_domain("domain", "fn f() { std::time::SystemTime::now(); }")]
#[case::the_layer_above_in_the_domain("domain", "use crate::clock::Clock;")]
fn an_arrow_that_is_not_drawn_is_found(#[case] module: &str, #[case] source: &str) {
    assert_ne!(forbidden_arrows(module, source), [""; 0], "{source}");
}

#[rstest]
#[case("api::contacts", "use crate::{api::convert, app::App, domain};")]
#[case("api", "use tonic::Status; pub(crate) fn f() { tonic::Code::Ok; }")]
#[case("storage::contacts", "use super::entity; use sea_orm::Set;")]
#[case("domain::contact", "use std::fmt; mod tests { use super::*; }")]
#[case("config", "use crate::storage::DatabaseUrl;")]
#[case("main", "use contact_service::{storage::Database, config::Config};")]
#[case(
    "domain",
    "/// See crate::app and tonic::Status.\nfn app() { let storage = 1; }"
)]
fn an_arrow_that_is_drawn_passes(#[case] module: &str, #[case] source: &str) {
    assert_none(&forbidden_arrows(module, source));
}

#[rstest]
#[case::a_method(
    "impl A {\n    pub(super) async fn long(\n        &self,\n    ) -> B {",
    "    }\n}"
)]
#[case::with_bounds("fn long<T>(work: T) -> B\nwhere\n    T: C,\n{", "}")]
#[case::a_plain_one("fn long() {", "}")]
fn a_function_over_the_limit_is_found(#[case] head: &str, #[case] foot: &str) {
    let of_length = |lines: usize| {
        let body = "        if a {\n        }\n".repeat(lines / 2);
        format!("fn short() {{ a }}\n\n{head}\n{body}{foot}\n\nfn last() {{\n}}\n")
    };
    assert_none(&long_functions(&of_length(LONGEST_FUNCTION)));
    assert_eq!(long_functions(&of_length(LONGEST_FUNCTION + 2)), ["long"]);
}
