//! The entities of `sea_orm`, private to storage.

pub(super) mod audit_events;
pub(super) mod channel_check_customers;
pub(super) mod confirmation_tokens;
pub(super) mod contact_imports;
pub(super) mod contact_phone_numbers;
pub(super) mod contacts;
pub(super) mod customers;
pub(super) mod email_confirmations;
pub(super) mod feed_entries;
pub(super) mod feed_inbox;
pub(super) mod mail_customers;
pub(super) mod mail_recipients;
pub(super) mod one_time_codes;
pub(super) mod order_types;
pub(super) mod outbox_mails;
pub(super) mod phone_orders;
pub(super) mod phone_password_agents;
pub(super) mod phone_password_calls;
pub(super) mod phone_passwords;
pub(super) mod request_ids;
