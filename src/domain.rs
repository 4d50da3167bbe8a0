//! The rules of the business as types and functions.
//!
//! Pure: no input or output, no clock, no randomness of its own, and no word of
//! the layers above. Whatever a rule needs to know (the time, the stored
//! contacts) is handed in.

pub mod attention_line;
pub mod audit;
pub mod caller;
pub mod caller_id;
pub mod contact;
pub mod contact_import;
pub mod contact_types;
pub mod customer;
pub mod email_address;
pub mod email_confirmation;
pub mod enhanced_status;
pub mod etag;
pub mod export;
pub mod ids;
pub mod mail;
pub mod mail_limits;
pub mod phone_number;
pub mod phone_order;
pub mod phone_password;
pub mod recipients;
pub mod restrictions;
pub mod text;
