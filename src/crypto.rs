//! Keys, randomness, pseudonyms, and the hashes of phone passwords.

pub mod development_keys;
pub mod keyring;
pub mod one_time_code;
pub mod password_hasher;
pub(crate) mod pseudonym;
pub mod random;
