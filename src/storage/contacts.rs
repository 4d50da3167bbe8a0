//! Rows of contacts and their phone numbers.

mod lookup;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult,
    IdenStatic, IntoActiveModel, Iterable, JoinType, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, RelationTrait, Select, Set, sea_query::Condition,
};
use serde::{Deserialize, Serialize};

pub(super) use self::lookup::{ContactKey, FoundContact, find_many};
use super::{
    Database, Transaction, bounded,
    entity::{
        contact_phone_numbers as phones,
        contacts::{ActiveModel, Column, Entity, Model, Relation},
        phone_passwords as passwords,
    },
    expect_one_row,
    phone_password::to_state,
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        contact::{Contact, Locale},
        contact_types::ContactTypes,
        email_address::EmailAddress,
        email_confirmation::{PendingEmail, RESENDS_AT_ONCE, Resends},
        ids::{ConfirmationId, ContactId, CustomerNumber},
        phone_number::PhoneNumber,
        phone_password::PhonePasswordState,
        restrictions::{OrderTypeCode, Restrictions},
    },
    error::{Error, Result},
};

/// A contact as it is stored, rows of two tables together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    contact: Model,
    phone_numbers: Vec<String>,
    /// As it was told; only a remembered answer needs to keep it.
    #[serde(default)]
    resends_left: Option<i16>,
    #[serde(default)]
    phone_password: ShownPhonePassword,
}

impl Database {
    /// The contact, if the customer has it, as of a moment that is not before the call. Calls
    /// at the same moment share a query.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_contact(
        &self,
        number: &CustomerNumber,
        id: ContactId,
    ) -> Result<Option<Contact>> {
        self.contacts.ask((number.clone(), id)).await?
    }

    /// The customer's contacts behind a position, in the order of their creation.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_contacts(
        &self,
        number: &CustomerNumber,
        after_position: i64,
    ) -> Result<Vec<Contact>> {
        let behind = Column::Position.gt(after_position).into();
        bounded(select(&self.readers, number, behind)).await
    }
}

