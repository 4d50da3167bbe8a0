//! The settings of a test server.

use std::time::Duration;

use chrono::TimeDelta;
use contact_service::{
    api::{admission::Limits, auth::AuthSettings},
    crypto::password_hasher::HashCost,
};

use crate::harness::{AUDIENCE, ISSUER};

/// Settings of a test server.
pub struct Options {
    pub limits: Limits,
    pub drain: Duration,
    pub jwks: Option<String>,
    /// Validation of tokens; `None`: accepts those of the development key.
    pub auth: Option<AuthSettings>,
    pub hash_cost: HashCost,
    /// 0: unlimited.
    pub channel_checks_per_minute: u32,
    /// The shortest duration of a code check; none, so that tests are quick.
    pub code_answer_time: Duration,
    /// The URL of a read replica.
    pub replica: Option<String>,
    /// If true, the database is migrated by its owner, and the server runs as a role that has the rights of
    /// `migrate grants` only.
    pub migrates: bool,
    pub serves_http_json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            drain: Duration::from_secs(5),
            jwks: None,
            auth: None,
            channel_checks_per_minute: 60,
            code_answer_time: Duration::ZERO,
            replica: None,
            migrates: true,
            serves_http_json: true,
            // The cheapest cost; tests do not depend on it.
            hash_cost: HashCost::unbounded(8, 1, 1).unwrap(),
        }
    }
}

impl Options {
    /// Options without a rate limit on `VerifyContactChannel`.
    pub fn unlimited_checks() -> Self {
        Self {
            channel_checks_per_minute: 0,
            ..Self::default()
        }
    }

    pub(crate) fn auth_settings(&self) -> AuthSettings {
        self.auth.clone().unwrap_or_else(|| AuthSettings {
            // Tests move the clock by weeks and keep their tokens.
            max_lifetime: TimeDelta::days(365),
            ..AuthSettings::new(ISSUER, AUDIENCE)
        })
    }

    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}
