//! Batches under faults: values reach their own requests, errors only those of the same query,
//! and no value is older than its request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;

/// The result of one query of the fake database.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Succeeds,
    Fails,
    Panics,
    OmitsKeys,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Succeeds),
        1 => Just(Fate::Fails),
        1 => Just(Fate::Panics),
        1 => Just(Fate::OmitsKeys),
    ]
}

/// A database that returns each key and the number of its query, unless the query is to fail.
struct Fake {
    fates: Vec<Fate>,
    queries: AtomicUsize,
    /// The keys of each query.
    batches: Mutex<Vec<Vec<u64>>>,
    pause: Semaphore,
}

impl Fake {
    fn new(fates: Vec<Fate>, open: usize) -> Arc<Self> {
        Arc::new(Self {
            fates,
            queries: AtomicUsize::new(0),
            batches: Mutex::default(),
            pause: Semaphore::new(open),
        })
    }

    fn fate_of(&self, query: usize) -> Fate {
        self.fates[query % self.fates.len()]
    }

    #[allow(clippy::panic, reason = "the test is about panics")]
    async fn load(self: Arc<Self>, keys: Vec<u64>) -> Result<Vec<(u64, usize)>> {
        let query = self.queries.fetch_add(1, Ordering::SeqCst);
        self.batches.lock().unwrap().push(keys.clone());
        self.pause.acquire().await.unwrap().forget();
        let values = keys.into_iter().map(|key| (key, query));
        match self.fate_of(query) {
            Fate::Succeeds => Ok(values.collect()),
            Fate::Fails => Err(Error::DatabaseUnavailable),
            Fate::Panics => panic!("a defect"),
            Fate::OmitsKeys => Ok(values.skip(1).collect()),
        }
    }

    fn batcher(self: &Arc<Self>) -> Batcher<u64, (u64, usize)> {
        let fake = Arc::clone(self);
        Batcher::new(SharedQuery::Contacts, BatchSizes::SHARED, move |keys| {
            Arc::clone(&fake).load(keys)
        })
    }
}

/// Yields until all tasks are idle.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn values_and_errors_reach_only_the_requests_of_their_query(
        fates in prop::collection::vec(fate(), 1..8),
        callers in prop::collection::vec((any::<u64>(), any::<bool>()), 1..600),
        batch in 1usize..50,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fake = Fake::new(fates, 0);
        runtime.block_on(async {
            let batcher = fake.batcher();
            let mut requests = Vec::new();
            for chunk in callers.chunks(batch) {
                for &(key, stays) in chunk {
                    let batcher = batcher.clone();
                    let request = tokio::spawn(async move { (key, batcher.load(key).await) });
                    if stays {
                        requests.push(request);
                    } else {
                        tokio::task::yield_now().await;
                        request.abort();
                    }
                }
                fake.pause.add_permits(1);
                tokio::task::yield_now().await;
            }
            fake.pause.add_permits(callers.len());
            for request in requests {
                let (key, value) = request.await.unwrap();
                match value {
                    Ok((loaded, query)) => {
                        assert_eq!(loaded, key);
                        assert!(matches!(fake.fate_of(query), Fate::Succeeds));
                        assert!(fake.batches.lock().unwrap()[query].contains(&key));
                    }
                    Err(error) => {
                        let queries = fake.batches.lock().unwrap();
                        let mut mine = queries.iter().enumerate().filter(|(_, keys)| keys.contains(&key));
                        assert!(
                            mine.any(|(query, _)| !matches!(fake.fate_of(query), Fate::Succeeds)),
                            "{error} without a query that failed"
                        );
                    }
                }
            }
            settle().await;
            let queue = batcher.0.lock();
            assert_eq!((queue.in_flight, queue.waiting.len()), (0, 0));
            drop(queue);
            assert!(fake.batches.lock().unwrap().iter().all(|keys| keys.len() <= BatchSizes::SHARED.max_keys));
        });
    }
}

#[tokio::test]
async fn lone_request_starts_a_query_and_later_ones_share_the_next() {
    let fake = Fake::new(vec![Fate::Succeeds], 0);
    let batcher = fake.batcher();
    let mut requests = Vec::new();
    for key in 0..10 {
        let batcher = batcher.clone();
        requests.push(tokio::spawn(async move { batcher.load(key).await }));
        settle().await;
    }
    assert_eq!(*fake.batches.lock().unwrap(), vec![vec![0]]);
    fake.pause.add_permits(1);
    settle().await;
    let others: Vec<u64> = (1..10).collect();
    assert_eq!(fake.batches.lock().unwrap()[1], others);
    fake.pause.add_permits(1);
    for request in requests {
        request.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn slow_query_delays_at_most_a_batch() {
    let fake = Fake::new(vec![Fate::Succeeds], 0);
    let batcher = fake.batcher();
    let request = |key| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.load(key).await })
    };
    let mut requests = Vec::new();
    for key in 0..100 {
        requests.push(request(key));
        settle().await;
    }
    let sizes: Vec<usize> = fake.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, BatchSizes::SHARED.next_query_threshold]);
    fake.pause.add_permits(3);
    for request in requests {
        request.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn cancelled_request_is_dropped_from_the_queue() {
    let fake = Fake::new(vec![Fate::Succeeds], 0);
    let batcher = fake.batcher();
    let request = |key| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.load(key).await })
    };
    let first = request(0);
    settle().await;
    let (goes, stays) = (request(1), request(2));
    settle().await;
    goes.abort();
    settle().await;
    fake.pause.add_permits(2);
    for request in [first, stays] {
        request.await.unwrap().unwrap();
    }
    assert_eq!(fake.batches.lock().unwrap()[1], vec![2]);
}

/// A request sees every write that was acknowledged before it: its query begins later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_value_is_older_than_its_request() {
    let written = Arc::new(AtomicU64::new(0));
    let stored = Arc::clone(&written);
    let batcher = Batcher::new(
        SharedQuery::Contacts,
        BatchSizes::SHARED,
        move |keys: Vec<u64>| {
            let seen = stored.load(Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok(vec![seen; keys.len()])
            }
        },
    );
    let requests = (0..16).map(|_| {
        let (batcher, written) = (batcher.clone(), Arc::clone(&written));
        tokio::spawn(async move {
            for _ in 0..2_000 {
                let acknowledged = written.fetch_add(1, Ordering::SeqCst) + 1;
                let seen = batcher.load(0).await.unwrap();
                assert!(seen >= acknowledged, "{seen} is older than {acknowledged}");
            }
        })
    });
    for request in futures::future::join_all(requests).await {
        request.unwrap();
    }
}
