//! One attempt to send an e-mail: revalidation, transport, and the update of the outbox.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{
    bounce,
    claims::{Claim, Claims},
    handover::Handover,
    message::{self, Encoding},
    send_error::SendError,
    sender::Sender,
    settings::PublicUrl,
    templates::{Templates, Values},
    transport::Transport,
    workers::OverflowPermits,
};
use crate::{
    clock::Clock,
    crypto::{keyring::VersionedKeys, one_time_code, random::Random},
    domain::{
        authentication::OneTimeCode,
        email_confirmation::{ConfirmationState, ConfirmationToken},
        ids::ContactRef,
        mail::{MAX_ATTEMPTS, MailKind, QueuedMail, retry_delay},
    },
    error::{Error, Result},
    failpoint::failpoint,
    observability::metrics::{self, MailOutcome, RejectionClass},
    storage::{Database, Outcome, Transaction},
};

/// The deletion of a sent e-mail is retried for most of its lease, so that a short outage of the
/// database does not cause a second copy.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(25);
const COMPLETION_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The dependencies of the outbox worker.
#[derive(Debug)]
pub struct OutboxParts {
    /// The database that holds the outbox.
    pub database: Database,
    /// The clock.
    pub clock: Clock,
    /// The source of tokens.
    pub random: Random,
    /// The templates of the mails.
    pub templates: Templates,
    /// The way out: SMTP or files.
    pub transport: Transport,
    /// The sender's address. Without a display name, e-mails show the brand's.
    pub sender: Sender,
    /// The base of mailed links.
    pub public_url: PublicUrl,
    /// The keys of mailed codes.
    pub service_keys: VersionedKeys,
}

/// The dependencies of an attempt; all attempts share them.
#[derive(Debug)]
pub(super) struct DeliveryContext {
    database: Database,
    clock: Clock,
    random: Random,
    templates: Templates,
    transport: Transport,
    sender: Sender,
    public_url: PublicUrl,
    service_keys: VersionedKeys,
    overflow: OverflowPermits,
}

/// The link or code of an e-mail that is sent now.
#[derive(Clone, Debug, Default)]
struct Validity {
    expire_time: Option<DateTime<Utc>>,
    code: Option<OneTimeCode>,
}

/// Returns the code of an e-mail, or deletes the e-mail if the code cannot be used any more.
async fn revalidate_code(
    transaction: &Transaction,
    mail: &QueuedMail,
    keys: &VersionedKeys,
    now: DateTime<Utc>,
) -> Result<Outcome<Option<Validity>>> {
    let contact = ContactRef {
        customer_number: mail.customer_number.clone(),
        contact_id: mail
            .contact_id
            .ok_or_else(|| Error::data_loss("outbox_mails.contact_id"))?,
    };
    let found = transaction
        .find_code_of_mail(&contact, mail.id, now)
        .await?;
    let code = found.and_then(|(version, expire_time)| {
        let code = one_time_code::mailed_code(keys, version, &contact, mail.id)?;
        Some((code, expire_time))
    });
    let Some((code, expire_time)) = code else {
        transaction.delete_mail(mail).await?;
        return Ok(Outcome::Commit(None));
    };
    Ok(Outcome::Rollback(Some(Validity {
        expire_time: Some(expire_time),
        code: Some(code),
    })))
}

impl DeliveryContext {
    pub(super) fn new(parts: OutboxParts, overflow: OverflowPermits) -> Self {
        let name = &parts.templates.brand().name;
        let sender = parts.sender.with_default_name(name);
        Self {
            overflow,
            database: parts.database,
            clock: parts.clock,
            random: parts.random,
            templates: parts.templates,
            transport: parts.transport,
            sender,
            public_url: parts.public_url,
            service_keys: parts.service_keys,
        }
    }

    /// Claims up to `limit` e-mails that are due.
    pub(super) async fn claim(&self, limit: usize) -> Result<Vec<Claim>> {
        let claims = Claims {
            database: &self.database,
            clock: &self.clock,
            random: &self.random,
        };
        claims.claim_due(limit).await
    }

