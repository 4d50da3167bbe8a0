//! Caller verification (rules 21, 30): tells an agent which contacts own a phone number or e-mail
//! address, of one customer or of all. Each disclosure is recorded before it is returned (rule 25).

use std::collections::BTreeMap;

use futures::future::try_join_all;

use super::{caller_check::call_hash, context::App};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        caller::{Channel, ChannelMatch, ChannelOwner, FoundCustomers},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, FindLimit, Result},
    observability::metrics::{self, Limit, SearchResult},
    storage::ChannelCheck,
};

impl App {
    /// Returns the owners of the channel, exact matches first. Empty if the channel is withheld or
    /// not on file for this customer; pending addresses are not on file. The matches are remembered for
    /// the phone call.
    ///
    /// # Errors
    /// [`Error::FindLimit`], [`Error::CustomerNotFound`].
    pub async fn verify_contact_channel(
        &self,
        actor: &Actor,
        customer_number: &CustomerNumber,
        channel: &Channel,
        call_id: Option<&str>,
    ) -> Result<Vec<ChannelMatch>> {
        self.count(actor, Some(customer_number)).await?;
        let matches = match channel {
            // No lookup is needed. Recording the check finds out whether the customer exists.
            Channel::Withheld => Vec::new(),
            Channel::PhoneNumbers(_) | Channel::Email(_) => {
                let matches = self.database.find_channel(customer_number, channel).await?;
                matches.ok_or(Error::CustomerNotFound)?
            }
        };
        let events = disclosures(&matches);
        let is_on_file = self.record_disclosures(actor, customer_number, &events, channel);
        if !is_on_file.await? || !self.remember(customer_number, &matches, call_id).await? {
            // The customer was erased since the lookup.
            return Err(Error::CustomerNotFound);
        }
        Ok(matches)
    }

    /// Finds the customers that a channel is on file for. The matches are remembered for the phone call.
    ///
    /// # Errors
    /// [`Error::FindLimit`].
    pub async fn find_customers(
        &self,
        agent: &Actor,
        channel: &Channel,
        call_id: Option<&str>,
    ) -> Result<FoundCustomers> {
        if matches!(channel, Channel::Withheld) {
            metrics::customer_search(SearchResult::Withheld);
            return Ok(FoundCustomers::default());
        }
        // A rejected search discloses nothing, as its result is dropped.
        let found = self.database.search_channel(channel);
        let (found, ()) = tokio::try_join!(found, self.count(agent, None))?;
        if found.matches.is_empty() {
            metrics::customer_search(SearchResult::NotFound);
            self.record_search_without_match(agent, channel).await?;
            return Ok(found);
        }
        metrics::customer_search(SearchResult::Found);
        let FoundCustomers {
            matches,
            is_truncated,
        } = found;
        let mut by_customer: BTreeMap<CustomerNumber, Vec<ChannelMatch>> = BTreeMap::new();
        for (number, found) in &matches {
            let of_customer = by_customer.entry(number.clone()).or_default();
            of_customer.push(found.clone());
        }
        let mut disclosed = self.disclose_found(agent, &by_customer, channel).await?;
        // One after another: a search must not take the connections of others.
        for (number, found) in &by_customer {
            if disclosed.contains(number) && !self.remember(number, found, call_id).await? {
                disclosed.retain(|other| other != number);
            }
        }
        // The others were erased since the search.
        let on_file = |(number, _): &(CustomerNumber, _)| disclosed.contains(number);
        Ok(FoundCustomers {
            matches: matches.into_iter().filter(on_file).collect(),
            is_truncated,
        })
    }

    /// Records the matches of a search in the audit logs of their customers, and returns those that are
    /// on file.
    async fn disclose_found(
        &self,
        agent: &Actor,
        found: &BTreeMap<CustomerNumber, Vec<ChannelMatch>>,
        channel: &Channel,
    ) -> Result<Vec<CustomerNumber>> {
        let recorded = found.iter().map(|(number, found)| async move {
            let events: Vec<_> = found.iter().map(of_search).collect();
            let is_on_file = self.record_disclosures(agent, number, &events, channel);
            Ok::<_, Error>(is_on_file.await?.then(|| number.clone()))
        });
        Ok(try_join_all(recorded)
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Records disclosures of a customer. Returns false if the customer is not on file.
    async fn record_disclosures(
        &self,
        actor: &Actor,
        customer_number: &CustomerNumber,
        events: &[(EventKind, Option<ContactId>)],
        channel: &Channel,
    ) -> Result<bool> {
        let inserts = events.iter().map(|(kind, contact_id)| {
            let now = self.now();
            // The database assigns the sequence number of the customer's last change.
            let event = AuditEvent {
                customer_number: Some(customer_number.clone()),
                contact_id: *contact_id,
                ..AuditEvent::new(self.random.uuid_v7(now)?, now, actor, *kind)
            };
            let event = event.with_changed_fields(&[channel.field()]);
            Ok(self.database.insert_disclosure(event))
        });
        let inserts: Vec<_> = inserts.collect::<Result<_>>()?;
        let inserted = try_join_all(inserts).await?;
        Ok(!inserted.contains(&false))
    }

    async fn record_search_without_match(&self, agent: &Actor, channel: &Channel) -> Result<()> {
        let (now, kind) = (self.now(), EventKind::CustomerNotFound);
        let event = AuditEvent::new(self.random.uuid_v7(now)?, now, agent, kind);
        let event = event.with_changed_fields(&[channel.field()]);
        self.database.insert_disclosure_of_no_customer(&event).await
    }

    /// Remembers matches for their phone call, if it is named. Returns false if the customer is not on
    /// file.
    async fn remember(
        &self,
        customer_number: &CustomerNumber,
        matches: &[ChannelMatch],
        call_id: Option<&str>,
    ) -> Result<bool> {
        let Some(call_id) = call_id.filter(|_| !matches.is_empty()) else {
            return Ok(true);
        };
        let (call, now) = (call_hash(call_id), self.now());
        let database = &self.database;
        database
            .remember_channels(customer_number, &call, matches, now)
            .await
    }

    /// Counts a check against the limits of its agent and its customer, or a search against that of its
    /// agent. Runs before the lookup of a check, so that a rejected one discloses nothing.
    async fn count(&self, agent: &Actor, customer_number: Option<&CustomerNumber>) -> Result<()> {
        let Some(per_minute) = self.channel_checks_per_minute else {
            return Ok(());
        };
        let check = ChannelCheck {
            agent: agent.clone(),
            customer_number: customer_number.cloned(),
            per_minute: per_minute.get(),
            now: self.now(),
        };
        let counted = self.database.count_channel_check(check).await;
        if let Err(Error::FindLimit { limit, .. }) = counted {
            metrics::limit_hit(match limit {
                FindLimit::Agent => Limit::ChannelChecksPerAgent,
                FindLimit::Customer => Limit::ChannelChecksPerCustomer,
                FindLimit::Search => Limit::CustomerSearchesPerAgent,
            });
        }
        counted
    }

    /// Deletes the rate limit windows of channel checks and searches that have ended, and the channels
    /// whose verification has, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_channel_checks(&self) -> Result<u64> {
        let now = self.now();
        self.database.delete_channel_checks_before(now).await
    }
}

/// Returns the event that records a match of a search.
const fn of_search(found: &ChannelMatch) -> (EventKind, Option<ContactId>) {
    match &found.owner {
        ChannelOwner::Contact { id, .. } => (EventKind::ContactFound, Some(*id)),
        ChannelOwner::ContactData => (EventKind::CustomerFound, None),
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
