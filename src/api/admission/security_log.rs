//! The record of denied requests: a log line that security tooling can select by its target, and an event
//! in the audit log of the customer that the request names.
//!
//! Both are written asynchronously. They affect neither the response nor its time, and so reveal nothing
//! to the caller, such as whether the customer exists.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use tokio::sync::mpsc;
use tracing::Span;

use crate::{
    api::{
        admission::log_limit::{LogLimit, Rate},
        status,
    },
    app::App,
    clock::Clock,
    domain::{audit::Actor, ids::CustomerNumber},
    error::Error,
};

const TARGET: &str = "contact_service::security";
/// The rate of log lines with one caller and reason.
const LINES: Rate = Rate {
    max: 1,
    period: TimeDelta::seconds(1),
};
/// The rate of all log lines.
const ALL_LINES: Rate = Rate {
    max: 10,
    period: TimeDelta::seconds(1),
};
/// The rate of audit events with one caller, customer, RPC and reason.
const EVENTS: Rate = Rate {
    max: 1,
    period: TimeDelta::minutes(1),
};
/// The rate of all audit events, which limits an attacker that enumerates customers.
const ALL_EVENTS: Rate = Rate {
    max: 2,
    period: TimeDelta::seconds(1),
};
/// Maximum number of events that wait for a slow database; more are only logged.
const MAX_QUEUED: usize = 64;

/// The caller and the reason of a log line.
type LineKey = (String, &'static str);
/// The caller, customer, RPC and reason of an audit event.
type EventKey = (String, String, &'static str, &'static str);

struct Denial {
    actor: Actor,
    customer_number: CustomerNumber,
}

/// Records the denied requests of one process.
pub(crate) struct SecurityLog {
    lines: LogLimit<LineKey>,
    events: LogLimit<EventKey>,
    sender: mpsc::Sender<Denial>,
    /// Taken by [`Self::record_events`].
    receiver: Mutex<Option<mpsc::Receiver<Denial>>>,
    clock: Clock,
}

/// Records the denials of one request. Clones refer to the same request.
#[derive(Clone)]
pub(crate) struct RequestLog {
    log: Arc<SecurityLog>,
    rpc: &'static str,
    /// The span of the request, also where the response is a stream.
    span: Span,
}

impl SecurityLog {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        Arc::new(Self {
            lines: LogLimit::new(LINES, ALL_LINES),
            events: LogLimit::new(EVENTS, ALL_EVENTS),
            sender,
            receiver: Mutex::new(Some(receiver)),
            clock,
        })
    }

    /// Returns the log of the current request, of an RPC such as `GetCustomer`.
    pub(crate) fn for_request(self: &Arc<Self>, rpc: &'static str) -> RequestLog {
        RequestLog {
            log: Arc::clone(self),
            rpc,
            span: Span::current(),
        }
    }

    /// Writes queued events to the audit log. Runs until it is dropped.
    pub(crate) async fn record_events(&self, app: &App) {
        let receiver = self.receiver.lock();
        let receiver = receiver.unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else {
            return;
        };
        while let Some(denial) = receiver.recv().await {
            let recorded = app.record_denial(&denial.actor, &denial.customer_number);
            if let Err(error) = recorded.await {
                tracing::warn!(%error, "recording of a denied request failed");
            }
        }
    }
}

impl RequestLog {
    /// Records a denial. `customer_number` is taken from the request and may be any text.
    pub(crate) fn record(
        &self,
        actor: &Actor,
        client: Option<&str>,
        error: &Error,
        customer_number: &str,
    ) {
        let reason = status::reason(error);
        let now = self.log.clock.now();
        let key = (actor.0.clone(), reason);
        if let Some(suppressed) = self.log.lines.admit(&key, now) {
            let (sub, rpc) = (&actor.0, self.rpc);
            self.span.in_scope(|| {
                tracing::warn!(target: TARGET, sub, client, rpc, reason, suppressed, "request denied");
            });
        }
        let Ok(customer_number) = CustomerNumber::parse(customer_number) else {
            return;
        };
        let (actor, number) = (actor.clone(), customer_number.as_str().to_owned());
        let key = (actor.0.clone(), number, self.rpc, reason);
        if self.log.events.admit(&key, now).is_some() {
            // Dropped if the queue is full.
            let _ = self.log.sender.try_send(Denial {
                actor,
                customer_number,
            });
        }
    }
}
