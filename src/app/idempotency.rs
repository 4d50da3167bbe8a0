//! Request ids: a repeated request is answered from the stored response (AIP-155).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::context::App;
use crate::{
    domain::{audit::Actor, contact::Contact, ids::CustomerNumber},
    error::{Error, Result},
    storage::{CachedResponse, RequestDigest, RequestRecord, Transaction},
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
) -> Result<Option<CachedResponse>> {
    let Some(key) = key else {
        return Ok(None);
    };
    let found = transaction.find_request(customer_number, actor, key.request_id, now);
    match found.await? {
        None => Ok(None),
        Some((stored, response)) if key.digests.iter().any(|digest| stored == digest) => {
            Ok(Some(response))
        }
        Some(_) => Err(Error::RequestIdReused),
    }
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
        CachedResponse::Nothing => Err(Error::data_loss("request_ids.response")),
    }
}
