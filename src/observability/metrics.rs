//! What is counted and measured, under the names that it has at `/metrics`.
//!
//! Names and labels follow OpenTelemetry's conventions where they have some, in the form
//! that Prometheus gives them. Nothing of a customer is a label. Without
//! [`Metrics::install`] nothing is counted.

use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const CALL_DURATION: &str = "rpc_server_call_duration_seconds";
const CALLS_IN_FLIGHT: &str = "contact_calls_in_flight";
const CALL_ERRORS: &str = "contact_call_errors_total";
const OUTBOX_MAILS: &str = "contact_outbox_mails";
const OUTBOX_OLDEST: &str = "contact_outbox_oldest_age_seconds";
const MAILS: &str = "contact_mails_total";
const MAIL_REJECTIONS: &str = "contact_mail_rejections_total";
const EMAIL_CONFIRMATIONS: &str = "contact_email_confirmations_total";
const PHONE_PASSWORD_CHECKS: &str = "contact_phone_password_checks_total";
const PHONE_PASSWORD_LOCKS: &str = "contact_phone_password_locks_total";
const FAILED_CONTACTS: &str = "contact_phone_password_failed_contacts";
const PHONE_PASSWORD_HASHES: &str = "contact_phone_password_hashes";
const MISSING_PEPPER_VERSIONS: &str = "contact_missing_pepper_versions";
const PHONE_ORDERS: &str = "contact_phone_orders_total";
const SHARED_QUERY_SIZE: &str = "contact_shared_query_size";
const CONNECTIONS: &str = "db_client_connection_count";
const CONNECTION_WAIT: &str = "db_client_connection_wait_time_seconds";
const POOL: &str = "db_client_connection_pool_name";
const TOKEN_KEYS_AGE: &str = "contact_token_keys_age_seconds";
const TOKEN_KEYS_MAX_STALE: &str = "contact_token_keys_max_stale_seconds";
const LIMIT_HITS: &str = "contact_limit_hits_total";
const UNSENT_RESPONSE_BYTES: &str = "contact_unsent_response_bytes";
const READY: &str = "contact_ready";
const NOT_READY: &str = "contact_not_ready";
const BUILD_INFO: &str = "contact_build_info";

const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0,
];
const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The reasons that alerts ask for; the others are there once they came up.
const WATCHED_REASONS: [&str; 6] = [
    "DATABASE_UNAVAILABLE",
    "TOKEN_KEYS_UNAVAILABLE",
    "OVERLOADED",
    "DEADLINE",
    "INTERNAL",
    "DATA_LOSS",
];

/// Everything counted so far, for whoever asks.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Metrics(…)")
    }
}

