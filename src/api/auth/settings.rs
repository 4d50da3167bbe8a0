//! The settings of token verification: accepted issuers and audiences, claims, and time limits.

use chrono::TimeDelta;

/// The settings of token verification.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The accepted values of the claim `iss`.
    pub issuers: Vec<String>,
    /// The accepted audiences; `aud` must be or contain one of them.
    pub audiences: Vec<String>,
    /// Name or path of the claim that contains the scopes; `None` uses the first of `scope`, `scp` and
    /// `permissions` that is present.
    pub scope_claim: Option<String>,
    /// Name or path of the claim that makes a token tenant-scoped: it contains the customer number.
    pub customer_claim: String,
    /// Tolerated difference between the clocks of the issuers and this one.
    pub leeway: TimeDelta,
    /// Maximum lifetime of a token, from `iat`, or from now for a token without it.
    pub max_lifetime: TimeDelta,
    /// Maximum age of keys that cannot be refreshed; older ones are rejected.
    pub keys_max_stale: TimeDelta,
}

impl AuthSettings {
    /// Default of [`Self::customer_claim`].
    pub const DEFAULT_CUSTOMER_CLAIM: &str = "customer_number";
    /// Default of [`Self::leeway`].
    pub const DEFAULT_LEEWAY: TimeDelta = TimeDelta::seconds(30);
    /// Default of [`Self::max_lifetime`].
    pub const DEFAULT_MAX_LIFETIME: TimeDelta = TimeDelta::hours(24);
    /// Default of [`Self::keys_max_stale`].
    pub const DEFAULT_KEYS_MAX_STALE: TimeDelta = TimeDelta::hours(24);

    /// Creates settings with one issuer and one audience, and defaults otherwise.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuers: vec![issuer.into()],
            audiences: vec![audience.into()],
            scope_claim: None,
            customer_claim: Self::DEFAULT_CUSTOMER_CLAIM.to_owned(),
            leeway: Self::DEFAULT_LEEWAY,
            max_lifetime: Self::DEFAULT_MAX_LIFETIME,
            keys_max_stale: Self::DEFAULT_KEYS_MAX_STALE,
        }
    }
}
