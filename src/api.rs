//! The gRPC contract: one thin file per noun, which decodes requests, calls the use case and encodes its
//! response.
//!
//! Only this layer and `server` name tonic or the generated messages. A request passes [`admission`]
//! (scope, load, deadline), then [`service`], then the file of its noun.

pub mod admission;
mod audit;
pub mod auth;
mod caller_authentication;
mod caller_verification;
mod changes;
pub mod client;
mod connect;
mod contact_fields;
mod contacts;
mod contract;
mod convert;
mod customers;
mod delivery_reports;
mod email_confirmation;
mod error_texts;
mod json;
mod mask;
mod order_types;
pub mod page_token;
mod phone_orders;
mod phone_password;
mod privacy;
pub mod proto;
mod recipients;
mod recipients_stream;
mod request;
mod request_context;
mod review;
pub mod service;
pub mod status;
mod wire;

pub use self::{contract::methods, privacy::export_as_json};