impl Metrics {
    /// Begins to count, with every meter at zero. `methods` are the RPCs, as in
    /// [`call_ended`].
    ///
    /// # Errors
    /// A line that says why not, such as that another began before in this process.
    pub fn install(methods: &[String]) -> Result<Self, String> {
        let full = |name: &str| Matcher::Full(name.to_owned());
        let failed = |error: &dyn std::fmt::Display| format!("the metrics: {error}");
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(full(CALL_DURATION), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(full(CONNECTION_WAIT), &SECONDS))
            .and_then(|builder| builder.set_buckets_for_metric(full(SHARED_QUERY_SIZE), &SIZES))
            .map_err(|error| failed(&error))?
            .build_recorder();
        let metrics = Self(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
        describe();
        init_to_zero();
        log_lines::register();
        for method in methods {
            let _registered = call_duration(method, "OK");
        }
        Ok(metrics)
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// To be called now and then: what was measured waits in memory until it is summed up.
    pub fn run_upkeep(&self) {
        log_lines::update();
        self.0.run_upkeep();
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(CALL_DURATION, Unit::Seconds, "How long calls took");
    describe_gauge!(
        CALLS_IN_FLIGHT,
        "Calls under way; a stream counts until it begins"
    );
    describe_counter!(CALL_ERRORS, "Calls that failed, by the reason in ErrorInfo");
    describe_gauge!(
        OUTBOX_MAILS,
        "Mails on file, by whether they wait or were given up"
    );
    describe_gauge!(
        OUTBOX_OLDEST,
        Unit::Seconds,
        "Age of the oldest mail that waits"
    );
    describe_counter!(MAILS, "Attempts to send mails, by their outcome");
    describe_counter!(
        MAIL_REJECTIONS,
        "Failed attempts to send mails, by what the failure is about"
    );
    describe_counter!(
        EMAIL_CONFIRMATIONS,
        "Presses of a confirmation's button, by outcome"
    );
    describe_counter!(
        PHONE_PASSWORD_CHECKS,
        "Checks of phone passwords, by verdict"
    );
    describe_counter!(
        PHONE_PASSWORD_LOCKS,
        "Failed checks that locked a phone password"
    );
    describe_gauge!(
        FAILED_CONTACTS,
        "Contacts whose phone password was guessed at within the last hour without a match since: the most of one agent, and all"
    );
    describe_gauge!(
        PHONE_PASSWORD_HASHES,
        "Stored hashes of phone passwords that are not revoked, by pepper version"
    );
    describe_gauge!(
        MISSING_PEPPER_VERSIONS,
        "Pepper versions of stored hashes that this process lacks"
    );
    describe_counter!(PHONE_ORDERS, "Decisions about phone orders");
    describe_resources();
}

fn describe_resources() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        SHARED_QUERY_SIZE,
        "How many calls shared a query of the database"
    );
    describe_gauge!(
        CONNECTIONS,
        "Connections to the database, by pool and state"
    );
    describe_histogram!(
        CONNECTION_WAIT,
        Unit::Seconds,
        "How long transactions waited to begin"
    );
    describe_gauge!(
        TOKEN_KEYS_AGE,
        Unit::Seconds,
        "Time since the keys of tokens were read"
    );
    describe_gauge!(
        TOKEN_KEYS_MAX_STALE,
        Unit::Seconds,
        "How old the keys of tokens may get before requests are rejected (JWT_JWKS_MAX_STALE)"
    );
    describe_counter!(LIMIT_HITS, "How often a limit for clients was reached");
    describe_gauge!(
        UNSENT_RESPONSE_BYTES,
        Unit::Bytes,
        "Bytes of responses that clients have not taken yet"
    );
    describe_gauge!(READY, "1 while the service is ready for calls");
    describe_gauge!(NOT_READY, "1 for the cause why the service is not ready");
    describe_gauge!(BUILD_INFO, "1; the label tells the version");
}

/// A rate of what was never counted would be no rate at all.
fn init_to_zero() {
    for reason in WATCHED_REASONS {
        counter!(CALL_ERRORS, "reason" => reason).increment(0);
    }
    for outcome in MailOutcome::ALL {
        counter!(MAILS, "outcome" => outcome.as_str()).increment(0);
    }
    for class in RejectionClass::ALL {
        counter!(MAIL_REJECTIONS, "class" => class.as_str()).increment(0);
    }
    for outcome in ConfirmationOutcome::ALL {
        counter!(EMAIL_CONFIRMATIONS, "outcome" => outcome.as_str()).increment(0);
    }
    for verdict in Verdict::ALL {
        counter!(PHONE_PASSWORD_CHECKS, "verdict" => verdict.as_str()).increment(0);
    }
    counter!(PHONE_PASSWORD_LOCKS).increment(0);
    for limit in Limit::ALL {
        counter!(LIMIT_HITS, "limit" => limit.as_str()).increment(0);
    }
    missing_pepper_versions(0);
    failed_contacts(FailedContacts::default());
    for decision in ["allowed", "denied", "agent_decision"] {
        counter!(PHONE_ORDERS, "decision" => decision).increment(0);
    }
    for query in ["addressees", "contacts", "phone_numbers", "emails"] {
        let _registered = histogram!(SHARED_QUERY_SIZE, "query" => query);
    }
    let _registered = histogram!(CONNECTION_WAIT, POOL => "writers");
    for pool in ["readers", "writers"] {
        connections(pool, Pool::default());
    }
    gauge!(CALLS_IN_FLIGHT).set(0);
    outbox(OutboxDepth::default());
    unsent_response_bytes(0);
    token_keys_age(Duration::ZERO, Duration::ZERO);
    ready(Some(NotReady::Starting));
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// A closed list of label values.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of])* $variant),+
        }

