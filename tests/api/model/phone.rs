//! Phone passwords and phone orders in the model (rules 13 to 20).

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use contact_service::api::proto::{
    self, OrderDecision, OrderDenial, PhonePasswordVerdict, set_phone_password_request::Source,
};

use super::{
    contacts::Contact,
    emails::MailKind,
    fields::PASSWORDS,
    reference_model::{ModelResult, ReferenceModel, Rejection, reject, reject_fields},
    requests::Response,
    values::{is_valid_password, is_valid_password_for, normalize},
};
use crate::requests::timestamp;

const ATTEMPTS_PER_CALL: usize = 3;
const CALL_RETENTION: TimeDelta = TimeDelta::hours(24);
const FREE_FAILURES: u32 = 4;
const FAILURES_PER_DAY: usize = 10;
const DAY: TimeDelta = TimeDelta::hours(24);
const REVOKING_FAILURES: u32 = 50;
const AGENT_FAILURES: usize = 20;
const HOUR: TimeDelta = TimeDelta::hours(1);
const GRANT_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// The attempts on a contact id, which may be unknown.
#[derive(Clone, Debug, Default)]
struct ContactAttempts {
    /// The password, and the time at which it was set.
    password: Option<(String, DateTime<Utc>)>,
    /// Since the last match.
    failures: u32,
    locked_until: Option<DateTime<Utc>>,
    /// All failed attempts.
    failed_at: Vec<DateTime<Utc>>,
    is_revoked: bool,
    notified_at: Option<DateTime<Utc>>,
}

impl ContactAttempts {
    /// The end of the lock, during which no attempt is checked.
    fn locked_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let day_is_full = nth_last(&self.failed_at, FAILURES_PER_DAY).map(|time| time + DAY);
        let until = self.locked_until.max(day_is_full);
        until.filter(|until| now < *until)
    }

    /// Rule 16: counts a failure. Returns true if a lock begins that the contact is notified of.
    fn fail(&mut self, now: DateTime<Utc>) -> bool {
        self.failures += 1;
        self.failed_at.push(now);
        if let Some(doublings) = self.failures.checked_sub(FREE_FAILURES + 1) {
            let lock = TimeDelta::minutes(1 << doublings.min(6));
            self.locked_until = Some(now + lock.min(HOUR));
        }
        self.is_revoked = self.failures >= REVOKING_FAILURES;
        let was_notified = self
            .notified_at
            .is_some_and(|notified| now < notified + DAY);
        self.is_revoked || (self.locked_at(now).is_some() && !was_notified)
    }
}

/// All attempts so far.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// By customer and contact.
    records: BTreeMap<(String, String), ContactAttempts>,
    /// Count and time of the last attempt by customer and phone call.
    calls: BTreeMap<(String, String), (usize, DateTime<Utc>)>,
    /// The failures.
    agents: BTreeMap<String, Vec<DateTime<Utc>>>,
}

impl Attempts {
    fn record(&mut self, number: &str, id: &str) -> &mut ContactAttempts {
        let key = (number.to_owned(), id.to_owned());
        self.records.entry(key).or_default()
    }

    pub fn set(&mut self, number: &str, id: &str, password: &str, now: DateTime<Utc>) {
        *self.record(number, id) = ContactAttempts {
            password: Some((normalize(password), now)),
            ..ContactAttempts::default()
        };
    }

    pub fn has_password(&mut self, number: &str, id: &str) -> bool {
        self.record(number, id).password.is_some()
    }

    /// The phone password as responses show it; attempts without a password are not shown.
    pub fn shown(&self, number: &str, id: &str, now: DateTime<Utc>) -> proto::PhonePassword {
        let record = self.records.get(&(number.to_owned(), id.to_owned()));
        let set = record.and_then(|record| Some((record, record.password.as_ref()?.1)));
        let Some((record, set_time)) = set else {
            return proto::PhonePassword::default();
        };
        proto::PhonePassword {
            configured: true,
            set_time: timestamp(set_time),
            locked_until_time: record.locked_at(now).and_then(timestamp),
            revoked: record.is_revoked,
        }
    }

