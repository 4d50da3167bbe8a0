//! The server is killed during writes: watchers continue with their cursors and miss no change.

use std::{collections::BTreeMap, time::Duration};

use rstest::rstest;
use tokio::task::JoinHandle;

use super::{Cache, read, token, write};
use crate::process::{Backend, Client, Sandbox, client, free_address, query_texts};

const ROUNDS: usize = 3;
const WRITERS: usize = 4;
/// Customers of each writer, written in turn.
const CUSTOMERS: usize = 7;
const PAUSE: Duration = Duration::from_millis(1);
const LAST: &str = "LAST";

/// Writes to its own customers until the server is killed. Returns the acknowledged writes.
fn start_writer(mut client: Client, name: String) -> JoinHandle<Vec<(String, String)>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        loop {
            let nth = acknowledged.len();
            let (number, phone_number) = (
                format!("{name}-{}", nth % CUSTOMERS),
                format!("+49721913{:05}", 10_000 + nth),
            );
            if write(&mut client, &number, &phone_number).await.is_err() {
                return acknowledged;
            }
            acknowledged.push((number, phone_number));
        }
    })
}

async fn customers(sandbox: &Sandbox) -> Vec<String> {
    let sql = "SELECT customer_number FROM customers";
    let mut numbers = query_texts(&sandbox.database_url(), sql).await;
    numbers.sort_unstable();
    numbers
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watcher_loses_nothing_when_the_server_is_killed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let address = free_address();
    let sandbox = Sandbox::on(backend).await.with("LISTEN_ADDR", &address);
    sandbox.run(&["migrate", "up"]).printed();
    let (mut server, _) = sandbox.serve(&[]);
    let token = token(&sandbox);
    let mut cache = Cache::of(&address, &token);
    let watcher = tokio::spawn(async move {
        cache.follow_until(LAST).await;
        cache
    });
    let mut acknowledged = Vec::new();
    for round in 1..=ROUNDS {
        let writers = (0..WRITERS).map(|nth| {
            let name = format!("K-{round}-{nth}");
            start_writer(client(&address, &token), name)
        });
        let writers: Vec<_> = writers.collect();
        while customers(&sandbox).await.len() < round * WRITERS * CUSTOMERS {
            tokio::time::sleep(PAUSE).await;
        }
        server.signal("KILL");
        server.wait();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        (server, _) = sandbox.serve(&[]);
    }
    let mut writer = client(&address, &token);
    write(&mut writer, LAST, "+4972191374001").await.unwrap();
    let mut cache = watcher.await.unwrap();
    assert_eq!(cache.expired, 0);
    cache.assert_holds(&customers(&sandbox).await).await;
    // The last acknowledged write of each customer.
    let acknowledged: BTreeMap<_, _> = acknowledged.into_iter().collect();
    assert!(!acknowledged.is_empty());
    for (number, phone_number) in acknowledged {
        let stored = read(&mut writer, &number).await.unwrap().unwrap();
        let stored = stored.contact_data.unwrap().phone_number;
        // The next write may have been committed without a response.
        assert!(stored >= phone_number, "{number}: {stored} {phone_number}");
    }
}
