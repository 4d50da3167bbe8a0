//! Rows of decisions about phone orders (rule 28).
//!
//! An id begins with the time of its decision, so that lists are ordered and bounded by ids.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use uuid::{Builder, Uuid};

use super::{
    columns::{from_codes, to_codes},
    database::Database,
    entity::phone_orders::{ActiveModel, Column, Entity, Model},
    error::{StorageError, ensure_version_matched},
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        authentication::AuthenticationMethod,
        caller::MatchKind,
        ids::{ContactId, CustomerNumber},
        phone_order::{
            OrderBasis, OrderDecision, OrderTerms, PhoneOrder, PhoneOrderFilter, PhoneOrderOutcome,
            RecordedOutcome, VerifiedChannel,
        },
        restrictions::{OrderTypeCode, Restrictions},
    },
    error::{Error, Result},
};

const NOT_VERIFIED: &str = "not_verified";
const CONTACT: &str = "contact";
const CONTACT_DATA: &str = "contact_data";

impl Database {
    /// Finds the record of a decision.
    pub async fn find_phone_order(
        &self,
        number: &CustomerNumber,
        id: Uuid,
    ) -> Result<Option<PhoneOrder>> {
        let row = Entity::find_by_id((number.as_str().to_owned(), id)).one(&self.readers);
        let row = with_timeout(async { Ok(row.await.map_err(StorageError::from)?) }).await?;
        row.map(to_phone_order).transpose()
    }

    /// Lists up to `limit` records with ids before `before`, newest first.
    pub async fn list_phone_orders(
        &self,
        filter: &PhoneOrderFilter,
        before: Uuid,
        limit: u64,
    ) -> Result<Vec<PhoneOrder>> {
        let mut query = Entity::find()
            .filter(Column::AuthorizationId.lt(before))
            .order_by_desc(Column::AuthorizationId)
            .limit(limit);
        if let Some(number) = &filter.customer_number {
            query = query.filter(Column::CustomerNumber.eq(number.as_str()));
        }
        if let Some(id) = filter.contact_id {
            query = query.filter(Column::ContactId.eq(id.0));
        }
        if let Some(agent) = &filter.agent {
            query = query.filter(Column::Agent.eq(agent));
        }
        if let Some(start) = filter.times.start {
            query = query
                .filter(Column::AuthorizationId.gte(first_id(start)))
                .filter(Column::DecisionTime.gte(start));
        }
        if let Some(end) = filter.times.end {
            query = query
                .filter(Column::AuthorizationId.lt(first_id(end + TimeDelta::milliseconds(1))))
                .filter(Column::DecisionTime.lt(end));
        }
        let rows = query.all(&self.readers);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        rows.into_iter().map(to_phone_order).collect()
    }
}

