//! One-time codes (rule 29): mailed on an agent's request, or created for the portal.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    caller_check::attempt_key,
    context::App,
    idempotency::{self, ChangeOptions, RequestSeed},
};
use crate::{
    crypto::one_time_code,
    domain::{
        audit::{Actor, EventKind},
        authentication::{AuthenticationMethod, OneTimeCode},
        contact::{Contact, find_contact},
        ids::ContactRef,
        mail::{MailKind, QueuedMail},
        phone_password::attempts::check_call,
    },
    error::{Error, Result},
    storage::{CachedResponse, NewCode, Outcome, Transaction},
};

const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// The number of codes that are mailed to a contact within [`MAIL_WINDOW`].
const MAX_MAILS: usize = 3;
const MAIL_WINDOW: TimeDelta = TimeDelta::hours(1);

/// A request to mail a code.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// The contact that the caller claims to be.
    pub contact: ContactRef,
    /// The id of the phone call.
    pub call_id: String,
}

/// A code that the portal shows.
#[derive(Clone, Debug)]
pub struct CreatedCode {
    /// The code; `None` for a validation.
    pub code: Option<OneTimeCode>,
    /// The expiry.
    pub expire_time: DateTime<Utc>,
}

impl App {
    /// Mails a code to the confirmed address of a contact, if it has one and got less than 3 within an
    /// hour. The response and its time are the same if not. Returns the expiry of a code that is mailed
    /// now.
    ///
    /// # Errors
    /// [`Error::AgentBlocked`], [`Error::PhoneCallAttemptLimit`], [`Error::RequestIdReused`].
    pub async fn send_one_time_code(
        &self,
        agent: &Actor,
        request: CodeRequest,
        options: ChangeOptions,
    ) -> Result<DateTime<Utc>> {
        let sent = self.mail_code(agent, request, options);
        let (sent, ()) = tokio::join!(sent, tokio::time::sleep(self.code_answer_time));
        sent
    }

