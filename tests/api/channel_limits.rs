//! Rate limits of `VerifyContactChannel` per agent and per customer, across all instances.

use std::time::Duration;

use chrono::TimeDelta;
use contact_service::api::proto::{
    ChannelOutcome, VerifyContactChannelRequest, VerifyContactChannelResponse,
    verify_contact_channel_request::Channel,
};
use futures::future::join_all;
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{Backend, Options, TestServer, query_number, rejection};

const PER_MINUTE: usize = 60;

async fn verify(
    server: &TestServer,
    agent: &str,
    number: &str,
) -> Result<VerifyContactChannelResponse, Status> {
    let request = VerifyContactChannelRequest {
        customer_number: number.into(),
        channel: Some(Channel::PhoneNumber("0721 913740".into())),
        ..VerifyContactChannelRequest::default()
    };
    let mut client = server.client_of(agent);
    let verified = client.verify_contact_channel(request).await?;
    Ok(verified.into_inner())
}

/// Servers that share a database; SQLite has one.
async fn instances(backend: Backend, options: fn() -> Options) -> Vec<TestServer> {
    let mut servers = vec![TestServer::start_with(backend, options()).await];
    if backend == Backend::Postgres {
        let second = servers[0].start_peer(options()).await;
        servers.push(second);
    }
    servers
}

/// Number of responses that this limit did not reject.
fn answered(
    responses: Vec<Result<VerifyContactChannelResponse, Status>>,
    limit: &str,
    wait: Duration,
) -> usize {
    let mut count = 0;
    for response in responses {
        match response {
            Ok(verified) => {
                assert_eq!(verified.outcome(), ChannelOutcome::OnFile);
                count += 1;
            }
            Err(status) => {
                let info = status.get_details_error_info().unwrap();
                assert_eq!(info.metadata["limit"], limit);
                let delay = status.get_details_retry_info().unwrap().retry_delay;
                assert_eq!(delay, Some(wait));
                let rejected = rejection::<()>(Err(status));
                assert_eq!(rejected, (Code::ResourceExhausted, "FIND_LIMIT".to_owned()));
            }
        }
    }
    count
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_limit_of_60_per_minute_spans_instances(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let servers = instances(backend, Options::default).await;
    let numbers = ["K-1", "K-2", "K-3"];
    for number in numbers {
        servers[0].create_customer(number).await;
    }
    for round in 1..3_usize {
        let checks = (0..100).map(|nth| {
            let server = &servers[nth % servers.len()];
            verify(server, "busy", numbers[nth % numbers.len()])
        });
        let responses = join_all(checks).await;
        let limit = "channel_checks_per_agent";
        let wait = Duration::from_mins(1);
        assert_eq!(answered(responses, limit, wait), PER_MINUTE);
        // Rejected requests recorded no event and used none of the other customers' quota.
        let mut events = 0;
        for number in numbers {
            events += servers[0].events(number).await.len() - 1;
        }
        assert_eq!(events, (PER_MINUTE + 1) * round - 1);
        verify(&servers[0], "other", "K-1").await.unwrap();
        for server in &servers {
            server.clock.advance(TimeDelta::minutes(1));
        }
    }
    servers[0].app.purge_channel_checks().await.unwrap();
    for table in ["channel_check_agents", "channel_check_customers"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(query_number(&servers[0].database_url, &rows).await, 0);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customer_limit_is_60_checks_per_minute(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let servers = instances(backend, Options::default).await;
    for number in ["K-1", "K-2"] {
        servers[0].create_customer(number).await;
    }
    let agents: Vec<_> = (0..100).map(|nth| format!("agent-{nth}")).collect();
    let checks = agents.iter().enumerate().map(|(nth, agent)| {
        let server = &servers[nth % servers.len()];
        verify(server, agent, "K-1")
    });
    let responses = join_all(checks).await;
    let limit = "channel_checks_per_customer";
    assert_eq!(
        answered(responses, limit, Duration::from_mins(1)),
        PER_MINUTE
    );
    servers[0].clock.advance(TimeDelta::seconds(45));
    let late = verify(&servers[0], "late", "K-1").await;
    let wait = Duration::from_secs(15);
    assert_eq!(answered(vec![late], limit, wait), 0);
    verify(&servers[0], "late", "K-2").await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channel_checks_can_be_unlimited(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let servers = instances(backend, Options::unlimited_checks).await;
    servers[0].create_customer("K-1").await;
    let checks = (0..100).map(|_| verify(&servers[0], "busy", "K-1"));
    for response in join_all(checks).await {
        response.unwrap();
    }
}
