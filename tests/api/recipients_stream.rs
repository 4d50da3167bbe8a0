//! `StreamRecipients`: the same resolutions as single requests, in request order.

use std::{collections::HashSet, time::Duration};

use contact_service::{
    api::{
        admission::Limits,
        proto::{self, ContactType, Purpose, recipients_result::Outcome},
    },
    domain::ids::CustomerNumber,
};
use rstest::rstest;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::harness::{Backend, Client, Options, TestServer, rejected_fields, rejection};

fn requests_for(numbers: &[String], purpose: Purpose) -> proto::StreamRecipientsRequest {
    proto::StreamRecipientsRequest {
        customer_numbers: numbers.to_vec(),
        purpose: purpose.into(),
        ..proto::StreamRecipientsRequest::default()
    }
}

/// The responses before the end of the stream, and its final status.
async fn responses(
    mut client: Client,
    messages: Vec<proto::StreamRecipientsRequest>,
) -> (Vec<proto::StreamRecipientsResponse>, Result<(), Status>) {
    let stream = client.stream_recipients(tokio_stream::iter(messages)).await;
    let mut stream = match stream {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut responses = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(response)) => responses.push(response),
            Ok(None) => return (responses, Ok(())),
            Err(status) => return (responses, Err(status)),
        }
    }
}

async fn one_by_one(
    server: &TestServer,
    number: &str,
    purpose: Purpose,
) -> Result<proto::Resolution, Status> {
    let request = proto::ResolveRecipientsRequest {
        customer_number: number.into(),
        purpose: purpose.into(),
        attention_line_chars: 0,
    };
    let response = server.client().resolve_recipients(request).await?;
    Ok(response.into_inner().resolution.unwrap())
}

fn outcome(result: &proto::RecipientsResult) -> Result<proto::Resolution, (Code, String, String)> {
    match result.outcome.clone().unwrap() {
        Outcome::Resolution(resolution) => Ok(resolution),
        Outcome::Error(status) => {
            let details = tonic_types::StatusExt::get_details_error_info(&Status::with_details(
                status.code.into(),
                status.message.clone(),
                prost::Message::encode_to_vec(&status).into(),
            ));
            Err((status.code.into(), details.unwrap().reason, status.message))
        }
    }
}

#[rstest]
#[tokio::test]
async fn responses_equal_single_requests_in_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.app.load_samples().await.unwrap();
    for index in 0..30 {
        let number = format!("S-{index}");
        server.create_customer(&number).await;
        let standard = &[ContactType::Standard];
        for contact in 0..index % 4 {
            let name = format!("Contact {contact}");
            server.create_contact(&number, &name, standard, "").await;
        }
    }
    let known = (0..30).map(|index| format!("S-{index}"));
    let samples = ["K-1001", "K-1002", "K-1003"].map(str::to_owned);
    let odd = ["K-0", "S-3", "no number", "", "S-3", "k-1001"].map(str::to_owned);
    let requested: Vec<String> = known.chain(samples).chain(odd).collect();
    for purpose in [Purpose::Invoice, Purpose::General, Purpose::Outage] {
        let messages = requested
            .chunks(7)
            .map(|numbers| requests_for(numbers, purpose));
        let (answered, end) = responses(server.client(), messages.collect()).await;
        end.unwrap();
        let results: Vec<_> = answered
            .iter()
            .flat_map(|response| &response.results)
            .collect();
        assert_eq!(results.len(), requested.len());
        for (number, result) in requested.iter().zip(results) {
            assert_eq!(&result.customer_number, number);
            match (one_by_one(&server, number, purpose).await, outcome(result)) {
                (Ok(single), Ok(streamed)) => assert_eq!(single, streamed),
                (Err(status), Err((code, reason, message))) => {
                    let is_known = CustomerNumber::parse(number).is_ok();
                    let expected = if is_known {
                        (Code::NotFound, "CUSTOMER_NOT_FOUND")
                    } else {
                        (Code::InvalidArgument, "INVALID_FIELD")
                    };
                    assert_eq!((code, reason.as_str()), expected);
                    assert!(
                        is_known || message.contains("customer_numbers["),
                        "{message}"
                    );
                    assert_eq!(rejection(Err::<(), _>(status)), (code, reason));
                }
                (single, streamed) => panic!("{number}: {single:?}, {streamed:?}"),
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn each_response_counts_the_answered_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let thousand = vec!["K-1".to_owned(); 1_000];
    let messages = vec![
        requests_for(&thousand, Purpose::General),
        requests_for(&thousand[..1], Purpose::Invoice),
        requests_for(&thousand[..700], Purpose::General),
    ];
    let (answered, end) = responses(server.client(), messages).await;
    end.unwrap();
    let mut so_far = 0;
    for response in &answered {
        so_far += i64::try_from(response.results.len()).unwrap();
        assert_eq!(response.answered_count, so_far);
    }
    assert_eq!(so_far, 1_701);
}

#[rstest]
#[tokio::test]
async fn many_contacts_do_not_exceed_the_message_size(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let name = "Ä".repeat(200);
    for _ in 0..100 {
        let standard = &[ContactType::Standard];
        server.create_contact("K-1", &name, standard, "").await;
    }
    let requested = vec!["K-1".to_owned(); 1_000];
    let (answered, end) = responses(
        server.client(),
        vec![requests_for(&requested, Purpose::Invoice)],
    )
    .await;
    end.unwrap();
    let sizes = answered.iter().map(prost::Message::encoded_len);
    let (most, count) = (
        sizes.max().unwrap(),
        answered.last().unwrap().answered_count,
    );
    assert!(most < 1024 * 1024, "{most} bytes in one message");
    assert_eq!(count, 1_000);
}

#[rstest]
#[case::too_many(1_001, Purpose::General, 0, &["customer_numbers"])]
#[case::none(0, Purpose::General, 0, &["customer_numbers"])]
#[case::for_nothing(1, Purpose::Unspecified, 0, &["purpose", "attention_line_chars"])]
#[case::for_a_short_line(1, Purpose::Invoice, 7, &["attention_line_chars"])]
#[tokio::test]
async fn invalid_message_ends_the_stream_after_prior_responses(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] count: usize,
    #[case] purpose: Purpose,
    #[case] attention_line_chars: i32,
    #[case] fields: &[&str],
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let good = requests_for(&["K-1".to_owned()], Purpose::General);
    let wrong = proto::StreamRecipientsRequest {
        customer_numbers: vec!["K-1".into(); count],
        purpose: purpose.into(),
        attention_line_chars: if purpose == Purpose::Unspecified {
            1
        } else {
            attention_line_chars
        },
        ..proto::StreamRecipientsRequest::default()
    };
    let messages = vec![good.clone(), wrong, good];
    let (answered, end) = responses(server.client(), messages).await;
    assert_eq!(rejected_fields(end), fields);
    assert_eq!(
        answered.last().map(|response| response.answered_count),
        Some(1)
    );
}

#[rstest]
#[tokio::test]
async fn tenant_scoped_token_ends_the_stream_at_other_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    server.create_customer("K-2").await;
    let token = server.token("recipients.resolve", Some("K-1"));
    let [own, both] = [
        vec!["K-1".to_owned()],
        vec!["K-1".to_owned(), "K-2".to_owned()],
    ];
    let messages = vec![
        requests_for(&own, Purpose::General),
        requests_for(&both, Purpose::General),
    ];
    let (answered, end) = responses(server.client_with(token), messages).await;
    assert_eq!(
        rejection(end),
        (Code::PermissionDenied, "CUSTOMER_MISMATCH".into())
    );
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0].results[0].customer_number, "K-1");
}

