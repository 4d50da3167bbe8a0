//! Phone passwords and phone orders in the model (rules 13 to 20).

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use contact_service::api::proto::{
    self, OrderDecision, OrderDenial, PhonePasswordVerdict, set_phone_password_request::Source,
};

use super::{
    book::{Book, Outcome, Refusal, refuse, refuse_fields},
    emails::MailKind,
    fields::PASSWORDS,
    requests::Answer,
    values::{fold, is_password, is_password_of},
};
use crate::requests::timestamp;

const TRIES_A_CALL: usize = 3;
const CALL_MEMORY: TimeDelta = TimeDelta::hours(24);
const FREE_FAILURES: u32 = 4;
const FAILURES_A_DAY: usize = 10;
const DAY: TimeDelta = TimeDelta::hours(24);
const VOIDING_FAILURES: u32 = 50;
const AGENT_FAILURES: usize = 20;
const HOUR: TimeDelta = TimeDelta::hours(1);
const GRANT_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// What was tried on one contact id, be it anybody's or not.
#[derive(Clone, Debug, Default)]
struct Record {
    /// What is set, and since when.
    password: Option<(String, DateTime<Utc>)>,
    /// Since the last match.
    failures: u32,
    locked_until: Option<DateTime<Utc>>,
    /// All failed tries.
    failed_at: Vec<DateTime<Utc>>,
    is_void: bool,
    told_at: Option<DateTime<Utc>>,
}

impl Record {
    /// Until when no try is checked.
    fn locked_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let day_is_full = nth_last(&self.failed_at, FAILURES_A_DAY).map(|time| time + DAY);
        let until = self.locked_until.max(day_is_full);
        until.filter(|until| now < *until)
    }

    /// Rule 16: one more failure. Gives whether a lock began of which the contact is told.
    fn fail(&mut self, now: DateTime<Utc>) -> bool {
        self.failures += 1;
        self.failed_at.push(now);
        if let Some(doublings) = self.failures.checked_sub(FREE_FAILURES + 1) {
            let lock = TimeDelta::minutes(1 << doublings.min(6));
            self.locked_until = Some(now + lock.min(HOUR));
        }
        self.is_void = self.failures >= VOIDING_FAILURES;
        let was_told = self.told_at.is_some_and(|told| now < told + DAY);
        self.is_void || (self.locked_at(now).is_some() && !was_told)
    }
}

/// What was tried until now.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// By customer and contact.
    records: BTreeMap<(String, String), Record>,
    /// How often, and when the last time.
    /// By customer and phone call.
    calls: BTreeMap<(String, String), (usize, DateTime<Utc>)>,
    /// The failures.
    agents: BTreeMap<String, Vec<DateTime<Utc>>>,
}

impl Tries {
    fn record(&mut self, number: &str, id: &str) -> &mut Record {
        let key = (number.to_owned(), id.to_owned());
        self.records.entry(key).or_default()
    }

    pub fn set(&mut self, number: &str, id: &str, password: &str, now: DateTime<Utc>) {
        *self.record(number, id) = Record {
            password: Some((fold(password), now)),
            ..Record::default()
        };
    }

    /// As it is shown; what was tried where no password is set concerns nobody.
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
            revoked: record.is_void,
        }
    }

    /// The password as somebody says it who knows it; `None`: none is set.
    pub fn spoken(&self, number: &str, id: &str) -> Option<String> {
        let record = self.records.get(&(number.to_owned(), id.to_owned()))?;
        let (folded, _) = record.password.as_ref()?;
        let known = PASSWORDS.iter().find(|(set, _)| fold(set) == *folded);
        Some(match (known, folded.strip_prefix("generated")) {
            (Some((_, spoken)), _) => (*spoken).to_owned(),
            (None, Some(made)) => format!("generated {made}"),
            (None, None) => folded.clone(),
        })
    }

    pub fn forget_contact(&mut self, number: &str, id: &str) {
        self.records.remove(&(number.to_owned(), id.to_owned()));
    }

    pub fn forget_customer(&mut self, number: &str) {
        self.records.retain(|(of, _), _| of != number);
        self.calls.retain(|(of, _), _| of != number);
    }

    /// What the service's sweep forgets: calls of which the last try is a day old.
    pub fn sweep(&mut self, now: DateTime<Utc>) {
        self.calls.retain(|_, (_, last)| now < *last + CALL_MEMORY);
    }
}

