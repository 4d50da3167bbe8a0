//! The cache of verified tokens: callers send the same token with every request, and its verification
//! takes longer than a typical request.

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::caller::Caller;

/// An entry takes half a kilobyte, and at most two: a subject has up to 255 characters.
const MAX_TOKENS: usize = 4096;

/// The SHA-256 of a token. Tokens themselves are not kept in memory.
pub(super) type TokenDigest = [u8; 32];

/// The callers of verified tokens. Their validity period and key are checked again with each request.
/// Bounded; entries that are used rarely are evicted first.
pub(super) struct VerifiedTokens(Cache<TokenDigest, Caller>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(MAX_TOKENS))
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
