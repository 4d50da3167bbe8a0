//! What points where, read from the sources: every arrow that ARCHITECTURE.md does
//! not draw fails here, and so do files and functions that grew too long.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;
use syn::visit::{self, Visit};

/// The command line, which may name all of the crate.
const COMMAND_LINE: &str = "main commands command_files demo_calls export_customer healthcheck \
                            import_file mint_token open_database resolve_file";

/// The paths of this crate that a module may name besides itself; an unlisted module fails.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "api",
            "app",
            "mail",
            "web",
            "storage",
            "error",
            "versioned_keys",
            "connection_limit",
            "meters",
        ],
    ),
    (
        "api",
        &[
            "app",
            "domain",
            "error",
            "clock",
            "versioned_keys",
            "call_trace",
            "connection_limit",
            "meters",
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
            "random",
            "error",
            "kill_point",
            "meters",
            "phone_hasher",
            "versioned_keys",
        ],
    ),
    (
        "mail",
        &[
            "storage",
            "domain",
            "clock",
            "random",
            "error",
            "kill_point",
            "meters",
        ],
    ),
    (
        "web",
        &["app", "domain", "error", "connection_limit", "meters"],
    ),
    ("storage", &["domain", "error", "meters"]),
    ("domain", &["error"]),
    (
        "config",
        &[
            "api::auth::AuthSettings",
            "api::auth::KeySource",
            "versioned_keys::VersionedKeys",
            "phone_hasher::HashCost",
            "mail::HeloName",
            "mail::PublicUrl",
            "mail::Sender",
            "mail::SmtpUrl",
            "server::TlsFiles",
            "storage::DatabaseUrl",
            "error",
        ],
    ),
    ("telemetry", &["config", "call_trace", "error", "meters"]),
    ("connection_limit", &["meters"]),
    ("call_trace", &[]),
    ("meters", &[]),
    ("development", &["domain", "random", "error"]),
    ("random", &["error"]),
    ("versioned_keys", &["random", "error"]),
    ("phone_hasher", &["versioned_keys", "memory_limit", "error"]),
    ("memory_limit", &[]),
    ("kill_point", &[]),
    ("clock", &[]),
    ("error", &[]),
];

