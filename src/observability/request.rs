//! The RPC that a task works for: its span, and the time that it spent in the database and in queues.
//!
//! Statements of the database run in many places, some in tasks of their own, some for several RPCs at
//! once. Each is recorded for the RPCs of its task. Work without an RPC, such as a periodic job or an open
//! stream, has no spans: an idle instance would export those of its polls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{Context, trace::TraceContextExt};
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Requests;
}

/// The RPCs that a task works for.
type Requests = Arc<[Arc<RequestTrace>]>;

/// The span and the times of an RPC.
#[derive(Debug, Default)]
pub struct RequestTrace {
    /// The context of its span; `None` if it is not exported.
    context: Option<Context>,
    database_micros: AtomicU64,
    waiting_micros: AtomicU64,
}

/// The times of an RPC, in parallel statements the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// In statements of the database.
    pub database: Duration,
    /// In queues, and for a connection of the database.
    pub waiting: Duration,
}

impl RequestTrace {
    /// Creates the trace of an RPC. `context` holds its span if it is exported.
    pub(super) fn new(context: Option<Context>) -> Arc<Self> {
        let is_sampled = |context: &Context| context.span().span_context().is_sampled();
        Arc::new(Self {
            context: context.filter(is_sampled),
            ..Self::default()
        })
    }

    /// Returns the RPC of this task, if there is exactly one.
    pub fn current() -> Option<Arc<Self>> {
        match &*current() {
            [request] => Some(Arc::clone(request)),
            _ => None,
        }
    }

    /// Runs a future for this RPC.
    pub fn scope<F: Future>(self: Arc<Self>, future: F) -> TaskLocalFuture<Requests, F> {
        CURRENT.scope(Arc::new([self]), future)
    }

    /// Returns the times until now.
    pub fn times(&self) -> RequestTimes {
        let time = |micros: &AtomicU64| Duration::from_micros(micros.load(Ordering::Relaxed));
        RequestTimes {
            database: time(&self.database_micros),
            waiting: time(&self.waiting_micros),
        }
    }

    /// Adds the time that the RPC waited in a queue.
    pub fn add_wait(&self, waited: Duration) {
        add(&self.waiting_micros, waited);
    }
}

/// Runs a future that several RPCs wait for.
pub fn shared_scope<F: Future>(
    requests: impl IntoIterator<Item = Arc<RequestTrace>>,
    future: F,
) -> TaskLocalFuture<Requests, F> {
    CURRENT.scope(requests.into_iter().collect(), future)
}

/// Returns a future that works for the RPCs of this task, for a task of its own.
pub fn inherit<F: Future>(future: F) -> TaskLocalFuture<Requests, F> {
    CURRENT.scope(current(), future)
}

/// Adds the time of a statement to the RPCs of this task, as time in a queue if `is_wait`. Returns the
/// contexts of their spans.
pub(super) fn record_statement(is_wait: bool, elapsed: Duration) -> Vec<Context> {
    let mut contexts = Vec::new();
    for request in &*current() {
        let micros = if is_wait {
            &request.waiting_micros
        } else {
            &request.database_micros
        };
        add(micros, elapsed);
        contexts.extend(request.context.clone());
    }
    contexts
}

/// Adds the time that the RPCs of this task waited in a queue.
pub fn add_wait(waited: Duration) {
    for request in &*current() {
        request.add_wait(waited);
    }
}

fn current() -> Requests {
    CURRENT.try_with(Arc::clone).unwrap_or_default()
}

fn add(micros: &AtomicU64, elapsed: Duration) {
    let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    micros.fetch_add(elapsed, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn tasks_of_an_rpc_add_to_its_times() {
        let request = RequestTrace::new(None);
        let work = async {
            let task = tokio::spawn(inherit(async { record_statement(false, 2 * MILLI) }));
            assert!(task.await.unwrap().is_empty());
            record_statement(true, MILLI);
            add_wait(4 * MILLI);
            // Not for this RPC.
            tokio::spawn(async { record_statement(false, 50 * MILLI) })
                .await
                .unwrap();
        };
        Arc::clone(&request).scope(work).await;
        let expected = RequestTimes {
            database: 2 * MILLI,
            waiting: 5 * MILLI,
        };
        assert_eq!(request.times(), expected);
    }

    #[tokio::test]
    async fn shared_statement_counts_for_each_rpc() {
        let requests = [RequestTrace::new(None), RequestTrace::new(None)];
        shared_scope(requests.clone(), async {
            record_statement(false, MILLI);
            assert!(RequestTrace::current().is_none());
        })
        .await;
        for request in requests {
            assert_eq!(request.times().database, MILLI);
        }
    }

    #[test]
    fn work_without_an_rpc_records_nothing() {
        assert!(record_statement(false, MILLI).is_empty());
        assert!(RequestTrace::current().is_none());
    }
}
