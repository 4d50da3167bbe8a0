//! The use cases: which steps run in which transaction, and in which order.
//!
//! Owns neither rules (`domain`) nor rows (`storage`) nor messages (`api`). A use case that changes
//! data of a customer locks the customer first, so that the rules are checked against data that
//! cannot change before the commit, and inserts its audit event in the same transaction.

mod audit;
mod caller_authentication;
mod caller_check;
mod caller_verification;
mod change_notices;
mod changes;
mod contact_edit;
mod contact_update;
mod contacts;
mod context;
mod customers;
mod data_check;
mod delivery_reports;
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
mod one_time_codes;
mod order_types;
mod outbox;
mod page;
mod phone_grant;
mod phone_lock_notice;
mod phone_orders;
mod phone_password;
mod privacy;
mod recipients;
mod review;

pub use self::{
    audit::AuditPage,
    caller_authentication::{AuthenticatedCaller, CallerVerdict},
    caller_check::{CallerCheck, Candidate},
    changes::ChangeReader,
    contact_edit::{EditedContact, EmailEdit, PhonePasswordEdit, UpdateContact},
    contacts::{ContactPage, DeleteContact, NewContact},
    context::{App, AppParts, CODE_ANSWER_TIME},
    customers::{AttentionLineRequest, UpdateCustomer},
    data_check::{CheckedPart, DataChecker},
    delivery_reports::ReportMode,
    email_confirmation::{ConfirmedEmail, Inspection},
    idempotency::{ChangeOptions, RequestKey, RequestSeed},
    import::{CustomerOutcome, CustomerRows, FileRow, ImportMode, ImportResult, RowOutcome},
    one_time_codes::{CodeRequest, CreatedCode},
    order_types::OrderTypeUpdate,
    phone_grant::Grant,
    phone_orders::{DecidedOrder, OutcomeRecord, PhoneOrderPage, PhoneOrderRequest},
    phone_password::NewPhonePassword,
    recipients::{resolve_listed, resolve_many},
};
