//! The batcher: concurrent requests for values of the same kind share one query.
//!
//! A request that arrives while a query is in flight waits for the next one. There is no delay to
//! collect requests: a lone one starts its query at once. A query takes its keys when it begins,
//! so no value is older than the request that it is returned to.

use std::{
    collections::VecDeque,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use crate::{
    error::{Error, Result},
    observability::{
        metrics::{self, SharedQuery},
        request::{RequestTrace, shared_scope},
    },
};

/// The sizes of batches, which depend on the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSizes {
    /// Requests that share a query at most.
    max_keys: usize,
    /// Queries in flight at most.
    max_in_flight: usize,
    /// Waiting requests that start another query while one is in flight.
    next_query_threshold: usize,
}

impl BatchSizes {
    /// For a database on one node. While it runs one query, the rows of another are read; a query
    /// costs it as much as ten more keys in it.
    pub(crate) const SHARED: Self = Self {
        max_keys: 256,
        max_in_flight: 2,
        next_query_threshold: 16,
    };
    /// One key per query, for tables on several nodes: a query over more of them is slower than its
    /// keys alone, and fails for all customers when a node is down.
    pub(crate) const SINGLE: Self = Self {
        max_keys: 1,
        max_in_flight: 4,
        next_query_threshold: 1,
    };
}

/// Loads the values of many keys, in the order of the keys.
type Load<K, V> = Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<Vec<V>>> + Send + Sync>;

/// A query that requests share. Clones share the queue.
pub(crate) struct Batcher<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    query: SharedQuery,
    sizes: BatchSizes,
    load: Load<K, V>,
    queue: Mutex<Queue<K, V>>,
}

struct Queue<K, V> {
    waiting: VecDeque<Waiting<K, V>>,
    in_flight: usize,
}

struct Waiting<K, V> {
    key: K,
    sender: Sender<V>,
    since: Instant,
    /// The RPC that waits; `None` for other work.
    request: Option<Arc<RequestTrace>>,
}

/// The requests of one query.
struct Batch<K, V> {
    keys: Vec<K>,
    senders: Vec<Sender<V>>,
    requests: Vec<Arc<RequestTrace>>,
}

/// The sender of one request's value.
type Sender<V> = oneshot::Sender<Result<V>>;

impl<K, V> Clone for Batcher<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Keys and values are personal data.
impl<K, V> fmt::Debug for Batcher<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Batcher(…)")
    }
}

impl<K: Send + 'static, V: Send + 'static> Batcher<K, V> {
    /// Creates a batcher. `load` returns the values of many keys in the order of the keys;
    /// `query` is the label of its metric.
    pub(crate) fn new<F, Q>(query: SharedQuery, sizes: BatchSizes, load: F) -> Self
    where
        F: Fn(Vec<K>) -> Q + Send + Sync + 'static,
        Q: Future<Output = Result<Vec<V>>> + Send + 'static,
    {
        Self(Arc::new(Shared {
            query,
            sizes,
            load: Box::new(move |keys| load(keys).boxed()),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                in_flight: 0,
            }),
        }))
    }

    /// Loads the value of one key. A cancelled request is dropped from the queue.
    ///
    /// # Errors
    /// The error of the query, which fails all requests that shared it and no others.
    pub(crate) async fn load(&self, key: K) -> Result<V> {
        let (sender, receiver) = oneshot::channel();
        let sizes = self.0.sizes;
        let starts_query = {
            let mut queue = self.0.lock();
            queue.waiting.push_back(Waiting {
                key,
                sender,
                since: Instant::now(),
                request: RequestTrace::current(),
            });
            let starts_query = queue.in_flight == 0
                || (queue.in_flight < sizes.max_in_flight
                    && queue.waiting.len() >= sizes.next_query_threshold);
            queue.in_flight += usize::from(starts_query);
            starts_query
        };
        if starts_query {
            // A task of its own: the request that started it may be cancelled.
            tokio::spawn(run_queries(Arc::clone(&self.0)));
        }
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::internal("a batch was dropped")))
    }
}

impl<K, V> Shared<K, V> {
    fn lock(&self) -> MutexGuard<'_, Queue<K, V>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the keys of the next query. Returns `None`, and counts a query less, if the queue is
    /// empty.
    fn next_batch(&self) -> Option<Batch<K, V>> {
        let mut queue = self.lock();
        let max_keys = self.sizes.max_keys;
        let size = queue.waiting.len().min(max_keys);
        let (mut keys, mut senders) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let mut requests = Vec::with_capacity(size);
        while keys.len() < max_keys
            && let Some(waiting) = queue.waiting.pop_front()
        {
            if !waiting.sender.is_closed() {
                keys.push(waiting.key);
                senders.push(waiting.sender);
                requests.extend(waiting.request.inspect(|request| {
                    request.add_wait(waiting.since.elapsed());
                }));
            }
        }
        if keys.is_empty() {
            queue.in_flight -= 1;
            return None;
        }
        Some(Batch {
            keys,
            senders,
            requests,
        })
    }
}

async fn run_queries<K, V>(shared: Arc<Shared<K, V>>) {
    while let Some(batch) = shared.next_batch() {
        let Batch {
            keys,
            senders,
            requests,
        } = batch;
        let count = senders.len();
        metrics::shared_query(shared.query, count);
        // A panic in one query must not end the following ones.
        let loaded = AssertUnwindSafe(shared_scope(requests, (shared.load)(keys)));
        let loaded = loaded.catch_unwind().await;
        let loaded = loaded.unwrap_or_else(|_| Err(Error::internal("a batch panicked")));
        let loaded = loaded.and_then(|values| {
            if values.len() == count {
                Ok(values)
            } else {
                Err(Error::internal("a batch omitted keys"))
            }
        });
        match loaded {
            Ok(values) => {
                for (sender, value) in senders.into_iter().zip(values) {
                    let _ = sender.send(Ok(value));
                }
            }
            Err(error) => {
                for sender in senders {
                    let _ = sender.send(Err(error.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
