//! Limits on confirmation mails, so that nobody's mailbox is flooded by addresses that are entered
//! again and again. A mail is counted in the transaction that queues it: a rejected, repeated or
//! merely validated request counts none.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use hmac::Mac;

use crate::{
    app::App,
    crypto::keyring::VersionedKeys,
    domain::{
        customer::CustomerNumber,
        email_address::EmailAddress,
        mail_limits::{MAIL_TIMES_KEPT, MailTimes, PER_ADDRESS, PER_CUSTOMER},
    },
    error::{Error, MailLimit, Result},
    observability::metrics::{self, Limit},
    storage::{RecipientHash, Transaction},
};

const PURPOSE: &str = "confirmation-mail-recipient";

/// The mails to some recipients, whose counts are locked until the end of the transaction.
pub(super) struct Recipients {
    keys: Arc<VersionedKeys>,
    times: BTreeMap<RecipientHash, MailTimes>,
    now: DateTime<Utc>,
}

impl Recipients {
    /// Returns the earliest time at which one more mail to the address keeps within its limit.
    pub(super) fn next_time(&self, email: &EmailAddress) -> DateTime<Utc> {
        let times = hashes(&self.keys, email).filter_map(|hash| self.times.get(&hash));
        let next = times.map(|times| times.next_time(PER_ADDRESS, self.now));
        next.fold(self.now, DateTime::max)
    }

    /// Counts a mail that leaves at `time`.
    pub(super) fn add(&mut self, email: &EmailAddress, time: DateTime<Utc>) {
        for hash in hashes(&self.keys, email) {
            if let Some(times) = self.times.get_mut(&hash) {
                times.add(time, self.now);
            }
        }
    }

    pub(super) async fn save(&self, transaction: &Transaction) -> Result<()> {
        transaction
            .save_mail_recipients(&self.times, self.now)
            .await
    }
}

/// The hashes of an address under all service keys: an instance that does not have the newest key
/// yet, or has an older one no more, counts the same mails.
fn hashes(keys: &VersionedKeys, email: &EmailAddress) -> impl Iterator<Item = RecipientHash> {
    let key = email.comparison_key();
    keys.versions().filter_map(move |version| {
        let mut mac = keys.mac(version, PURPOSE)?;
        mac.update(key.as_bytes());
        Some(mac.finalize().into_bytes().to_vec())
    })
}

impl App {
    /// Locks the counts of these recipients.
    pub(super) async fn lock_recipients<'e>(
        &self,
        transaction: &Transaction,
        emails: impl IntoIterator<Item = &'e EmailAddress>,
        now: DateTime<Utc>,
    ) -> Result<Recipients> {
        let keys = Arc::clone(&self.service_keys);
        let emails = emails.into_iter();
        let hashes: Vec<_> = emails.flat_map(|email| hashes(&keys, email)).collect();
        let times = transaction.lock_mail_recipients(hashes, now).await?;
        Ok(Recipients { keys, times, now })
    }

    /// Counts a mail that is to leave at once, of a customer that is locked.
    ///
    /// # Errors
    /// [`Error::ResendLimit`].
    pub(super) async fn count_confirmation_mail(
        &self,
        transaction: &Transaction,
        number: &CustomerNumber,
        email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut of_customer = transaction.find_customer_mails(number).await?;
        let next = of_customer.next_time(PER_CUSTOMER, now);
        check(MailLimit::Customer, next, now)?;
        let mut recipients = self.lock_recipients(transaction, [email], now).await?;
        check(MailLimit::Address, recipients.next_time(email), now)?;
        recipients.add(email, now);
        recipients.save(transaction).await?;
        of_customer.add(now, now);
        transaction
            .save_customer_mails(number, &of_customer, now)
            .await
    }

    /// Deletes the counts that limit no mail any more, and returns their number.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_old_mail_counts(&self) -> Result<u64> {
        let time = self.now() - MAIL_TIMES_KEPT;
        self.database.delete_mail_counts_before(time).await
    }
}

/// Rejects a mail that may leave only after `now`.
pub(super) fn check(limit: MailLimit, next: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
    let retry_after = (next - now).to_std().unwrap_or_default();
    if retry_after.is_zero() {
        return Ok(());
    }
    Err(Error::ResendLimit { limit, retry_after })
}

/// Counts a rejection by one of the limits on confirmation mails.
pub(super) fn count_rejection<T>(answer: Result<T>) -> Result<T> {
    if let Err(Error::ResendLimit { limit, .. }) = answer {
        match limit {
            MailLimit::Resends => {}
            MailLimit::Address => metrics::limit_hit(Limit::MailsPerAddress),
            MailLimit::Customer => metrics::limit_hit(Limit::MailsPerCustomer),
        }
    }
    answer
}