impl Transaction {
    /// All contacts of the customer, in the order of their creation.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_contacts(&self, number: &CustomerNumber) -> Result<Vec<Contact>> {
        select(&self.inner, number, Condition::all()).await
    }

    /// Puts a contact on file.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_contact(&self, contact: &Contact) -> Result<()> {
        let row = to_row(contact)?.into_active_model();
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        self.insert_phone_numbers(contact).await
    }

    /// Saves a changed contact, raises its version and sets its update time.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not the version that was loaded, and the
    /// failures of the database.
    pub async fn update_contact(
        &self,
        before: &Contact,
        after: &mut Contact,
        now: DateTime<Utc>,
    ) -> Result<()> {
        after.version = before.version + 1;
        after.update_time = now;
        let row = to_row(after)?.into_active_model().reset_all();
        self.update_columns(before, row).await?;
        if before.phone_numbers != after.phone_numbers {
            phones::Entity::delete_many()
                .filter(phones::Column::CustomerNumber.eq(before.customer_number.as_str()))
                .filter(phones::Column::ContactId.eq(before.id.0))
                .exec(&self.inner)
                .await
                .map_err(Failure::from)?;
            self.insert_phone_numbers(after).await?;
        }
        Ok(())
    }

    /// Saves the expiry of a pending address ([`Contact::expire_pending_email`]).
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not the version that was loaded, and the failures of
    /// the database.
    pub async fn save_expiry(&self, before: &Contact, after: &Contact) -> Result<()> {
        let row = ActiveModel {
            pending_email: Set(None),
            pending_email_request_time: Set(None),
            pending_email_expire_time: Set(None),
            pending_email_id: Set(None),
            pending_email_resends: Set(0),
            pending_email_resend_time: Set(None),
            pending_email_bounce_time: Set(None),
            invoice_email_enabled: Set(after.invoice_email_enabled),
            version: Set(after.version),
            update_time: Set(after.update_time),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns(before, row).await
    }

    /// Saves which addresses of the contact bounced. No caller changed it, so the version and
    /// with it the etag stay.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not the version that was loaded, and the failures of
    /// the database.
    pub async fn save_bounces(&self, contact: &Contact) -> Result<()> {
        let pending = contact.pending_email.as_ref();
        let row = ActiveModel {
            email_bounce_time: Set(contact.email_bounce_time),
            pending_email_bounce_time: Set(pending.and_then(|pending| pending.bounce_time)),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns(contact, row).await
    }

    async fn update_columns(&self, contact: &Contact, row: ActiveModel) -> Result<()> {
        let updated = Entity::update_many()
            .set(row)
            .filter(Column::CustomerNumber.eq(contact.customer_number.as_str()))
            .filter(Column::ContactId.eq(contact.id.0))
            .filter(Column::Version.eq(contact.version))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        expect_one_row(updated.rows_affected)
    }

    /// Deletes the contact in the version that was loaded.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is another version by now, and the failures of
    /// the database.
    pub async fn delete_contact(&self, contact: &Contact) -> Result<()> {
        let deleted = Entity::delete_many()
            .filter(Column::CustomerNumber.eq(contact.customer_number.as_str()))
            .filter(Column::ContactId.eq(contact.id.0))
            .filter(Column::Version.eq(contact.version))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        expect_one_row(deleted.rows_affected)
    }

    async fn insert_phone_numbers(&self, contact: &Contact) -> Result<()> {
        if contact.phone_numbers.is_empty() {
            return Ok(());
        }
        let rows = contact
            .phone_numbers
            .iter()
            .zip(0i16..)
            .map(|(number, rank)| phones::ActiveModel {
                customer_number: Set(contact.customer_number.as_str().to_owned()),
                contact_id: Set(contact.id.0),
                rank: Set(rank),
                phone_number: Set(number.as_str().to_owned()),
            });
        phones::Entity::insert_many(rows)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }
}

/// A contact beside one of its phone numbers, or beside none, and its phone password.
struct Row {
    contact: Model,
    phone_number: Option<String>,
    phone_password: Option<passwords::Model>,
}

impl FromQueryResult for Row {
    fn from_query_result(result: &QueryResult, prefix: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            contact: Model::from_query_result(result, prefix)?,
            phone_number: result.try_get(prefix, PHONE_NUMBER)?,
            phone_password: passwords::Model::from_query_result_optional(result, PASSWORD_PREFIX)?,
        })
    }
}

const PHONE_NUMBER: &str = "phone_number";
const PASSWORD_PREFIX: &str = "phone_password_";

/// One statement, so that a contact and what belongs to it are of the same moment.
fn selection(condition: Condition) -> Select<Entity> {
    let mut query = Entity::find()
        .column_as(phones::Column::PhoneNumber, PHONE_NUMBER)
        .join(JoinType::LeftJoin, Relation::PhoneNumbers.def())
        .join(JoinType::LeftJoin, Relation::PhonePassword.def())
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

async fn select<C: ConnectionTrait>(
    connection: &C,
    number: &CustomerNumber,
    condition: Condition,
) -> Result<Vec<Contact>> {
    let of_customer = Condition::all()
        .add(Column::CustomerNumber.eq(number.as_str()))
        .add(condition);
    let rows = selection(of_customer).into_model::<Row>().all(connection);
    gather(rows.await.map_err(Failure::from)?)?
        .into_iter()
        .map(Record::into_contact)
        .collect()
}

/// Rows of one contact follow one another.
fn gather(rows: Vec<Row>) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
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

impl Row {
    fn into_record(self) -> Result<Record> {
        let phone_password = self.phone_password.as_ref().map(to_state).transpose()?;
        Ok(Record {
            contact: self.contact,
            phone_numbers: self.phone_number.into_iter().collect(),
            resends_left: None,
            phone_password: phone_password.unwrap_or_default().into(),
        })
    }
}

/// How a phone password is shown.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct ShownPhonePassword {
    set_time: Option<DateTime<Utc>>,
    locked_until: Option<DateTime<Utc>>,
    is_void: bool,
}

impl From<PhonePasswordState> for ShownPhonePassword {
    fn from(state: PhonePasswordState) -> Self {
        Self {
            set_time: state.set_time,
            locked_until: state.locked_until,
            is_void: state.is_revoked,
        }
    }
}

