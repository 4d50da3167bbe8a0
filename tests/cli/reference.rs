//! The tables of `docs/reference` list what the code has: nothing is missing, and nothing else is
//! listed.

#[path = "reference/commands.rs"]
mod commands;
#[path = "reference/metrics.rs"]
mod metrics;
#[path = "reference/shown.rs"]
mod shown;
#[path = "reference/table.rs"]
mod table;

use clap::Args;
use contact_service::{
    api::{
        self,
        auth::{Rpc, Scope},
        proto::{self, ErrorReason, FieldViolationReason},
    },
    config::{Settings, telemetry_variables},
    domain::audit::{Actor, EventKind},
    error::TokenFault,
    storage::{Distribution, TABLE_DISTRIBUTIONS},
};

use self::table::{Row, assert_listed, read, rows};

const ERRORS: &str = "docs/reference/errors.md";
const SCOPES: &str = "docs/reference/scopes.md";
const RPCS: &str = "docs/reference/rpcs.md";
const CONFIGURATION: &str = "docs/reference/configuration.md";
const EVENTS: &str = "docs/reference/events.md";
const IDENTITY_PROVIDERS: &str = "docs/guides/identity-providers.md";
const SCALING: &str = "docs/operations/scaling.md";

/// Returns the reasons of the contract without their prefix, each with the code that its comment
/// begins with. A test of `src/api/status.rs` compares the comments with the code.
fn reasons() -> Vec<(&'static str, String)> {
    let contract = read("proto/contact/v1/errors.proto");
    let reasons = (1..).map_while(|number| ErrorReason::try_from(number).ok());
    let with_code = reasons.map(|reason| {
        let name = reason.as_str_name();
        let (before, _) = contract.split_once(&format!("  {name} = ")).unwrap();
        let (_, comment) = before.rsplit_once("\n\n  // ").unwrap();
        let (code, _) = comment.split_once(':').unwrap();
        (name.strip_prefix("ERROR_REASON_").unwrap(), code.to_owned())
    });
    with_code.collect()
}

#[test]
fn errors_page_lists_all_reasons_with_their_codes() {
    let listed = rows(ERRORS, "reason").into_iter().map(|row| {
        let reason = row.code("reason").unwrap();
        format!("{reason}, {}", row.cell("code"))
    });
    let existing = reasons().into_iter();
    let existing = existing.map(|(reason, code)| format!("{reason}, {code}"));
    assert_listed(ERRORS, listed, existing);
}

#[test]
fn errors_page_lists_all_reasons_of_violations() {
    let listed = rows(ERRORS, "violation").into_iter();
    let listed = listed.map(|row| row.code("violation").unwrap().to_owned());
    let existing = (1..).map_while(|number| FieldViolationReason::try_from(number).ok());
    let existing = existing.map(|reason| {
        let name = reason.as_str_name();
        let name = name.strip_prefix("FIELD_VIOLATION_REASON_");
        name.unwrap().to_owned()
    });
    assert_listed(ERRORS, listed, existing);
}

#[test]
fn pages_name_existing_reasons_only() {
    let reasons = reasons();
    let of_results = rows(ERRORS, "reason of a result").into_iter();
    let of_results = of_results.map(|row| row.code("reason of a result").unwrap().to_owned());
    let rpcs = rows(RPCS, "RPC").into_iter();
    let of_rpcs = rpcs
        .filter(|row| row.has("reasons of its own"))
        .flat_map(|row| {
            let names = row.cell("reasons of its own").split(", ");
            let names = names.filter(|name| !name.is_empty());
            names.map(str::to_owned).collect::<Vec<_>>()
        });
    let is_unknown = |name: &String| !reasons.iter().any(|(reason, _)| reason == name);
    let unknown: Vec<_> = of_results.chain(of_rpcs).filter(is_unknown).collect();
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn identity_providers_page_lists_all_causes_of_rejected_tokens() {
    let mut listed: Vec<_> = rows(IDENTITY_PROVIDERS, "cause")
        .iter()
        .map(|row| row.cell("cause").to_owned())
        .collect();
    // MALFORMED has a line with a claim and one without.
    listed.dedup();
    let existing = TokenFault::ALL.map(|cause| cause.as_str().to_owned());
    assert_listed(IDENTITY_PROVIDERS, listed, existing);
}

/// Returns the scopes that admit a token to each RPC, as `GetCustomer: customers.read`.
fn scopes_of_rpcs() -> Vec<String> {
    let scopes = api::methods().into_iter().flat_map(|method| {
        let rpc = Rpc::at(&format!("/{method}")).unwrap();
        let scopes = [Some(rpc.scope), rpc.alternative_scope];
        let scopes = scopes.into_iter().flatten();
        let lines = scopes.map(|scope| format!("{}: {}", rpc.name(), scope.as_str()));
        lines.collect::<Vec<_>>()
    });
    scopes.collect()
}

#[test]
fn scopes_page_lists_the_scopes_of_all_rpcs() {
    let rows = rows(SCOPES, "scope");
    let listed = rows.iter().flat_map(|row| {
        let scope = row.code("scope").unwrap();
        let rpcs = row.cell("RPCs").split(", ");
        rpcs.map(move |rpc| format!("{rpc}: {scope}"))
    });
    assert_listed(SCOPES, listed, scopes_of_rpcs());
    let listed = rows.iter().map(|row| row.code("scope").unwrap().to_owned());
    let existing = Scope::ALL.map(|scope| scope.as_str().to_owned());
    assert_listed(SCOPES, listed, existing);
}

#[test]
fn rpcs_page_lists_all_rpcs_with_their_scopes() {
    let rows = rows(RPCS, "RPC").into_iter();
    let listed = rows.filter(|row| row.has("scope")).flat_map(|row| {
        let rpc = row.cell("RPC").split(' ').next().unwrap();
        let lines = row.codes("scope").map(|scope| format!("{rpc}: {scope}"));
        lines.collect::<Vec<_>>()
    });
    assert_listed(RPCS, listed, scopes_of_rpcs());
}

/// Returns all settings as `LISTEN_ADDR = 127.0.0.1:50051`, or as their names without a default.
fn settings() -> Vec<String> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let settings = command.get_arguments().map(|setting| {
        let name = setting.get_env().unwrap().to_str().unwrap();
        let flag = name.to_lowercase().replace('_', "-");
        assert_eq!(setting.get_long(), Some(flag.as_str()));
        let default = setting.get_default_values().first();
        let default = default.map(|default| default.to_str().unwrap());
        setting_line(name, default)
    });
    settings.collect()
}

