//! The business rules, as types and functions.
//!
//! Pure: no I/O, no clock, no randomness, and no dependency on the layers above. Callers pass what
//! a rule depends on, such as the time and the stored contacts.

pub mod attention_line;
pub mod audit;
pub mod authentication;
pub mod burst_guard;
pub mod caller;
pub mod caller_id;
pub mod change_notice;
pub mod contact;
pub mod contact_change;
pub mod contact_import;
pub mod contact_types;
pub mod customer;
pub mod data_check;
pub mod delivery_report;
pub mod email_address;
pub mod email_confirmation;
pub mod enhanced_status;
pub mod etag;
pub mod export;
pub mod ids;
pub mod mail;
pub mod mail_limits;
pub mod person_name;
pub mod phone_number;
pub mod phone_order;
pub mod phone_password;
pub mod recipient_changes;
pub mod recipients;
pub mod restrictions;
pub mod review;
pub mod text;
