//! Caller verification (rule 21): tells an agent which contacts own a phone number or e-mail
//! address. Each disclosure is recorded before it is returned (rule 25).

use futures::future::try_join_all;

use super::context::App;
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        caller::{Channel, ChannelMatch, ChannelOwner},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, FindLimit, Result},
    observability::metrics::{self, Limit},
    storage::ChannelCheck,
};

impl App {
    /// Returns the owners of the channel, exact matches first. Empty if the channel is withheld or
    /// not on file for this customer; pending addresses are not on file.
    ///
    /// # Errors
    /// [`Error::FindLimit`], [`Error::CustomerNotFound`].
    pub async fn verify_contact_channel(
        &self,
        actor: &Actor,
        customer_number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Vec<ChannelMatch>> {
        self.count_check(actor, customer_number).await?;
        let matches = match channel {
            // No lookup is needed. Recording the check finds out whether the customer exists.
            Channel::Withheld => Vec::new(),
            Channel::PhoneNumbers(_) | Channel::Email(_) => {
                let matches = self.database.find_channel(customer_number, channel).await?;
                matches.ok_or(Error::CustomerNotFound)?
            }
        };
        let disclosures = disclosures(&matches).into_iter().map(|(kind, contact_id)| {
            let now = self.now();
            // The database assigns the sequence number of the customer's last change.
            let event = AuditEvent {
                customer_number: Some(customer_number.clone()),
                contact_id,
                ..AuditEvent::new(self.random.uuid_v7(now)?, now, actor, kind)
            };
            let event = event.with_changed_fields(&[channel.field()]);
            Ok(self.database.insert_disclosure(event))
        });
        let inserts: Vec<_> = disclosures.collect::<Result<_>>()?;
        let inserted = try_join_all(inserts).await?;
        if inserted.contains(&false) {
            // The customer was erased since the lookup.
            return Err(Error::CustomerNotFound);
        }
        Ok(matches)
    }

    /// Counts a check against the limits of its agent and its customer. Runs before the lookup, so
    /// that a rejected check discloses nothing.
    async fn count_check(&self, agent: &Actor, customer_number: &CustomerNumber) -> Result<()> {
        let Some(per_minute) = self.channel_checks_per_minute else {
            return Ok(());
        };
        let check = ChannelCheck {
            agent: agent.clone(),
            customer_number: customer_number.clone(),
            per_minute: per_minute.get(),
            now: self.now(),
        };
        let counted = self.database.count_channel_check(check).await;
        if let Err(Error::FindLimit { limit, .. }) = counted {
            metrics::limit_hit(match limit {
                FindLimit::Agent => Limit::ChannelChecksPerAgent,
                FindLimit::Customer => Limit::ChannelChecksPerCustomer,
            });
        }
        counted
    }

    /// Deletes the rate limit windows of channel checks that have ended, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_channel_checks(&self) -> Result<u64> {
        let now = self.now();
        self.database.delete_channel_checks_before(now).await
    }
}

/// Returns the events to record: one for each owner, or one that says that there is none.
fn disclosures(matches: &[ChannelMatch]) -> Vec<(EventKind, Option<ContactId>)> {
    if matches.is_empty() {
        return vec![(EventKind::ChannelNotOnFile, None)];
    }
    let events = matches.iter().map(|found| match &found.owner {
        ChannelOwner::Contact { id, .. } => (EventKind::ChannelVerified, Some(*id)),
        ChannelOwner::ContactData => (EventKind::ContactDataVerified, None),
    });
    events.collect()
}