    /// Sends a claimed e-mail, or schedules its next attempt. If the database fails, the end of the
    /// lease makes it due again.
    pub(super) async fn deliver(&self, claim: &Claim) {
        failpoint("mail-claimed").await;
        let mail = &claim.mail;
        let id = mail.id;
        let result = match self.prepare(mail).await {
            Ok(Some(values)) => {
                failpoint("mail-prepared").await;
                match self.send_while_claimed(claim, &values).await {
                    // Another instance has claimed it.
                    None => Ok(false),
                    Some(Ok(())) => {
                        failpoint("mail-accepted").await;
                        let completed = self.complete(mail).await;
                        if completed == Ok(false) {
                            self.delete_if_erased(mail).await;
                        }
                        completed
                    }
                    Some(Err(error)) => self.reschedule_or_dead_letter(mail, &error).await,
                }
            }
            Ok(None) => {
                tracing::info!(%id, "obsolete mail deleted");
                Ok(true)
            }
            // The row stays unreadable, so a retry is useless.
            Err(Error::DataLoss { what }) => {
                tracing::error!(%id, what, "queued mail unreadable");
                let error = SendError::new("unreadable", RejectionClass::System);
                self.reschedule_or_dead_letter(mail, &error).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(%id, "mail claimed by another instance before the attempt ended");
            }
            Err(error) => tracing::warn!(%id, %error, "mail left until the end of its lease"),
        }
    }

    /// Revalidates the e-mail, and creates the token of its link: only the hash is stored, so each
    /// attempt has a token of its own. A code is derived again. Returns `None` if it is obsolete or no
    /// longer claimed.
    async fn prepare(&self, mail: &QueuedMail) -> Result<Option<Values>> {
        let secret = self.random.bytes()?;
        let token = ConfirmationToken::new(mail.customer_number.clone(), secret);
        let link = self.public_url.confirmation_link(&token.reveal());
        let Some(validity) = self.revalidate(mail, &token).await? else {
            return Ok(None);
        };
        let (code, has_link) = (validity.code, mail.kind.has_link());
        Ok(Some(Values {
            name: mail.display_name.clone(),
            customer_number: mail.customer_number.as_str().to_owned(),
            link: if has_link { link } else { String::new() },
            code: code.map_or_else(String::new, |code| code.expose().to_owned()),
            expire_time: validity.expire_time,
            event_time: mail.create_time,
            changes: mail.changes.clone(),
        }))
    }

    /// Checks that the e-mail is claimed and not obsolete. Returns the expiry of its link or code, if it
    /// has one.
    async fn revalidate(
        &self,
        mail: &QueuedMail,
        token: &ConfirmationToken,
    ) -> Result<Option<Validity>> {
        let now = self.clock.now();
        let (mail, hash) = (mail.clone(), token.hash());
        let keys = self.service_keys.clone();
        self.database
            .transaction(move |transaction| {
                let (mail, keys) = (mail.clone(), keys.clone());
                Box::pin(async move {
                    if !transaction.is_claimed(&mail).await? {
                        return Ok(Outcome::Rollback(None));
                    }
                    if mail.kind == MailKind::OneTimeCode {
                        return revalidate_code(transaction, &mail, &keys, now).await;
                    }
                    if !mail.kind.has_link() {
                        return Ok(Outcome::Rollback(Some(Validity::default())));
                    }
                    let number = &mail.customer_number;
                    let id = mail
                        .confirmation_id
                        .ok_or_else(|| Error::data_loss("outbox_mails.confirmation_id"))?;
                    let found = transaction.find_and_lock_confirmation(number, id).await?;
                    let pending =
                        found.filter(|found| found.state_at(now) == ConfirmationState::Pending);
                    let Some(confirmation) = pending else {
                        transaction.delete_mail(&mail).await?;
                        return Ok(Outcome::Commit(None));
                    };
                    transaction
                        .insert_confirmation_token(number, id, hash)
                        .await?;
                    Ok(Outcome::Commit(Some(Validity {
                        expire_time: Some(confirmation.expire_time),
                        code: None,
                    })))
                })
            })
            .await
    }