    async fn mail_code(
        &self,
        agent: &Actor,
        request: CodeRequest,
        options: ChangeOptions,
    ) -> Result<DateTime<Utc>> {
        let key = attempt_key(agent, &request.contact, &request.call_id);
        let attempts = self.database.find_attempts(&key).await?;
        attempts.agent_attempts.check_at(self.now())?;
        check_call(attempts.phone_call_attempts)?;
        let (app, agent) = (self.clone(), agent.clone());
        let customer_number = request.contact.customer_number.clone();
        let (expire_time, is_mailed) = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent) = (app.clone(), agent.clone());
                let (contact, options) = (request.contact.clone(), options.clone());
                Box::pin(async move {
                    app.mail_code_within(transaction, &agent, &contact, &options)
                        .await
                })
            })
            .await?;
        self.mail_signal.raise_if(is_mailed);
        Ok(expire_time)
    }

    async fn mail_code_within(
        &self,
        transaction: &Transaction,
        agent: &Actor,
        contact: &ContactRef,
        options: &ChangeOptions,
    ) -> Result<Outcome<(DateTime<Utc>, bool)>> {
        let now = self.now();
        let expire_time = now + LIFETIME;
        let number = &contact.customer_number;
        let request = options.request.as_ref();
        let Some(locked) = transaction.find_and_lock_customer(number).await? else {
            return Ok(Outcome::Rollback((expire_time, false)));
        };
        if let Some(replay) = idempotency::replay(transaction, number, agent, request, now).await? {
            let expire_time = replayed_expiry(&replay.response)?;
            return Ok(Outcome::Replayed((expire_time, false)));
        }
        let contacts = transaction.list_contacts(number).await?;
        let found = find_contact(&contacts, contact.contact_id).ok();
        let is_mailed = match found {
            Some(found) => self.queue_code(transaction, found, expire_time).await?,
            None => false,
        };
        let kind = EventKind::OneTimeCodeRequested;
        let event = self
            .event(&locked, agent, kind, Some(contact.contact_id), &[])?
            .with_detail("mailed", is_mailed.to_string());
        transaction.insert_audit_event(&event).await?;
        let response = CachedResponse::Expiry(expire_time);
        idempotency::store(transaction, agent, request, number, response, now).await?;
        let sent = (expire_time, is_mailed && !options.validate_only);
        Ok(Outcome::commit_unless(options.validate_only, sent))
    }

    /// Queues an e-mail with a code. Returns false if the contact has no confirmed address, or got too
    /// many.
    async fn queue_code(
        &self,
        transaction: &Transaction,
        contact: &Contact,
        expire_time: DateTime<Utc>,
    ) -> Result<bool> {
        let now = self.now();
        let Some(email) = contact.email.clone() else {
            return Ok(false);
        };
        let reference = ContactRef {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.id,
        };
        let mut mail_times = transaction.find_code_mail_times(&reference).await?;
        mail_times.retain(|time| *time > now - MAIL_WINDOW);
        if mail_times.len() >= MAX_MAILS {
            return Ok(false);
        }
        mail_times.push(now);
        let mail_id = self.random.uuid_v7(now)?;
        let keys = &self.service_keys;
        let code = one_time_code::mailed_code(keys, keys.newest()?, &reference, mail_id);
        let code = code.ok_or_else(|| Error::internal("there is no service key"))?;
        let code = NewCode {
            hash: one_time_code::hash(keys, &reference, &code)?,
            contact: reference,
            method: AuthenticationMethod::CodeByEmail,
            mail_id: Some(mail_id),
            expire_time,
            mail_times,
        };
        transaction.upsert_code(&code).await?;
        let kind = MailKind::OneTimeCode;
        let mail = QueuedMail::new(mail_id, kind, contact, email, None, now);
        transaction.insert_mail(&mail, now).await?;
        Ok(true)
    }

    /// Creates a code that the portal shows to the contact who is logged in.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], [`Error::RequestIdReused`].
    pub async fn create_one_time_code(
        &self,
        actor: &Actor,
        contact: ContactRef,
        options: ChangeOptions,
    ) -> Result<CreatedCode> {
        let (app, actor) = (self.clone(), actor.clone());
        let customer_number = contact.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor) = (app.clone(), actor.clone());
                let (contact, options) = (contact.clone(), options.clone());
                Box::pin(async move {
                    app.create_code_within(transaction, &actor, contact, &options)
                        .await
                })
            })
            .await
    }

    async fn create_code_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        contact: ContactRef,
        options: &ChangeOptions,
    ) -> Result<Outcome<CreatedCode>> {
        let now = self.now();
        let number = contact.customer_number.clone();
        let request = options.request.as_ref();
        let locked = transaction.lock_customer(&number).await?;
        let replay = idempotency::replay(transaction, &number, actor, request, now).await?;
        if let Some(replay) = replay {
            let code = replay.seed.map(|seed| OneTimeCode::from_seed(&seed));
            let expire_time = replayed_expiry(&replay.response)?;
            return Ok(Outcome::Replayed(CreatedCode { code, expire_time }));
        }
        let contact_id = contact.contact_id;
        find_contact(&transaction.list_contacts(&number).await?, contact_id)?;
        let expire_time = now + LIFETIME;
        let seed = request.and_then(|request| request.seeds.first().copied());
        let seed: RequestSeed = match seed {
            Some(seed) => seed,
            None => self.random.bytes()?,
        };
        let code = OneTimeCode::from_seed(&seed);
        let stored = NewCode {
            hash: one_time_code::hash(&self.service_keys, &contact, &code)?,
            contact,
            method: AuthenticationMethod::CodeFromPortal,
            mail_id: None,
            expire_time,
            mail_times: Vec::new(),
        };
        transaction.upsert_code(&stored).await?;
        let kind = EventKind::OneTimeCodeCreated;
        let event = self.event(&locked, actor, kind, Some(contact_id), &[])?;
        transaction.insert_audit_event(&event).await?;
        let response = CachedResponse::Expiry(expire_time);
        idempotency::store(transaction, actor, request, &number, response, now).await?;
        let code = (!options.validate_only).then_some(code);
        let created = CreatedCode { code, expire_time };
        Ok(Outcome::commit_unless(options.validate_only, created))
    }

    /// Deletes the codes that expired so long ago that no limit depends on them, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_one_time_codes(&self) -> Result<u64> {
        let time = self.now() - MAIL_WINDOW;
        self.database.delete_codes_before(time).await
    }
}

fn replayed_expiry(response: &CachedResponse) -> Result<DateTime<Utc>> {
    if let CachedResponse::Expiry(time) = response {
        Ok(*time)
    } else {
        Err(Error::data_loss("request_ids.response"))
    }
}