#[rstest]
#[tokio::test]
async fn stream_without_messages_ends_without_responses(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (answered, end) = responses(server.client(), Vec::new()).await;
    assert!(answered.is_empty() && end.is_ok());
}

#[rstest]
#[tokio::test]
async fn stream_holds_its_own_permit_until_it_ends(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let limits = Limits {
        requests: 1,
        streams_per_client: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(backend, Options::with_limits(limits)).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let stream = ReceiverStream::new(requests);
    let opened = server.client().stream_recipients(stream).await;
    let mut open = opened.unwrap().into_inner();

    let (_, end) = responses(server.client(), Vec::new()).await;
    assert_eq!(rejection(end), (Code::Unavailable, "OVERLOADED".into()));
    let request = proto::GetCustomerRequest {
        customer_number: "K-1".into(),
    };
    let single = server.client().get_customer(request).await;
    assert_eq!(rejection(single).1, "CUSTOMER_NOT_FOUND");

    drop(sender);
    assert!(open.message().await.unwrap().is_none());
    // The server may release the permit shortly after the last message.
    let again = async { while responses(server.client(), Vec::new()).await.1.is_err() {} };
    let again = tokio::time::timeout(Duration::from_secs(20), again).await;
    assert!(again.is_ok(), "the permit was never released");
}

/// A database that `scripts/proof` filled with customers, and their number.
const MANY_CUSTOMERS_URL: &str = "MANY_CUSTOMERS_URL";
const MANY: usize = 1_000_000;
const COMPARED: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants a database with a million customers: scripts/proof makes it"]
async fn proof_a_million_responses_equal_single_requests() {
    let url = std::env::var(MANY_CUSTOMERS_URL).expect(MANY_CUSTOMERS_URL);
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    let number = |index: usize| format!("C-{index:08}");
    let messages = (0..MANY).step_by(1_000).map(move |first| {
        let numbers: Vec<_> = (first..first + 1_000).map(number).collect();
        requests_for(&numbers, Purpose::Invoice)
    });
    let messages = tokio_stream::iter(messages);
    let stream = server.client().stream_recipients(messages).await.unwrap();
    let mut stream = stream.into_inner();
    // A step without a common divisor visits customers everywhere.
    let compared: HashSet<usize> = (0..COMPARED).map(|nth| nth * 786_433 % MANY).collect();
    let (mut count, mut chosen) = (0, Vec::new());
    while let Some(response) = stream.message().await.unwrap() {
        for result in response.results {
            assert_eq!(result.customer_number, number(count));
            if compared.contains(&count) {
                chosen.push(result);
            }
            count += 1;
        }
        assert_eq!(response.answered_count, i64::try_from(count).unwrap());
    }
    // After the stream: unread responses of a stream block all requests of its connection.
    for result in &chosen {
        let single = one_by_one(&server, &result.customer_number, Purpose::Invoice).await;
        assert_eq!(outcome(result).unwrap(), single.unwrap());
    }
    let equal = chosen.len();
    assert_eq!((count, equal), (MANY, COMPARED));
    println!("{count} customers streamed, {equal} compared and equal");
}