    /// The password as the contact says it; `None`: none is set.
    pub fn spoken(&self, number: &str, id: &str) -> Option<String> {
        let record = self.records.get(&(number.to_owned(), id.to_owned()))?;
        let (normalized, _) = record.password.as_ref()?;
        let known = PASSWORDS
            .iter()
            .find(|(set, _)| normalize(set) == *normalized);
        Some(match (known, normalized.strip_prefix("generated")) {
            (Some((_, spoken)), _) => (*spoken).to_owned(),
            (None, Some(made)) => format!("generated {made}"),
            (None, None) => normalized.clone(),
        })
    }

    pub fn delete_contact(&mut self, number: &str, id: &str) {
        self.records.remove(&(number.to_owned(), id.to_owned()));
    }

    pub fn delete_customer(&mut self, number: &str) {
        self.records.retain(|(of, _), _| of != number);
        self.calls.retain(|(of, _), _| of != number);
    }

    /// Deletes phone calls whose last attempt is a day old, as the service's background job does.
    pub fn sweep(&mut self, now: DateTime<Utc>) {
        self.calls
            .retain(|_, (_, last)| now < *last + CALL_RETENTION);
    }
}

/// An issued grant.
#[derive(Clone, Debug)]
pub struct Grant {
    pub number: String,
    pub contact: String,
    pub agent: String,
    pub call: String,
    password_set: DateTime<Utc>,
    expire_time: DateTime<Utc>,
}

impl ReferenceModel {
    pub fn set_phone_password(
        &mut self,
        by: &str,
        r: &proto::SetPhonePasswordRequest,
    ) -> ModelResult {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let wrong = || reject_fields(vec!["phone_password".into()]);
        let (password, generated) = match &r.source {
            Some(Source::PhonePassword(text)) => (text.clone(), String::new()),
            Some(Source::Generate(true)) => {
                let label = format!("generated {}", self.passwords_made);
                self.passwords_made += 1;
                (label.clone(), label)
            }
            Some(Source::Generate(false)) | None => panic!("no command makes such a request"),
        };
        if !is_valid_password(&password) {
            return wrong();
        }
        let before = self.begin(number, id, "")?;
        if !is_valid_password_for(&password, number, &before.name) {
            return wrong();
        }
        self.attempts.set(number, id, &password, self.now);
        let (kind, fields) = ("EVENT_KIND_CONTACT_PHONE_PASSWORD_SET", ["phone_password"]);
        let shown = self.finish(by, kind, &before, before.clone(), &fields)?;
        Ok(Response::PasswordSet(proto::SetPhonePasswordResponse {
            contact: Some(shown),
            generated_phone_password: generated,
        }))
    }

    pub fn clear_phone_password(
        &mut self,
        by: &str,
        r: &proto::ClearPhonePasswordRequest,
    ) -> ModelResult {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let before = self.begin(number, id, "")?;
        let was_set = self.attempts.record(number, id).password.is_some();
        let fields: &[&str] = if was_set { &["phone_password"] } else { &[] };
        if was_set {
            self.attempts.delete_contact(number, id);
        }
        let kind = "EVENT_KIND_CONTACT_PHONE_PASSWORD_CLEARED";
        let shown = self.finish(by, kind, &before, before.clone(), fields)?;
        Ok(Response::Contact(shown))
    }

    /// Rule 16: a supervisor lifts a lock. A revoked password stays revoked.
    pub fn unlock_phone_password(
        &mut self,
        by: &str,
        r: &proto::UnlockPhonePasswordRequest,
    ) -> ModelResult {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let before = self.begin(number, id, "")?;
        let record = self.attempts.record(number, id);
        *record = ContactAttempts {
            password: record.password.clone(),
            is_revoked: record.is_revoked,
            ..ContactAttempts::default()
        };
        let (kind, fields) = (
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_UNLOCKED",
            ["phone_password"],
        );
        let shown = self.finish(by, kind, &before, before.clone(), &fields)?;
        Ok(Response::Contact(shown))
    }

