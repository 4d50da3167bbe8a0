//! Reports of other services about deliveries (rule 32).

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use chrono::{SecondsFormat, SubsecRound};
use futures::{StreamExt, TryStreamExt, stream};

use super::context::App;
use crate::{
    domain::{
        audit::{Actor, REPORT_TIME_DETAIL, STATUS_CODE_DETAIL},
        burst_guard::BurstGuard,
        contact::Contact,
        delivery_report::{DeliveryReport, DeliveryStatus, ReportResult, apply_report},
        ids::CustomerNumber,
        recipients::Addressees,
    },
    error::{Error, Result},
    observability::metrics::{self, DeliveryResult},
    storage::{AddressEvents, LockedCustomer, Outcome, Transaction},
};

/// Customers whose addresses are changed at once, so that connections remain for other requests.
const CONCURRENCY: usize = 4;
/// The databases store times of this precision.
const MICROSECONDS: u16 = 6;

/// How reports are applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportMode {
    /// True if an operator has checked that unusually many failures are real.
    pub accepts_burst: bool,
    /// True if nothing is stored or counted.
    pub validate_only: bool,
}

/// A report with its place in the request.
type Placed = (usize, DeliveryReport);

impl App {
    /// Marks addresses as failing, or removes the marks, as reports say, and returns the results in their
    /// order. A repeated report has the same result, and changes nothing.
    ///
    /// # Errors
    /// Database errors. The reports of some customers may have been applied by then: the request can be
    /// repeated.
    pub async fn report_deliveries(
        &self,
        actor: &Actor,
        reports: Vec<DeliveryReport>,
        mode: ReportMode,
    ) -> Result<Vec<ReportResult>> {
        let mut results: Vec<_> = reports
            .iter()
            .map(|report| self.guard(report, mode))
            .collect();
        let open = reports.into_iter().enumerate();
        let open: Vec<_> = open
            .filter(|(place, _)| results.get(*place) == Some(&None))
            .collect();
        for (place, result) in self.apply_reports(actor, open, mode).await? {
            if let Some(slot) = results.get_mut(place) {
                *slot = Some(result);
            }
        }
        let results = results.into_iter().collect::<Option<Vec<_>>>();
        let results = results.ok_or_else(|| Error::internal("a report has no result"))?;
        if !mode.validate_only {
            for result in &results {
                metrics::delivery_report(label(*result));
            }
            metrics::delivery_failure_burst(self.has_burst_of_failures());
        }
        Ok(results)
    }

    /// Counts deliveries that no report says anything about, for the share of failures.
    pub fn count_deliveries(&self, count: u64) {
        let now = self.now();
        self.burst_guard().count_deliveries(count, now);
    }

    /// Returns true if unusually many deliveries fail, so that no address is marked.
    pub fn has_burst_of_failures(&self) -> bool {
        let now = self.now();
        self.burst_guard().is_burst(now)
    }

    fn burst_guard(&self) -> MutexGuard<'_, BurstGuard> {
        self.burst_guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a report, and returns its result if it is known without the customer.
    fn guard(&self, report: &DeliveryReport, mode: ReportMode) -> Option<ReportResult> {
        let now = self.now();
        let is_failure = report.status == DeliveryStatus::FailedPermanently;
        let is_burst = {
            let mut guard = self.burst_guard();
            if !mode.validate_only {
                guard.count(is_failure, now);
            }
            guard.is_burst(now)
        };
        let is_held = is_failure && is_burst && !mode.accepts_burst;
        let held = is_held.then_some(ReportResult::Held);
        report.result_without_customer().or(held)
    }

    async fn apply_reports(
        &self,
        actor: &Actor,
        reports: Vec<Placed>,
        mode: ReportMode,
    ) -> Result<Vec<(usize, ReportResult)>> {
        let mut by_customer: BTreeMap<CustomerNumber, Vec<Placed>> = BTreeMap::new();
        for (place, report) in reports {
            let of_customer = by_customer
                .entry(report.customer_number.clone())
                .or_default();
            of_customer.push((place, report));
        }
        let numbers: Vec<_> = by_customer.keys().cloned().collect();
        let found = self.database.list_current_addressees(&numbers).await?;
        let (mut results, mut changing) = (Vec::new(), Vec::new());
        for ((number, reports), addressees) in by_customer.into_iter().zip(found) {
            match results_without_change(addressees?.as_ref(), &reports) {
                Some(unchanged) => results.extend(unchanged),
                None => changing.push((number, reports)),
            }
        }
        let changed = stream::iter(changing)
            .map(|(number, reports)| self.apply_to_customer(actor, number, reports, mode))
            .buffer_unordered(CONCURRENCY);
        let changed: Vec<_> = changed.try_collect().await?;
        results.extend(changed.into_iter().flatten());
        Ok(results)
    }

