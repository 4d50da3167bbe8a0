//! What the resolution of recipients reads: one statement, few columns.

use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait, prelude::DateTimeUtc,
};
use uuid::Uuid;

use super::{
    Database, bounded,
    contacts::{to_locale, to_types},
    entity::{contacts, customers},
    failure::Failure,
};
use crate::{
    domain::{
        contact::ContactId,
        customer::{CustomerNumber, NotificationSettings},
        email_address::EmailAddress,
        recipients::{Addressees, Candidate},
    },
    error::{Error, Result},
};

/// A customer beside one of its contacts, or beside none.
#[allow(clippy::struct_excessive_bools, reason = "the columns are independent")]
#[derive(Debug, FromQueryResult)]
struct Row {
    contact_data_email: Option<String>,
    security_notices: bool,
    planned_maintenance: bool,
    outages: bool,
    attention_line_suppressed: bool,
    contact_id: Option<Uuid>,
    types: Option<i16>,
    display_name: Option<String>,
    locale: Option<String>,
    email: Option<String>,
    pending_email_expire_time: Option<DateTimeUtc>,
    invoice_email_enabled: Option<bool>,
}

impl Database {
    /// The customer and its contacts, in the order of their creation, as of one
    /// moment. `now` decides which pending addresses have lapsed.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_addressees(
        &self,
        number: &CustomerNumber,
        now: DateTimeUtc,
    ) -> Result<Option<Addressees>> {
        let rows = customers::Entity::find()
            .select_only()
            .column_as(customers::Column::Email, "contact_data_email")
            .columns([
                customers::Column::SecurityNotices,
                customers::Column::PlannedMaintenance,
                customers::Column::Outages,
                customers::Column::AttentionLineSuppressed,
            ])
            .columns([
                contacts::Column::ContactId,
                contacts::Column::Types,
                contacts::Column::DisplayName,
                contacts::Column::Locale,
                contacts::Column::Email,
                contacts::Column::PendingEmailExpireTime,
                contacts::Column::InvoiceEmailEnabled,
            ])
            .join(JoinType::LeftJoin, customers::Relation::Contacts.def())
            .filter(customers::Column::CustomerNumber.eq(number.as_str()))
            .order_by_asc(contacts::Column::Position)
            .into_model::<Row>()
            .all(&self.readers);
        let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
        to_addressees(number, rows, now)
    }
}

fn to_addressees(
    number: &CustomerNumber,
    rows: Vec<Row>,
    now: DateTimeUtc,
) -> Result<Option<Addressees>> {
    let Some(customer) = rows.first() else {
        return Ok(None);
    };
    let mut addressees = Addressees {
        customer_number: number.clone(),
        contact_data_email: customer
            .contact_data_email
            .clone()
            .map(EmailAddress::from_stored),
        notification_settings: NotificationSettings {
            security_notices: customer.security_notices,
            planned_maintenance: customer.planned_maintenance,
            outages: customer.outages,
        },
        attention_line_suppressed: customer.attention_line_suppressed,
        contacts: Vec::with_capacity(rows.len()),
    };
    for row in rows {
        let Some(id) = row.contact_id else {
            continue;
        };
        addressees
            .contacts
            .push(to_candidate(ContactId(id), row, now)?);
    }
    Ok(Some(addressees))
}

fn to_candidate(id: ContactId, row: Row, now: DateTimeUtc) -> Result<Candidate> {
    let missing = || Error::data_loss("a column of contacts is empty");
    Ok(Candidate {
        id,
        types: to_types(row.types.ok_or_else(missing)?)?,
        display_name: row.display_name.ok_or_else(missing)?,
        locale: to_locale(&row.locale.ok_or_else(missing)?)?,
        email: row.email.map(EmailAddress::from_stored),
        has_pending_email: row
            .pending_email_expire_time
            .is_some_and(|expire_time| now < expire_time),
        invoice_email_enabled: row.invoice_email_enabled.ok_or_else(missing)?,
    })
}
