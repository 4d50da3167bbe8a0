//! Tokens whose signature and claims were found good before: a caller sends the same one with
//! every call, and verifying it takes longer than answering.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::{caller::Caller, claims::Validity, key_ring::KeyRing, key_set::VerifyingKey};

/// Half a kilobyte each, and at most two: a subject has up to 255 characters.
const MOST: usize = 4096;

/// A token is known by its SHA-256, so that no token that is good can be read from memory.
pub(super) type TokenDigest = [u8; 32];

/// The result of verifying a token, except for the check of its times. Its size does not depend on
/// the token's.
pub(super) struct Verified {
    /// The keys of the token's issuer.
    pub(super) keys: Arc<KeyRing>,
    /// The key it was verified with. After a refresh all keys are other ones.
    pub(super) key: Arc<VerifyingKey>,
    pub(super) validity: Validity,
    pub(super) caller: Caller,
}

/// Bounded; what is asked for least leaves first.
pub(super) struct VerifiedTokens(Cache<TokenDigest, Arc<Verified>>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl VerifiedTokens {
    pub(super) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token).into()
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Arc<Verified>> {
        self.0.get(digest)
    }

    pub(super) fn insert(&self, digest: TokenDigest, verified: Verified) {
        self.0.insert(digest, Arc::new(verified));
    }
}
