//! Rate limits of confirmation e-mails, which protect mailboxes from addresses that are entered
//! repeatedly. An e-mail is counted in the transaction that queues it, so that a rejected, replayed
//! or validated request counts none.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use hmac::Mac;

use super::context::App;
use crate::{
    crypto::keyring::VersionedKeys,
    domain::{
        email_address::EmailAddress,
        ids::CustomerNumber,
        mail_limits::{MAIL_TIMES_RETENTION, MailTimes, PER_ADDRESS, PER_CUSTOMER},
    },
    error::{Error, MailLimit, Result},
    observability::metrics::{self, Limit},
    storage::{RecipientHash, Transaction},
};

const PURPOSE: &str = "confirmation-mail-recipient";

/// The e-mail counts of some recipients, locked until the end of the transaction.
pub(super) struct RecipientLimits {
    keys: Arc<VersionedKeys>,
    times: BTreeMap<RecipientHash, MailTimes>,
    now: DateTime<Utc>,
}

impl RecipientLimits {
    /// Returns the earliest time at which one more e-mail to the address is within its limit.
    pub(super) fn next_time(&self, email: &EmailAddress) -> DateTime<Utc> {
        let times = hashes(&self.keys, email).filter_map(|hash| self.times.get(&hash));
        let next = times.map(|times| times.next_time(PER_ADDRESS, self.now));
        next.fold(self.now, DateTime::max)
    }

    /// Counts an e-mail that is due at `time`.
    pub(super) fn add(&mut self, email: &EmailAddress, time: DateTime<Utc>) {
        for hash in hashes(&self.keys, email) {
            if let Some(times) = self.times.get_mut(&hash) {
                times.add(time, self.now);
            }
        }
    }

    /// Stores the counts.
    pub(super) async fn save(&self, transaction: &Transaction) -> Result<()> {
        transaction
            .update_mail_recipients(&self.times, self.now)
            .await
    }
}

/// Hashes an address under all service keys, so that instances count the same e-mails while a key
/// rotation is being rolled out.
fn hashes(keys: &VersionedKeys, email: &EmailAddress) -> impl Iterator<Item = RecipientHash> {
    let key = email.comparison_key();
    keys.versions().filter_map(move |version| {
        let mut mac = keys.mac(version, PURPOSE)?;
        mac.update(key.as_bytes());
        Some(mac.finalize().into_bytes().to_vec())
    })
}

impl App {
    /// Locks and loads the e-mail counts of these recipients.
    pub(super) async fn lock_recipients<'e>(
        &self,
        transaction: &Transaction,
        emails: impl IntoIterator<Item = &'e EmailAddress>,
        now: DateTime<Utc>,
    ) -> Result<RecipientLimits> {
        let keys = Arc::clone(&self.service_keys);
        let emails = emails.into_iter();
        let hashes: Vec<_> = emails.flat_map(|email| hashes(&keys, email)).collect();
        let times = transaction.lock_mail_recipients(hashes, now).await?;
        Ok(RecipientLimits { keys, times, now })
    }

    /// Counts an e-mail that is due now. The caller must hold the customer's lock.
    ///
    /// # Errors
    /// [`Error::ResendLimit`].
    pub(super) async fn count_confirmation_mail(
        &self,
        transaction: &Transaction,
        customer_number: &CustomerNumber,
        email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut customer_mails = transaction.find_customer_mails(customer_number).await?;
        let next = customer_mails.next_time(PER_CUSTOMER, now);
        check(MailLimit::Customer, next, now)?;
        let mut recipients = self.lock_recipients(transaction, [email], now).await?;
        check(MailLimit::Address, recipients.next_time(email), now)?;
        recipients.add(email, now);
        recipients.save(transaction).await?;
        customer_mails.add(now, now);
        transaction
            .update_customer_mails(customer_number, &customer_mails, now)
            .await
    }

    /// Deletes the counts that are outside all windows, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_mail_counts(&self) -> Result<u64> {
        let time = self.now() - MAIL_TIMES_RETENTION;
        self.database.delete_mail_counts_before(time).await
    }
}

/// Rejects an e-mail that is within its limit only at `next`, after `now`.
pub(super) fn check(limit: MailLimit, next: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
    let retry_after = (next - now).to_std().unwrap_or_default();
    if retry_after.is_zero() {
        return Ok(());
    }
    Err(Error::ResendLimit { limit, retry_after })
}

/// Increments the metric of a limit that rejected the request, and passes the result on.
pub(super) fn count_rejection<T>(result: Result<T>) -> Result<T> {
    if let Err(Error::ResendLimit { limit, .. }) = result {
        match limit {
            MailLimit::Resends => {}
            MailLimit::Address => metrics::limit_hit(Limit::MailsPerAddress),
            MailLimit::Customer => metrics::limit_hit(Limit::MailsPerCustomer),
        }
    }
    result
}
