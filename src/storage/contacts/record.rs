//! Contacts as they are stored, in rows of three tables.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable,
    JoinType, QueryFilter, QueryOrder, QueryResult, QuerySelect, RelationTrait, Select,
    sea_query::{Condition, Expr, ExprTrait, IntoCondition, Query},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        contact::Contact,
        email_address::EmailAddress,
        email_confirmation::{PendingEmail, RESENDS_AT_ONCE, Resends},
        ids::{ConfirmationId, ContactId, CustomerNumber},
        person_name::{PersonName, Salutation},
        phone_number::PhoneNumber,
        phone_password::PhonePasswordState,
        restrictions::Restrictions,
    },
    error::{Error, Result},
    storage::{
        columns::{from_codes, to_codes, to_locale, to_types},
        entity::{
            contact_phone_numbers as phones,
            contacts::{Column, Entity, Model},
            phone_passwords as passwords,
        },
        error::StorageError,
        phone_password::record::to_state,
    },
};

/// A stored contact. Cached responses are records in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContactRecord {
    pub(crate) contact: Model,
    phone_numbers: Vec<String>,
    /// The value at the time of the response; only cached responses have it.
    #[serde(default)]
    resends_left: Option<i16>,
    #[serde(default)]
    phone_password: ShownPhonePassword,
    is_last_standard: bool,
}

/// A contact with one of its phone numbers, if it has any, and its phone password.
pub(crate) struct ContactRow {
    contact: Model,
    phone_number: Option<String>,
    phone_password: Option<passwords::Model>,
    is_last_standard: bool,
}

impl FromQueryResult for ContactRow {
    fn from_query_result(result: &QueryResult, prefix: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            contact: Model::from_query_result(result, prefix)?,
            phone_number: result.try_get(prefix, PHONE_NUMBER)?,
            phone_password: passwords::Model::from_query_result_optional(result, PASSWORD_PREFIX)?,
            is_last_standard: result.try_get::<i32>(prefix, LAST_STANDARD)? == 1,
        })
    }
}

const PHONE_NUMBER: &str = "phone_number";
const PASSWORD_PREFIX: &str = "phone_password_";
const LAST_STANDARD: &str = "is_last_standard";
/// The other contacts of a contact's customer.
const OTHER: &str = "other";
const IS_OTHER_STANDARD: &str = "other.customer_number = contacts.customer_number \
     AND other.contact_id <> contacts.contact_id AND other.types & 1 = 1";

/// Builds one statement for all tables, so that they are read from one snapshot. `condition` selects
/// the contacts, and `of_others` those among `other` that have the same customers: a distributed
/// database asks all shards for a subquery that does not name its customers itself.
pub(crate) fn selection(condition: Condition, of_others: Condition) -> Select<Entity> {
    let mut query = Entity::find()
        .column_as(phones::Column::PhoneNumber, PHONE_NUMBER)
        .expr_as(is_last_standard(of_others), LAST_STANDARD)
        .join_rev(JoinType::LeftJoin, phones::Relation::Contacts.def())
        .join_rev(JoinType::LeftJoin, passwords::Relation::Contacts.def())
        .filter(condition)
        .order_by_asc(Column::CustomerNumber)
        .order_by_asc(Column::Position)
        .order_by_asc(phones::Column::Rank);
    for column in passwords::Column::iter() {
        let alias = format!("{PASSWORD_PREFIX}{}", column.as_str());
        query = query.column_as(column, alias);
    }
    query
}

/// Rule 2: 1 for the only STANDARD contact of a customer, 0 for all others.
fn is_last_standard(of_others: Condition) -> Expr {
    let others = Query::select()
        .expr(Expr::cust("1"))
        .from_as(Entity, OTHER)
        .cond_where(of_others.add(Expr::cust(IS_OTHER_STANDARD)))
        .take();
    let is_last = Expr::cust("contacts.types & 1 = 1").and(Expr::exists(others).not());
    Expr::case(is_last, Expr::cust("1"))
        .finally(Expr::cust("0"))
        .into()
}

