//! The use cases: what happens in which transaction, in which order.
//!
//! Owns neither rules (`domain`) nor rows (`storage`) nor messages (`api`).
//! Whatever changes something of a customer locks it first, so that the rules are
//! judged on what is true until the commit, and writes its event with the change.

mod audit;
mod caller_verification;
mod changes;
mod confirmation_mails;
mod contacts;
mod customers;
pub mod demo;
mod email_confirmation;
mod email_deadlines;
mod feed_cursor;
mod hash_shares;
mod idempotency;
mod import;
mod phone_grant;
mod phone_orders;
mod phone_password;
mod phone_password_check;
mod privacy;
mod recipients;

use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicBool},
};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

pub use self::{
    audit::AuditPage,
    changes::ChangeReader,
    contacts::{ContactPage, DeleteContact, NewContact, UpdateContact},
    customers::UpdateCustomer,
    email_confirmation::{Confirmed, Inspection},
    import::{ContactRow, CustomerOutcome, ImportMode, Imported, RowOutcome},
    phone_grant::Grant,
    phone_orders::{DecidedOrder, PhoneOrderRequest},
    phone_password_check::{PhonePasswordCheck, PhonePasswordVerdict},
    recipients::resolve_many,
};
use self::{changes::FeedSignal, hash_shares::HashShares};
pub use crate::app::idempotency::RequestKey;
use crate::{
    clock::Clock,
    crypto::{keyring::VersionedKeys, password_hasher::PhoneHasher, random::Random},
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        contact::ContactId,
        customer::CustomerNumber,
    },
    error::Result,
    mail::{MailFolder, MailSignal},
    storage::{Database, LockedCustomer},
};

/// The use cases, over a database, a clock and a source of randomness.
#[derive(Clone, Debug)]
pub struct App {
    database: Database,
    clock: Clock,
    random: Random,
    service_keys: Arc<VersionedKeys>,
    hasher: PhoneHasher,
    hash_shares: HashShares,
    channel_checks_per_minute: Option<NonZeroU32>,
    glances: Arc<Semaphore>,
    mail_signal: MailSignal,
    feed_signal: FeedSignal,
    mail_folder: Option<MailFolder>,
    /// Whether the files of the database may still hold something of an erased customer.
    has_deleted: Arc<AtomicBool>,
}

/// What the use cases are made of.
#[derive(Clone, Debug)]
pub struct AppParts {
    /// Where everything is kept.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// What ids and tokens are made of.
    pub random: Random,
    /// What signs grants.
    pub service_keys: VersionedKeys,
    /// What hashes phone passwords.
    pub hasher: PhoneHasher,
    /// Checks of channels within a minute, of each agent and each customer; `None`: as many as come.
    pub channel_checks_per_minute: Option<NonZeroU32>,
    /// Where mails go that do not leave.
    pub mail_folder: Option<MailFolder>,
}

/// Which contact of which customer.
#[derive(Clone, Debug)]
pub struct ContactRef {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The contact.
    pub contact_id: ContactId,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: AppParts) -> Self {
        Self {
            database: parts.database,
            clock: parts.clock,
            random: parts.random,
            service_keys: Arc::new(parts.service_keys),
            hasher: parts.hasher,
            hash_shares: HashShares::default(),
            channel_checks_per_minute: parts.channel_checks_per_minute,
            glances: Arc::new(Semaphore::new(phone_password_check::GLANCES)),
            mail_signal: MailSignal::default(),
            feed_signal: FeedSignal::default(),
            mail_folder: parts.mail_folder,
            has_deleted: Arc::default(),
        }
    }

    /// Random, for a choice that has no meaning.
    pub fn random_byte(&self) -> u8 {
        let [byte] = self.random.bytes().unwrap_or_default();
        byte
    }

    /// What is raised when a mail was queued.
    pub fn mail_signal(&self) -> &MailSignal {
        &self.mail_signal
    }

    /// The time, as all rules of this service see it.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The event of the transaction that holds `locked`.
    fn event(
        &self,
        locked: &LockedCustomer,
        actor: &Actor,
        kind: EventKind,
        contact_id: Option<ContactId>,
        changed_fields: &[&str],
    ) -> Result<AuditEvent> {
        let now = self.now();
        Ok(AuditEvent {
            sequence: locked.rank,
            customer_number: Some(locked.customer.number.clone()),
            contact_id,
            changed_fields: names(changed_fields),
            ..AuditEvent::new(self.random.uuid_v7(now)?, now, actor, kind)
        })
    }
}

fn names(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|&name| name.to_owned()).collect()
}

/// Keeps the first `page_size` entries, and gives the rank of the last one kept
/// when more were there.
fn cut_page<T, R>(entries: &mut Vec<T>, page_size: usize, rank: fn(&T) -> R) -> Option<R> {
    let has_more = entries.len() > page_size;
    entries.truncate(page_size);
    entries.last().map(rank).filter(|_| has_more)
}
