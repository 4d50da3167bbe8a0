//! Authentication: verifies the JSON Web Token of a request (RFC 7519, RFC 8725) with the public keys of
//! its issuer, and resolves it to a [`Caller`]; the scope that each RPC requires.
//!
//! RPCs check access to a customer themselves, through the [`Caller`].

mod algorithm;
mod authenticator;
mod caller;
mod claims;
mod keys;
mod payload;
mod rejection_log;
mod scope;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod validity;
mod verified_tokens;

pub use self::{
    authenticator::Authenticator,
    caller::Caller,
    keys::source::{JwksLocation, KeySource},
    scope::{Rpc, Scope},
    settings::AuthSettings,
};