    /// Sends an e-mail, with a lease that is renewed until the server replies. Returns `None` if
    /// another instance claimed it.
    async fn send_while_claimed(
        &self,
        claim: &Claim,
        values: &Values,
    ) -> Option<std::result::Result<(), SendError>> {
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

    async fn send(&self, claim: &Claim, values: &Values) -> std::result::Result<(), SendError> {
        let mail = &claim.mail;
        let message = self
            .templates
            .render(mail.kind, mail.locale, values)
            .and_then(|rendered| {
                let encoding = Encoding::of(&self.transport);
                message::compose(&self.sender, mail, rendered, encoding, self.clock.now())
            })
            .map_err(|error| {
                tracing::error!(id = %mail.id, %error, "failed to compose mail");
                SendError::new("not composed", RejectionClass::System)
            })?;
        let handover = Handover {
            lease: &claim.lease,
            overflow: &self.overflow,
        };
        self.transport.send(mail, &message, &handover).await
    }

    async fn complete(&self, mail: &QueuedMail) -> Result<bool> {
        let started = Instant::now();
        loop {
            match self.delete(mail).await {
                Err(Error::DatabaseUnavailable | Error::Conflict)
                    if started.elapsed() < COMPLETION_TIMEOUT =>
                {
                    tokio::time::sleep(COMPLETION_RETRY_INTERVAL).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Deletes the file of an e-mail whose customer was erased before the file was written.
    async fn delete_if_erased(&self, mail: &QueuedMail) {
        let Transport::Folder(folder) = &self.transport else {
            return;
        };
        let number = &mail.customer_number;
        let is_erased = match self.database.find_customer(number).await {
            // A new customer may have this number.
            Ok(found) => found.is_none_or(|found| found.create_time > mail.create_time),
            Err(_) => false,
        };
        if is_erased && folder.delete(number, mail.id).await.is_err() {
            tracing::warn!(id = %mail.id, "failed to delete the mail file of an erased customer");
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

    /// Schedules the next attempt, or makes the e-mail a dead letter.
    async fn reschedule_or_dead_letter(
        &self,
        mail: &QueuedMail,
        error: &SendError,
    ) -> Result<bool> {
        let now = self.clock.now();
        let [random] = self.random.bytes()?;
        let is_dead = error.is_permanent() || mail.attempt >= MAX_ATTEMPTS;
        let due_time = now + retry_delay(mail.attempt, random);
        let (id, attempt, failure) = (mail.id, mail.attempt, error.failure.as_str());
        let server = self.transport.server();
        metrics::mail_rejection(error.class);
        if is_dead {
            tracing::error!(%id, attempt, failure, server, "mail dead-lettered");
            metrics::mail(MailOutcome::DeadLettered);
        } else {
            tracing::warn!(%id, attempt, failure, server, "mail not sent, retry scheduled");
            metrics::mail(MailOutcome::Deferred);
        }
        if error.is_permanent() {
            return self.dead_letter_bounced(mail, failure, now).await;
        }
        let (mail, failure) = (mail.clone(), error.failure.clone());
        self.database
            .transaction(move |transaction| {
                let (mail, failure) = (mail.clone(), failure.clone());
                Box::pin(async move {
                    let is_claimed = if is_dead {
                        transaction.dead_letter(&mail, now, &failure).await?
                    } else {
                        transaction.reschedule(&mail, due_time, &failure).await?
                    };
                    Ok(Outcome::Commit(is_claimed))
                })
            })
            .await
    }

    /// Makes the e-mail a dead letter, and marks its address as failing.
    async fn dead_letter_bounced(
        &self,
        mail: &QueuedMail,
        failure: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let number = mail.customer_number.clone();
        let (mail, failure) = (mail.clone(), failure.to_owned());
        let random = self.random.clone();
        self.database
            .customer_transaction(&number, move |transaction| {
                let (mail, failure) = (mail.clone(), failure.clone());
                let random = random.clone();
                Box::pin(async move {
                    let number = &mail.customer_number;
                    let Some(mut locked) = transaction.find_and_lock_customer(number).await? else {
                        return Ok(Outcome::Rollback(false));
                    };
                    if !transaction.dead_letter(&mail, now, &failure).await? {
                        return Ok(Outcome::Rollback(false));
                    }
                    bounce::record(transaction, &mut locked, &mail, &random, now).await?;
                    Ok(Outcome::Commit(true))
                })
            })
            .await
    }
}
