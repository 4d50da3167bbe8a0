//! Privacy: `ExportCustomer`, `EraseCustomer`, and exports as JSON.

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::{
    api::{
        audit,
        auth::Caller,
        contract::DESCRIPTORS,
        convert::{self, Violations, timestamp},
        email_confirmation, phone_orders, proto,
    },
    app::App,
    domain::{
        change_notice::NoticedChange,
        email_confirmation::ConfirmationState,
        export::{
            Export, ExportedAttempts, ExportedCode, ExportedConfirmation, ExportedImport,
            ExportedMail, ExportedRequest,
        },
    },
    error::{Error, Result, Violation},
};

const EXPORT: &str = "contact.v1.ExportCustomerResponse";

pub(super) async fn export(
    app: &App,
    caller: &Caller,
    request: proto::ExportCustomerRequest,
) -> Result<proto::ExportCustomerResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let number = violations.finish(number)?;
    let export = app.export_customer(caller.actor(), number).await?;
    Ok(encode(export))
}

pub(super) async fn erase(
    app: &App,
    caller: &Caller,
    request: proto::EraseCustomerRequest,
) -> Result<proto::EraseCustomerResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    if request.confirm_customer_number != request.customer_number {
        violations.add("confirm_customer_number", Violation::Unconfirmed);
    }
    let number = violations.finish(number)?;
    app.erase_customer(caller.actor(), number).await?;
    Ok(proto::EraseCustomerResponse {})
}

/// Encodes an export as indented `ProtoJSON` of `ExportCustomerResponse`.
///
/// # Errors
/// [`Error::Internal`] if it cannot be encoded.
pub fn export_as_json(export: Export) -> Result<String> {
    let failed = |_| Error::internal("an export cannot be written as JSON");
    let descriptor = DESCRIPTORS.get_message_by_name(EXPORT);
    let descriptor = descriptor.ok_or_else(|| Error::internal("an export is no message"))?;
    let bytes = encode(export).encode_to_vec();
    let message = DynamicMessage::decode(descriptor, bytes.as_slice());
    let message = message.map_err(|_| Error::internal("an export cannot be read back"))?;
    let mut json = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut json, PrettyFormatter::new());
    let options = SerializeOptions::new();
    message
        .serialize_with_options(&mut serializer, &options)
        .map_err(failed)?;
    String::from_utf8(json).map_err(|_| Error::internal("JSON is not UTF-8"))
}

fn encode(export: Export) -> proto::ExportCustomerResponse {
    proto::ExportCustomerResponse {
        customer: Some(convert::customer(export.customer)),
        contacts: export.contacts.iter().map(convert::contact).collect(),
        audit_events: all(export.events, audit::encode),
        phone_orders: all(export.phone_orders, phone_orders::encode),
        email_confirmations: all(export.confirmations, confirmation),
        mails: all(export.mails, mail),
        phone_passwords: all(export.attempts, phone_password_record),
        requests: all(export.requests, request),
        imports: all(export.imports, import),
        one_time_codes: all(export.codes, one_time_code),
    }
}

fn all<T, M>(entries: Vec<T>, encode: fn(T) -> M) -> Vec<M> {
    entries.into_iter().map(encode).collect()
}

fn one_time_code(code: ExportedCode) -> proto::OneTimeCodeRecord {
    proto::OneTimeCodeRecord {
        contact_id: code.contact_id.0.to_string(),
        method: phone_orders::encode_authentication(code.method).into(),
        expire_time: Some(timestamp(code.expire_time)),
        failed_attempts: code.attempts.into(),
        mail_times: all(code.mail_times, timestamp),
    }
}

fn confirmation(confirmation: ExportedConfirmation) -> proto::EmailConfirmationRecord {
    let state = email_confirmation::encode_state(confirmation.state);
    let is_pending = confirmation.state == ConfirmationState::Pending;
    proto::EmailConfirmationRecord {
        contact_id: confirmation.contact_id.0.to_string(),
        masked_email: confirmation.masked_email,
        state: state.into(),
        expire_time: Some(timestamp(confirmation.expire_time)),
        remind_time: confirmation
            .remind_time
            .filter(|_| is_pending)
            .map(timestamp),
    }
}

fn mail(mail: ExportedMail) -> proto::MailRecord {
    proto::MailRecord {
        mail_id: mail.id.to_string(),
        kind: mail.kind,
        contact_id: mail
            .contact_id
            .map_or_else(String::new, |id| id.0.to_string()),
        email: mail.recipient.as_str().to_owned(),
        display_name: mail.display_name,
        locale: mail.locale.as_str().to_owned(),
        dead_lettered: mail.is_dead,
        attempts: mail.attempts.into(),
        create_time: Some(timestamp(mail.create_time)),
        due_time: Some(timestamp(mail.due_time)),
        failure: mail.failure.unwrap_or_default(),
        changes: mail.changes.into_iter().map(noticed_change).collect(),
    }
}

fn noticed_change(change: NoticedChange) -> proto::NoticedChangeRecord {
    proto::NoticedChangeRecord {
        kind: change.kind.as_str().to_owned(),
        contact_id: change
            .contact_id
            .map_or_else(String::new, |id| id.0.to_string()),
        display_name: change.name,
        change_time: Some(timestamp(change.time)),
    }
}

fn phone_password_record(of: ExportedAttempts) -> proto::PhonePasswordRecord {
    proto::PhonePasswordRecord {
        contact_id: of.contact_id.0.to_string(),
        set_time: of.set_time.map(timestamp),
        consecutive_failures: of.attempts.consecutive.into(),
        failure_times: all(of.attempts.recent, timestamp),
        locked_until_time: of.attempts.locked_until.map(timestamp),
        revoked: of.attempts.is_revoked,
        notice_time: of.attempts.notice_time.map(timestamp),
        unlock_reason: of.unlock_reason.unwrap_or_default(),
        update_time: Some(timestamp(of.update_time)),
    }
}

fn request(request: ExportedRequest) -> proto::RequestRecord {
    proto::RequestRecord {
        request_id: request.id.to_string(),
        actor: request.actor.0,
        contact: request.contact.as_ref().map(convert::contact),
        customer: request.customer.map(convert::customer),
        expire_time: Some(timestamp(request.expire_time)),
    }
}

fn import(import: ExportedImport) -> proto::ImportRecord {
    proto::ImportRecord {
        contact_id: import.contact_id.0.to_string(),
        import_time: Some(timestamp(import.import_time)),
    }
}
