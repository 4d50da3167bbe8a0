//! Calls that ask for the same kind of thing at the same moment share one query.
//!
//! What arrives while a query is under way waits for the next one; nobody waits for
//! others to arrive, and a lone caller asks at once. A query takes its keys when it
//! begins, so no answer is older than the call it is given to.

use std::{
    collections::VecDeque,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use crate::{
    error::{Error, Result},
    observability::metrics,
};

/// How many queries of a kind are under way at once: while one is with the database, the
/// answers of the other are read.
const UNDER_WAY: usize = 2;
/// How many must wait to be worth a second query while one is under way. A query costs the
/// database as much as ten more customers in it.
const WORTH_ANOTHER: usize = 16;
/// How many calls share a query at most.
const MOST: usize = 256;

/// Answers the keys of one query, each in its place.
type Load<K, V> = Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<Vec<V>>> + Send + Sync>;

/// A query that calls share. Clones share it.
pub(in crate::storage) struct SharedQuery<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    name: &'static str,
    load: Load<K, V>,
    queue: Mutex<Queue<K, V>>,
}

struct Queue<K, V> {
    waiting: VecDeque<Asked<K, V>>,
    under_way: usize,
}

struct Asked<K, V> {
    key: K,
    answer: Caller<V>,
}

/// Who waits for an answer.
type Caller<V> = oneshot::Sender<Result<V>>;

impl<K, V> Clone for SharedQuery<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Keys and answers are data of customers.
impl<K, V> fmt::Debug for SharedQuery<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SharedQuery(…)")
    }
}

impl<K: Send + 'static, V: Send + 'static> SharedQuery<K, V> {
    /// `load` answers many keys with one query, as many answers as keys, in their order;
    /// `name` is the one it is measured under.
    pub(in crate::storage) fn new<F, Q>(name: &'static str, load: F) -> Self
    where
        F: Fn(Vec<K>) -> Q + Send + Sync + 'static,
        Q: Future<Output = Result<Vec<V>>> + Send + 'static,
    {
        Self(Arc::new(Shared {
            name,
            load: Box::new(move |keys| load(keys).boxed()),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                under_way: 0,
            }),
        }))
    }

    /// The answer to one key. A caller that goes away leaves nothing behind.
    ///
    /// # Errors
    /// What the query failed with; it fails the calls that shared it, and no others.
    pub(in crate::storage) async fn ask(&self, key: K) -> Result<V> {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut queue = self.0.lock();
            queue.waiting.push_back(Asked { key, answer });
            let begins = queue.under_way == 0
                || (queue.under_way < UNDER_WAY && queue.waiting.len() >= WORTH_ANOTHER);
            queue.under_way += usize::from(begins);
            begins
        };
        if begins {
            // A task of its own: the call that began it may be given up.
            tokio::spawn(answer_all(Arc::clone(&self.0)));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::internal("a shared query was dropped")))
    }
}

impl<K, V> Shared<K, V> {
    fn lock(&self) -> MutexGuard<'_, Queue<K, V>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait for the next query; `None` when nobody does, and this one ends.
    fn next(&self) -> Option<(Vec<K>, Vec<Caller<V>>)> {
        let mut queue = self.lock();
        let most = queue.waiting.len().min(MOST);
        let (mut keys, mut answers) = (Vec::with_capacity(most), Vec::with_capacity(most));
        while keys.len() < MOST
            && let Some(asked) = queue.waiting.pop_front()
        {
            if !asked.answer.is_closed() {
                keys.push(asked.key);
                answers.push(asked.answer);
            }
        }
        if keys.is_empty() {
            queue.under_way -= 1;
            return None;
        }
        Some((keys, answers))
    }
}

async fn answer_all<K, V>(shared: Arc<Shared<K, V>>) {
    while let Some((keys, callers)) = shared.next() {
        let count = callers.len();
        metrics::shared_query(shared.name, count);
        // A defect in one query must not end the ones after it.
        let loaded = AssertUnwindSafe((shared.load)(keys)).catch_unwind().await;
        let loaded = loaded.unwrap_or_else(|_| Err(Error::internal("a shared query panicked")));
        let loaded = loaded.and_then(|values| {
            if values.len() == count {
                Ok(values)
            } else {
                Err(Error::internal("a shared query left keys out"))
            }
        });
        match loaded {
            Ok(values) => {
                for (caller, value) in callers.into_iter().zip(values) {
                    let _ = caller.send(Ok(value));
                }
            }
            Err(error) => {
                for caller in callers {
                    let _ = caller.send(Err(error.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
