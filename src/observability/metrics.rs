//! The metrics, under their names at `/metrics`.
//!
//! Names and labels follow the conventions of OpenTelemetry where they exist, in the form of
//! Prometheus. Labels hold no personal data. Without [`Metrics::install`] nothing is recorded.

#[macro_use]
mod label;
mod database;
mod instance;
mod limits;
mod log_lines;
mod mail;
mod readiness;

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use metrics::{Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::{
    database::{
        DatabaseOperation, DatabasePoolName, Pool, SharedQuery, connections, database_operation,
        replica_fallback, shared_query, transaction_wait, unreachable_nodes,
    },
    instance::{OpenStream, StreamKind, certificate_expiry, feed_complete},
    limits::{Limit, limit_hit},
    log_lines::count_dropped_log_lines,
    mail::{
        DeliveryResult, MailOutcome, OutboxDepth, RejectionClass, delivery_failure_burst,
        delivery_report, mail, mail_rejection, outbox,
    },
    readiness::{NotReady, ready},
};

const REQUEST_DURATION: &str = "rpc_server_call_duration_seconds";
const REQUESTS_IN_FLIGHT: &str = "contact_requests_in_flight";
const REQUEST_ERRORS: &str = "contact_request_errors_total";
const EMAIL_CONFIRMATIONS: &str = "contact_email_confirmations_total";
const PHONE_PASSWORD_CHECKS: &str = "contact_phone_password_checks_total";
const ONE_TIME_CODE_CHECKS: &str = "contact_one_time_code_checks_total";
const CUSTOMER_SEARCHES: &str = "contact_customer_searches_total";
const PHONE_PASSWORD_LOCKS: &str = "contact_phone_password_locks_total";
const FAILED_CONTACTS: &str = "contact_phone_password_failed_contacts";
const PHONE_PASSWORD_HASHES: &str = "contact_phone_password_hashes";
const MISSING_PEPPER_VERSIONS: &str = "contact_missing_pepper_versions";
const PHONE_ORDERS: &str = "contact_phone_orders_total";
const TOKEN_KEYS_AGE: &str = "contact_token_keys_age_seconds";
const TOKEN_KEYS_MAX_STALE: &str = "contact_token_keys_max_stale_seconds";
const UNSENT_RESPONSE_BYTES: &str = "contact_unsent_response_bytes";
const BUILD_INFO: &str = "contact_build_info";

/// The code of successful RPCs.
const SUCCESS: &str = "OK";

const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0,
];
const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The reasons that alerts query; other reasons appear with their first error.
const WATCHED_REASONS: [&str; 6] = [
    "DATABASE_UNAVAILABLE",
    "TOKEN_KEYS_UNAVAILABLE",
    "OVERLOADED",
    "DEADLINE",
    "INTERNAL",
    "DATA_LOSS",
];

/// The handles of metrics that every request records: looking one up takes longer than recording.
static IN_FLIGHT: OnceLock<Gauge> = OnceLock::new();
/// The same for the durations of successful RPCs, by method.
static SUCCESS_DURATIONS: OnceLock<HashMap<String, Histogram>> = OnceLock::new();

/// The recorder of all metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Metrics(…)")
    }
}

impl Metrics {
    /// Installs the recorder, with all metrics at zero. `methods` are the RPCs, as in [`request_completed`].
    ///
    /// # Errors
    /// The cause in one line, such as a recorder that was installed before.
    pub fn install(methods: &[String]) -> Result<Self, String> {
        let full = |name: &str| Matcher::Full(name.to_owned());
        let failed =
            |error: &dyn std::fmt::Display| format!("failed to install the metrics: {error}");
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(full(REQUEST_DURATION), &SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(full(database::CONNECTION_WAIT), &SECONDS)
            })
            .and_then(|builder| {
                builder.set_buckets_for_metric(full(database::OPERATION_DURATION), &SECONDS)
            })
            .and_then(|builder| {
                builder.set_buckets_for_metric(full(database::SHARED_QUERY_SIZE), &SIZES)
            })
            .map_err(|error| failed(&error))?
            .build_recorder();
        let metrics = Self(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
        describe();
        init_to_zero();
        database::register();
        instance::register();
        limits::register();
        mail::register();
        readiness::register();
        log_lines::register();
        let durations = methods
            .iter()
            .map(|method| (method.clone(), request_duration(method, SUCCESS)));
        SUCCESS_DURATIONS.get_or_init(|| durations.collect());
        Ok(metrics)
    }

