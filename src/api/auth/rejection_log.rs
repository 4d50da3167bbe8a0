//! Log lines about rejected tokens.

use chrono::{DateTime, TimeDelta, Utc};

use super::token;
use crate::{
    api::admission::log_limit::{LogLimit, Rate, printable},
    error::TokenFault,
};

/// At most one line of a cause in this time.
const RATE: Rate = Rate {
    most: 1,
    within: TimeDelta::seconds(1),
};
const MAX_KID_CHARS: usize = 64;
const MAX_ISSUER_CHARS: usize = 128;

/// Writes at most one line per cause and second.
pub(super) struct RejectionLog(LogLimit<&'static str>);

impl Default for RejectionLog {
    fn default() -> Self {
        // There are few causes: together they need no limit.
        let of_all = Rate {
            most: u32::MAX,
            ..RATE
        };
        Self(LogLimit::new(RATE, of_all))
    }
}

impl RejectionLog {
    /// Logs a rejection with the names of key and issuer that the token claims; neither is
    /// verified. `suppressed` counts the rejections of this cause since its last line.
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
        let (kid, issuer) = token.map(token::names_in).unwrap_or_default();
        let kid = kid.map(|kid| printable(&kid, MAX_KID_CHARS));
        let issuer = issuer.map(|issuer| printable(&issuer, MAX_ISSUER_CHARS));
        tracing::info!(cause, claim, kid, issuer, suppressed, "token rejected");
    }
}
