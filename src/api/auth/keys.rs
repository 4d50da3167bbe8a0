//! The public keys of the issuers: sources, retrieval, parsing and refresh.

pub(super) mod fetch;
pub(super) mod issuer;
pub(super) mod ring;
pub(super) mod set;
pub(super) mod source;