/// Libraries that only some modules may name.
const OWNERS: &[(&str, &[&str])] = &[
    ("tonic", &["api", "server", "healthcheck"]),
    ("tonic_health", &["server", "healthcheck"]),
    ("tonic_reflection", &["server"]),
    ("tonic_types", &["api"]),
    ("tonic_prost", &["api"]),
    ("prost", &["api"]),
    ("prost_types", &["api"]),
    ("prost_reflect", &["api"]),
    ("sea_orm", &["storage"]),
    ("sea_orm_migration", &["storage"]),
    ("sqlx", &["storage"]),
    ("lettre", &["mail"]),
    ("argon2", &["phone_hasher"]),
    ("thread_priority", &["phone_hasher"]),
    ("flume", &["phone_hasher"]),
    ("quick_cache", &["api", "storage"]),
    ("csv", &["resolve_file", "import_file"]),
    ("encoding_rs", &["import_file"]),
    ("indicatif", &["resolve_file", "command_files"]),
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("minijinja", &["mail", "web"]),
    ("fail", &["kill_point", "main"]),
    ("metrics", &["meters"]),
    ("metrics_exporter_prometheus", &["meters"]),
    ("opentelemetry", &["telemetry", "call_trace"]),
    ("opentelemetry_sdk", &["telemetry", "call_trace"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry", "call_trace"]),
    ("rustix", &["server"]),
    ("rustls", &["server", "mail"]),
    ("tokio_rustls", &["server", "mail"]),
    ("tracing_appender", &["telemetry"]),
    ("curve25519_dalek", &["api"]),
    ("std::env", &["main", "config"]),
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

/// Collects every path that a file names, resolved as far as its text tells.
struct Names {
    module: Vec<String>,
    paths: Vec<String>,
}

impl Names {
    fn of(module: &str, source: &str) -> Vec<String> {
        let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{module}: {error}"));
        let mut names = Self {
            module: module.split("::").map(str::to_owned).collect(),
            paths: Vec::new(),
        };
        names.visit_file(&file);
        names.paths
    }

    fn push(&mut self, segments: &[String]) {
        let mut rest = segments;
        let mut base: Option<Vec<String>> = None;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" | "contact_service" => base = Some(Vec::new()),
                "self" if base.is_none() => base = Some(self.module.clone()),
                "super" => {
                    let mut parent = base.unwrap_or_else(|| self.module.clone());
                    parent.pop();
                    base = Some(parent);
                }
                _ => break,
            }
            rest = others;
        }
        let named = rest.iter().filter(|segment| *segment != "self").cloned();
        let path: Vec<String> = match base {
            Some(base) => ["crate".to_owned()]
                .into_iter()
                .chain(base)
                .chain(named)
                .collect(),
            None => named.collect(),
        };
        self.paths.push(path.join("::"));
    }

    fn push_use(&mut self, tree: &syn::UseTree, mut before: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.push_use(&path.tree, before);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.push_use(tree, before.clone());
                }
            }
            syn::UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.push(&before);
            }
            syn::UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                // A renamed crate would hide everything that is named through it.
                let is_whole_crate = before == ["crate"] || before == ["crate", "self"];
                before.extend(is_whole_crate.then(|| "*".to_owned()));
                self.push(&before);
            }
            syn::UseTree::Glob(_) => {
                before.push("*".to_owned());
                self.push(&before);
            }
        }
    }

    /// The arguments of macros are no syntax yet: their text is searched for paths.
    fn push_tokens(&mut self, tokens: &str) {
        let joined = tokens.replace(" :: ", "::").replace(":: ", "::");
        for word in joined.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c)) {
            if word.contains("::") {
                let segments: Vec<_> = word.split("::").filter(|part| !part.is_empty()).collect();
                let segments: Vec<_> = segments.into_iter().map(str::to_owned).collect();
                self.push(&segments);
            }
        }
    }
}

impl Visit<'_> for Names {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.push_use(&item.tree, Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &syn::ItemExternCrate) {
        self.push(&[item.ident.to_string()]);
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments = path.segments.iter();
        let segments: Vec<_> = segments.map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.push(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.push_tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &syn::MetaList) {
        self.push_tokens(&list.tokens.to_string());
        visit::visit_meta_list(self, list);
    }
}

fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every arrow of a module that is not drawn in the tables above.
fn forbidden_arrows(module: &str, source: &str) -> Vec<String> {
    let layer = module.split("::").next().unwrap();
    let may_name_all = COMMAND_LINE.split(' ').any(|name| name == layer);
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
            is_within(path, library) && !owners.contains(&layer)
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

/// The functions whose bodies are too long: one ends at the first brace as far left as its `fn`.
fn long_functions(source: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    let starts_with_indent = |line: &str, indent: usize| {
        line.len() > indent && line.trim_start().len() == line.len() - indent
    };
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line) else {
            continue;
        };
        let rest = || lines.iter().skip(index);
        let outermost = |line: &&&str| starts_with_indent(line, indent);
        let opened = rest()
            .take_while(|line| !line.ends_with(';') && !line.ends_with('}'))
            .position(|line| starts_with_indent(line, indent) && line.ends_with('{'));
        let Some(opened) = opened else { continue };
        let closed = rest()
            .skip(opened + 1)
            .position(|line| outermost(&line) && line.trim_start().starts_with('}'));
        if closed.is_none_or(|length| length > LONGEST_FUNCTION) {
            found.push(name.to_owned());
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| {
        word.starts_with("pub") || ["in", "async", "const", "unsafe", "extern"].contains(&word)
    };
    let is_function = before.split_whitespace().all(is_qualifier);
    is_function.then(|| after.split(['(', '<']).next())?
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    // Asked when the test runs: another checkout may have built it.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let root = Path::new(&root);
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), source));
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
