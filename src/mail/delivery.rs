//! One attempt to send one mail: looked at once more, sent, struck off.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{
    bounce,
    handover::{Handover, LEASE, Lease},
    message::{self, Encoding},
    outbox::OutboxParts,
    refusal::Refusal,
    sender::Sender,
    settings::PublicUrl,
    templates::{Templates, Values},
    transport::Transport,
};
use crate::mail::workers::Crowd;
use crate::{
    clock::Clock,
    crypto::random::Random,
    domain::{
        email_confirmation::{ConfirmationState, ConfirmationToken},
        mail::{MAX_ATTEMPTS, QueuedMail, retry_delay},
    },
    error::{Error, Result},
    failpoint::failpoint,
    observability::metrics::{self, MailOutcome, RejectionClass},
    storage::{Database, Outcome},
};

/// A mail that was sent should not be sent again because the database was away for a
/// moment: striking it off is tried for most of what is left of its lease.
const MARK_PATIENCE: Duration = Duration::from_secs(25);
const MARK_PAUSE: Duration = Duration::from_secs(1);

/// What an attempt needs; shared by all of them.
#[derive(Debug)]
pub(super) struct Delivery {
    database: Database,
    clock: Clock,
    random: Random,
    templates: Templates,
    transport: Transport,
    sender: Sender,
    public_url: PublicUrl,
    crowd: Crowd,
}

/// A mail that was claimed for an attempt.
#[derive(Debug)]
pub(super) struct Claim {
    mail: QueuedMail,
    lease: Lease,
}

impl Delivery {
    pub(super) fn new(parts: OutboxParts, crowd: Crowd) -> Self {
        Self {
            crowd,
            database: parts.database,
            clock: parts.clock,
            random: parts.random,
            templates: parts.templates,
            transport: parts.transport,
            sender: parts.sender,
            public_url: parts.public_url,
        }
    }

    /// Claims up to `limit` mails that are due.
    pub(super) async fn claim(&self, limit: usize) -> Result<Vec<Claim>> {
        failpoint("mail-claiming").await;
        let now = self.clock.now();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let end = now + LEASE;
        let claimed = self
            .database
            .transaction(move |transaction| {
                Box::pin(async move {
                    let claimed = transaction.claim_mails(now, end, limit).await?;
                    Ok(Outcome::Commit(claimed))
                })
            })
            .await?;
        let claim = |mail| Claim {
            mail,
            lease: Lease::new(self.clock.clone(), end),
        };
        Ok(claimed.into_iter().map(claim).collect())
    }