/// A proof that was given.
#[derive(Clone, Debug)]
pub struct Grant {
    pub number: String,
    pub contact: String,
    pub agent: String,
    pub call: String,
    password_set: DateTime<Utc>,
    expire_time: DateTime<Utc>,
}

impl Book {
    pub fn set_phone_password(&mut self, by: &str, r: &proto::SetPhonePasswordRequest) -> Outcome {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let wrong = || refuse_fields(vec!["phone_password".into()]);
        let (password, generated) = match &r.source {
            Some(Source::PhonePassword(text)) => (text.clone(), String::new()),
            Some(Source::Generate(true)) => {
                let label = format!("generated {}", self.passwords_made);
                self.passwords_made += 1;
                (label.clone(), label)
            }
            Some(Source::Generate(false)) | None => panic!("no such request is made"),
        };
        if !is_password(&password) {
            return wrong();
        }
        let before = self.begin(number, id, "")?;
        if !is_password_of(&password, number, &before.name) {
            return wrong();
        }
        self.tries.set(number, id, &password, self.now);
        let (kind, fields) = ("contact.phone_password_set", ["phone_password"]);
        let shown = self.finish(by, kind, &before, before.clone(), &fields)?;
        Ok(Answer::PasswordSet(proto::SetPhonePasswordResponse {
            contact: Some(shown),
            generated_phone_password: generated,
        }))
    }

    pub fn clear_phone_password(
        &mut self,
        by: &str,
        r: &proto::ClearPhonePasswordRequest,
    ) -> Outcome {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let before = self.begin(number, id, "")?;
        let was_set = self.tries.record(number, id).password.is_some();
        let fields: &[&str] = if was_set { &["phone_password"] } else { &[] };
        if was_set {
            self.tries.forget_contact(number, id);
        }
        let kind = "contact.phone_password_cleared";
        let shown = self.finish(by, kind, &before, before.clone(), fields)?;
        Ok(Answer::Contact(shown))
    }

    /// Rule 16: a supervisor lifts a lock. What is void stays so.
    pub fn unlock_phone_password(
        &mut self,
        by: &str,
        r: &proto::UnlockPhonePasswordRequest,
    ) -> Outcome {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let before = self.begin(number, id, "")?;
        let record = self.tries.record(number, id);
        *record = Record {
            password: record.password.clone(),
            is_void: record.is_void,
            ..Record::default()
        };
        let (kind, fields) = ("contact.phone_password_unlocked", ["phone_password"]);
        let shown = self.finish(by, kind, &before, before.clone(), &fields)?;
        Ok(Answer::Contact(shown))
    }

    /// Rules 16 to 18.
    pub fn check_phone_password(
        &mut self,
        by: &str,
        r: &proto::CheckPhonePasswordRequest,
    ) -> Outcome {
        let (number, id, now) = (&r.customer_number, &r.contact_id, self.now);
        let blocked_since = self
            .tries
            .agents
            .get(by)
            .and_then(|failures| nth_last(failures, AGENT_FAILURES));
        if let Some(until) = blocked_since.map(|t| t + HOUR).filter(|until| now < *until) {
            return Err(Refusal {
                reason: "AGENT_BLOCKED",
                fields: Vec::new(),
                retry: Some(until - now),
            });
        }
        let call = (r.customer_number.clone(), r.call_id.clone());
        let in_call = self.tries.calls.get(&call).map_or(0, |call| call.0);
        if in_call >= TRIES_A_CALL {
            return refuse("PHONE_CALL_ATTEMPT_LIMIT");
        }
        let record = self.tries.record(number, id);
        let mut answer = proto::CheckPhonePasswordResponse::default();
        let lock = record.locked_at(now);
        if record.is_void || lock.is_some() {
            answer.set_verdict(PhonePasswordVerdict::Locked);
            answer.retry_time = lock.filter(|_| !record.is_void).and_then(timestamp);
            self.record_check(by, "refused", number, id);
            return Ok(Answer::Checked(Box::new(answer)));
        }
        let right = record.password.clone();
        let right = right.filter(|(password, _)| *password == fold(&r.phone_password));
        self.tries.calls.insert(call, (in_call + 1, now));
        if let Some((_, password_set)) = right {
            let record = self.tries.record(number, id);
            (record.failures, record.locked_until) = (0, None);
            self.give_grant(by, r, password_set, &mut answer);
            self.record_check(by, "matched", number, id);
        } else {
            answer.set_verdict(PhonePasswordVerdict::NoMatch);
            let failures = self.tries.agents.entry(by.to_owned()).or_default();
            failures.push(now);
            let tells = self.tries.record(number, id).fail(now);
            self.record_check(by, "failed", number, id);
            if tells {
                self.tell_of_lock(number, id);
            }
        }
        Ok(Answer::Checked(Box::new(answer)))
    }

