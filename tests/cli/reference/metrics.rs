//! The tables of metrics and label values, compared with the text of `/metrics`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use contact_service::{
    api,
    observability::metrics::{Metrics, phone_password_hashes},
};

use super::table::{assert_listed, names, read, rows};

const PAGE: &str = "docs/reference/metrics.md";
const LIMITS: &str = "docs/operations/client-limits.md";
/// The folder and the file of the sources that declare metrics.
const SOURCES: [&str; 2] = ["src/observability/metrics", "src/observability/metrics.rs"];
/// The beginnings of the names of metrics, and of labels that OpenTelemetry defines.
const PREFIXES: [&str; 3] = ["contact_", "rpc_", "db_client_"];
/// Labels of histograms in the text format itself.
const OF_FORMAT: [&str; 2] = ["le", "quantile"];
/// Labels whose values the page does not list: they are the contract's, the versions of a
/// deployment, or listed on the page of limits.
const OPEN_LABELS: [&str; 6] = [
    "limit",
    "pepper_version",
    "reason",
    "rpc_method",
    "rpc_response_status_code",
    "version",
];

/// A metric as `/metrics` shows it.
#[derive(Debug, Default)]
struct Metric {
    kind: String,
    /// The values of each label.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// All metrics before the first request. A process can install its recorder only once.
static METRICS: LazyLock<BTreeMap<String, Metric>> = LazyLock::new(|| {
    let metrics = Metrics::install(&api::methods()).unwrap();
    // Servers register it once they have counted the versions of stored hashes.
    phone_password_hashes(1, None);
    parse(&metrics.render())
});

/// Parses the text format of Prometheus, in which the type of a metric precedes its samples.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            let metric = Metric {
                kind: kind.to_owned(),
                ..Metric::default()
            };
            metrics.insert(name.to_owned(), metric);
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            let (sample, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let suffixes = ["", "_bucket", "_sum", "_count"].into_iter();
            let mut names = suffixes.filter_map(|suffix| sample.strip_suffix(suffix));
            let name = names.find(|name| metrics.contains_key(*name)).unwrap();
            add_labels(metrics.get_mut(name).unwrap(), labels);
        }
    }
    metrics
}

/// Adds the labels of a sample, such as `outcome="sent",le="5"}`.
fn add_labels(metric: &mut Metric, labels: &str) {
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once("=\"").unwrap();
        if !OF_FORMAT.contains(&name) {
            let values = metric.labels.entry(name.to_owned()).or_default();
            values.insert(value.trim_end_matches(['"', '}']).to_owned());
        }
    }
}

fn metric_line(name: &str, kind: &str, labels: impl IntoIterator<Item = String>) -> String {
    let labels: BTreeSet<_> = labels.into_iter().collect();
    format!("{name}, {kind}, {labels:?}")
}

#[test]
fn metrics_page_lists_all_metrics_with_type_and_labels() {
    let rows = rows(PAGE, "metric");
    let listed = rows.iter().map(|row| {
        let name = row.code("metric").unwrap();
        metric_line(name, row.cell("type"), row.codes("labels"))
    });
    let existing = METRICS.iter();
    let existing = existing
        .map(|(name, metric)| metric_line(name, &metric.kind, metric.labels.keys().cloned()));
    assert_listed(PAGE, listed, existing);
}

/// A metric that is declared and not registered would be missing above.
#[test]
fn all_declared_metrics_are_registered_at_start() {
    let [folder, file] = SOURCES;
    let files = names(folder).into_iter();
    let files = files.map(|name| read(&format!("{folder}/{name}")));
    let sources: String = files.chain([read(file)]).collect();
    let is_name = |text: &&str| {
        let is_snake_case = text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_snake_case && PREFIXES.iter().any(|prefix| text.starts_with(prefix))
    };
    let mut declared: BTreeSet<_> = sources.split('"').filter(is_name).collect();
    for metric in METRICS.values() {
        declared.retain(|name| !metric.labels.contains_key(*name));
    }
    let registered = METRICS.keys().map(String::as_str);
    // Those of the process are declared by a library.
    let registered = registered.filter(|name| !name.starts_with("process_"));
    assert_eq!(declared, registered.collect());
}

#[test]
fn metrics_page_lists_all_values_of_labels() {
    let rows = rows(PAGE, "label").into_iter();
    let listed = rows.filter_map(|row| {
        let name = row.codes("label").next().unwrap();
        let values: BTreeSet<_> = row.codes("values").collect();
        (!OPEN_LABELS.contains(&name.as_str())).then(|| format!("{name}: {values:?}"))
    });
    let mut existing: BTreeSet<_> = METRICS
        .values()
        .flat_map(|metric| &metric.labels)
        .filter(|(name, _)| !OPEN_LABELS.contains(&name.as_str()))
        .collect();
    // Metrics share a label, and one of them may have some of its values only.
    let all = existing.clone();
    existing.retain(|(name, values)| {
        let mut of_others = all
            .iter()
            .filter(|(other, more)| other == name && more != values);
        !of_others.any(|(_, more)| values.is_subset(more))
    });
    let existing = existing
        .iter()
        .map(|(name, values)| format!("{name}: {values:?}"));
    assert_listed(PAGE, listed, existing);
}

#[test]
fn client_limits_page_lists_all_limits() {
    let rows = rows(LIMITS, "limit").into_iter();
    // Limits without a label are not counted.
    let listed = rows.filter_map(|row| row.code("limit").map(str::to_owned));
    let existing = &METRICS["contact_limit_hits_total"].labels["limit"];
    assert_listed(LIMITS, listed, existing.iter().cloned());
}
