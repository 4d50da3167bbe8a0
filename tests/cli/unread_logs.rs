//! A process whose log lines are not read serves and ends as any other.

use std::{
    io::{PipeReader, Read, pipe},
    time::Duration,
};

use contact_service::api::proto::{
    ListOrderTypesRequest, contact_service_client::ContactServiceClient,
};
use futures::{StreamExt, stream};
use rstest::rstest;
use rustix::pipe::fcntl_setpipe_size;
use tonic::Code;

use crate::process::{Running, Sandbox, channel, client, free_address};

/// Far more than an answer takes.
const PATIENCE: Duration = Duration::from_secs(20);
const DROPPED: &str = "contact_log_lines_dropped_total";

struct Unread {
    server: Running,
    address: String,
    metrics: String,
    token: String,
    /// Held open, and not read from.
    stderr: PipeReader,
}

impl Unread {
    fn start(log: &str) -> Self {
        let (address, metrics) = (free_address(), free_address());
        let sandbox = Sandbox::new()
            .with_keys()
            .with("RUST_LOG", log)
            .with("LISTEN_ADDR", address.clone())
            .with("METRICS_ADDR", metrics.clone());
        let arguments = ["token", "--sub", "tester", "--scope", "order_types.read"];
        let token = sandbox.run(&arguments).printed();
        let (stderr, writer) = pipe().unwrap();
        fcntl_setpipe_size(&writer, 4096).unwrap();
        let mut server = sandbox.start_with_stderr(&["serve"], Some(writer.into()));
        server.until(|_| sandbox.healthcheck(&address).status.success());
        Self {
            server,
            address,
            metrics,
            token,
            stderr,
        }
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.metrics);
        let answer = within(reqwest::get(url)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// Sends requests without a token, which are rejected.
    async fn send_rejected(&self, count: usize) {
        let client = ContactServiceClient::new(channel(&self.address));
        let rejected = stream::iter(0..count).map(|_| {
            let mut client = client.clone();
            async move {
                let answer =
                    within(client.list_order_types(ListOrderTypesRequest::default())).await;
                assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
            }
        });
        rejected.buffer_unordered(50).collect::<()>().await;
    }

    async fn serves(&self) {
        let mut client = client(&self.address, &self.token);
        within(client.list_order_types(ListOrderTypesRequest::default()))
            .await
            .unwrap();
        self.get("/livez").await;
    }

    async fn dropped(&self) -> u64 {
        let metrics = self.get("/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with(DROPPED));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

async fn within<T>(answer: impl Future<Output = T>) -> T {
    let answered = tokio::time::timeout(PATIENCE, answer).await;
    answered.expect("no answer")
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_log_blocks_no_requests_probes_or_shutdown(#[values("info", "debug")] log: &str) {
    let unread = Unread::start(log);
    unread.send_rejected(1_000).await;
    unread.serves().await;
    let Unread { server, stderr, .. } = unread;
    server.signal("TERM");
    let ended = server.wait_for(PATIENCE);
    assert_eq!(ended.status.code(), Some(0));
    drop(stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_log_lines_are_counted_and_logging_resumes() {
    let unread = Unread::start("debug");
    assert_eq!(unread.dropped().await, 0);
    while unread.dropped().await == 0 {
        unread.send_rejected(1_000).await;
    }
    unread.serves().await;
    let mut stderr = unread.stderr.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    });
    // What waits is written at the end.
    unread.server.signal("TERM");
    let ended = unread.server.wait_for(PATIENCE);
    assert_eq!(ended.status.code(), Some(0));
    let log = reading.join().unwrap();
    for seen in ["serving", "request failed", "stopped"] {
        assert!(log.contains(seen), "no {seen} in {} bytes", log.len());
    }
}

/// A reader that is gone is no error either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_without_a_reader_are_dropped() {
    let unread = Unread::start("debug");
    let Unread { server, stderr, .. } = unread;
    drop(stderr);
    server.signal("TERM");
    assert_eq!(server.wait_for(PATIENCE).status.code(), Some(0));
}
