//! Reads all data of a customer, for disclosure to the data subject.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait, Query},
};
use uuid::Uuid;

use super::{
    columns::{to_locale, to_times},
    customers::LockedCustomer,
    email_confirmations::to_confirmation,
    entity::{
        email_confirmations, one_time_codes, outbox_mails, phone_orders, phone_passwords,
        request_ids,
    },
    error::StorageError,
    noticed_changes::to_changes,
    one_time_codes::to_method,
    outbox::DEAD,
    phone_orders::to_phone_order,
    phone_password::record::to_attempts,
    request_ids::{CachedResponse, to_response},
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::Actor,
        email_address::EmailAddress,
        export::{
            Export, ExportedAttempts, ExportedCode, ExportedConfirmation, ExportedImport,
            ExportedMail, ExportedRequest,
        },
        ids::ContactId,
    },
    error::Result,
};

#[derive(FromQueryResult)]
struct ImportRow {
    contact_id: Uuid,
    import_time: DateTime<Utc>,
}

impl Transaction {
    /// Reads all data of a locked customer except its audit log, which may be long. The lock keeps
    /// the data consistent.
    pub async fn load_export(&self, locked: &LockedCustomer) -> Result<Export> {
        let number = locked.customer.number.as_str();
        Ok(Export {
            customer: locked.customer.clone(),
            contacts: self.list_contacts(&locked.customer.number).await?,
            events: Vec::new(),
            phone_orders: self
                .list_rows(
                    phone_orders::Entity,
                    number,
                    ["decision_time", "authorization_id"],
                    to_phone_order,
                )
                .await?,
            confirmations: self
                .list_rows(
                    email_confirmations::Entity,
                    number,
                    ["expire_time", "confirmation_id"],
                    to_confirmation_on_file,
                )
                .await?,
            mails: self
                .list_rows(
                    outbox_mails::Entity,
                    number,
                    ["create_time", "mail_id"],
                    to_mail,
                )
                .await?,
            attempts: self
                .list_rows(
                    phone_passwords::Entity,
                    number,
                    ["update_time", "contact_id"],
                    to_exported_attempts,
                )
                .await?,
            requests: self
                .list_rows(
                    request_ids::Entity,
                    number,
                    ["expire_time", "request_id"],
                    to_request,
                )
                .await?,
            imports: self.list_imports(number).await?,
            codes: self
                .list_rows(
                    one_time_codes::Entity,
                    number,
                    ["contact_id", "method"],
                    to_exported_code,
                )
                .await?,
        })
    }

    /// Reads the rows of a customer, ordered by these columns.
    async fn list_rows<E: EntityTrait, T>(
        &self,
        _table: E,
        number: &str,
        order: [&'static str; 2],
        read: fn(E::Model) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut query = E::find().filter(Expr::col("customer_number").eq(number));
        for column in order {
            query = query.order_by_asc(Expr::col(column));
        }
        let rows = query.all(&self.inner).await.map_err(StorageError::from)?;
        rows.into_iter().map(read).collect()
    }

    async fn list_imports(&self, number: &str) -> Result<Vec<ExportedImport>> {
        let query = Query::select()
            .columns(["contact_id", "import_time"])
            .from("contact_imports")
            .and_where(Expr::col("customer_number").eq(number))
            .order_by("import_time", sea_orm::Order::Asc)
            .order_by("contact_id", sea_orm::Order::Asc)
            .to_owned();
        let rows = self
            .inner
            .query_all(&query)
            .await
            .map_err(StorageError::from)?;
        let import = |row| {
            let row = ImportRow::from_query_result(row, "").map_err(StorageError::from)?;
            Ok(ExportedImport {
                contact_id: ContactId(row.contact_id),
                import_time: row.import_time,
            })
        };
        rows.iter().map(import).collect()
    }
}

fn to_exported_code(row: one_time_codes::Model) -> Result<ExportedCode> {
    let one_time_codes::Model {
        contact_id,
        method,
        expire_time,
        attempts,
        mail_times,
        ..
    } = row;
    Ok(ExportedCode {
        contact_id: ContactId(contact_id),
        method: to_method(&method)?,
        expire_time,
        attempts,
        mail_times: to_times(&mail_times)?,
    })
}

fn to_confirmation_on_file(row: email_confirmations::Model) -> Result<ExportedConfirmation> {
    let remind_time = row.remind_time;
    let confirmation = to_confirmation(row)?;
    Ok(ExportedConfirmation {
        contact_id: confirmation.contact_id,
        masked_email: confirmation.masked_email,
        state: confirmation.recorded_state,
        expire_time: confirmation.expire_time,
        remind_time,
    })
}

fn to_mail(row: outbox_mails::Model) -> Result<ExportedMail> {
    Ok(ExportedMail {
        id: row.mail_id,
        kind: row.kind,
        contact_id: row.contact_id.map(ContactId),
        recipient: EmailAddress::from_stored(row.recipient),
        display_name: row.display_name,
        locale: to_locale(&row.locale, "outbox_mails.locale")?,
        changes: to_changes(row.changes.as_deref())?,
        is_dead: row.state == DEAD,
        attempts: row.attempts,
        create_time: row.create_time,
        due_time: row.due_time,
        failure: row.failure,
    })
}

fn to_exported_attempts(row: phone_passwords::Model) -> Result<ExportedAttempts> {
    Ok(ExportedAttempts {
        contact_id: ContactId(row.contact_id),
        set_time: row.set_time,
        attempts: to_attempts(&row)?,
        unlock_reason: row.unlock_reason,
        update_time: row.update_time,
    })
}

fn to_request(row: request_ids::Model) -> Result<ExportedRequest> {
    let (contact, customer) = match to_response(&row.response)? {
        CachedResponse::Contact(contact) => (Some(*contact), None),
        CachedResponse::Customer(customer) => (None, Some(*customer)),
        CachedResponse::Nothing | CachedResponse::Expiry(_) | CachedResponse::Deleted => {
            (None, None)
        }
    };
    Ok(ExportedRequest {
        id: row.request_id,
        actor: Actor(row.actor),
        contact,
        customer,
        expire_time: row.expire_time,
    })
}
