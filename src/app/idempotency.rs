//! Request ids: the same request twice does nothing twice (AIP-155).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    app::App,
    domain::{audit::Actor, customer::CustomerNumber},
    error::{Error, Result},
    storage::{Answer, Fingerprint, RequestRecord, Transaction},
};

const REMEMBERED: TimeDelta = TimeDelta::hours(24);

/// The id a caller gave to a request, and what tells the request from others.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// The id.
    pub request_id: Uuid,
    /// An HMAC over the RPC and the request under each service key, newest first: the
    /// first is kept, and any of them may have been.
    pub fingerprints: Vec<Fingerprint>,
}

impl App {
    /// Deletes the requests that are no longer remembered, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_expired_requests(&self) -> Result<u64> {
        let now = self.now();
        self.database.delete_expired_requests(now).await
    }
}

/// The answer that the request got before, if it came before.
///
/// To be asked under the customer's lock: a twin of the same request waits there.
pub(super) async fn find_answer(
    transaction: &Transaction,
    customer_number: &CustomerNumber,
    actor: &Actor,
    key: Option<&RequestKey>,
    now: DateTime<Utc>,
) -> Result<Option<Answer>> {
    let Some(key) = key else {
        return Ok(None);
    };
    let found = transaction.find_request(customer_number, actor, key.request_id, now);
    match found.await? {
        None => Ok(None),
        Some((fingerprint, answer))
            if key.fingerprints.iter().any(|known| fingerprint == known) =>
        {
            Ok(Some(answer))
        }
        Some(_) => Err(Error::RequestIdReused),
    }
}

/// Remembers the answer with the change it tells of.
pub(super) async fn remember(
    transaction: &Transaction,
    actor: &Actor,
    key: Option<&RequestKey>,
    customer_number: &CustomerNumber,
    answer: Answer,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(key) = key else {
        return Ok(());
    };
    let fingerprint = key.fingerprints.first();
    let fingerprint = fingerprint.ok_or_else(|| Error::internal("there is no service key"))?;
    let record = RequestRecord {
        actor: actor.clone(),
        request_id: key.request_id,
        customer_number: customer_number.clone(),
        fingerprint: *fingerprint,
        answer,
        expire_time: now + REMEMBERED,
    };
    transaction.insert_request(&record, now).await
}
