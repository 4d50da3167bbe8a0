//! Caller verification (rules 21, 30): tells an agent which contacts own a phone number or e-mail
//! address, of one customer or of all. Each disclosure is recorded before it is returned (rule 25).

use std::collections::BTreeMap;

use futures::future::try_join_all;

use super::{caller_check, context::App};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind, MATCH_DETAIL},
        caller::{Channel, ChannelMatch, ChannelOwner, FoundCustomers, MatchKind},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, FindLimit, Result},
    observability::metrics::{self, Limit, SearchResult},
    storage::{ChannelCheck, Disclosure},
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
        let recorded = self.record_disclosures(actor, customer_number, events, channel, call_id);
        // It was erased since the lookup, if it is not on file.
        let is_on_file = recorded.await?;
        is_on_file.then_some(matches).ok_or(Error::CustomerNotFound)
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
        let disclosed = self
            .disclose_found(agent, &by_customer, channel, call_id)
            .await?;
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
        call_id: Option<&str>,
    ) -> Result<Vec<CustomerNumber>> {
        let recorded = found.iter().map(|(number, found)| async move {
            let events = found.iter().map(of_search).collect();
            let recorded = self.record_disclosures(agent, number, events, channel, call_id);
            Ok::<_, Error>(recorded.await?.then(|| number.clone()))
        });
        Ok(try_join_all(recorded)
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Records disclosures of a customer, the matches among them for their phone call, if it is named.
    /// Returns false if the customer is not on file.
    async fn record_disclosures(
        &self,
        actor: &Actor,
        customer_number: &CustomerNumber,
        disclosed: Vec<Disclosed>,
        channel: &Channel,
        call_id: Option<&str>,
    ) -> Result<bool> {
        let inserts = disclosed.into_iter().map(|disclosed| {
            let now = self.now();
            let event = AuditEvent {
                customer_number: Some(customer_number.clone()),
                contact_id: disclosed.contact_id,
                ..AuditEvent::new(self.random.uuid_v7(now)?, now, actor, disclosed.kind)
            };
            let mut event = event.with_changed_fields(&[channel.field()]);
            let mut call_hash = None;
            if let Some(matched) = disclosed.matched {
                event = event.with_detail(MATCH_DETAIL, matched.as_str());
                call_hash = call_id.map(caller_check::call_hash);
            }
            let disclosure = Disclosure { event, call_hash };
            Ok(self.database.insert_disclosure(disclosure))
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

    /// Deletes the rate limit windows of channel checks and searches that have ended, and
    /// returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_channel_checks(&self) -> Result<u64> {
        let now = self.now();
        self.database.delete_channel_checks_before(now).await
    }
}

/// The content of the event of a disclosure.
struct Disclosed {
    kind: EventKind,
    contact_id: Option<ContactId>,
    /// How the channel matched; `None` if it is not on file.
    matched: Option<MatchKind>,
}

/// Records a match by one kind of event for contacts, and another one for the contact data.
const fn of_match(
    found: &ChannelMatch,
    of_contact: EventKind,
    of_contact_data: EventKind,
) -> Disclosed {
    let (kind, contact_id) = match &found.owner {
        ChannelOwner::Contact { id, .. } => (of_contact, Some(*id)),
        ChannelOwner::ContactData => (of_contact_data, None),
    };
    Disclosed {
        kind,
        contact_id,
        matched: Some(found.kind),
    }
}

/// Returns the event that records a match of a search.
const fn of_search(found: &ChannelMatch) -> Disclosed {
    of_match(found, EventKind::ContactFound, EventKind::CustomerFound)
}

/// Returns the events to record: one for each owner, or one that says that there is none.
fn disclosures(matches: &[ChannelMatch]) -> Vec<Disclosed> {
    if matches.is_empty() {
        return vec![Disclosed {
            kind: EventKind::ChannelNotOnFile,
            contact_id: None,
            matched: None,
        }];
    }
    let (of_contact, of_data) = (EventKind::ChannelVerified, EventKind::ContactDataVerified);
    let events = matches
        .iter()
        .map(|found| of_match(found, of_contact, of_data));
    events.collect()
}