impl From<ShownPhonePassword> for PhonePasswordState {
    fn from(shown: ShownPhonePassword) -> Self {
        Self {
            set_time: shown.set_time,
            locked_until: shown.locked_until,
            is_revoked: shown.is_void,
        }
    }
}

impl Record {
    pub(super) fn from_contact(contact: &Contact) -> Result<Self> {
        Ok(Self {
            contact: to_row(contact)?,
            phone_numbers: contact
                .phone_numbers
                .iter()
                .map(|number| number.as_str().to_owned())
                .collect(),
            resends_left: contact.pending_email.as_ref().map(|p| p.resends_left),
            phone_password: contact.phone_password.into(),
        })
    }

    pub(super) fn into_contact(self) -> Result<Contact> {
        let row = self.contact;
        let pending_email = to_pending_email(&row, self.resends_left)?;
        Ok(Contact {
            customer_number: CustomerNumber::from_stored(row.customer_number),
            id: ContactId(row.contact_id),
            position: row.position,
            types: to_types(row.types)?,
            display_name: row.display_name,
            locale: to_locale(&row.locale)?,
            email: row.email.map(EmailAddress::from_stored),
            email_bounce_time: row.email_bounce_time,
            pending_email,
            phone_numbers: self
                .phone_numbers
                .into_iter()
                .map(PhoneNumber::from_stored)
                .collect(),
            invoice_email_enabled: row.invoice_email_enabled,
            restrictions: Restrictions {
                note: row.restrictions_note,
                allowed_order_types: to_codes(&row.allowed_order_types)?,
                denied_order_types: to_codes(&row.denied_order_types)?,
            },
            phone_password: self.phone_password.into(),
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
            // An answer remembered before there were links has none; see the migration.
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

pub(super) fn to_types(bits: i16) -> Result<ContactTypes> {
    ContactTypes::from_bits(bits)
        .filter(|types| !types.is_empty())
        .ok_or_else(|| Error::data_loss("contacts.types"))
}

pub(super) fn to_locale(text: &str) -> Result<Locale> {
    match text {
        "de" => Ok(Locale::German),
        "en" => Ok(Locale::English),
        _ => Err(Error::data_loss("contacts.locale")),
    }
}

fn to_codes(json: &str) -> Result<Vec<OrderTypeCode>> {
    let codes: Vec<String> =
        serde_json::from_str(json).map_err(|_| Error::data_loss("contacts.order_types"))?;
    Ok(codes.into_iter().map(OrderTypeCode::from_stored).collect())
}

fn from_codes(codes: &[OrderTypeCode]) -> Result<String> {
    let codes: Vec<&str> = codes.iter().map(OrderTypeCode::as_str).collect();
    serde_json::to_string(&codes).map_err(|_| Error::internal("order types cannot be written"))
}

fn to_row(contact: &Contact) -> Result<Model> {
    let text = |address: &EmailAddress| address.as_str().to_owned();
    let pending = contact.pending_email.as_ref();
    Ok(Model {
        customer_number: contact.customer_number.as_str().to_owned(),
        contact_id: contact.id.0,
        position: contact.position,
        types: contact.types.bits(),
        display_name: contact.display_name.clone(),
        locale: contact.locale.as_str().to_owned(),
        email: contact.email.as_ref().map(text),
        email_key: contact.email.as_ref().map(EmailAddress::comparison_key),
        pending_email: pending.map(|pending| text(&pending.email)),
        pending_email_request_time: pending.map(|pending| pending.request_time),
        pending_email_expire_time: pending.map(|pending| pending.expire_time),
        pending_email_id: pending.map(|pending| pending.id.0),
        pending_email_resends: pending.map_or(0, |pending| pending.resends.count),
        pending_email_resend_time: pending.and_then(|pending| pending.resends.last_time),
        email_bounce_time: contact.email_bounce_time,
        pending_email_bounce_time: pending.and_then(|pending| pending.bounce_time),
        invoice_email_enabled: contact.invoice_email_enabled,
        restrictions_note: contact.restrictions.note.clone(),
        allowed_order_types: from_codes(&contact.restrictions.allowed_order_types)?,
        denied_order_types: from_codes(&contact.restrictions.denied_order_types)?,
        version: contact.version,
        create_time: contact.create_time,
        update_time: contact.update_time,
    })
}