    /// Rules 16 to 18.
    pub fn check_phone_password(
        &mut self,
        by: &str,
        r: &proto::CheckPhonePasswordRequest,
    ) -> ModelResult {
        let (number, id, now) = (&r.customer_number, &r.contact_id, self.now);
        let blocked_since = self
            .attempts
            .agents
            .get(by)
            .and_then(|failures| nth_last(failures, AGENT_FAILURES));
        if let Some(until) = blocked_since.map(|t| t + HOUR).filter(|until| now < *until) {
            return Err(Rejection {
                reason: "AGENT_BLOCKED",
                fields: Vec::new(),
                retry: Some(until - now),
            });
        }
        let call = (r.customer_number.clone(), r.call_id.clone());
        let in_call = self.attempts.calls.get(&call).map_or(0, |call| call.0);
        if in_call >= ATTEMPTS_PER_CALL {
            return reject("PHONE_CALL_ATTEMPT_LIMIT");
        }
        let record = self.attempts.record(number, id);
        let mut response = proto::CheckPhonePasswordResponse::default();
        let lock = record.locked_at(now);
        if record.is_revoked || lock.is_some() {
            response.set_verdict(PhonePasswordVerdict::Locked);
            response.retry_time = lock.filter(|_| !record.is_revoked).and_then(timestamp);
            self.record_check(by, "refused", number, id);
            return Ok(Response::Checked(Box::new(response)));
        }
        let right = record.password.clone();
        let right = right.filter(|(password, _)| *password == normalize(&r.phone_password));
        self.attempts.calls.insert(call, (in_call + 1, now));
        if let Some((_, password_set)) = right {
            let record = self.attempts.record(number, id);
            (record.failures, record.locked_until) = (0, None);
            self.issue_grant(by, r, password_set, &mut response);
            self.record_check(by, "matched", number, id);
        } else {
            response.set_verdict(PhonePasswordVerdict::NoMatch);
            let failures = self.attempts.agents.entry(by.to_owned()).or_default();
            failures.push(now);
            let tells = self.attempts.record(number, id).fail(now);
            self.record_check(by, "failed", number, id);
            if tells {
                self.notify_of_lock(number, id);
            }
        }
        Ok(Response::Checked(Box::new(response)))
    }

    /// Rule 18.
    fn issue_grant(
        &mut self,
        by: &str,
        r: &proto::CheckPhonePasswordRequest,
        password_set: DateTime<Utc>,
        response: &mut proto::CheckPhonePasswordResponse,
    ) {
        let (number, id) = (&r.customer_number, &r.contact_id);
        // A grant has whole seconds.
        let expire_time = (self.now + GRANT_LIFETIME).trunc_subsecs(0);
        let contact = self
            .contact(number, id)
            .expect("unknown contact with a password");
        response.set_verdict(PhonePasswordVerdict::Match);
        response.caller = Some(proto::Caller {
            contact_id: id.clone(),
            display_name: contact.name.clone(),
            types: contact.types.iter().copied().collect(),
            locale: contact.locale.clone(),
            restrictions: Some(restrictions_of(contact)),
        });
        let offered = self.order_types.values().filter(|of| !of.retired);
        response.order_options = offered.map(|of| option(of, contact)).collect();
        response.grant = format!("grant {}", self.grants.len());
        response.grant_expire_time = timestamp(expire_time);
        self.grants.push(Grant {
            number: number.clone(),
            contact: id.clone(),
            agent: by.to_owned(),
            call: r.call_id.clone(),
            password_set,
            expire_time,
        });
    }

    pub fn record_check(&mut self, by: &str, label: &str, number: &str, id: &str) {
        if self.customers.contains_key(number) {
            let kind = format!("EVENT_KIND_CONTACT_PHONE_PASSWORD_{}", label.to_uppercase());
            self.record(by, &kind, number, id, &[]);
        }
    }

    /// Rule 16: notifies the contact if it has a password and an address.
    fn notify_of_lock(&mut self, number: &str, id: &str) {
        let now = self.now;
        let Ok(contact) = self.contact(number, id).cloned() else {
            return;
        };
        let record = self.attempts.record(number, id);
        if record.password.is_some() && !contact.email.is_empty() {
            record.notified_at = Some(now);
            self.queue(MailKind::Locked, &contact, &contact.email, None);
        }
    }

