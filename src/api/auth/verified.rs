//! Tokens whose signature and claims were found good before: a caller sends the same one with
//! every call, and verifying it takes longer than answering.

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::caller::Caller;

/// Half a kilobyte each, and at most two: a subject has up to 255 characters.
const MOST: usize = 4096;

/// A token is known by its SHA-256, so that no token that is good can be read from memory.
pub(super) type TokenDigest = [u8; 32];

/// The callers of verified tokens, whose times and keys are still to be checked. Bounded; what is asked
/// for least leaves first.
pub(super) struct VerifiedTokens(Cache<TokenDigest, Caller>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl VerifiedTokens {
    pub(super) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token).into()
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Caller> {
        self.0.get(digest)
    }

    pub(super) fn insert(&self, digest: TokenDigest, caller: Caller) {
        self.0.insert(digest, caller);
    }
}