    /// Renders the text of `/metrics`.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Aggregates the recorded samples, which grow in memory until then. Call it periodically.
    pub fn run_upkeep(&self) {
        log_lines::update();
        instance::update();
        self.0.run_upkeep();
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(REQUEST_DURATION, Unit::Seconds, "Duration of RPCs");
    describe_gauge!(
        REQUESTS_IN_FLIGHT,
        "RPCs in flight; a stream counts until it begins"
    );
    describe_counter!(REQUEST_ERRORS, "Failed RPCs, by the reason in ErrorInfo");
    describe_counter!(
        EMAIL_CONFIRMATIONS,
        "Confirmations of e-mail addresses, by outcome"
    );
    describe_counter!(
        PHONE_PASSWORD_CHECKS,
        "Checks of phone passwords, by verdict"
    );
    describe_counter!(ONE_TIME_CODE_CHECKS, "Checks of one-time codes, by verdict");
    describe_counter!(
        CUSTOMER_SEARCHES,
        "Searches for the customers of a phone number or e-mail address, by result"
    );
    describe_counter!(
        PHONE_PASSWORD_LOCKS,
        "Failed checks that locked a phone password"
    );
    describe_gauge!(
        FAILED_CONTACTS,
        "Contacts with failed phone password checks within the last hour and no match since: the maximum of an agent, and all"
    );
    describe_gauge!(
        PHONE_PASSWORD_HASHES,
        "Stored hashes of unrevoked phone passwords, by pepper version"
    );
    describe_gauge!(
        MISSING_PEPPER_VERSIONS,
        "Pepper versions of stored hashes that are not configured"
    );
    describe_counter!(PHONE_ORDERS, "Decisions about phone orders");
    describe_resources();
}

fn describe_resources() {
    use metrics::describe_gauge;
    describe_gauge!(
        TOKEN_KEYS_AGE,
        Unit::Seconds,
        "Age of the cached keys of tokens"
    );
    describe_gauge!(
        TOKEN_KEYS_MAX_STALE,
        Unit::Seconds,
        "Maximum age of the cached keys of tokens (JWT_JWKS_MAX_STALE)"
    );
    describe_gauge!(
        UNSENT_RESPONSE_BYTES,
        Unit::Bytes,
        "Bytes of responses that clients have not read yet"
    );
    describe_gauge!(BUILD_INFO, "1; the version is a label");
}

/// Initializes the counters, as a rate needs a first sample.
fn init_to_zero() {
    for reason in WATCHED_REASONS {
        counter!(REQUEST_ERRORS, "reason" => reason).increment(0);
    }
    for outcome in ConfirmationOutcome::ALL {
        counter!(EMAIL_CONFIRMATIONS, "outcome" => outcome.as_str()).increment(0);
    }
    for verdict in Verdict::ALL {
        counter!(PHONE_PASSWORD_CHECKS, "verdict" => verdict.as_str()).increment(0);
        counter!(ONE_TIME_CODE_CHECKS, "verdict" => verdict.as_str()).increment(0);
    }
    for result in SearchResult::ALL {
        counter!(CUSTOMER_SEARCHES, "result" => result.as_str()).increment(0);
    }
    counter!(PHONE_PASSWORD_LOCKS).increment(0);
    missing_pepper_versions(0);
    failed_contacts(FailedContacts::default());
    for decision in ["allowed", "denied", "agent_decision"] {
        counter!(PHONE_ORDERS, "decision" => decision).increment(0);
    }
    IN_FLIGHT.get_or_init(|| gauge!(REQUESTS_IN_FLIGHT)).set(0);
    unsent_response_bytes(0);
    token_keys_age(Duration::ZERO, Duration::ZERO);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

label! {
    /// The outcome of a confirmation of an address.
    ConfirmationOutcome {
        /// The address is confirmed now.
        Confirmed => "confirmed",
        /// The address was confirmed before.
        AlreadyConfirmed => "already_confirmed",
        /// The link had expired.
        Expired => "expired",
        /// Another address replaced it.
        Superseded => "superseded",
        /// The link does not exist.
        NotFound => "not_found",
    }
}

label! {
    /// The verdict of a phone password or code check.
    Verdict {
        /// The password or code matched.
        Match => "match",
        /// The password or code did not match.
        NoMatch => "no_match",
        /// Not checked: the password is locked.
        Locked => "locked",
        /// Not checked: the limit of the phone call was reached.
        PhoneCallAttemptLimit => "phone_call_attempt_limit",
        /// Not checked: the limit of the agent was reached.
        AgentBlocked => "agent_blocked",
        /// Not checked: no permit to hash.
        Overloaded => "overloaded",
        /// Not checked: the pepper version of the hash is not configured.
        PepperMissing => "pepper_missing",
    }
}

label! {
    /// The result of a search over all customers.
    SearchResult {
        /// At least one customer was found.
        Found => "found",
        /// No customer was found.
        NotFound => "not_found",
        /// Not searched: the phone number is withheld.
        Withheld => "withheld",
    }
}

/// Counts an RPC as in flight until it is dropped.
#[derive(Debug)]
pub struct RequestInFlight(Option<&'static Gauge>);

impl RequestInFlight {
    /// Begins to count.
    pub fn begin() -> Self {
        Self(IN_FLIGHT.get().inspect(|in_flight| in_flight.increment(1)))
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        if let Some(in_flight) = self.0 {
            in_flight.decrement(1);
        }
    }
}

fn request_duration(method: &str, code: &'static str) -> Histogram {
    histogram!(
        REQUEST_DURATION,
        "rpc_system_name" => "grpc",
        "rpc_method" => method.to_owned(),
        "rpc_response_status_code" => code,
    )
}

/// Records the duration of an RPC of `method`, such as `contact.v1.ContactService/GetContact`; `code`
/// is the name of its status, such as `NOT_FOUND`.
pub fn request_completed(method: &str, code: &'static str, elapsed: Duration) {
    let durations = SUCCESS_DURATIONS.get().filter(|_| code == SUCCESS);
    match durations.and_then(|durations| durations.get(method)) {
        Some(duration) => duration.record(elapsed),
        None => request_duration(method, code).record(elapsed),
    }
}

/// Counts an RPC that failed with `reason`.
pub fn request_failed(reason: &str) {
    counter!(REQUEST_ERRORS, "reason" => reason.to_owned()).increment(1);
}

/// Counts a confirmation.
pub fn email_confirmation(outcome: ConfirmationOutcome) {
    counter!(EMAIL_CONFIRMATIONS, "outcome" => outcome.as_str()).increment(1);
}

/// Counts a check of a phone password.
pub fn phone_password_check(verdict: Verdict) {
    counter!(PHONE_PASSWORD_CHECKS, "verdict" => verdict.as_str()).increment(1);
}

/// Counts a check of a one-time code.
pub fn one_time_code_check(verdict: Verdict) {
    counter!(ONE_TIME_CODE_CHECKS, "verdict" => verdict.as_str()).increment(1);
}

/// Counts a search over all customers.
pub fn customer_search(result: SearchResult) {
    counter!(CUSTOMER_SEARCHES, "result" => result.as_str()).increment(1);
}

/// Counts a lock of a phone password.
pub fn phone_password_lock() {
    counter!(PHONE_PASSWORD_LOCKS).increment(1);
}

/// Contacts with failed phone password checks within the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedContacts {
    /// The maximum of an agent.
    pub max_by_agent: i64,
    /// The contacts of all agents.
    pub total: i64,
}

/// Sets the number of contacts with failed checks.
pub fn failed_contacts(contacts: FailedContacts) {
    for (scope, count) in [("agent", contacts.max_by_agent), ("all", contacts.total)] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(FAILED_CONTACTS, "scope" => scope).set(count);
    }
}

/// Sets the number of stored hashes with a pepper version. `None` becomes NaN: not counted yet, so
/// that the version does not seem unused.
pub fn phone_password_hashes(pepper_version: i64, count: Option<i64>) {
    let version = pepper_version.to_string();
    let count = count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(PHONE_PASSWORD_HASHES, "pepper_version" => version)
        .set(count.map_or(f64::NAN, f64::from));
}

/// Sets the number of pepper versions that stored hashes need and that are not configured.
pub fn missing_pepper_versions(count: usize) {
    gauge!(MISSING_PEPPER_VERSIONS).set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Counts a decision about a phone order; `decision` is the contract's name in lower case.
pub fn phone_order(decision: &'static str) {
    counter!(PHONE_ORDERS, "decision" => decision).increment(1);
}

/// Sets the age of the cached keys of tokens, zero for static keys, and its maximum.
pub fn token_keys_age(age: Duration, max_stale: Duration) {
    gauge!(TOKEN_KEYS_AGE).set(age.as_secs_f64());
    gauge!(TOKEN_KEYS_MAX_STALE).set(max_stale.as_secs_f64());
}

/// Sets the bytes of responses that clients have not read yet.
pub fn unsent_response_bytes(bytes: usize) {
    gauge!(UNSENT_RESPONSE_BYTES).set(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
}