pub(crate) async fn select<C: ConnectionTrait>(
    connection: &C,
    number: &CustomerNumber,
    condition: Condition,
) -> Result<Vec<Contact>> {
    let condition = Condition::all()
        .add(Column::CustomerNumber.eq(number.as_str()))
        .add(condition);
    let of_others = Expr::col((OTHER, Column::CustomerNumber)).eq(number.as_str());
    let rows = selection(condition, of_others.into_condition())
        .into_model::<ContactRow>()
        .all(connection);
    gather(rows.await.map_err(StorageError::from)?)?
        .into_iter()
        .map(ContactRecord::into_contact)
        .collect()
}

/// Collects the rows of each contact, which are adjacent.
pub(crate) fn gather(rows: Vec<ContactRow>) -> Result<Vec<ContactRecord>> {
    let mut records: Vec<ContactRecord> = Vec::new();
    for row in rows {
        match records.last_mut() {
            Some(last) if last.contact.contact_id == row.contact.contact_id => {
                last.phone_numbers.extend(row.phone_number);
            }
            Some(_) | None => records.push(row.into_record()?),
        }
    }
    Ok(records)
}

impl ContactRow {
    /// Returns the customer number, the contact's id, and the key of its address.
    pub(crate) fn key(&self) -> (String, Uuid, Option<String>) {
        let row = &self.contact;
        let number = row.customer_number.clone();
        (number, row.contact_id, row.email_key.clone())
    }

    fn into_record(self) -> Result<ContactRecord> {
        let phone_password = self.phone_password.as_ref().map(to_state).transpose()?;
        Ok(ContactRecord {
            contact: self.contact,
            phone_numbers: self.phone_number.into_iter().collect(),
            resends_left: None,
            phone_password: phone_password.unwrap_or_default().into(),
            is_last_standard: self.is_last_standard,
        })
    }
}

/// The public state of a phone password.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct ShownPhonePassword {
    set_time: Option<DateTime<Utc>>,
    locked_until: Option<DateTime<Utc>>,
    is_revoked: bool,
}

impl From<PhonePasswordState> for ShownPhonePassword {
    fn from(state: PhonePasswordState) -> Self {
        Self {
            set_time: state.set_time,
            locked_until: state.locked_until,
            is_revoked: state.is_revoked,
        }
    }
}

impl From<ShownPhonePassword> for PhonePasswordState {
    fn from(shown: ShownPhonePassword) -> Self {
        Self {
            set_time: shown.set_time,
            locked_until: shown.locked_until,
            is_revoked: shown.is_revoked,
        }
    }
}

impl ContactRecord {
    pub(crate) fn from_contact(contact: &Contact) -> Result<Self> {
        Ok(Self {
            contact: to_row(contact)?,
            phone_numbers: contact
                .phone_numbers
                .iter()
                .map(|number| number.as_str().to_owned())
                .collect(),
            resends_left: contact.pending_email.as_ref().map(|p| p.resends_left),
            phone_password: contact.phone_password.into(),
            is_last_standard: contact.is_last_standard,
        })
    }

    pub(crate) fn into_contact(self) -> Result<Contact> {
        let row = self.contact;
        let pending_email = to_pending_email(&row, self.resends_left)?;
        Ok(Contact {
            customer_number: CustomerNumber::from_stored(row.customer_number),
            id: ContactId(row.contact_id),
            position: row.position,
            types: to_types(row.types)?,
            display_name: row.display_name,
            name: PersonName {
                salutation: to_salutation(row.salutation)?,
                title: row.title,
                given_name: row.given_name,
                family_name: row.family_name,
            },
            job_position: row.job_position,
            department: row.department,
            locale: to_locale(&row.locale, "contacts.locale")?,
            email: row.email.map(EmailAddress::from_stored),
            email_confirm_time: row.email_confirm_time,
            email_bounce_time: row.email_bounce_time,
            email_works_since: row.email_works_since,
            pending_email,
            phone_numbers: self
                .phone_numbers
                .into_iter()
                .map(PhoneNumber::from_stored)
                .collect(),
            invoice_email_enabled: row.invoice_email_enabled,
            invoice_email_lapse_time: row.invoice_email_lapse_time,
            restrictions: Restrictions {
                note: row.restrictions_note,
                allowed_order_types: to_codes(&row.allowed_order_types)?,
                denied_order_types: to_codes(&row.denied_order_types)?,
            },
            phone_password: self.phone_password.into(),
            is_last_standard: self.is_last_standard,
            version: row.version,
            create_time: row.create_time,
            update_time: row.update_time,
        })
    }
}

