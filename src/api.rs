//! The gRPC contract: one thin file a feature, which decodes, calls and encodes.
//!
//! Only this layer and `server` name tonic or the generated messages. A call
//! passes [`guard`] (scope, load, deadline), then [`service`], then its feature.

pub mod admission;
mod audit;
pub mod auth;
mod caller_verification;
mod changes;
mod contacts;
mod convert;
mod customers;
mod email_confirmation;
mod mask;
pub mod page_token;
mod phone_orders;
mod phone_password;
mod privacy;
mod recipients;
mod recipients_stream;
mod request;
pub mod service;
pub mod status;

use prost::Message;

pub use self::privacy::export_as_json;

/// Every RPC, such as `contact.v1.ContactService/GetContact`.
pub fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET);
    let files = set.map(|set| set.file).unwrap_or_default();
    let services = files.iter().flat_map(|file| {
        let package = file.package();
        file.service.iter().map(move |service| (package, service))
    });
    services
        .flat_map(|(package, service)| {
            let name = format!("{package}.{}", service.name());
            let methods = service.method.iter();
            methods.map(move |method| format!("{name}/{}", method.name()))
        })
        .collect()
}

/// The messages and the service, generated from `proto/contact/v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("contact.v1");

    /// The descriptors of the contract and of what it imports.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/contact.v1.binpb"));
}
