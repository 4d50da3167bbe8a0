//! The single path through which a contact on file changes.
//!
//! One transaction locks the customer, applies the change, checks the rules, saves the contact,
//! queues the e-mails that follow from it, and inserts the audit events: one for each kind of change. A
//! change that modifies nothing inserts none (rule 25).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    change_notices::noticed_kind,
    context::App,
    idempotency::{self, ChangeOptions, RequestSeed},
    mail_limits,
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        change_notice::NoticedChange,
        contact::{Contact, check_contact_rules, find_contact, is_last_standard},
        etag::check_etag,
        ids::ContactRef,
        recipient_changes::{RecipientChange, recipient_changes},
    },
    error::Result,
    failpoint::failpoint,
    storage::{CachedResponse, LockedCustomer, Outcome, PhonePasswordChange, Transaction},
};

/// The field whose change is stored with the attempts on the phone password.
pub(super) const PHONE_PASSWORD: &str = "phone_password";

/// A change that an update makes, for one audit event.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) kind: EventKind,
    /// The names of the changed fields. Empty: nothing changed, and no event is recorded.
    pub(super) fields: Vec<&'static str>,
}

/// Modifies a contact and returns the changes. It may run several times, as transactions are retried.
type Mutator = dyn Fn(&mut Contact, DateTime<Utc>) -> Result<Vec<Change>> + Send + Sync;

/// A change of one contact, common to all RPCs.
#[derive(Clone)]
pub(super) struct ContactUpdate {
    pub(super) contact: ContactRef,
    pub(super) options: ChangeOptions,
    /// If true, the effect on recipients is determined, as it is for a validation.
    pub(super) shows_recipient_changes: bool,
    /// The change of the phone password, applied if the mutator reports that field.
    pub(super) phone_password: Option<PhonePasswordChange>,
    pub(super) mutator: Arc<Mutator>,
}

/// A contact after a change.
#[derive(Clone, Debug)]
pub(super) struct Updated {
    pub(super) contact: Contact,
    pub(super) recipient_changes: Vec<RecipientChange>,
    /// The seed of the request that was answered before; `None`: this one made the change.
    pub(super) replayed_seed: Option<RequestSeed>,
    pub(super) mails_queued: bool,
}

impl ContactUpdate {
    /// Creates an update whose mutator makes one change of this kind.
    pub(super) fn new(
        contact: ContactRef,
        kind: EventKind,
        options: ChangeOptions,
        mutator: impl Fn(&mut Contact, DateTime<Utc>) -> Result<Vec<&'static str>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let mutator = move |contact: &mut Contact, now| {
            let fields = mutator(contact, now)?;
            Ok(vec![Change { kind, fields }])
        };
        Self {
            contact,
            options,
            shows_recipient_changes: false,
            phone_password: None,
            mutator: Arc::new(mutator),
        }
    }
}