fn to_pending_email(row: &Model, resends_left: Option<i16>) -> Result<Option<PendingEmail>> {
    match (
        &row.pending_email,
        row.pending_email_request_time,
        row.pending_email_expire_time,
    ) {
        (Some(email), Some(request_time), Some(expire_time)) => Ok(Some(PendingEmail {
            // A response cached by a version without links has none; see the migration.
            id: ConfirmationId(row.pending_email_id.unwrap_or(row.contact_id)),
            email: EmailAddress::from_stored(email.clone()),
            request_time,
            expire_time,
            resends: Resends {
                count: row.pending_email_resends,
                last_time: row.pending_email_resend_time,
            },
            resends_left: resends_left.unwrap_or(RESENDS_AT_ONCE),
            bounce_time: row.pending_email_bounce_time,
        })),
        (None, None, None) => Ok(None),
        _ => Err(Error::data_loss("contacts.pending_email")),
    }
}

/// The number under which a salutation is stored.
const fn from_salutation(salutation: Salutation) -> i16 {
    match salutation {
        Salutation::Unspecified => 0,
        Salutation::Herr => 1,
        Salutation::Frau => 2,
        Salutation::Neutral => 3,
    }
}

fn to_salutation(number: i16) -> Result<Salutation> {
    match number {
        0 => Ok(Salutation::Unspecified),
        1 => Ok(Salutation::Herr),
        2 => Ok(Salutation::Frau),
        3 => Ok(Salutation::Neutral),
        _ => Err(Error::data_loss("contacts.salutation")),
    }
}

pub(crate) fn to_row(contact: &Contact) -> Result<Model> {
    let text = |address: &EmailAddress| address.as_str().to_owned();
    let pending = contact.pending_email.as_ref();
    Ok(Model {
        customer_number: contact.customer_number.as_str().to_owned(),
        contact_id: contact.id.0,
        position: contact.position,
        types: contact.types.bits(),
        display_name: contact.display_name.clone(),
        salutation: from_salutation(contact.name.salutation),
        title: contact.name.title.clone(),
        given_name: contact.name.given_name.clone(),
        family_name: contact.name.family_name.clone(),
        job_position: contact.job_position.clone(),
        department: contact.department.clone(),
        locale: contact.locale.as_str().to_owned(),
        email: contact.email.as_ref().map(text),
        email_key: contact.email.as_ref().map(EmailAddress::comparison_key),
        pending_email: pending.map(|pending| text(&pending.email)),
        pending_email_request_time: pending.map(|pending| pending.request_time),
        pending_email_expire_time: pending.map(|pending| pending.expire_time),
        pending_email_id: pending.map(|pending| pending.id.0),
        pending_email_resends: pending.map_or(0, |pending| pending.resends.count),
        pending_email_resend_time: pending.and_then(|pending| pending.resends.last_time),
        email_confirm_time: contact.email_confirm_time,
        email_bounce_time: contact.email_bounce_time,
        email_works_since: contact.email_works_since,
        pending_email_bounce_time: pending.and_then(|pending| pending.bounce_time),
        invoice_email_enabled: contact.invoice_email_enabled,
        invoice_email_lapse_time: contact.invoice_email_lapse_time,
        restrictions_note: contact.restrictions.note.clone(),
        allowed_order_types: from_codes(&contact.restrictions.allowed_order_types)?,
        denied_order_types: from_codes(&contact.restrictions.denied_order_types)?,
        version: contact.version,
        create_time: contact.create_time,
        update_time: contact.update_time,
    })
}
