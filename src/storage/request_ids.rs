//! Requests that were answered, so that repeating one does nothing twice.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, sea_query::Expr};
use uuid::Uuid;

use super::{
    Transaction,
    contacts::Record,
    entity::request_ids::{ActiveModel, Column, Entity},
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        audit::Actor,
        contact::Contact,
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

/// HMAC-SHA256 over the RPC and the request.
pub type Fingerprint = [u8; 32];

/// What a request was answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing (a deletion).
    Nothing,
    /// The contact as it was then.
    Contact(Box<Contact>),
    /// A contact that was deleted since: nothing of it is kept.
    Deleted,
}

/// In place of an answer that held a contact which was deleted.
const DELETED: &str = "";

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Whose request it was.
    pub actor: Actor,
    /// The id the caller gave.
    pub request_id: Uuid,
    /// The customer it was about.
    pub customer_number: CustomerNumber,
    /// Tells the request from others.
    pub fingerprint: Fingerprint,
    /// What was answered.
    pub answer: Answer,
    /// Until when the id is remembered.
    pub expire_time: DateTime<Utc>,
}

impl Transaction {
    /// The fingerprint and answer of a request that is still remembered at `now`.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_request(
        &self,
        customer_number: &CustomerNumber,
        actor: &Actor,
        request_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<(Vec<u8>, Answer)>> {
        let number = customer_number.as_str().to_owned();
        let row = Entity::find_by_id((number, actor.0.clone(), request_id))
            .one(&self.inner)
            .await
            .map_err(Failure::from)?;
        let Some(row) = row.filter(|row| now < row.expire_time) else {
            return Ok(None);
        };
        let answer = to_answer(&row.answer)?;
        Ok(Some((row.fingerprint, answer)))
    }

    /// Remembers an answered request, in place of an expired one of the same id.
    ///
    /// # Errors
    /// The failures of the database; two requests of the same id at once make the
    /// later transaction start again.
    pub async fn insert_request(&self, record: &RequestRecord, now: DateTime<Utc>) -> Result<()> {
        Entity::delete_many()
            .filter(Column::CustomerNumber.eq(record.customer_number.as_str()))
            .filter(Column::Actor.eq(&record.actor.0))
            .filter(Column::RequestId.eq(record.request_id))
            .filter(Column::ExpireTime.lte(now))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        let contact = match &record.answer {
            Answer::Nothing | Answer::Deleted => None,
            Answer::Contact(contact) => Some(contact),
        };
        let stored = contact.map(|contact| Record::from_contact(contact));
        let row = ActiveModel {
            actor: Set(record.actor.0.clone()),
            request_id: Set(record.request_id),
            customer_number: Set(record.customer_number.as_str().to_owned()),
            fingerprint: Set(record.fingerprint.to_vec()),
            answer: Set(serde_json::to_string(&stored.transpose()?)
                .map_err(|_| Error::internal("an answer cannot be written"))?),
            expire_time: Set(record.expire_time),
            contact_id: Set(contact.map(|contact| contact.id.0)),
        };
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Forgets what was answered about a contact that is deleted; the ids stay used.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_answers(&self, number: &CustomerNumber, id: ContactId) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Answer, Expr::value(DELETED))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }
}

pub(super) fn to_answer(text: &str) -> Result<Answer> {
    if text == DELETED {
        return Ok(Answer::Deleted);
    }
    let record: Option<Record> =
        serde_json::from_str(text).map_err(|_| Error::data_loss("request_ids.answer"))?;
    Ok(match record {
        None => Answer::Nothing,
        Some(record) => Answer::Contact(Box::new(record.into_contact()?)),
    })
}
