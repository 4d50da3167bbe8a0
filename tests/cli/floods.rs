//! Clients that hold more connections than a listener accepts, or a process has descriptors.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rstest::rstest;
use tokio::net::TcpStream;

use crate::process::{Backend, Sandbox, free_address};

/// More connections than a listener accepts, and than the soft limit below.
const HELD: usize = 600;
/// Paths of the page and of the probes.
const PATHS: [&str; 2] = ["/confirm", "/readyz"];
const DESCRIPTORS: u32 = 256;
/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn hold(address: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    held
}

async fn is_answered(address: &str, path: &str) -> bool {
    let client = reqwest::Client::builder().timeout(PATIENCE).build();
    let request = client.unwrap().get(format!("http://{address}{path}"));
    let response = request.send().await;
    response.is_ok_and(|response| response.status() == StatusCode::OK)
}

#[rstest]
#[case::of_the_page(0)]
#[case::of_the_probes(1)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_room_for_new_ones(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] flooded: usize,
) {
    let addresses = [free_address(), free_address()];
    let sandbox = Sandbox::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("HTTP_ADDR", &addresses[0])
        .with("METRICS_ADDR", &addresses[1])
        .with_descriptors(DESCRIPTORS);
    if backend == Backend::Postgres {
        sandbox.run(&["migrate", "up"]).printed();
    }
    let (_server, grpc_address) = sandbox.serve(&[]);
    let _held = hold(&addresses[flooded]).await;
    // Excess connections were closed, and waiting ones are accepted in order.
    let begin = Instant::now();
    while !is_answered(&addresses[flooded], PATHS[flooded]).await {
        assert!(begin.elapsed() < PATIENCE, "no newcomer is served");
    }
    for _ in 0..3 {
        for (address, path) in addresses.iter().zip(PATHS) {
            assert!(is_answered(address, path).await, "{path}");
        }
        sandbox.healthcheck(&grpc_address).printed();
    }
}

#[test]
fn start_logs_the_raised_limit_of_descriptors() {
    let sandbox = Sandbox::new().with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = sandbox.with_descriptors(DESCRIPTORS).serve_unready(&[]);
    let log = server.stderr();
    let line = log.lines().find(|line| line.contains("file descriptors"));
    let line = line.expect(&log);
    assert!(line.contains(&format!("before={DESCRIPTORS}")), "{line}");
    assert!(!line.contains(&format!("max={DESCRIPTORS}")), "{line}");
}