    async fn apply_to_customer(
        &self,
        actor: &Actor,
        number: CustomerNumber,
        reports: Vec<Placed>,
        mode: ReportMode,
    ) -> Result<Vec<(usize, ReportResult)>> {
        let (app, actor, locked) = (self.clone(), actor.clone(), number.clone());
        let reports = Arc::new(reports);
        self.database
            .customer_transaction(&locked, move |transaction| {
                let (app, actor, number) = (app.clone(), actor.clone(), number.clone());
                let reports = Arc::clone(&reports);
                Box::pin(async move {
                    let Some(mut locked) = transaction.find_and_lock_customer(&number).await?
                    else {
                        let gone = |(place, _): &Placed| (*place, ReportResult::IgnoredNotCurrent);
                        return Ok(Outcome::Rollback(reports.iter().map(gone).collect()));
                    };
                    let mut contacts = transaction.list_contacts(&number).await?;
                    let mut results = Vec::with_capacity(reports.len());
                    for (place, report) in reports.iter() {
                        let (locked, contacts) = (&mut locked, contacts.as_mut_slice());
                        let result =
                            app.apply_report(transaction, locked, contacts, &actor, report);
                        results.push((*place, result.await?));
                    }
                    if mode.validate_only {
                        return Ok(Outcome::Rollback(results));
                    }
                    Ok(Outcome::Commit(results))
                })
            })
            .await
    }

    async fn apply_report(
        &self,
        transaction: &Transaction,
        locked: &mut LockedCustomer,
        contacts: &mut [Contact],
        actor: &Actor,
        report: &DeliveryReport,
    ) -> Result<ReportResult> {
        let (now, number) = (self.now(), &report.customer_number);
        // The clock of a sender may be ahead.
        let time = report.time.min(now).trunc_subsecs(MICROSECONDS);
        let (customer, email) = (&mut locked.customer, &report.email);
        let (result, mut changes) =
            apply_report(customer, contacts, email, report.status, time, now);
        let mut events = AddressEvents {
            actor,
            details: BTreeMap::new(),
            now,
        };
        if let Some(code) = report.enhanced_status {
            events
                .details
                .insert(STATUS_CODE_DETAIL.to_owned(), code.to_string());
        }
        if report.status == DeliveryStatus::Complaint {
            let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            events.details.insert(REPORT_TIME_DETAIL.to_owned(), time);
            // A complaint leaves no mark by which its repetition is known.
            let mut new = Vec::new();
            for change in changes {
                let (id, kind) = (change.contact_id, change.kind);
                if !transaction
                    .has_event(number, id, kind, &events.details)
                    .await?
                {
                    new.push(change);
                }
            }
            changes = new;
        }
        let new_id = || self.random.uuid_v7(now);
        transaction
            .store_address_changes(locked, contacts, changes, &events, new_id)
            .await?;
        Ok(result)
    }
}

const fn label(result: ReportResult) -> DeliveryResult {
    match result {
        ReportResult::Marked => DeliveryResult::Marked,
        ReportResult::Cleared => DeliveryResult::Cleared,
        ReportResult::Recorded => DeliveryResult::Recorded,
        ReportResult::Unchanged => DeliveryResult::Unchanged,
        ReportResult::IgnoredOutdated => DeliveryResult::IgnoredOutdated,
        ReportResult::IgnoredNotCurrent => DeliveryResult::IgnoredNotCurrent,
        ReportResult::IgnoredNotMailbox => DeliveryResult::IgnoredNotMailbox,
        ReportResult::IgnoredTemporary => DeliveryResult::IgnoredTemporary,
        ReportResult::Held => DeliveryResult::Held,
    }
}

/// Returns the results of reports that change nothing, as nearly all are deliveries to addresses that are
/// not marked: without a lock of the customer. `None`: the customer has to be looked at under its lock.
fn results_without_change(
    addressees: Option<&Addressees>,
    reports: &[Placed],
) -> Option<Vec<(usize, ReportResult)>> {
    let result =
        |(place, report): &Placed| Some((*place, result_without_change(addressees, report)?));
    reports.iter().map(result).collect()
}

fn result_without_change(
    addressees: Option<&Addressees>,
    report: &DeliveryReport,
) -> Option<ReportResult> {
    let Some(addressees) = addressees else {
        return Some(ReportResult::IgnoredNotCurrent);
    };
    if report.status != DeliveryStatus::Delivered {
        return None;
    }
    let data = addressees.contact_data_email.as_ref();
    let data = data.map(|email| (email, addressees.contact_data_bounced));
    let contacts = addressees.contacts.iter();
    let contacts =
        contacts.filter_map(|contact| Some((contact.email.as_ref()?, contact.email_bounced)));
    let same = contacts
        .chain(data)
        .filter(|(email, _)| email.is_same_as(&report.email));
    let marks: Vec<_> = same.map(|(_, is_marked)| is_marked).collect();
    match marks.as_slice() {
        [] => Some(ReportResult::IgnoredNotCurrent),
        marks if marks.contains(&true) => None,
        _ => Some(ReportResult::Unchanged),
    }
}
