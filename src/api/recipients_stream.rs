//! Recipients of many customers: `StreamRecipients`. Reading, resolving and sending overlap; the client's
//! flow control bounds how far they run ahead.

use futures::{Stream, StreamExt, stream};
use tonic::{Status, Streaming};

use crate::{
    api::{
        admission::error_details::with_reason,
        auth::Caller,
        convert::Violations,
        proto::{self, recipients_result::Outcome},
        recipients::{decode_purpose_and_room, encode},
        request_context,
    },
    app::App,
    domain::{
        ids::CustomerNumber,
        recipients::{Purpose, Resolution},
    },
    error::{Error, Result, Violation},
};

const MAX_CUSTOMER_NUMBERS: usize = 1_000;
/// Number of customers that share a query, and usually a response message.
const CHUNK_SIZE: usize = 250;
/// Number of chunks that are resolved ahead of the one that is sent.
const LOOKAHEAD_CHUNKS: usize = 4;
/// Number of recipients and exclusions after which a response message ends: about 100 KiB, and always far
/// below the 4 MiB that clients accept by default.
const MAX_PARTIES: usize = 1_000;

/// Customers of one request message that are resolved together.
struct Chunk {
    customers: Vec<RequestedCustomer>,
    purpose: Purpose,
    room: usize,
}

/// A customer number of a request: its text, and the parsed number.
struct RequestedCustomer {
    text: String,
    number: Result<CustomerNumber>,
}

/// Resolves the recipients of the customers in a stream. An invalid message ends the stream; an invalid
/// number has an error as its result.
pub(super) fn resolve_stream(
    app: App,
    caller: Caller,
    requests: Streaming<proto::StreamRecipientsRequest>,
) -> impl Stream<Item = std::result::Result<proto::StreamRecipientsResponse, Status>> {
    requests
        .map(move |message| {
            let message = message.map_err(with_reason)?;
            Ok(decode(&caller, message)?)
        })
        .flat_map(|chunks: std::result::Result<_, Status>| match chunks {
            Ok(chunks) => stream::iter(chunks).map(Ok).left_stream(),
            Err(status) => stream::iter([Err(status)]).right_stream(),
        })
        .map(move |chunk| {
            let app = app.clone();
            async move {
                // A separate task, so that chunks are resolved while others are sent.
                let resolved = tokio::spawn(request_context::inherit(resolve(app, chunk?))).await;
                Ok(resolved.map_err(|_| Error::internal("a chunk's task panicked"))??)
            }
        })
        .buffered(LOOKAHEAD_CHUNKS)
        .flat_map(|results: std::result::Result<_, Status>| match results {
            Ok(results) => stream::iter(into_messages(results)).map(Ok).left_stream(),
            Err(status) => stream::iter([Err(status)]).right_stream(),
        })
        .scan(0, |answered_count, message| {
            let message = message.map(|results: Vec<proto::RecipientsResult>| {
                *answered_count += i64::try_from(results.len()).unwrap_or(i64::MAX);
                proto::StreamRecipientsResponse {
                    results,
                    answered_count: *answered_count,
                }
            });
            std::future::ready(Some(message))
        })
}

fn decode(caller: &Caller, message: proto::StreamRecipientsRequest) -> Result<Vec<Chunk>> {
    for number in &message.customer_numbers {
        caller.check_tenant(number)?;
    }
    let mut violations = Violations::default();
    if message.customer_numbers.is_empty() {
        violations.add("customer_numbers", Violation::Required);
    }
    if message.customer_numbers.len() > MAX_CUSTOMER_NUMBERS {
        let (max, of) = (MAX_CUSTOMER_NUMBERS, "entries");
        violations.add("customer_numbers", Violation::TooMany { max, of });
    }
    let purpose = decode_purpose_and_room(
        message.purpose,
        message.attention_line_chars,
        &mut violations,
    );
    let (purpose, room) = violations.finish(purpose)?;
    let mut customers = message.customer_numbers.into_iter().enumerate();
    let mut chunks = Vec::new();
    loop {
        let chunk = customers.by_ref().take(CHUNK_SIZE);
        let customers: Vec<_> = chunk
            .map(|(index, text)| decode_number(index, text))
            .collect();
        if customers.is_empty() {
            return Ok(chunks);
        }
        chunks.push(Chunk {
            customers,
            purpose,
            room,
        });
    }
}

fn decode_number(index: usize, text: String) -> RequestedCustomer {
    let number = CustomerNumber::parse(&text);
    let field = || format!("customer_numbers[{index}]");
    let number = number.map_err(|violation| Error::invalid_field(field(), violation));
    RequestedCustomer { text, number }
}

async fn resolve(app: App, chunk: Chunk) -> Result<Vec<proto::RecipientsResult>> {
    let known = |customer: &RequestedCustomer| customer.number.clone().ok();
    let numbers: Vec<_> = chunk.customers.iter().filter_map(known).collect();
    let resolved = app.resolve_many(&numbers, chunk.purpose, chunk.room);
    let mut resolved = resolved.await?.into_iter();
    let mut next = || {
        let missing = || Err(Error::internal("a customer was left out"));
        resolved.next().unwrap_or_else(missing)
    };
    let results = chunk.customers.into_iter().map(|customer| {
        let resolution = customer.number.and_then(|_| next());
        to_result(customer.text, resolution)
    });
    Ok(results.collect())
}

fn to_result(customer_number: String, resolution: Result<Resolution>) -> proto::RecipientsResult {
    let outcome = match resolution {
        Ok(resolution) => Outcome::Resolution(encode(resolution)),
        Err(error) => Outcome::Error(error.into_rpc_status()),
    };
    proto::RecipientsResult {
        customer_number,
        outcome: Some(outcome),
    }
}

/// Splits results into messages of a bounded size; some customers have a hundred contacts.
fn into_messages(results: Vec<proto::RecipientsResult>) -> Vec<Vec<proto::RecipientsResult>> {
    let mut messages = Vec::new();
    let mut message = Vec::with_capacity(results.len());
    let mut parties = 0;
    for result in results {
        parties += match &result.outcome {
            Some(Outcome::Resolution(resolution)) => {
                resolution.recipients.len() + resolution.exclusions.len()
            }
            Some(Outcome::Error(_)) | None => 0,
        };
        message.push(result);
        if parties >= MAX_PARTIES {
            messages.push(std::mem::take(&mut message));
            parties = 0;
        }
    }
    if !message.is_empty() {
        messages.push(message);
    }
    messages
}
