//! Denied requests: a log line that security tooling can select by its target, and an event in the
//! audit log of the customer that the request names.
//!
//! Both are written beside the request and leave its answer and its time as they are, so that they
//! tell the caller nothing, such as whether the customer exists.

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
    domain::{audit::Actor, customer::CustomerNumber},
    error::Error,
};

const TARGET: &str = "contact_service::security";
/// Of one caller and reason.
const LINES: Rate = Rate {
    most: 1,
    within: TimeDelta::seconds(1),
};
const ALL_LINES: Rate = Rate {
    most: 10,
    within: TimeDelta::seconds(1),
};
/// Of one caller, customer, RPC and reason.
const EVENTS: Rate = Rate {
    most: 1,
    within: TimeDelta::minutes(1),
};
/// An attacker that walks over all customers adds no more rows than this.
const ALL_EVENTS: Rate = Rate {
    most: 2,
    within: TimeDelta::seconds(1),
};
/// How many events wait for a slow database; more are left to the log lines.
const MAX_WAITING: usize = 64;

/// Who was denied what, as far as the rates tell it apart.
type LineKey = (String, &'static str);
type EventKey = (String, String, Arc<str>, &'static str);

struct Denial {
    actor: Actor,
    customer_number: CustomerNumber,
}

/// Records the denied requests of one process.
pub(in crate::api) struct SecurityLog {
    lines: LogLimit<LineKey>,
    events: LogLimit<EventKey>,
    queue: mpsc::Sender<Denial>,
    /// Taken by [`Self::record_events`].
    queued: Mutex<Option<mpsc::Receiver<Denial>>>,
    clock: Clock,
}

/// Records the denials of one request. Clones are of the same one.
#[derive(Clone)]
pub(in crate::api) struct RequestLog {
    log: Arc<SecurityLog>,
    rpc: Arc<str>,
    /// The span of the request, also where the response is a stream.
    span: Span,
}

impl SecurityLog {
    pub(in crate::api) fn new(clock: Clock) -> Arc<Self> {
        let (queue, queued) = mpsc::channel(MAX_WAITING);
        Arc::new(Self {
            lines: LogLimit::new(LINES, ALL_LINES),
            events: LogLimit::new(EVENTS, ALL_EVENTS),
            queue,
            queued: Mutex::new(Some(queued)),
            clock,
        })
    }

    /// The log of the current request, of the RPC at `path`.
    pub(in crate::api) fn of_request(self: &Arc<Self>, path: &str) -> RequestLog {
        RequestLog {
            log: Arc::clone(self),
            rpc: path.rsplit('/').next().unwrap_or_default().into(),
            span: Span::current(),
        }
    }

    /// Writes the events that wait, and those to come.
    pub(in crate::api) async fn record_events(&self, app: &App) {
        let queued = self.queued.lock();
        let queued = queued.unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut queued) = queued else { return };
        while let Some(denial) = queued.recv().await {
            let recorded = app.record_denial(&denial.actor, &denial.customer_number);
            if let Err(error) = recorded.await {
                tracing::warn!(%error, "a denied request is not in the audit log");
            }
        }
    }
}

impl RequestLog {
    /// Records a denial; `customer_number` as the request names it, which may be any text.
    pub(in crate::api) fn record(
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
            let (sub, rpc) = (&actor.0, &*self.rpc);
            self.span.in_scope(|| {
                tracing::warn!(target: TARGET, sub, client, rpc, reason, suppressed, "request denied");
            });
        }
        let Ok(customer_number) = CustomerNumber::parse(customer_number) else {
            return;
        };
        let (actor, number) = (actor.clone(), customer_number.as_str().to_owned());
        let key = (actor.0.clone(), number, Arc::clone(&self.rpc), reason);
        if self.log.events.admit(&key, now).is_some() {
            // A queue that is full has no room for this one either.
            let _ = self.log.queue.try_send(Denial {
                actor,
                customer_number,
            });
        }
    }
}