        impl $name {
            pub(in crate::observability::metrics) const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }
    };
}

mod limits;
mod log_lines;
mod readiness;

pub use self::{
    limits::{Limit, limit_hit},
    log_lines::count_dropped_log_lines,
    readiness::{NotReady, ready},
};

label! {
    /// How an attempt to send a mail ended.
    MailOutcome {
        /// The server took it.
        Sent => "sent",
        /// It is tried again.
        Deferred => "deferred",
        /// It was laid aside for good.
        GivenUp => "given_up",
    }
}

label! {
    /// The cause of a failed attempt to send a mail. Only the first one marks the address.
    RejectionClass {
        /// The mailbox does not exist or takes no mail.
        Mailbox => "mailbox",
        /// The mailbox is full.
        MailboxFull => "mailbox_full",
        /// A policy: block lists, SPF, DMARC, spam filters, relaying.
        Policy => "policy",
        /// The address that mails come from.
        Sender => "sender",
        /// The size or content of the mail.
        Content => "content",
        /// The way to the mailbox.
        Routing => "routing",
        /// The SMTP dialogue.
        Protocol => "protocol",
        /// The state of the mail system.
        System => "system",
        /// The login at the mail server.
        Authentication => "authentication",
        /// TLS: the certificate or the handshake.
        Tls => "tls",
        /// Any other permanent failure (5yz).
        Other => "other",
        /// A temporary failure (4yz).
        Temporary => "temporary",
        /// The server could not be reached, was silent, or broke off.
        Connection => "connection",
    }
}

label! {
    /// What came of the press of a confirmation's button.
    ConfirmationOutcome {
        /// The address is confirmed now.
        Confirmed => "confirmed",
        /// It was before.
        AlreadyConfirmed => "already_confirmed",
        /// The link was too old.
        Expired => "expired",
        /// Another address took its place.
        Superseded => "superseded",
        /// There is no such link.
        NotFound => "not_found",
    }
}

label! {
    /// What came of the check of a phone password.
    Verdict {
        /// It is right.
        Match => "match",
        /// It is not.
        NoMatch => "no_match",
        /// It was not checked, as it is locked.
        Locked => "locked",
        /// Not checked: the call's tries are used up.
        PhoneCallAttemptLimit => "phone_call_attempt_limit",
        /// Not checked: the agent failed too often.
        AgentBlocked => "agent_blocked",
        /// Not checked: there was no place.
        Overloaded => "overloaded",
        /// Not checked: the pepper version of the hash is not configured.
        PepperMissing => "pepper_missing",
    }
}

/// A call that is under way until this is dropped.
#[derive(Debug)]
pub struct CallInFlight(());

impl CallInFlight {
    /// One more is under way.
    pub fn begin() -> Self {
        gauge!(CALLS_IN_FLIGHT).increment(1);
        Self(())
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        gauge!(CALLS_IN_FLIGHT).decrement(1);
    }
}

fn call_duration(method: &str, code: &'static str) -> metrics::Histogram {
    histogram!(
        CALL_DURATION,
        "rpc_system_name" => "grpc",
        "rpc_method" => method.to_owned(),
        "rpc_response_status_code" => code,
    )
}

/// A call of `method`, such as `contact.v1.ContactService/GetContact`, was answered; `code`
/// is the name of its status, such as `NOT_FOUND`.
pub fn call_ended(method: &str, code: &'static str, elapsed: Duration) {
    call_duration(method, code).record(elapsed);
}

/// A call failed with this reason.
pub fn call_failed(reason: &str) {
    counter!(CALL_ERRORS, "reason" => reason.to_owned()).increment(1);
}

