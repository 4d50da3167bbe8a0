//! Sharing under faults: no answer is swapped, no failure spreads, nothing is older than
//! its call.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;

/// What became of one query of the fake database.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answers,
    Fails,
    Panics,
    LeavesOut,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answers),
        1 => Just(Fate::Fails),
        1 => Just(Fate::Panics),
        1 => Just(Fate::LeavesOut),
    ]
}

/// A database that answers each key with itself and the number of its query, as fated.
struct Fake {
    fates: Vec<Fate>,
    queries: AtomicUsize,
    /// The keys of each query.
    asked: Mutex<Vec<Vec<u64>>>,
    pause: Semaphore,
}

impl Fake {
    fn new(fates: Vec<Fate>, open: usize) -> Arc<Self> {
        Arc::new(Self {
            fates,
            queries: AtomicUsize::new(0),
            asked: Mutex::default(),
            pause: Semaphore::new(open),
        })
    }

    fn fate_of(&self, query: usize) -> Fate {
        self.fates[query % self.fates.len()]
    }

    #[allow(clippy::panic, reason = "a defect is what is tried")]
    async fn answer(self: Arc<Self>, keys: Vec<u64>) -> Result<Vec<(u64, usize)>> {
        let query = self.queries.fetch_add(1, Ordering::SeqCst);
        self.asked.lock().unwrap().push(keys.clone());
        self.pause.acquire().await.unwrap().forget();
        let answers = keys.into_iter().map(|key| (key, query));
        match self.fate_of(query) {
            Fate::Answers => Ok(answers.collect()),
            Fate::Fails => Err(Error::DatabaseUnavailable),
            Fate::Panics => panic!("a defect"),
            Fate::LeavesOut => Ok(answers.skip(1).collect()),
        }
    }

    fn shared(self: &Arc<Self>) -> SharedQuery<u64, (u64, usize)> {
        let fake = Arc::clone(self);
        SharedQuery::new("tests", move |keys| Arc::clone(&fake).answer(keys))
    }
}

/// Lets all tasks come to rest.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn answers_reach_their_own_callers_and_failures_only_their_own_query(
        fates in prop::collection::vec(fate(), 1..8),
        callers in prop::collection::vec((any::<u64>(), any::<bool>()), 1..600),
        batch in 1usize..50,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fake = Fake::new(fates, 0);
        runtime.block_on(async {
            let shared = fake.shared();
            let mut calls = Vec::new();
            for chunk in callers.chunks(batch) {
                for &(key, stays) in chunk {
                    let shared = shared.clone();
                    let call = tokio::spawn(async move { (key, shared.ask(key).await) });
                    if stays {
                        calls.push(call);
                    } else {
                        tokio::task::yield_now().await;
                        call.abort();
                    }
                }
                fake.pause.add_permits(1);
                tokio::task::yield_now().await;
            }
            fake.pause.add_permits(callers.len());
            for call in calls {
                let (key, answer) = call.await.unwrap();
                match answer {
                    Ok((answered, query)) => {
                        assert_eq!(answered, key);
                        assert!(matches!(fake.fate_of(query), Fate::Answers));
                        assert!(fake.asked.lock().unwrap()[query].contains(&key));
                    }
                    Err(error) => {
                        let asked = fake.asked.lock().unwrap();
                        let mut mine = asked.iter().enumerate().filter(|(_, keys)| keys.contains(&key));
                        assert!(
                            mine.any(|(query, _)| !matches!(fake.fate_of(query), Fate::Answers)),
                            "{error} without a query that failed"
                        );
                    }
                }
            }
            settle().await;
            let queue = shared.0.lock();
            assert_eq!((queue.under_way, queue.waiting.len()), (0, 0));
            drop(queue);
            assert!(fake.asked.lock().unwrap().iter().all(|keys| keys.len() <= MOST));
        });
    }
}

#[tokio::test]
async fn a_lone_caller_asks_at_once_and_others_share_what_comes_next() {
    let fake = Fake::new(vec![Fate::Answers], 0);
    let shared = fake.shared();
    let mut calls = Vec::new();
    for key in 0..10 {
        let shared = shared.clone();
        calls.push(tokio::spawn(async move { shared.ask(key).await }));
        settle().await;
    }
    assert_eq!(*fake.asked.lock().unwrap(), vec![vec![0]]);
    fake.pause.add_permits(1);
    settle().await;
    let others: Vec<u64> = (1..10).collect();
    assert_eq!(fake.asked.lock().unwrap()[1], others);
    fake.pause.add_permits(1);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_query_that_takes_long_holds_up_few() {
    let fake = Fake::new(vec![Fate::Answers], 0);
    let shared = fake.shared();
    let call = |key| {
        let shared = shared.clone();
        tokio::spawn(async move { shared.ask(key).await })
    };
    let mut calls = Vec::new();
    for key in 0..100 {
        calls.push(call(key));
        settle().await;
    }
    let asked: Vec<usize> = fake.asked.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(asked, [1, WORTH_ANOTHER]);
    fake.pause.add_permits(3);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_went_away_is_asked_for_no_more() {
    let fake = Fake::new(vec![Fate::Answers], 0);
    let shared = fake.shared();
    let call = |key| {
        let shared = shared.clone();
        tokio::spawn(async move { shared.ask(key).await })
    };
    let first = call(0);
    settle().await;
    let (goes, stays) = (call(1), call(2));
    settle().await;
    goes.abort();
    settle().await;
    fake.pause.add_permits(2);
    for call in [first, stays] {
        call.await.unwrap().unwrap();
    }
    assert_eq!(fake.asked.lock().unwrap()[1], vec![2]);
}

/// A write that was acknowledged before a call began is seen by it: the query that answers
/// it began later than the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_is_older_than_its_call() {
    let written = Arc::new(AtomicU64::new(0));
    let stored = Arc::clone(&written);
    let shared = SharedQuery::new("tests", move |keys: Vec<u64>| {
        let seen = stored.load(Ordering::SeqCst);
        async move {
            tokio::task::yield_now().await;
            Ok(vec![seen; keys.len()])
        }
    });
    let calls = (0..16).map(|_| {
        let (shared, written) = (shared.clone(), Arc::clone(&written));
        tokio::spawn(async move {
            for _ in 0..2_000 {
                let acknowledged = written.fetch_add(1, Ordering::SeqCst) + 1;
                let seen = shared.ask(0).await.unwrap();
                assert!(seen >= acknowledged, "{seen} is older than {acknowledged}");
            }
        })
    });
    for call in futures::future::join_all(calls).await {
        call.unwrap();
    }
}
