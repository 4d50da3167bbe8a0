//! Request ids: a repeated request is answered from the stored response (AIP-155).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::context::App;
use crate::{
    domain::{audit::Actor, contact::Contact, customer::Customer, ids::CustomerNumber},
    error::{Error, Result},
    storage::{CachedResponse, Outcome, RequestDigest, RequestRecord, Transaction},
};

/// How long a response is stored.
const RETENTION: TimeDelta = TimeDelta::hours(24);

/// The request id that a caller chose, and digests that identify the request's content.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// The request id.
    pub request_id: Uuid,
    /// An HMAC over the RPC name and the request under each service key, newest first. The first
    /// one is stored; after a key rotation an older one may match.
    pub digests: Vec<RequestDigest>,
    /// For each digest a secret of the same request, from which its generated phone password derives: a
    /// repeated request shows it again, and it is stored nowhere.
    pub seeds: Vec<RequestSeed>,
}

/// A secret that only the service keys and the request determine.
pub type RequestSeed = [u8; 32];

/// The conditions of a change, and if it is stored.
#[derive(Clone, Debug, Default)]
pub struct ChangeOptions {
    /// The expected etag; empty: any.
    pub etag: String,
    /// The request id, for idempotency.
    pub request: Option<RequestKey>,
    /// If true, the request is validated only.
    pub validate_only: bool,
}

/// The response to a request that was answered before.
pub(super) struct Replay {
    pub(super) response: CachedResponse,
    /// The seed of that request.
    pub(super) seed: Option<RequestSeed>,
}

impl App {
    /// Deletes the expired responses, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_expired_requests(&self) -> Result<u64> {
        let now = self.now();
        self.database.delete_expired_requests(now).await
    }
}

/// Returns the stored response if the request was answered before.
///
/// The caller must hold the customer's lock, on which a concurrent repeat of the request waits.
///
/// # Errors
/// [`Error::RequestIdReused`] if the id belongs to a different request.
pub(super) async fn replay(
    transaction: &Transaction,
    customer_number: &CustomerNumber,
    actor: &Actor,
    key: Option<&RequestKey>,
    now: DateTime<Utc>,
) -> Result<Option<Replay>> {
    let Some(key) = key else {
        return Ok(None);
    };
    let found = transaction.find_request(customer_number, actor, key.request_id, now);
    let Some((stored, response)) = found.await? else {
        return Ok(None);
    };
    let place = key.digests.iter().position(|digest| stored == digest);
    let place = place.ok_or(Error::RequestIdReused)?;
    let seed = key.seeds.get(place).copied();
    Ok(Some(Replay { response, seed }))
}

/// Stores the response in the transaction of the change.
pub(super) async fn store(
    transaction: &Transaction,
    actor: &Actor,
    key: Option<&RequestKey>,
    customer_number: &CustomerNumber,
    response: CachedResponse,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(key) = key else {
        return Ok(());
    };
    let digest = key.digests.first();
    let digest = digest.ok_or_else(|| Error::internal("no service key is configured"))?;
    let record = RequestRecord {
        actor: actor.clone(),
        request_id: key.request_id,
        customer_number: customer_number.clone(),
        digest: *digest,
        response,
        expire_time: now + RETENTION,
    };
    transaction.insert_request(&record, now).await
}

/// Returns the contact of a stored response. The digest covers the RPC name, so that a response of
/// another kind is corrupt.
pub(super) fn replayed_contact(response: CachedResponse) -> Result<Contact> {
    match response {
        CachedResponse::Contact(contact) => Ok(*contact),
        CachedResponse::Deleted => Err(Error::ContactNotFound),
        CachedResponse::Nothing | CachedResponse::Customer(_) | CachedResponse::Expiry(_) => {
            Err(Error::data_loss("request_ids.response"))
        }
    }
}

/// Returns the customer of the stored response if the request was answered before.
pub(super) async fn replay_customer(
    transaction: &Transaction,
    customer_number: &CustomerNumber,
    actor: &Actor,
    options: &ChangeOptions,
    now: DateTime<Utc>,
) -> Result<Option<Outcome<Customer>>> {
    let request = options.request.as_ref();
    let replay = replay(transaction, customer_number, actor, request, now).await?;
    let customer = replay.map(|replay| replayed_customer(replay.response));
    Ok(customer.transpose()?.map(Outcome::Replayed))
}

/// Stores the response that shows a customer, and returns the fate of the transaction.
pub(super) async fn store_customer(
    transaction: &Transaction,
    actor: &Actor,
    options: &ChangeOptions,
    customer: Customer,
    now: DateTime<Utc>,
) -> Result<Outcome<Customer>> {
    let response = CachedResponse::Customer(Box::new(customer.clone()));
    let request = options.request.as_ref();
    store(transaction, actor, request, &customer.number, response, now).await?;
    Ok(Outcome::commit_unless(options.validate_only, customer))
}

fn replayed_customer(response: CachedResponse) -> Result<Customer> {
    match response {
        CachedResponse::Customer(customer) => Ok(*customer),
        CachedResponse::Nothing
        | CachedResponse::Contact(_)
        | CachedResponse::Expiry(_)
        | CachedResponse::Deleted => Err(Error::data_loss("request_ids.response")),
    }
}