    /// Rule 19.
    pub fn authorize(&mut self, by: &str, r: &proto::AuthorizePhoneOrderRequest) -> ModelResult {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let place = r.grant.strip_prefix("grant ").and_then(|p| p.parse().ok());
        let grant: Option<&Grant> = place.and_then(|place: usize| self.grants.get(place));
        let grant = grant.filter(|grant| {
            grant.number == *number
                && grant.contact == *id
                && grant.agent == by
                && grant.call == r.call_id
                && self.now < grant.expire_time
        });
        let Some(grant) = grant.cloned() else {
            return reject("GRANT_INVALID");
        };
        let contact = self.contact(number, id)?.clone();
        let password = self.attempts.record(number, id).password.clone();
        if password.map(|(_, set)| set) != Some(grant.password_set) {
            return reject("GRANT_INVALID");
        }
        let Some(order_type) = self.order_types.get(&r.order_type) else {
            return reject("ORDER_TYPE_NOT_FOUND");
        };
        let order_type = order_type.clone();
        let (decision, denial) = decide(&order_type, &contact, r.customer_administers_product);
        let note = if decision == OrderDecision::AgentDecision {
            contact.note.clone()
        } else {
            String::new()
        };
        self.record(
            by,
            "EVENT_KIND_CONTACT_PHONE_ORDER_DECIDED",
            number,
            id,
            &[],
        );
        let mut order = proto::PhoneOrder {
            customer_number: number.clone(),
            contact_id: id.clone(),
            agent: by.to_owned(),
            call_id: r.call_id.clone(),
            order_type: r.order_type.clone(),
            customer_administers_product: r.customer_administers_product,
            judged_by: Some(proto::OrderBasis {
                restrictions: Some(restrictions_of(&contact)),
                system_management: order_type.system_management,
                offered_by_phone: order_type.offered_by_phone,
                requires_verified_channel: order_type.requires_verified_channel,
                retired: order_type.retired,
            }),
            channel: Some(proto::OrderChannel {
                verified: proto::VerifiedChannel::NotVerified.into(),
                ..proto::OrderChannel::default()
            }),
            create_time: timestamp(self.now),
            ..proto::PhoneOrder::default()
        };
        order.set_decision(decision);
        order.set_denial(denial);
        order.set_authentication(proto::AuthenticationMethod::PhonePassword);
        Ok(Response::Decided(proto::AuthorizePhoneOrderResponse {
            order: Some(order),
            restrictions_note: note,
        }))
    }
}

fn restrictions_of(contact: &Contact) -> proto::Restrictions {
    proto::Restrictions {
        note: contact.note.clone(),
        allowed_order_types: contact.allowed.clone(),
        denied_order_types: contact.denied.clone(),
    }
}

/// Rule 19, without a verified channel.
fn decide(
    order_type: &proto::OrderType,
    contact: &Contact,
    administers: bool,
) -> (OrderDecision, OrderDenial) {
    let is_left_out = !contact.allowed.is_empty() && !contact.allowed.contains(&order_type.code);
    let denial = if !order_type.offered_by_phone || order_type.retired {
        OrderDenial::ExcludedByProvider
    } else if order_type.system_management && administers {
        OrderDenial::PortalRequired
    } else if is_left_out || contact.denied.contains(&order_type.code) {
        OrderDenial::Restricted
    } else if order_type.requires_verified_channel {
        OrderDenial::ChannelNotVerified
    } else if contact.note.is_empty() {
        return (OrderDecision::Allowed, OrderDenial::Unspecified);
    } else {
        return (OrderDecision::AgentDecision, OrderDenial::Unspecified);
    };
    (OrderDecision::Denied, denial)
}

/// Rule 27.
fn option(order_type: &proto::OrderType, contact: &Contact) -> proto::OrderOption {
    let [of_provider, of_customer] =
        [false, true].map(|administers| decide(order_type, contact, administers));
    proto::OrderOption {
        order_type: order_type.code.clone(),
        decision: of_provider.0.into(),
        denial: of_provider.1.into(),
        customer_administered_decision: of_customer.0.into(),
        customer_administered_denial: of_customer.1.into(),
    }
}

fn nth_last(times: &[DateTime<Utc>], n: usize) -> Option<DateTime<Utc>> {
    times.iter().rev().nth(n - 1).copied()
}