/// Returns the lowest id of a decision in the millisecond of `time`.
fn first_id(time: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

impl Transaction {
    /// Inserts the decision about a phone order.
    pub async fn insert_phone_order(&self, order: &PhoneOrder) -> Result<()> {
        Entity::insert(to_row(order)?.into_active_model())
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Finds the record of a decision of a locked customer.
    pub async fn find_phone_order(
        &self,
        number: &CustomerNumber,
        id: Uuid,
    ) -> Result<Option<PhoneOrder>> {
        let row = Entity::find_by_id((number.as_str().to_owned(), id))
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        row.map(to_phone_order).transpose()
    }

    /// Records the outcome of an order of a locked customer.
    pub async fn record_outcome(
        &self,
        number: &CustomerNumber,
        id: Uuid,
        recorded: &RecordedOutcome,
    ) -> Result<()> {
        let row = ActiveModel {
            outcome: Set(Some(recorded.outcome.as_str().to_owned())),
            order_reference: Set(Some(recorded.reference.clone())),
            outcome_time: Set(Some(recorded.time)),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        let updated = Entity::update_many()
            .set(row)
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::AuthorizationId.eq(id))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        ensure_version_matched(updated.rows_affected)
    }
}

fn to_row(order: &PhoneOrder) -> Result<Model> {
    let OrderBasis {
        restrictions,
        terms,
    } = &order.basis;
    let (channel, channel_match) = match order.channel {
        VerifiedChannel::NotVerified => (NOT_VERIFIED, None),
        VerifiedChannel::Contact(kind) => (CONTACT, Some(kind)),
        VerifiedChannel::ContactData(kind) => (CONTACT_DATA, Some(kind)),
    };
    let outcome = order.outcome.as_ref();
    Ok(Model {
        customer_number: order.customer_number.as_str().to_owned(),
        authorization_id: order.id,
        contact_id: order.contact_id.0,
        agent: order.agent.clone(),
        call_id: order.call_id.clone(),
        order_type: order.order_type.as_str().to_owned(),
        customer_administers_product: order.customer_administers_product,
        system_management: terms.system_management,
        offered_by_phone: terms.offered_by_phone,
        requires_verified_channel: terms.requires_verified_channel,
        retired: terms.retired,
        restrictions_note: restrictions.note.clone(),
        allowed_order_types: from_codes(&restrictions.allowed_order_types)?,
        denied_order_types: from_codes(&restrictions.denied_order_types)?,
        channel: channel.to_owned(),
        channel_match: channel_match.map(|kind| kind.as_str().to_owned()),
        authentication: order.authentication.as_str().to_owned(),
        decision: order.decision.as_str().to_owned(),
        decision_time: order.decision_time,
        outcome: outcome.map(|recorded| recorded.outcome.as_str().to_owned()),
        order_reference: outcome.map(|recorded| recorded.reference.clone()),
        outcome_time: outcome.map(|recorded| recorded.time),
    })
}

pub(super) fn to_phone_order(row: Model) -> Result<PhoneOrder> {
    let damaged = |column| move || Error::data_loss(column);
    let decision = OrderDecision::ALL
        .into_iter()
        .find(|decision| decision.as_str() == row.decision)
        .ok_or_else(damaged("phone_orders.decision"))?;
    let authentication = AuthenticationMethod::find(&row.authentication)
        .ok_or_else(damaged("phone_orders.authentication"))?;
    Ok(PhoneOrder {
        id: row.authorization_id,
        channel: to_channel(&row).ok_or_else(damaged("phone_orders.channel"))?,
        outcome: to_outcome(&row)?,
        customer_number: CustomerNumber::from_stored(row.customer_number),
        contact_id: ContactId(row.contact_id),
        agent: row.agent,
        call_id: row.call_id,
        order_type: OrderTypeCode::from_stored(row.order_type),
        customer_administers_product: row.customer_administers_product,
        basis: OrderBasis {
            restrictions: Restrictions {
                note: row.restrictions_note,
                allowed_order_types: to_codes(&row.allowed_order_types)?,
                denied_order_types: to_codes(&row.denied_order_types)?,
            },
            terms: OrderTerms {
                system_management: row.system_management,
                offered_by_phone: row.offered_by_phone,
                requires_verified_channel: row.requires_verified_channel,
                retired: row.retired,
            },
        },
        authentication,
        decision,
        decision_time: row.decision_time,
    })
}

fn to_channel(row: &Model) -> Option<VerifiedChannel> {
    let kind = row.channel_match.as_deref().and_then(MatchKind::find);
    match (row.channel.as_str(), kind) {
        (NOT_VERIFIED, None) => Some(VerifiedChannel::NotVerified),
        (CONTACT, Some(kind)) => Some(VerifiedChannel::Contact(kind)),
        (CONTACT_DATA, Some(kind)) => Some(VerifiedChannel::ContactData(kind)),
        _ => None,
    }
}

fn to_outcome(row: &Model) -> Result<Option<RecordedOutcome>> {
    let (Some(name), Some(time)) = (&row.outcome, row.outcome_time) else {
        return Ok(None);
    };
    let outcome = [PhoneOrderOutcome::Placed, PhoneOrderOutcome::NotPlaced]
        .into_iter()
        .find(|outcome| outcome.as_str() == name);
    Ok(Some(RecordedOutcome {
        outcome: outcome.ok_or_else(|| Error::data_loss("phone_orders.outcome"))?,
        reference: row.order_reference.clone().unwrap_or_default(),
        time,
    }))
}
