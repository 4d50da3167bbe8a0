//! Caller verification (rule 21): is a channel on file, and whose is it? Whatever is told of
//! it is recorded first (rule 25).

use futures::future::try_join_all;

use crate::{
    app::{App, names},
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        caller::{Channel, ChannelMatch, ChannelOwner},
        contact::ContactId,
        customer::CustomerNumber,
    },
    error::{Error, FindLimit, Result},
    observability::metrics::{self, Limit},
    storage::ChannelCheck,
};

impl App {
    /// The owners of the channel, exact matches first; empty: it is withheld or not on file for
    /// this customer. Pending addresses are not on file.
    ///
    /// # Errors
    /// [`Error::FindLimit`], [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn verify_contact_channel(
        &self,
        actor: &Actor,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Vec<ChannelMatch>> {
        self.count_check(actor, number).await?;
        let matches = match channel {
            // Nothing is looked up. That the customer exists is found when the check is recorded.
            Channel::Withheld => Vec::new(),
            Channel::PhoneNumbers(_) | Channel::Email(_) => {
                let matches = self.database.find_channel(number, channel).await?;
                matches.ok_or(Error::CustomerNotFound)?
            }
        };
        let disclosures = disclosed(&matches).into_iter().map(|(kind, contact_id)| {
            let now = self.now();
            // Its rank is that of the customer's last change, which only the database knows.
            let event = AuditEvent {
                customer_number: Some(number.clone()),
                contact_id,
                changed_fields: names(&[channel.field()]),
                ..AuditEvent::new(self.random.uuid_v7(now)?, now, actor, kind)
            };
            Ok(self.database.insert_disclosure(event))
        });
        let disclosures: Vec<_> = disclosures.collect::<Result<_>>()?;
        let written = try_join_all(disclosures).await?;
        if written.contains(&false) {
            // Erased meanwhile.
            return Err(Error::CustomerNotFound);
        }
        Ok(matches)
    }

    /// Counts a check against the limits of its agent and its customer, before anything is looked up.
    async fn count_check(&self, agent: &Actor, number: &CustomerNumber) -> Result<()> {
        let Some(per_minute) = self.channel_checks_per_minute else {
            return Ok(());
        };
        let check = ChannelCheck {
            agent: agent.clone(),
            customer_number: number.clone(),
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

    /// Deletes the windows of channel checks that have ended, and returns their number.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_old_channel_checks(&self) -> Result<u64> {
        let now = self.now();
        self.database.delete_channel_checks_before(now).await
    }
}

/// What is told: of each contact whose channel it is, and of the customer.
fn disclosed(matches: &[ChannelMatch]) -> Vec<(EventKind, Option<ContactId>)> {
    if matches.is_empty() {
        return vec![(EventKind::ChannelNotOnFile, None)];
    }
    let events = matches.iter().map(|found| match &found.owner {
        ChannelOwner::Contact { id, .. } => (EventKind::ChannelVerified, Some(*id)),
        ChannelOwner::ContactData => (EventKind::ContactDataVerified, None),
    });
    events.collect()
}