fn setting_line(name: &str, default: Option<&str>) -> String {
    default.map_or_else(|| name.to_owned(), |default| format!("{name} = {default}"))
}

/// Returns the setting in a row. A default that is not a code span alone is explained, not set.
fn listed_setting(row: &Row) -> String {
    setting_line(row.code("setting").unwrap(), row.code("default"))
}

#[test]
fn configuration_page_lists_all_settings_with_their_defaults() {
    let listed = rows(CONFIGURATION, "setting");
    assert_listed(CONFIGURATION, listed.iter().map(listed_setting), settings());
}

#[test]
fn configuration_page_lists_all_variables_of_telemetry() {
    let listed = rows(CONFIGURATION, "variable").into_iter();
    let listed = listed.flat_map(|row| row.codes("variable").collect::<Vec<_>>());
    assert_listed(
        CONFIGURATION,
        listed,
        telemetry_variables().map(str::to_owned),
    );
}

#[test]
fn identity_providers_page_lists_all_settings_of_tokens() {
    let listed = rows(IDENTITY_PROVIDERS, "setting");
    let existing = settings().into_iter();
    let existing = existing.filter(|setting| setting.starts_with("JWT_"));
    assert_listed(
        IDENTITY_PROVIDERS,
        listed.iter().map(listed_setting),
        existing,
    );
}

#[test]
fn events_page_lists_all_kinds_and_actors() {
    let (rows_of_kinds, rows_of_details): (Vec<_>, Vec<_>) = rows(EVENTS, "kind")
        .into_iter()
        .partition(|row| row.has("stored as"));
    for kind in rows_of_details.iter().flat_map(|row| row.codes("kind")) {
        assert!(proto::EventKind::from_str_name(&kind).is_some(), "{kind}");
    }
    let listed = rows_of_kinds.iter().map(|row| {
        let (kind, name) = (row.code("kind"), row.code("stored as"));
        format!("{}, {}", kind.unwrap(), name.unwrap())
    });
    let existing = EventKind::ALL.map(|kind| {
        let name = kind.as_str();
        let of_contract = format!("EVENT_KIND_{}", name.to_uppercase().replace('.', "_"));
        assert!(proto::EventKind::from_str_name(&of_contract).is_some());
        format!("{of_contract}, {name}")
    });
    assert_listed(EVENTS, listed, existing);
    let rows_of_actors = rows(EVENTS, "actor");
    let listed = rows_of_actors
        .iter()
        .map(|row| row.code("actor").unwrap().to_owned());
    assert_listed(EVENTS, listed, Actor::RESERVED.map(str::to_owned));
}

#[test]
fn scaling_page_lists_the_distribution_of_every_table() {
    let rows = rows(SCALING, "distribution");
    let listed = rows.iter().flat_map(|row| {
        let tables = row.codes("tables");
        tables.map(|table| format!("{table} {}", row.cell("distribution")))
    });
    let existing = TABLE_DISTRIBUTIONS.map(|(table, distribution)| {
        let distribution = match distribution {
            Distribution::ByCustomer => "by `customer_number`, colocated".to_owned(),
            Distribution::ByKey(column) => format!("by `{column}`"),
            Distribution::Reference => "reference table".to_owned(),
            Distribution::Local => "local, with metadata".to_owned(),
        };
        format!("{table} {distribution}")
    });
    assert_listed(SCALING, listed, existing);
}
