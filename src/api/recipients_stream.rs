//! Recipients of many customers: `StreamRecipients`. Reading, resolving and sending overlap; the client's
//! flow control bounds how far they run ahead.

use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost_types::Timestamp;
use tonic::{Status, Streaming};

use crate::{
    api::{
        admission::error_details::with_reason,
        auth::{Caller, Scope},
        convert::{Violations, timestamp},
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
/// Number of chunks that are resolved ahead of the one that is sent.
const LOOKAHEAD_CHUNKS: usize = 3;
/// Number of recipients and exclusions after which a response message ends: about 100 KiB, and always far
/// below the 4 MiB that clients accept by default.
const MAX_PARTIES: usize = 1_000;

/// Number of customers that a walk over all customers lists at once.
const PAGE_SIZE: usize = 2_000;

/// The content of a request message.
enum Requested {
    Customers(Vec<RequestedCustomer>, Terms),
    AllCustomers(Walk),
}

/// Customers that are resolved together, and usually share a response message.
struct Chunk {
    customers: Vec<RequestedCustomer>,
    terms: Terms,
    /// Part of a walk: customers that are not on file are left out, as they were erased during it.
    is_of_walk: bool,
    /// The time of the begin, which the client gets before the first customer of a walk.
    begin_time: Option<Timestamp>,
}

/// The purpose, and the room of the attention line.
#[derive(Clone, Copy)]
struct Terms {
    purpose: Purpose,
    room: usize,
}

/// A walk over all customers.
struct Walk {
    after: Option<CustomerNumber>,
    terms: Terms,
}

/// A customer number of a request: its text, and the parsed number.
struct RequestedCustomer {
    text: String,
    number: Result<CustomerNumber>,
}

type Message = std::result::Result<proto::StreamRecipientsResponse, Status>;
type NextChunk = std::result::Result<Chunk, Status>;

/// Resolves the recipients of the customers in a stream. An invalid message ends the stream; an invalid
/// number has an error as its result.
pub(super) fn resolve_stream(
    app: App,
    caller: Caller,
    requests: Streaming<proto::StreamRecipientsRequest>,
) -> impl Stream<Item = Message> {
    let lister = app.clone();
    requested(caller, requests)
        .flat_map(move |requested| match requested {
            Ok(Requested::Customers(customers, terms)) => {
                let size = lister.customers_per_read();
                let chunks = into_chunks(customers.into_iter(), size, terms, false);
                stream::iter(chunks).map(Ok).boxed()
            }
            Ok(Requested::AllCustomers(walk)) => walk.chunks(lister.clone()).boxed(),
            Err(status) => stream::iter([Err(status)]).boxed(),
        })
        .map(move |chunk: NextChunk| {
            let app = app.clone();
            async move {
                // A separate task, so that chunks are resolved while others are sent.
                let resolved = tokio::spawn(request_context::inherit(resolve(app, chunk?))).await;
                Ok(resolved.map_err(|_| Error::internal("a chunk's task panicked"))??)
            }
        })
        .buffered(LOOKAHEAD_CHUNKS)
        .flat_map(
            |messages: std::result::Result<Vec<_>, Status>| match messages {
                Ok(messages) => stream::iter(messages).map(Ok).left_stream(),
                Err(status) => stream::iter([Err(status)]).right_stream(),
            },
        )
        .scan(0, |answered_count, message: Message| {
            let message = message.map(|message| {
                *answered_count += i64::try_from(message.results.len()).unwrap_or(i64::MAX);
                proto::StreamRecipientsResponse {
                    answered_count: *answered_count,
                    ..message
                }
            });
            std::future::ready(Some(message))
        })
}

/// Reads the request messages, up to one that asks for all customers.
fn requested(
    caller: Caller,
    requests: Streaming<proto::StreamRecipientsRequest>,
) -> impl Stream<Item = std::result::Result<Requested, Status>> {
    let first = Some((requests, true));
    stream::unfold(first, move |state| {
        let caller = caller.clone();
        async move {
            let (mut requests, is_first) = state?;
            let message = requests.next().await?;
            let requested = message
                .map_err(with_reason)
                .and_then(|message| Ok(decode(&caller, message, is_first)?));
            let goes_on = matches!(requested, Ok(Requested::Customers(..)));
            Some((requested, goes_on.then_some((requests, false))))
        }
    })
}

fn decode(
    caller: &Caller,
    message: proto::StreamRecipientsRequest,
    is_first: bool,
) -> Result<Requested> {
    let mut violations = Violations::default();
    let has_numbers = !message.customer_numbers.is_empty();
    if message.all_customers.is_some() && !has_numbers {
        caller.require_for(Scope::RecipientsResolveAll, "")?;
        caller.require_all_tenants()?;
    } else {
        caller.require_for(Scope::RecipientsResolve, "")?;
        for number in &message.customer_numbers {
            caller.check_tenant(number)?;
        }
    }
    let mut after = None;
    if let Some(all) = &message.all_customers {
        if !is_first || has_numbers {
            violations.add("all_customers", Violation::AllCustomersNotAlone);
        }
        if !all.after_customer_number.is_empty() {
            let field = "all_customers.after_customer_number";
            after = violations.customer_number(field, &all.after_customer_number);
        }
    } else {
        check_count(message.customer_numbers.len(), &mut violations);
    }
    let terms = decode_purpose_and_room(
        message.purpose,
        message.attention_line_chars,
        &mut violations,
    );
    let terms = terms.map(|(purpose, room)| Terms { purpose, room });
    let terms = violations.finish(terms)?;
    if message.all_customers.is_some() {
        return Ok(Requested::AllCustomers(Walk { after, terms }));
    }
    let numbers = message.customer_numbers.into_iter().enumerate();
    let customers = numbers.map(|(index, text)| decode_number(index, text));
    Ok(Requested::Customers(customers.collect(), terms))
}

fn check_count(count: usize, violations: &mut Violations) {
    if count == 0 {
        violations.add("customer_numbers", Violation::Required);
    }
    if count > MAX_CUSTOMER_NUMBERS {
        let (max, of) = (MAX_CUSTOMER_NUMBERS, "entries");
        violations.add("customer_numbers", Violation::TooMany { max, of });
    }
}

fn into_chunks(
    mut customers: impl Iterator<Item = RequestedCustomer>,
    size: usize,
    terms: Terms,
    is_of_walk: bool,
) -> Vec<Chunk> {
    let mut next = || customers.by_ref().take(size).collect::<Vec<_>>();
    let chunks = std::iter::from_fn(|| Some(next()).filter(|chunk| !chunk.is_empty()));
    let chunk = |customers| Chunk {
        customers,
        terms,
        is_of_walk,
        begin_time: None,
    };
    chunks.map(chunk).collect()
}

impl Walk {
    /// Lists the customers page by page, as the chunks are resolved.
    fn chunks(self, app: App) -> impl Stream<Item = NextChunk> + Send {
        let Self { after, terms } = self;
        let size = app.customers_per_read();
        let begin = Chunk {
            customers: Vec::new(),
            terms,
            is_of_walk: true,
            begin_time: Some(timestamp(app.now())),
        };
        let pages = stream::try_unfold(after, move |after| {
            let app = app.clone();
            // A separate task: a connection must not wait for a client that does not read.
            let page = async move { app.list_customer_numbers(after.as_ref(), PAGE_SIZE).await };
            let page = tokio::spawn(request_context::inherit(page));
            async move {
                let page = page.await;
                let page = page.map_err(|_| Error::internal("a page's task panicked"))??;
                let last = page.last().cloned();
                let customers = page.into_iter().map(|number| RequestedCustomer {
                    text: number.as_str().to_owned(),
                    number: Ok(number),
                });
                let chunks = into_chunks(customers, size, terms, true);
                Ok::<_, Status>(last.map(|last| (stream::iter(chunks).map(Ok), Some(last))))
            }
        });
        stream::iter([Ok(begin)]).chain(pages.try_flatten())
    }
}

fn decode_number(index: usize, text: String) -> RequestedCustomer {
    let number = CustomerNumber::parse(&text);
    let field = || format!("customer_numbers[{index}]");
    let number = number.map_err(|violation| Error::invalid_field(field(), violation));
    RequestedCustomer { text, number }
}

async fn resolve(app: App, chunk: Chunk) -> Result<Vec<proto::StreamRecipientsResponse>> {
    if chunk.begin_time.is_some() {
        return Ok(vec![proto::StreamRecipientsResponse {
            begin_time: chunk.begin_time,
            ..proto::StreamRecipientsResponse::default()
        }]);
    }
    let known = |customer: &RequestedCustomer| customer.number.clone().ok();
    let numbers: Vec<_> = chunk.customers.iter().filter_map(known).collect();
    let Terms { purpose, room } = chunk.terms;
    let resolved = if chunk.is_of_walk {
        app.resolve_listed(&numbers, purpose, room).await?
    } else {
        app.resolve_many(&numbers, purpose, room).await?
    };
    let mut resolved = resolved.into_iter();
    let mut next = || {
        let missing = || Err(Error::internal("a customer was left out"));
        resolved.next().unwrap_or_else(missing)
    };
    let results = chunk.customers.into_iter().filter_map(|customer| {
        let resolution = customer.number.and_then(|_| next());
        let is_erased = chunk.is_of_walk && matches!(resolution, Err(Error::CustomerNotFound));
        (!is_erased).then(|| to_result(customer.text, resolution))
    });
    Ok(into_messages(results))
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
fn into_messages(
    results: impl Iterator<Item = proto::RecipientsResult>,
) -> Vec<proto::StreamRecipientsResponse> {
    let mut messages = Vec::new();
    let mut message = proto::StreamRecipientsResponse::default();
    let mut parties = 0;
    for result in results {
        parties += match &result.outcome {
            Some(Outcome::Resolution(resolution)) => {
                resolution.recipients.len() + resolution.exclusions.len()
            }
            Some(Outcome::Error(_)) | None => 0,
        };
        message.results.push(result);
        if parties >= MAX_PARTIES {
            messages.push(std::mem::take(&mut message));
            parties = 0;
        }
    }
    if !message.results.is_empty() {
        messages.push(message);
    }
    messages
}
