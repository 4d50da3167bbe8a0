//! Claims e-mails that are due.
//!
//! Several instances read the same e-mails, so each picks at random among more than it wants: two
//! of them rarely try the same one, and the loser tries the next.

use futures::{StreamExt, stream};

use super::handover::{LEASE, Lease};
use crate::{
    clock::Clock,
    crypto::random::Random,
    domain::mail::QueuedMail,
    error::{Error, Result},
    failpoint::failpoint,
    storage::{Database, DueMail},
};

/// Due e-mails that are read for each one to claim.
const CANDIDATES_PER_CLAIM: usize = 4;
/// Claims in flight; the other connections of the pool remain for requests.
const CONCURRENT_CLAIMS: usize = 4;
/// Reads without a claim, after which the worker waits: other instances were faster each time.
const MAX_READS: usize = 3;

/// An e-mail that was claimed for an attempt.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) mail: QueuedMail,
    pub(super) lease: Lease,
}

/// The dependencies of a claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claims<'a> {
    pub(super) database: &'a Database,
    pub(super) clock: &'a Clock,
    pub(super) random: &'a Random,
}

impl Claims<'_> {
    /// Claims up to `limit` of the e-mails that are due.
    ///
    /// # Errors
    /// Those of the database, if none was claimed.
    pub(super) async fn claim_due(&self, limit: usize) -> Result<Vec<Claim>> {
        failpoint("mail-claiming").await;
        let candidates = u32::try_from(limit * CANDIDATES_PER_CLAIM).unwrap_or(u32::MAX);
        for _ in 0..MAX_READS {
            let now = self.clock.now();
            let mut due = self.database.list_due_mails(now, candidates).await?;
            if due.is_empty() {
                break;
            }
            self.random.shuffle(&mut due)?;
            let claims = self.claim_some(due, limit).await?;
            if !claims.is_empty() {
                return Ok(claims);
            }
        }
        Ok(Vec::new())
    }

    async fn claim_some(&self, due: Vec<DueMail>, limit: usize) -> Result<Vec<Claim>> {
        let mut due = due.into_iter();
        let (mut claims, mut failure) = (Vec::new(), None);
        while failure.is_none() && claims.len() < limit {
            // No more than are missing: a claim that is not used would delay its e-mail.
            let next: Vec<_> = due.by_ref().take(limit - claims.len()).collect();
            if next.is_empty() {
                break;
            }
            let claiming: Vec<_> = next.iter().map(|due| self.claim(due)).collect();
            let mut claiming = stream::iter(claiming).buffer_unordered(CONCURRENT_CLAIMS);
            while let Some(claimed) = claiming.next().await {
                match claimed {
                    Ok(claim) => claims.extend(claim),
                    Err(error) => failure = Some(error),
                }
            }
        }
        match failure {
            Some(error) if claims.is_empty() => Err(error),
            Some(error) => {
                warn_of_failed_claim(&error);
                Ok(claims)
            }
            None => Ok(claims),
        }
    }

    /// Claims an e-mail; `None` if another worker was faster, or if it became a dead letter.
    async fn claim(&self, due: &DueMail) -> Result<Option<Claim>> {
        let end = self.clock.now() + LEASE;
        let claimed = self.database.claim_mail(due, end).await?;
        Ok(claimed.map(|mail| Claim {
            mail,
            lease: Lease::new(self.clock.clone(), end),
        }))
    }
}

fn warn_of_failed_claim(error: &Error) {
    tracing::warn!(%error, "failed to claim a mail");
}
