//! The single path through which a contact on file changes.
//!
//! One transaction locks the customer, applies the change, checks the rules, saves the contact,
//! queues the e-mails that follow from it, and inserts the audit event. A change that modifies
//! nothing inserts no event (rule 25).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    context::App,
    idempotency::{self, RequestKey},
    mail_limits,
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, check_contact_rules, find_contact},
        etag::check_etag,
        ids::ContactRef,
    },
    error::Result,
    failpoint::failpoint,
    storage::{CachedResponse, Outcome, PhonePasswordChange, Transaction},
};

/// Modifies a contact and returns the names of the changed fields. It may run several times, as
/// transactions are retried.
type Mutator = dyn Fn(&mut Contact, DateTime<Utc>) -> Result<Vec<&'static str>> + Send + Sync;

/// A change of one contact, common to all RPCs.
#[derive(Clone)]
pub(super) struct ContactUpdate {
    pub(super) contact: ContactRef,
    pub(super) kind: EventKind,
    /// The expected etag; empty: any.
    pub(super) etag: String,
    pub(super) request: Option<RequestKey>,
    pub(super) validate_only: bool,
    /// The change of the phone password, applied if the mutator reports a changed field.
    pub(super) phone_password: Option<PhonePasswordChange>,
    pub(super) mutator: Arc<Mutator>,
}

impl ContactUpdate {
    /// Creates an unconditional update without a request id.
    pub(super) fn new(
        contact: ContactRef,
        kind: EventKind,
        mutator: impl Fn(&mut Contact, DateTime<Utc>) -> Result<Vec<&'static str>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            contact,
            kind,
            etag: String::new(),
            request: None,
            validate_only: false,
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
    ) -> Result<Contact> {
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
        let (contact, mails_queued) = mail_limits::count_rejection(updated)?;
        self.mail_signal.raise_if(mails_queued);
        Ok(contact)
    }

    /// Returns the contact, and whether e-mails were queued.
    async fn update_contact_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        update: &ContactUpdate,
    ) -> Result<Outcome<(Contact, bool)>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = &update.contact;
        let request = update.request.as_ref();
        let mut locked = transaction.lock_customer(customer_number).await?;
        if let Some(response) =
            idempotency::replay(transaction, customer_number, actor, request, now).await?
        {
            let contact = idempotency::replayed_contact(response)?;
            return Ok(Outcome::Replayed((contact, false)));
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
        check_etag(&update.etag, &before.etag())?;
        let mut after = before.clone();
        let changed = (update.mutator)(&mut after, now)?;
        check_contact_rules(&before, &after, &contacts, now)?;
        let mut mails_queued = false;
        if !changed.is_empty() {
            transaction.update_contact(&before, &mut after, now).await?;
            mails_queued = self
                .apply_email_transition(transaction, Some(&before), &after)
                .await?;
            if let Some(change) = &update.phone_password {
                after.phone_password = transaction
                    .change_phone_password(customer_number, *contact_id, change, now)
                    .await?;
            }
            let mut event = self.event(&locked, actor, update.kind, Some(*contact_id), &changed)?;
            if matches!(update.phone_password, Some(PhonePasswordChange::Unlock(_))) {
                event = event.with_reason_given();
            }
            transaction.insert_audit_event(&event).await?;
        }
        // Before the response is stored: a replay shows the contact as of this moment.
        let after = after.as_of(now);
        let response = CachedResponse::Contact(Box::new(after.clone()));
        idempotency::store(transaction, actor, request, customer_number, response, now).await?;
        failpoint("change-written").await;
        Ok(Outcome::commit_unless(
            update.validate_only,
            (after, mails_queued),
        ))
    }
}
