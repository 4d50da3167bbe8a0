//! `StreamRecipients` with `all_customers`: every customer once, in the order of the numbers.

use contact_service::api::proto::{
    self, AllCustomers, ContactType, Purpose, StreamRecipientsRequest, recipients_result::Outcome,
};
use rstest::rstest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejected_fields, rejection},
    requests::timestamp,
};

fn all_after(number: &str) -> StreamRecipientsRequest {
    StreamRecipientsRequest {
        purpose: Purpose::General.into(),
        all_customers: Some(AllCustomers {
            after_customer_number: number.into(),
        }),
        ..StreamRecipientsRequest::default()
    }
}

async fn stream_with(
    server: &TestServer,
    token: &str,
    messages: Vec<StreamRecipientsRequest>,
) -> Result<Vec<proto::StreamRecipientsResponse>, Status> {
    let mut client = server.client_with(token.to_owned());
    let stream = client.stream_recipients(tokio_stream::iter(messages));
    let mut stream = stream.await?.into_inner();
    let mut responses = Vec::new();
    while let Some(response) = stream.message().await? {
        responses.push(response);
    }
    Ok(responses)
}

async fn stream(
    server: &TestServer,
    messages: Vec<StreamRecipientsRequest>,
) -> Result<Vec<proto::StreamRecipientsResponse>, Status> {
    stream_with(server, &server.token(ALL_SCOPES, None), messages).await
}

fn numbers(responses: &[proto::StreamRecipientsResponse]) -> Vec<String> {
    let results = responses.iter().flat_map(|response| &response.results);
    results
        .map(|result| result.customer_number.clone())
        .collect()
}

async fn create_customers(server: &TestServer, count: usize) -> Vec<String> {
    let numbers: Vec<_> = (0..count).map(|index| format!("A-{index:05}")).collect();
    for number in &numbers {
        server.create_customer(number).await;
    }
    numbers
}

#[rstest]
#[tokio::test]
async fn all_customers_are_resolved_once_in_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // Several chunks.
    let expected = create_customers(&server, 600).await;
    let standard = &[ContactType::Standard];
    server.create_contact("A-00007", "Anna", standard, "").await;

    let responses = stream(&server, vec![all_after("")]).await.unwrap();
    assert_eq!(numbers(&responses), expected);
    assert!(responses[0].results.is_empty());
    assert_eq!(responses[0].begin_time, timestamp(server.now()));
    assert!(
        responses[1..]
            .iter()
            .all(|response| response.begin_time.is_none())
    );
    assert_eq!(responses.last().unwrap().answered_count, 600);
    for result in responses.iter().flat_map(|response| &response.results) {
        let request = proto::ResolveRecipientsRequest {
            customer_number: result.customer_number.clone(),
            purpose: Purpose::General.into(),
            attention_line_chars: 0,
        };
        let single = server.client().resolve_recipients(request).await.unwrap();
        let single = single.into_inner().resolution.unwrap();
        assert_eq!(result.outcome, Some(Outcome::Resolution(single)));
    }
    // Resumed after any number, on file or not.
    for after in [0, 249, 250, 598, 599] {
        let resumed = stream(&server, vec![all_after(&expected[after])])
            .await
            .unwrap();
        assert_eq!(numbers(&resumed), expected[after + 1..]);
    }
    let resumed = stream(&server, vec![all_after("A-00598x")]).await.unwrap();
    assert_eq!(numbers(&resumed), expected[599..]);
}

#[rstest]
#[tokio::test]
async fn customers_erased_during_a_walk_are_left_out(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // Far more than are listed and resolved ahead of the client.
    let expected = create_customers(&server, 3_000).await;
    let (open, requests) = mpsc::channel(1);
    open.send(all_after("")).await.unwrap();
    // The request stays open: the walk does not wait for its end.
    let mut client = server.client();
    let stream = client
        .stream_recipients(ReceiverStream::new(requests))
        .await;
    let mut stream = stream.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let response = stream.message().await.unwrap().unwrap();
        seen.extend(numbers(&[response]));
    }
    server.erase("A-02999").await.unwrap();
    server.create_customer("A-02998a").await;
    while let Some(response) = stream.message().await.unwrap() {
        assert!(
            response
                .results
                .iter()
                .all(|result| matches!(result.outcome, Some(Outcome::Resolution(_))))
        );
        seen.extend(numbers(&[response]));
    }
    drop(open);
    seen.retain(|number| number != "A-02998a" && number != "A-02999");
    assert_eq!(seen, expected[..2_999]);
}

#[rstest]
#[tokio::test]
async fn walk_requires_its_own_scope_and_access_to_all_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let named = StreamRecipientsRequest {
        customer_numbers: vec!["K-1".into()],
        purpose: Purpose::General.into(),
        ..StreamRecipientsRequest::default()
    };
    let (all, one) = ("recipients.resolve_all", "recipients.resolve");
    let missing = |scope: &'static str| (Code::PermissionDenied, scope);
    for (scopes, customer, request, expected) in [
        (all, None, all_after(""), None),
        (one, None, named.clone(), None),
        (one, None, all_after(""), Some(missing("SCOPE_MISSING"))),
        (all, None, named.clone(), Some(missing("SCOPE_MISSING"))),
        (
            all,
            Some("K-1"),
            all_after(""),
            Some(missing("CUSTOMER_MISMATCH")),
        ),
        (
            "audit.read",
            None,
            all_after(""),
            Some(missing("SCOPE_MISSING")),
        ),
    ] {
        let token = server.token(scopes, customer);
        let answered = stream_with(&server, &token, vec![request]).await;
        match expected {
            None => assert_eq!(numbers(&answered.unwrap()), ["K-1"]),
            Some((code, reason)) => assert_eq!(rejection(answered), (code, reason.into())),
        }
    }
}

#[tokio::test]
async fn all_customers_is_alone_in_the_first_message() {
    let server = TestServer::start(Backend::Sqlite).await;
    server.create_customer("K-1").await;
    let named = StreamRecipientsRequest {
        customer_numbers: vec!["K-1".into()],
        purpose: Purpose::General.into(),
        ..StreamRecipientsRequest::default()
    };
    let both = StreamRecipientsRequest {
        customer_numbers: vec!["K-1".into()],
        ..all_after("")
    };
    for messages in [vec![both], vec![named.clone(), all_after("")]] {
        let rejected = stream(&server, messages).await;
        assert_eq!(rejected_fields(rejected), ["all_customers"]);
    }
    let malformed = stream(&server, vec![all_after("no number")]).await;
    let field = "all_customers.after_customer_number";
    assert_eq!(rejected_fields(malformed), [field]);
    // Later messages are not read.
    let answered = stream(&server, vec![all_after(""), named]).await.unwrap();
    assert_eq!(numbers(&answered), ["K-1"]);
}
