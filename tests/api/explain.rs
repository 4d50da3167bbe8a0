//! Plans of the service's statements: PostgreSQL explains each one (`auto_explain`) and sends the
//! plan as a notice.

use std::{
    collections::BTreeMap,
    fmt, iter,
    sync::{LazyLock, Mutex},
};

use serde_json::Value;
use tokio::sync::MutexGuard;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, util::SubscriberInitExt};

const EXPLAINED: &[(&str, &str)] = &[
    ("session_preload_libraries", "auto_explain"),
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_format", "json"),
    ("auto_explain.log_level", "notice"),
    // Includes statements of triggers and foreign keys.
    ("auto_explain.log_nested_statements", "on"),
];

/// The plan of each executed statement, with its text.
static PLANS: Mutex<Vec<(String, Value)>> = Mutex::new(Vec::new());
/// Serializes the tests of a process, which would receive each other's notices.
static LOCK: LazyLock<tokio::sync::Mutex<()>> = LazyLock::new(tokio::sync::Mutex::default);

struct Notices;

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut Plan);
        }
    }
}

struct Plan;

impl Visit for Plan {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == "message"
            && let Some((_, json)) = text.split_once("plan:")
        {
            let plan: Value = serde_json::from_str(json).unwrap();
            let query = plan["Query Text"].as_str().unwrap().to_owned();
            PLANS.lock().unwrap().push((query, plan["Plan"].clone()));
        }
    }
}

/// Collects plans until the guard is dropped.
pub async fn begin() -> MutexGuard<'static, ()> {
    let guard = LOCK.lock().await;
    let _was_set_before = tracing_subscriber::registry().with(Notices).try_init();
    guard
}

/// Discards the collected plans.
pub fn discard() {
    PLANS.lock().unwrap().clear();
}

/// The collected plans.
pub fn plans() -> Vec<(String, Value)> {
    PLANS.lock().unwrap().clone()
}

/// The URL of a database that explains each statement, with additional settings.
pub fn explained(url: &str, further: &[(&str, &str)]) -> String {
    with_options(url, EXPLAINED.iter().chain(further))
}

/// The URL of a database with settings for its sessions.
pub fn with_options<'a>(
    url: &str,
    options: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
) -> String {
    let options = options.into_iter();
    let options = options.map(|(name, value)| format!("options[{name}]={value}"));
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{}", options.collect::<Vec<_>>().join("&"))
}

/// The nodes of a plan, the outermost first.
fn nodes(plan: &Value) -> Vec<&Value> {
    let inner = plan["Plans"].as_array().into_iter().flatten();
    iter::once(plan).chain(inner.flat_map(nodes)).collect()
}

/// Full table scans among the plan's nodes.
pub fn full_scans(plan: &Value, small: &[&str], found: &mut Vec<String>) {
    for node in nodes(plan) {
        let kind = node["Node Type"].as_str().unwrap_or_default();
        let table = node["Relation Name"].as_str().unwrap_or_default();
        let goes_by_keys = node.get("Index Cond").is_some() || node.get("TID Cond").is_some();
        let is_limited = kind.starts_with("Index") && node.get("Filter").is_none();
        if kind.ends_with("Scan")
            && kind != "Bitmap Heap Scan"
            && !table.is_empty()
            && !small.contains(&table)
            && !goes_by_keys
            && !is_limited
        {
            found.push(format!("{kind} on {table}"));
        }
    }
}

/// The indexes of a plan, and their conditions.
pub fn lookups(plan: &Value) -> String {
    let lookup = |node: &Value| {
        let index = node["Index Name"].as_str()?;
        Some(format!("{index} {} ", node["Index Cond"]))
    };
    nodes(plan).into_iter().filter_map(lookup).collect()
}

/// Scans of an index that do not descend to the customer: they read the rows of other customers too.
pub fn scans_of_other_customers(plan: &Value, selective: &[&str], found: &mut Vec<String>) {
    for node in nodes(plan) {
        let condition = node["Index Cond"].as_str().unwrap_or_default();
        if let Some(index) = node["Index Name"].as_str()
            && !selective.contains(&index)
            && !condition.contains("customer_number")
        {
            found.push(format!("{index} ({condition})"));
        }
    }
}

/// Scans with a condition that is not about the first column of their index: they read all of it.
pub fn scans_of_whole_indexes(
    plan: &Value,
    first_columns: &BTreeMap<String, String>,
    found: &mut Vec<String>,
) {
    for node in nodes(plan) {
        if let (Some(index), Some(condition)) =
            (node["Index Name"].as_str(), node["Index Cond"].as_str())
            && let Some(column) = first_columns.get(index)
            && !condition.contains(column.as_str())
        {
            found.push(format!("all of {index} ({condition})"));
        }
    }
}
