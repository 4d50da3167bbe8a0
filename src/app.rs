//! The use cases: which steps run in which transaction, and in which order.
//!
//! Owns neither rules (`domain`) nor rows (`storage`) nor messages (`api`). A use case that changes
//! data of a customer locks the customer first, so that the rules are checked against data that
//! cannot change before the commit, and inserts its audit event in the same transaction.

mod audit;
mod caller_verification;
mod change_notices;
mod changes;
mod contact_edit;
mod contact_update;
mod contacts;
mod context;
mod customers;
pub mod demo;
mod email_confirmation;
mod email_expiry;
mod email_transition;
mod feed_cursor;
mod feed_signal;
mod hash_queues;
mod idempotency;
mod import;
mod mail_limits;
mod outbox;
mod page;
mod phone_grant;
mod phone_lock_notice;
mod phone_orders;
mod phone_password;
mod phone_password_check;
mod privacy;
mod recipients;
mod review;

pub use self::{
    audit::AuditPage,
    changes::ChangeReader,
    contact_edit::{EditedContact, EmailEdit, PhonePasswordEdit, UpdateContact},
    contacts::{ContactPage, DeleteContact, NewContact},
    context::{App, AppParts},
    customers::{AttentionLineRequest, UpdateCustomer},
    email_confirmation::{ConfirmedEmail, Inspection},
    idempotency::{ChangeOptions, RequestKey, RequestSeed},
    import::{CustomerOutcome, CustomerRows, FileRow, ImportMode, ImportResult, RowOutcome},
    phone_grant::Grant,
    phone_orders::{DecidedOrder, PhoneOrderRequest},
    phone_password::NewPhonePassword,
    phone_password_check::{PhonePasswordCheck, PhonePasswordVerdict},
    recipients::resolve_many,
};
