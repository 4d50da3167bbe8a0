//! Request ids and their cached responses, which make retries idempotent.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, sea_query::Expr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    contacts::record::ContactRecord,
    customers,
    entity::{
        customers::Model,
        request_ids::{ActiveModel, Column, Entity},
    },
    error::StorageError,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::Actor,
        contact::Contact,
        customer::Customer,
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

/// HMAC-SHA256 over the RPC and the request.
pub type RequestDigest = [u8; 32];

/// The response of a request.
#[derive(Clone, Debug)]
pub enum CachedResponse {
    /// An empty response, or one that is read again.
    Nothing,
    /// The contact at the time of the response.
    Contact(Box<Contact>),
    /// The customer at the time of the response.
    Customer(Box<Customer>),
    /// The expiry of a one-time code.
    Expiry(DateTime<Utc>),
    /// The contact was deleted later, and the response with it.
    Deleted,
}

/// A response as it is stored, in JSON. An empty response has none of them.
#[derive(Default, Serialize, Deserialize)]
struct StoredResponse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<ContactRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<Model>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<DateTime<Utc>>,
}

/// The stored text of a deleted response.
const DELETED: &str = "";

/// A request id and its response.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The actor of the request.
    pub actor: Actor,
    /// The request id.
    pub request_id: Uuid,
    /// The customer of the request.
    pub customer_number: CustomerNumber,
    /// The digest that detects another request with the same id.
    pub digest: RequestDigest,
    /// The response.
    pub response: CachedResponse,
    /// The end of the idempotency window.
    pub expire_time: DateTime<Utc>,
}

impl Transaction {
    /// Finds the digest and the response of a request id that is valid at `now`.
    pub async fn find_request(
        &self,
        customer_number: &CustomerNumber,
        actor: &Actor,
        request_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<(Vec<u8>, CachedResponse)>> {
        let number = customer_number.as_str().to_owned();
        let row = Entity::find_by_id((number, actor.0.clone(), request_id))
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let Some(row) = row.filter(|row| now < row.expire_time) else {
            return Ok(None);
        };
        let response = to_response(&row.response)?;
        Ok(Some((row.digest, response)))
    }

    /// Inserts a request id, and replaces an expired one. Of two concurrent requests with the same
    /// id, the later transaction is retried.
    pub async fn insert_request(&self, record: &RequestRecord, now: DateTime<Utc>) -> Result<()> {
        Entity::delete_many()
            .filter(Column::CustomerNumber.eq(record.customer_number.as_str()))
            .filter(Column::Actor.eq(&record.actor.0))
            .filter(Column::RequestId.eq(record.request_id))
            .filter(Column::ExpireTime.lte(now))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let mut stored = StoredResponse::default();
        let mut contact_id = None;
        match &record.response {
            CachedResponse::Nothing | CachedResponse::Deleted => {}
            CachedResponse::Contact(contact) => {
                contact_id = Some(contact.id.0);
                stored.contact = Some(ContactRecord::from_contact(contact)?);
            }
            CachedResponse::Expiry(time) => stored.expiry = Some(*time),
            CachedResponse::Customer(customer) => {
                stored.customer = Some(customers::to_model(customer));
            }
        }
        let row = ActiveModel {
            actor: Set(record.actor.0.clone()),
            request_id: Set(record.request_id),
            customer_number: Set(record.customer_number.as_str().to_owned()),
            digest: Set(record.digest.to_vec()),
            response: Set(serde_json::to_string(&stored)
                .map_err(|_| Error::internal("a response is not serializable"))?),
            expire_time: Set(record.expire_time),
            contact_id: Set(contact_id),
        };
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Deletes the cached responses about a deleted contact; the request ids remain used.
    pub async fn delete_responses(&self, number: &CustomerNumber, id: ContactId) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Response, Expr::value(DELETED))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

pub(super) fn to_response(text: &str) -> Result<CachedResponse> {
    if text == DELETED {
        return Ok(CachedResponse::Deleted);
    }
    let stored: StoredResponse =
        serde_json::from_str(text).map_err(|_| Error::data_loss("request_ids.response"))?;
    if let Some(contact) = stored.contact {
        return Ok(CachedResponse::Contact(Box::new(contact.into_contact()?)));
    }
    if let Some(customer) = stored.customer {
        let customer = customers::to_customer(customer)?;
        return Ok(CachedResponse::Customer(Box::new(customer)));
    }
    Ok(stored
        .expiry
        .map_or(CachedResponse::Nothing, CachedResponse::Expiry))
}
