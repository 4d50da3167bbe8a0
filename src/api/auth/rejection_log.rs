//! Log lines of rejected tokens.

use chrono::{DateTime, TimeDelta, Utc};

use super::token;
use crate::{
    api::admission::log_limit::{LogLimit, Rate, printable},
    error::TokenFault,
};

/// The rate of the lines with one cause.
const RATE: Rate = Rate {
    max: 1,
    period: TimeDelta::seconds(1),
};
const MAX_KID_CHARS: usize = 64;
const MAX_ISSUER_CHARS: usize = 128;

/// Writes at most one line per cause and second.
pub(super) struct RejectionLog(LogLimit<&'static str>);

impl Default for RejectionLog {
    fn default() -> Self {
        // There are few causes, so all of them together need no limit.
        let unlimited = Rate {
            max: u32::MAX,
            ..RATE
        };
        Self(LogLimit::new(RATE, unlimited))
    }
}

impl RejectionLog {
    /// Logs a rejection with the key id and the issuer in the token, neither of which is verified.
    /// `suppressed` counts the rejections with this cause since its last line.
    pub(super) fn record(
        &self,
        cause: TokenFault,
        claim: Option<&str>,
        token: Option<&str>,
        now: DateTime<Utc>,
    ) {
        let cause = cause.as_str();
        let Some(suppressed) = self.0.admit(&cause, now) else {
            return;
        };
        let (kid, issuer) = token.map(token::unverified_names).unwrap_or_default();
        let kid = kid.map(|kid| printable(&kid, MAX_KID_CHARS));
        let issuer = issuer.map(|issuer| printable(&issuer, MAX_ISSUER_CHARS));
        tracing::info!(cause, claim, kid, issuer, suppressed, "token rejected");
    }
}