impl App {
    /// Applies an update and returns the contact after it.
    pub(super) async fn apply_contact_update(
        &self,
        actor: &Actor,
        update: ContactUpdate,
    ) -> Result<Updated> {
        let (app, actor) = (self.clone(), actor.clone());
        let customer_number = update.contact.customer_number.clone();
        let updated = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor, update) = (app.clone(), actor.clone(), update.clone());
                Box::pin(async move {
                    app.update_contact_within(transaction, &actor, &update)
                        .await
                })
            })
            .await;
        let updated = mail_limits::count_rejection(updated)?;
        self.mail_signal.raise_if(updated.mails_queued);
        Ok(updated)
    }

    async fn update_contact_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        update: &ContactUpdate,
    ) -> Result<Outcome<Updated>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = &update.contact;
        let options = &update.options;
        let request = options.request.as_ref();
        let mut locked = transaction.lock_customer(customer_number).await?;
        if let Some(replay) =
            idempotency::replay(transaction, customer_number, actor, request, now).await?
        {
            return Ok(Outcome::Replayed(Updated {
                contact: idempotency::replayed_contact(replay.response)?,
                recipient_changes: Vec::new(),
                replayed_seed: replay.seed,
                mails_queued: false,
            }));
        }
        let contacts = transaction.list_contacts(customer_number).await?;
        let mut before = find_contact(&contacts, *contact_id)?.clone();
        if self
            .expire_pending_email(transaction, &locked, &mut before, now)
            .await?
        {
            // Each event takes a sequence number of its own.
            locked = transaction.lock_customer(customer_number).await?;
        }
        check_etag(&options.etag, &before.etag())?;
        let mut after = before.clone();
        let mut changes = (update.mutator)(&mut after, now)?;
        changes.retain(|change| !change.fields.is_empty());
        check_contact_rules(&before, &after, &contacts, now)?;
        after.is_last_standard = is_last_standard(&after, &contacts);
        let customer = locked.customer.clone();
        let noticed = changes.iter().filter_map(|change| {
            let kind = noticed_kind(change.kind, &change.fields)?;
            Some(NoticedChange::of_contact(kind, &after, now))
        });
        self.notify_of_changes(transaction, &customer, &contacts, noticed.collect())
            .await?;
        let mails_queued = self
            .store_contact_changes(
                transaction,
                locked,
                actor,
                update,
                &changes,
                (&before, &mut after),
            )
            .await?;
        // Before the response is stored: a replay shows the contact as of this moment.
        let after = after.as_of(now);
        let response = CachedResponse::Contact(Box::new(after.clone()));
        idempotency::store(transaction, actor, request, customer_number, response, now).await?;
        failpoint("change-written").await;
        let shows_recipient_changes = update.shows_recipient_changes || options.validate_only;
        let recipient_changes = if shows_recipient_changes {
            let replace = |contact| replaced_by(contact, &after);
            recipient_changes(&customer, &contacts, contacts.iter().map(replace), now)
        } else {
            Vec::new()
        };
        let updated = Updated {
            contact: after,
            recipient_changes,
            replayed_seed: None,
            mails_queued,
        };
        Ok(Outcome::commit_unless(options.validate_only, updated))
    }

    /// Stores the contact, queues the e-mails, and inserts an event for each change. Returns true if
    /// e-mails were queued.
    async fn store_contact_changes(
        &self,
        transaction: &Transaction,
        mut locked: LockedCustomer,
        actor: &Actor,
        update: &ContactUpdate,
        changes: &[Change],
        (before, after): (&Contact, &mut Contact),
    ) -> Result<bool> {
        let ContactRef {
            customer_number,
            contact_id,
        } = &update.contact;
        let now = self.now();
        if changes.is_empty() {
            return Ok(false);
        }
        let is_resend = |change: &Change| change.kind == EventKind::EmailConfirmationResent;
        if changes.iter().all(is_resend) {
            transaction.update_resends(after).await?;
        } else {
            transaction.update_contact(before, after, now).await?;
        }
        let mails_queued = self
            .apply_email_transition(transaction, Some(before), after)
            .await?;
        let is_of_password = |change: &Change| change.fields.contains(&PHONE_PASSWORD);
        let password = update.phone_password.as_ref();
        if let Some(change) = password.filter(|_| changes.iter().any(is_of_password)) {
            after.phone_password = transaction
                .change_phone_password(customer_number, *contact_id, change, now)
                .await?;
        }
        for (index, change) in changes.iter().enumerate() {
            if index > 0 {
                // Each event takes a sequence number of its own.
                locked = transaction.lock_customer(customer_number).await?;
            }
            let contact_id = Some(*contact_id);
            let mut event = self.event(&locked, actor, change.kind, contact_id, &change.fields)?;
            if change.kind == EventKind::PhonePasswordUnlocked {
                event = event.with_detail("reason_given", "true");
            }
            transaction.insert_audit_event(&event).await?;
        }
        Ok(mails_queued)
    }
}

/// Returns `after` in place of the contact that it was.
fn replaced_by<'c>(contact: &'c Contact, after: &'c Contact) -> &'c Contact {
    if contact.id == after.id {
        after
    } else {
        contact
    }
}
