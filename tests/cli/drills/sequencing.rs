//! The server is killed between the commit of feed positions and the deletion of the inbox rows:
//! each event is delivered once, in order.

use std::time::Duration;

use contact_service::api::proto;
use rstest::rstest;

use super::{token, write};
use crate::process::{Backend, Sandbox, client, free_address, query_texts};

const CUSTOMERS: [&str; 3] = ["K-1", "K-2", "K-3"];
const PAUSE: Duration = Duration::from_millis(5);

async fn count(sandbox: &Sandbox, table: &str) -> usize {
    let sql = format!("SELECT customer_number FROM {table}");
    query_texts(&sandbox.database_url(), &sql).await.len()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_is_delivered_once_after_a_kill_in_sequencing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let address = free_address();
    let mut sandbox = Sandbox::on(backend).await.with("LISTEN_ADDR", &address);
    sandbox.run(&["migrate", "up"]).printed();
    for (nth, number) in CUSTOMERS.into_iter().enumerate() {
        sandbox = sandbox.with("FAILPOINTS", "events-sequenced=return");
        let (mut server, _) = sandbox.serve(&[]);
        let mut writer = client(&address, &token(&sandbox));
        write(&mut writer, number, "+4972191374001").await.unwrap();
        server.until(|server| server.stderr().contains("halted at events-sequenced"));
        server.signal("KILL");
        server.wait();
        assert_eq!(count(&sandbox, "feed_entries").await, nth + 1);
        assert!(count(&sandbox, "feed_inbox").await > 0);
    }
    let sandbox = sandbox.with("FAILPOINTS", "");
    let (_server, _) = sandbox.serve(&[]);
    while count(&sandbox, "feed_inbox").await > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    let mut reader = client(&address, &token(&sandbox));
    write(&mut reader, "LAST", "+4972191374001").await.unwrap();
    let from = proto::WatchChangesRequest::default();
    let mut watch = reader.watch_changes(from).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|number| number != "LAST") {
        let response = watch.message().await.unwrap().unwrap();
        let events = response.events.into_iter();
        seen.extend(events.map(|event| event.customer_number));
    }
    assert_eq!(seen, ["K-1", "K-2", "K-3", "LAST"]);
}
