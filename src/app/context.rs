//! [`App`]: the dependencies that all use cases share.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{feed_signal::FeedSignal, hash_queues::HashQueues};
use crate::{
    clock::Clock,
    crypto::{keyring::VersionedKeys, password_hasher::PhoneHasher, random::Random},
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        burst_guard::BurstGuard,
        ids::ContactId,
    },
    error::Result,
    mail::{MailFolder, MailSignal},
    storage::{Database, LockedCustomer},
};

/// The use cases, as methods of one type. Each file of this module adds those of its topic. Clones
/// share all state.
#[derive(Clone, Debug)]
pub struct App {
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) service_keys: Arc<VersionedKeys>,
    pub(super) hasher: PhoneHasher,
    pub(super) hash_queues: HashQueues,
    pub(super) channel_checks_per_minute: Option<NonZeroU32>,
    pub(super) code_answer_time: Duration,
    pub(super) mail_signal: MailSignal,
    pub(super) feed_signal: FeedSignal,
    pub(super) mail_folder: Option<MailFolder>,
    pub(super) burst_guard: Arc<Mutex<BurstGuard>>,
    /// True while database files may still contain data of an erased customer.
    pub(super) has_deleted: Arc<AtomicBool>,
}

/// Far longer than the work for any contact takes, and not noticed by an agent.
pub const CODE_ANSWER_TIME: Duration = Duration::from_millis(250);

/// The dependencies that [`App::new`] takes.
#[derive(Clone, Debug)]
pub struct AppParts {
    /// The database that holds all records.
    pub database: Database,
    /// The source of the current time.
    pub clock: Clock,
    /// The source of ids and secrets.
    pub random: Random,
    /// Keys for grants, cursors, pseudonyms and the hashes of mail recipients.
    pub service_keys: VersionedKeys,
    /// Hashes and verifies phone passwords.
    pub hasher: PhoneHasher,
    /// The limit of channel checks per minute, for each agent and each customer, and of searches over
    /// all customers, for each agent. `None`: no limit.
    pub channel_checks_per_minute: Option<NonZeroU32>,
    /// The duration of a code check and of a request to mail a code, at the least: the work for a contact
    /// with a code or an address must not be measurable. [`CODE_ANSWER_TIME`] but for tests.
    pub code_answer_time: Duration,
    /// The folder that mails are written to in place of an SMTP server.
    pub mail_folder: Option<MailFolder>,
}

impl App {
    /// Creates the application from its dependencies.
    pub fn new(parts: AppParts) -> Self {
        Self {
            database: parts.database,
            clock: parts.clock,
            random: parts.random,
            service_keys: Arc::new(parts.service_keys),
            hasher: parts.hasher,
            hash_queues: HashQueues::default(),
            channel_checks_per_minute: parts.channel_checks_per_minute,
            code_answer_time: parts.code_answer_time,
            mail_signal: MailSignal::default(),
            feed_signal: FeedSignal::default(),
            mail_folder: parts.mail_folder,
            burst_guard: Arc::default(),
            has_deleted: Arc::default(),
        }
    }

    /// Returns the signal that wakes the outbox worker after a mail was queued.
    pub fn mail_signal(&self) -> &MailSignal {
        &self.mail_signal
    }

    /// Advances the application's clock, if it is not that of the system.
    pub fn advance_clock(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// Returns the current time of the application's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Creates the audit event of the transaction that holds the lock `locked`.
    pub(super) fn event(
        &self,
        locked: &LockedCustomer,
        actor: &Actor,
        kind: EventKind,
        contact_id: Option<ContactId>,
        changed_fields: &[&str],
    ) -> Result<AuditEvent> {
        let now = self.now();
        let event = AuditEvent {
            sequence: locked.sequence_number,
            customer_number: Some(locked.customer.number.clone()),
            contact_id,
            ..AuditEvent::new(self.random.uuid_v7(now)?, now, actor, kind)
        };
        Ok(event.with_changed_fields(changed_fields))
    }
}