    /// Rule 18.
    fn give_grant(
        &mut self,
        by: &str,
        r: &proto::CheckPhonePasswordRequest,
        password_set: DateTime<Utc>,
        answer: &mut proto::CheckPhonePasswordResponse,
    ) {
        let (number, id) = (&r.customer_number, &r.contact_id);
        // A grant has whole seconds.
        let expire_time = (self.now + GRANT_LIFETIME).trunc_subsecs(0);
        let contact = self.contact(number, id).expect("a password of nobody");
        answer.set_verdict(PhonePasswordVerdict::Match);
        answer.contact = Some(self.shown(contact));
        answer.grant = format!("grant {}", self.grants.len());
        answer.grant_expire_time = timestamp(expire_time);
        self.grants.push(Grant {
            number: number.clone(),
            contact: id.clone(),
            agent: by.to_owned(),
            call: r.call_id.clone(),
            password_set,
            expire_time,
        });
    }

    pub fn record_check(&mut self, by: &str, what: &str, number: &str, id: &str) {
        if self.customers.contains_key(number) {
            let kind = format!("contact.phone_password_{what}");
            self.record(by, &kind, number, id, &[]);
        }
    }

    /// Rule 16: the contact is told, if there is one with a password and an address.
    fn tell_of_lock(&mut self, number: &str, id: &str) {
        let now = self.now;
        let Ok(contact) = self.contact(number, id).cloned() else {
            return;
        };
        let record = self.tries.record(number, id);
        if record.password.is_some() && !contact.email.is_empty() {
            record.told_at = Some(now);
            self.queue(MailKind::Locked, &contact, &contact.email, None);
        }
    }

    /// Rule 19.
    pub fn authorize(&mut self, by: &str, r: &proto::AuthorizePhoneOrderRequest) -> Outcome {
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
            return refuse("GRANT_INVALID");
        };
        let contact = self.contact(number, id)?.clone();
        let password = self.tries.record(number, id).password.clone();
        if password.map(|(_, set)| set) != Some(grant.password_set) {
            return refuse("GRANT_INVALID");
        }
        let Some(order_type) = self.order_types.get(&r.order_type) else {
            return refuse("ORDER_TYPE_NOT_FOUND");
        };
        let is_left_out = !contact.allowed.is_empty() && !contact.allowed.contains(&r.order_type);
        let denial = if !order_type.offered_by_phone {
            OrderDenial::ExcludedByProvider
        } else if order_type.system_management && r.customer_administers_product {
            OrderDenial::PortalRequired
        } else if is_left_out || contact.denied.contains(&r.order_type) {
            OrderDenial::Restricted
        } else {
            OrderDenial::Unspecified
        };
        let (decision, note) = match denial {
            OrderDenial::Unspecified if contact.note.is_empty() => (OrderDecision::Allowed, ""),
            OrderDenial::Unspecified => (OrderDecision::AgentDecision, contact.note.as_str()),
            _ => (OrderDecision::Denied, ""),
        };
        self.record(by, "contact.phone_order_decided", number, id, &[]);
        Ok(Answer::Decided(proto::AuthorizePhoneOrderResponse {
            decision: decision.into(),
            denial: denial.into(),
            restrictions_note: note.to_owned(),
            authorization_id: String::new(),
        }))
    }
}

fn nth_last(times: &[DateTime<Utc>], n: usize) -> Option<DateTime<Utc>> {
    times.iter().rev().nth(n - 1).copied()
}