/// An attempt to send a mail ended.
pub fn mail(outcome: MailOutcome) {
    counter!(MAILS, "outcome" => outcome.as_str()).increment(1);
}

/// An attempt to send a mail failed.
pub fn mail_rejection(class: RejectionClass) {
    counter!(MAIL_REJECTIONS, "class" => class.as_str()).increment(1);
}

/// The button of a confirmation was pressed.
pub fn email_confirmation(outcome: ConfirmationOutcome) {
    counter!(EMAIL_CONFIRMATIONS, "outcome" => outcome.as_str()).increment(1);
}

/// A phone password was checked, or was not.
pub fn phone_password_check(verdict: Verdict) {
    counter!(PHONE_PASSWORD_CHECKS, "verdict" => verdict.as_str()).increment(1);
}

/// A failed check locked a phone password.
pub fn phone_password_lock() {
    counter!(PHONE_PASSWORD_LOCKS).increment(1);
}

/// Contacts whose phone password was guessed at within the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedContacts {
    /// The most of one agent.
    pub of_an_agent: i64,
    /// All.
    pub total: i64,
}

/// The contacts that were guessed at, as of now.
pub fn failed_contacts(contacts: FailedContacts) {
    for (scope, count) in [("agent", contacts.of_an_agent), ("all", contacts.total)] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(FAILED_CONTACTS, "scope" => scope).set(count);
    }
}

/// The number of stored hashes that were made with a pepper version. `None`, shown as NaN: not
/// counted yet, so that no version seems to be unused.
pub fn phone_password_hashes(pepper_version: i64, count: Option<i64>) {
    let version = pepper_version.to_string();
    let count = count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(PHONE_PASSWORD_HASHES, "pepper_version" => version)
        .set(count.map_or(f64::NAN, f64::from));
}

/// The number of pepper versions that stored hashes need and this process lacks.
pub fn missing_pepper_versions(count: usize) {
    gauge!(MISSING_PEPPER_VERSIONS).set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// A phone order was decided; `decision` as in the contract, in small letters.
pub fn phone_order(decision: &'static str) {
    counter!(PHONE_ORDERS, "decision" => decision).increment(1);
}

/// So many calls shared a query.
pub fn shared_query(query: &'static str, calls: usize) {
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    histogram!(SHARED_QUERY_SIZE, "query" => query).record(calls);
}

/// A transaction waited so long for a connection, and for its beginning.
pub fn transaction_wait(waited: Duration) {
    histogram!(CONNECTION_WAIT, POOL => "writers").record(waited);
}

/// The connections of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Nobody uses them.
    pub idle: u32,
    /// Somebody does.
    pub used: u32,
}

/// The connections of the pool `name`, as of now.
pub fn connections(name: &'static str, pool: Pool) {
    for (state, count) in [("idle", pool.idle), ("used", pool.used)] {
        gauge!(CONNECTIONS, POOL => name, "db_client_connection_state" => state).set(count);
    }
}

/// The mails on file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxDepth {
    /// Those that wait.
    pub waiting: u32,
    /// Those that were given up.
    pub dead: u32,
    /// How old the oldest is that waits.
    pub oldest_age: Duration,
}

/// The mails on file, as of now.
pub fn outbox(depth: OutboxDepth) {
    gauge!(OUTBOX_MAILS, "state" => "waiting").set(depth.waiting);
    gauge!(OUTBOX_MAILS, "state" => "dead").set(depth.dead);
    gauge!(OUTBOX_OLDEST).set(depth.oldest_age.as_secs_f64());
}

/// How long ago the keys of tokens were read, zero for keys that never change, and how old they may
/// get.
pub fn token_keys_age(age: Duration, max_stale: Duration) {
    gauge!(TOKEN_KEYS_AGE).set(age.as_secs_f64());
    gauge!(TOKEN_KEYS_MAX_STALE).set(max_stale.as_secs_f64());
}

/// The bytes of responses that clients have not taken, as of now.
pub fn unsent_response_bytes(bytes: usize) {
    gauge!(UNSENT_RESPONSE_BYTES).set(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
}