    /// Sends a claimed mail, or says when it is tried again. A failure of the database
    /// leaves it to the end of the lease.
    pub(super) async fn deliver(&self, claim: &Claim) {
        failpoint("mail-claimed").await;
        let mail = &claim.mail;
        let id = mail.id;
        let result = match self.prepare(mail).await {
            Ok(Some(values)) => {
                failpoint("mail-prepared").await;
                match self.send_while_claimed(claim, &values).await {
                    // Another process has it by now.
                    None => Ok(false),
                    Some(Ok(())) => {
                        failpoint("mail-accepted").await;
                        let marked = self.mark_sent(mail).await;
                        if marked == Ok(false) {
                            self.delete_if_erased(mail).await;
                        }
                        marked
                    }
                    Some(Err(refusal)) => self.put_back(mail, &refusal).await,
                }
            }
            Ok(None) => {
                tracing::info!(%id, "a mail that no longer makes sense is not sent");
                Ok(true)
            }
            // What cannot be read now cannot be read the next time either.
            Err(Error::DataLoss { what }) => {
                tracing::error!(%id, what, "a queued mail cannot be read");
                let refusal = Refusal::new("unreadable", RejectionClass::System);
                self.put_back(mail, &refusal).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(true) => {}
            Ok(false) => tracing::warn!(%id, "a mail was taken over before its attempt ended"),
            Err(error) => tracing::warn!(%id, %error, "a mail waits for the end of its lease"),
        }
    }

    /// Looks once more whether the mail is still claimed and makes sense, and makes the
    /// token of its link: only its hash is ever stored, so each attempt has one of its
    /// own. `None`: it is not to be sent.
    async fn prepare(&self, mail: &QueuedMail) -> Result<Option<Values>> {
        let secret = self.random.bytes()?;
        let token = ConfirmationToken::new(mail.customer_number.clone(), secret);
        let link = self.public_url.confirmation_link(&token.reveal());
        let Some(expire_time) = self.look_again(mail, &token).await? else {
            return Ok(None);
        };
        Ok(Some(Values {
            name: mail.display_name.clone(),
            customer_number: mail.customer_number.as_str().to_owned(),
            link: expire_time.map_or_else(String::new, |_| link),
            expire_time,
            event_time: mail.create_time,
        }))
    }

    /// Gives until when the address can be confirmed, for a mail with a link.
    async fn look_again(
        &self,
        mail: &QueuedMail,
        token: &ConfirmationToken,
    ) -> Result<Option<Option<DateTime<Utc>>>> {
        let now = self.clock.now();
        let (mail, hash) = (mail.clone(), token.hash());
        self.database
            .transaction(move |transaction| {
                let mail = mail.clone();
                Box::pin(async move {
                    if !transaction.is_claimed(&mail).await? {
                        return Ok(Outcome::Rollback(None));
                    }
                    if !mail.kind.has_link() {
                        return Ok(Outcome::Rollback(Some(None)));
                    }
                    let number = &mail.customer_number;
                    let id = mail
                        .confirmation_id
                        .ok_or_else(|| Error::data_loss("outbox_mails.confirmation_id"))?;
                    let found = transaction.find_and_keep_confirmation(number, id).await?;
                    let pending =
                        found.filter(|found| found.state_at(now) == ConfirmationState::Pending);
                    let Some(confirmation) = pending else {
                        transaction.delete_mail(&mail).await?;
                        return Ok(Outcome::Commit(None));
                    };
                    transaction
                        .insert_confirmation_token(number, id, hash)
                        .await?;
                    Ok(Outcome::Commit(Some(Some(confirmation.expire_time))))
                })
            })
            .await
    }

    /// Sends a mail, and keeps it claimed however long the server takes; `None` when another
    /// process claimed it.
    async fn send_while_claimed(
        &self,
        claim: &Claim,
        values: &Values,
    ) -> Option<std::result::Result<(), Refusal>> {
        let renew = |end| self.renew(&claim.mail, end);
        claim.lease.hold(renew, self.send(claim, values)).await
    }

    async fn renew(&self, mail: &QueuedMail, end: DateTime<Utc>) -> Result<bool> {
        let mail = mail.clone();
        self.database
            .transaction(move |transaction| {
                let mail = mail.clone();
                Box::pin(
                    async move { Ok(Outcome::Commit(transaction.renew_claim(&mail, end).await?)) },
                )
            })
            .await
    }

    async fn send(&self, claim: &Claim, values: &Values) -> std::result::Result<(), Refusal> {
        let mail = &claim.mail;
        let message = self
            .templates
            .render(mail.kind, mail.locale, values)
            .and_then(|rendered| {
                let encoding = Encoding::of(&self.transport);
                message::compose(&self.sender, mail, rendered, encoding, self.clock.now())
            })
            .map_err(|error| {
                tracing::error!(id = %mail.id, %error, "a mail cannot be written");
                Refusal::new("not written", RejectionClass::System)
            })?;
        let handover = Handover {
            lease: &claim.lease,
            crowd: &self.crowd,
        };
        self.transport.send(mail, &message, &handover).await
    }

    async fn mark_sent(&self, mail: &QueuedMail) -> Result<bool> {
        let begun = Instant::now();
        loop {
            match self.delete(mail).await {
                Err(Error::DatabaseUnavailable | Error::Conflict)
                    if begun.elapsed() < MARK_PATIENCE =>
                {
                    tokio::time::sleep(MARK_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Whoever erased the customer found no file of a mail that was about to be written.
    async fn delete_if_erased(&self, mail: &QueuedMail) {
        let Transport::Folder(folder) = &self.transport else {
            return;
        };
        let number = &mail.customer_number;
        let is_erased = match self.database.find_customer(number).await {
            // Another one may have this number by now.
            Ok(found) => found.is_none_or(|found| found.create_time > mail.create_time),
            Err(_) => false,
        };
        if is_erased && folder.delete(number, mail.id).await.is_err() {
            tracing::warn!(id = %mail.id, "the file of an erased customer's mail is left");
        }
    }

    async fn delete(&self, mail: &QueuedMail) -> Result<bool> {
        let sent = mail.clone();
        let deleted = self
            .database
            .transaction(move |transaction| {
                let sent = sent.clone();
                Box::pin(async move { Ok(Outcome::Commit(transaction.delete_mail(&sent).await?)) })
            })
            .await?;
        failpoint("mail-marked").await;
        tracing::info!(id = %mail.id, kind = mail.kind.as_str(), "mail sent");
        metrics::mail(MailOutcome::Sent);
        Ok(deleted)
    }

    /// Schedules the next attempt, or makes the mail a dead letter.
    async fn put_back(&self, mail: &QueuedMail, refusal: &Refusal) -> Result<bool> {
        let now = self.clock.now();
        let [random] = self.random.bytes()?;
        let is_dead = refusal.is_about_mailbox() || mail.attempt >= MAX_ATTEMPTS;
        let due_time = now + retry_delay(mail.attempt, random);
        let (id, attempt, failure) = (mail.id, mail.attempt, refusal.failure.as_str());
        let server = self.transport.server();
        metrics::mail_rejection(refusal.class);
        if is_dead {
            tracing::error!(%id, attempt, failure, server, "mail given up");
            metrics::mail(MailOutcome::GivenUp);
        } else {
            tracing::warn!(%id, attempt, failure, server, "mail not sent, to be tried again");
            metrics::mail(MailOutcome::Deferred);
        }
        if refusal.is_about_mailbox() {
            return self.bury_bounced(mail, failure, now).await;
        }
        let (mail, failure) = (mail.clone(), refusal.failure.clone());
        self.database
            .transaction(move |transaction| {
                let (mail, failure) = (mail.clone(), failure.clone());
                Box::pin(async move {
                    let is_ours = if is_dead {
                        transaction.bury_mail(&mail, now, &failure).await?
                    } else {
                        transaction.put_mail_back(&mail, due_time, &failure).await?
                    };
                    Ok(Outcome::Commit(is_ours))
                })
            })
            .await
    }

    /// Lays the mail aside for good, and marks its address as failing.
    async fn bury_bounced(
        &self,
        mail: &QueuedMail,
        failure: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let of = mail.customer_number.clone();
        let (mail, failure) = (mail.clone(), failure.to_owned());
        let random = self.random.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (mail, failure) = (mail.clone(), failure.clone());
                let random = random.clone();
                Box::pin(async move {
                    let number = &mail.customer_number;
                    let Some(locked) = transaction.find_and_lock_customer(number).await? else {
                        return Ok(Outcome::Rollback(false));
                    };
                    if !transaction.bury_mail(&mail, now, &failure).await? {
                        return Ok(Outcome::Rollback(false));
                    }
                    bounce::note(transaction, &locked, &mail, &random, now).await?;
                    Ok(Outcome::Commit(true))
                })
            })
            .await
    }
}
