//! The messages, the service and the descriptors, generated from `proto/`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

tonic::include_proto!("contact.v1");

/// The descriptors of the contract and of the files that it imports, with the options of its methods.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/contact.v1.binpb"));

/// The messages and the service of test servers.
pub mod testing {
    tonic::include_proto!("contact.testing.v1");

    /// The descriptors of the service of test servers.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/contact.testing.v1.binpb"));
}
