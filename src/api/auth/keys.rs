//! The issuers' public keys: where they come from, how they are read, and when they are read again.

pub(super) mod fetch;
pub(super) mod issuer;
pub(super) mod ring;
pub(super) mod set;
pub(super) mod source;
