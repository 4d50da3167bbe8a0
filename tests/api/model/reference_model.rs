//! The reference model: the stored state after the requests so far, by the rules of the domain,
//! in plain values and without a database. It uses nothing of the service except its messages.
//!
//! If a request is invalid in several ways, the model reports them in the service's order: all
//! fields first, then unknown resources, then a used request id, then the etag, then the rules.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{self, email_change::Change as EmailEdit};
use prost_types::FieldMask;

use super::{
    contacts::Contact,
    emails::{Link, Mail, MailTimes},
    phone::{Attempts, Grant},
    requests::{Request, Response},
    values::{self, OrderTypes},
};
use crate::requests::timestamp;

/// Retention of request ids.
const REQUEST_ID_RETENTION: TimeDelta = TimeDelta::hours(24);

/// The error of a rejected request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: &'static str,
    /// The invalid fields in alphabetical order.
    pub fields: Vec<String>,
    /// The retry delay.
    pub retry: Option<TimeDelta>,
}

pub type ModelResult<T = Response> = Result<T, Rejection>;

pub fn reject<T>(reason: &'static str) -> ModelResult<T> {
    Err(Rejection {
        reason,
        fields: Vec::new(),
        retry: None,
    })
}

pub fn reject_fields<T>(mut fields: Vec<String>) -> ModelResult<T> {
    fields.sort();
    Err(Rejection {
        reason: "INVALID_FIELD",
        fields,
        retry: None,
    })
}

/// An entry of a customer's audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub time: Option<prost_types::Timestamp>,
    pub actor: String,
    pub kind: String,
    /// The contact's label; empty: the customer.
    pub contact: String,
    /// In alphabetical order.
    pub fields: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Customer {
    pub number: String,
    /// Number of customers created under this number so far.
    pub life: usize,
    pub version: usize,
    pub email: String,
    pub phone: String,
    /// Security notices, planned maintenance, outages, contact changes.
    pub notices: [bool; 4],
    /// The language of the contact data.
    pub locale: String,
    pub suppressed: bool,
    /// The address of the last order about the attention line, and its time.
    pub ordered: Option<(String, DateTime<Utc>)>,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    /// In the order of creation.
    pub contacts: Vec<Contact>,
}

#[derive(Clone, Debug)]
struct StoredResponse {
    content: Request,
    response: Response,
    until: DateTime<Utc>,
    number: String,
}

/// The entire stored state.
#[derive(Clone, Debug)]
pub struct ReferenceModel {
    pub now: DateTime<Utc>,
    pub customers: BTreeMap<String, Customer>,
    /// Audit logs of existing customers, oldest event first.
    pub audit_logs: BTreeMap<String, Vec<Event>>,
    incarnations: BTreeMap<String, usize>,
    pub contacts_made: usize,
    pub passwords_made: usize,
    pub order_types: OrderTypes,
    pub attempts: Attempts,
    pub grants: Vec<Grant>,
    pub links: Vec<Link>,
    /// Queued e-mails with their due times.
    pub outbox: Vec<(DateTime<Utc>, Mail)>,
    /// Confirmation e-mails by case-insensitive address, and by customer.
    pub mails_to: BTreeMap<String, MailTimes>,
    pub mails_of: BTreeMap<String, MailTimes>,
    stored_responses: BTreeMap<(String, String, String), StoredResponse>,
}

impl ReferenceModel {
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            customers: BTreeMap::new(),
            audit_logs: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            contacts_made: 0,
            passwords_made: 0,
            order_types: OrderTypes::new(),
            attempts: Attempts::default(),
            grants: Vec::new(),
            links: Vec::new(),
            outbox: Vec::new(),
            mails_to: BTreeMap::new(),
            mails_of: BTreeMap::new(),
            stored_responses: BTreeMap::new(),
        }
    }

    /// The response to the subject `by`. Rejected and validate-only requests change nothing.
    pub fn response(&mut self, by: &str, request: &Request) -> ModelResult {
        let before = self.clone();
        let outcome = self.dispatch(by, request);
        if outcome.is_err() || request.is_validate_only() {
            *self = before;
        }
        if let (Err(rejection), Request::CheckPhonePassword(r)) = (&outcome, request)
            && ["PHONE_CALL_ATTEMPT_LIMIT", "AGENT_BLOCKED"].contains(&rejection.reason)
        {
            self.record_check(by, "refused", &r.customer_number, &r.contact_id);
        }
        outcome
    }

    fn dispatch(&mut self, by: &str, request: &Request) -> ModelResult {
        match request {
            Request::UpdateCustomer(r) => self.update_customer(by, r),
            Request::SetAttentionLine(r) => self.set_attention_line(by, r),
            Request::CreateContact(r) => {
                let contact = values::NewContact::read(r, &self.order_types)?;
                self.replay_or_apply(by, request, |model| model.create_contact(by, &contact))
            }
            Request::UpdateContact(r) => {
                let input = r.contact.clone().unwrap_or_default();
                let stored = self.contact(&input.customer_number, &input.contact_id).ok();
                let name = stored.map(|contact| contact.name.as_str());
                let change = values::ContactChange::read_update(r, &self.order_types, name)?;
                self.replay_or_apply(by, request, |model| model.update_contact(by, r, &change))
            }
            Request::DeleteContact(r) => {
                self.replay_or_apply(by, request, |model| model.delete_contact(by, r))
            }
            Request::ChangeEmail(r) => {
                let (edit, of) = (
                    EmailEdit::SetEmail(r.email.clone()),
                    (&*r.customer_number, &*r.contact_id),
                );
                self.replay_or_apply(by, request, |model| model.change_email(by, of, &edit))
            }
            Request::RemoveEmail(r) => {
                let (edit, of) = (
                    EmailEdit::RemoveEmail(true),
                    (&*r.customer_number, &*r.contact_id),
                );
                self.replay_or_apply(by, request, |model| model.change_email(by, of, &edit))
            }
            Request::CancelEmailChange(r) => {
                let of = (r.customer_number.as_str(), r.contact_id.as_str());
                self.change_email(by, of, &EmailEdit::CancelPending(true))
            }
            Request::ResendEmailConfirmation(r) => self.resend(by, r),
            Request::ConfirmEmail(r) => self.confirm_email(by, &r.token),
            Request::SetPhonePassword(r) => self.set_phone_password(by, r),
            Request::ClearPhonePassword(r) => self.clear_phone_password(by, r),
            Request::CheckPhonePassword(r) => self.check_phone_password(by, r),
            Request::UnlockPhonePassword(r) => self.unlock_phone_password(by, r),
            Request::AuthorizePhoneOrder(r) => self.authorize(by, r),
            Request::UpdateOrderType(r) => self.update_order_type(r),
            Request::EraseCustomer(r) => self.erase_customer(by, r),
        }
    }

    /// AIP-155: a repeated request with the same id gets the first response.
    fn replay_or_apply(
        &mut self,
        by: &str,
        request: &Request,
        act: impl FnOnce(&mut Self) -> ModelResult,
    ) -> ModelResult {
        let number = request.number().to_owned();
        self.customer(&number)?;
        let id = request.request_id().to_owned();
        let key = (number.clone(), by.to_owned(), id);
        if key.2.is_empty() {
            return act(self);
        }
        let known = self.stored_responses.get(&key);
        if let Some(known) = known.filter(|known| self.now < known.until) {
            if known.content == request.content() {
                // The stored response was deleted with its contact.
                if let Response::Contact(contact) = &known.response {
                    self.contact(&known.number, &contact.contact_id)?;
                }
                return Ok(known.response.clone());
            }
            return Err(Rejection {
                reason: "REQUEST_ID_REUSED",
                fields: vec!["request_id".into()],
                retry: None,
            });
        }
        let response = act(self)?;
        let stored_response = StoredResponse {
            content: request.content(),
            response: response.clone(),
            until: self.now + REQUEST_ID_RETENTION,
            number,
        };
        self.stored_responses.insert(key, stored_response);
        Ok(response)
    }

    /// True if the response would be a replay.
    pub fn is_replay(&self, by: &str, request: &Request) -> bool {
        let number = request.number().to_owned();
        let key = (number, by.to_owned(), request.request_id().to_owned());
        let known = self.stored_responses.get(&key);
        known.is_some_and(|known| self.now < known.until && known.content == request.content())
    }

    pub fn customer(&self, number: &str) -> ModelResult<&Customer> {
        self.customers
            .get(number)
            .map_or_else(|| reject("CUSTOMER_NOT_FOUND"), Ok)
    }

    pub fn customer_mut(&mut self, number: &str) -> ModelResult<&mut Customer> {
        self.customers
            .get_mut(number)
            .map_or_else(|| reject("CUSTOMER_NOT_FOUND"), Ok)
    }

    /// Records an audit event (rule 25).
    pub fn record(&mut self, by: &str, kind: &str, number: &str, contact: &str, fields: &[&str]) {
        let mut fields: Vec<_> = fields.iter().map(|&field| field.to_owned()).collect();
        fields.sort();
        let event = Event {
            time: timestamp(self.now),
            actor: by.to_owned(),
            kind: kind.to_owned(),
            contact: contact.to_owned(),
            fields,
        };
        self.audit_logs
            .entry(number.to_owned())
            .or_default()
            .push(event);
    }

    fn update_customer(&mut self, by: &str, r: &proto::UpdateCustomerRequest) -> ModelResult {
        let input = r.customer.clone().unwrap_or_default();
        let change = values::CustomerChange::read(&input, r.update_mask.as_ref())?;
        let number = input.customer_number.as_str();
        let is_new = !self.customers.contains_key(number);
        if is_new && !r.allow_missing {
            return reject("CUSTOMER_NOT_FOUND");
        }
        let (now, etag) = (self.now, input.etag.as_str());
        if is_new {
            if !etag.is_empty() {
                return reject("ETAG_MISMATCH");
            }
            let life = self.incarnations.entry(number.to_owned()).or_default();
            *life += 1;
            let customer = Customer::new(number, *life, now);
            self.customers.insert(number.to_owned(), customer);
        }
        let customer = self.customer_mut(number)?;
        if !is_new && !etag.is_empty() && etag != customer.etag() {
            return reject("ETAG_MISMATCH");
        }
        let changed = change.apply_to(customer);
        if !is_new && !changed.is_empty() {
            customer.touch(now);
        }
        let shown = customer.shown();
        let kind = if is_new {
            "EVENT_KIND_CUSTOMER_CREATED"
        } else {
            "EVENT_KIND_CUSTOMER_UPDATED"
        };
        if is_new || !changed.is_empty() {
            self.record(by, kind, number, "", &changed);
        }
        Ok(Response::Customer(shown))
    }

    /// Rule 23: an order about the line requires the contact-data address.
    fn set_attention_line(&mut self, by: &str, r: &proto::SetAttentionLineRequest) -> ModelResult {
        let from = r.ordered_by_email.as_str();
        if r.suppressed && from.is_empty() {
            return reject_fields(vec!["ordered_by_email".into()]);
        }
        let now = self.now;
        let customer = self.customer_mut(&r.customer_number)?;
        if !from.is_empty() && !values::is_same_address(&customer.email, from) {
            return reject("ORDERING_ADDRESS_NOT_ON_FILE");
        }
        let mut changed = Vec::new();
        if customer.suppressed != r.suppressed {
            changed.push("attention_line.suppressed");
        }
        let kept = customer.ordered.as_ref().map_or("", |(address, _)| address);
        if kept.to_lowercase() != from.to_lowercase() {
            changed.push("attention_line.ordered_by_email");
        }
        if !changed.is_empty() {
            customer.suppressed = r.suppressed;
            let ordered = (!from.is_empty()).then(|| (values::address(from), now));
            customer.ordered = ordered;
            customer.touch(now);
        }
        let shown = customer.shown();
        if !changed.is_empty() {
            let kind = "EVENT_KIND_CUSTOMER_ATTENTION_LINE_SET";
            self.record(by, kind, &r.customer_number, "", &changed);
        }
        Ok(Response::Customer(shown))
    }

    /// Rule 26.
    fn erase_customer(&mut self, by: &str, r: &proto::EraseCustomerRequest) -> ModelResult {
        let number = &r.customer_number;
        if r.confirm_customer_number != *number {
            return reject_fields(vec!["confirm_customer_number".into()]);
        }
        self.customer(number)?;
        self.customers.remove(number);
        for link in self.links.iter_mut().filter(|link| link.number == *number) {
            link.delete();
        }
        self.mails_of.remove(number);
        self.outbox.retain(|(_, mail)| mail.number != *number);
        self.stored_responses
            .retain(|_, stored| stored.number != *number);
        self.attempts.delete_customer(number);
        self.record(by, "EVENT_KIND_CUSTOMER_ERASED", number, "", &[]);
        Ok(Response::Nothing)
    }

    fn update_order_type(&mut self, r: &proto::UpdateOrderTypeRequest) -> ModelResult {
        let order_type = r.order_type.clone().unwrap_or_default();
        if !r.allow_missing && !self.order_types.contains_key(&order_type.code) {
            return reject("ORDER_TYPE_NOT_FOUND");
        }
        let code = order_type.code.clone();
        self.order_types.insert(code, order_type.clone());
        Ok(Response::OrderType(order_type))
    }
}

impl Customer {
    fn new(number: &str, life: usize, now: DateTime<Utc>) -> Self {
        Self {
            number: number.to_owned(),
            life,
            version: 1,
            email: String::new(),
            phone: String::new(),
            notices: [true; 4],
            locale: "de".to_owned(),
            suppressed: false,
            ordered: None,
            create_time: now,
            update_time: now,
            contacts: Vec::new(),
        }
    }

    fn touch(&mut self, now: DateTime<Utc>) {
        self.version += 1;
        self.update_time = now;
    }

    pub fn etag(&self) -> String {
        format!("{}/{}.v{}", self.number, self.life, self.version)
    }

    /// The contact as responses show it.
    pub fn shown(&self) -> proto::Customer {
        let [
            security_notices,
            planned_maintenance,
            outages,
            contact_changes,
        ] = self.notices.map(Some);
        proto::Customer {
            customer_number: self.number.clone(),
            contact_data: Some(proto::ContactData {
                email: self.email.clone(),
                phone_number: self.phone.clone(),
                locale: self.locale.clone(),
                ..proto::ContactData::default()
            }),
            notification_settings: Some(proto::NotificationSettings {
                security_notices,
                planned_maintenance,
                outages,
                contact_changes,
            }),
            attention_line: Some(proto::AttentionLine {
                suppressed: self.suppressed,
                ordered_by_email: self.ordered.clone().map_or_else(String::new, |o| o.0),
                order_time: self.ordered.as_ref().and_then(|o| timestamp(o.1)),
            }),
            etag: self.etag(),
            create_time: timestamp(self.create_time),
            update_time: timestamp(self.update_time),
            ..proto::Customer::default()
        }
    }
}

/// AIP-134: true if the update with this mask sets `leaf`, which is `populated` in the message or
/// not.
pub fn sets(mask: Option<&FieldMask>, leaf: &str, populated: bool) -> bool {
    match mask.map_or(&[][..], |mask| mask.paths.as_slice()) {
        [] => populated,
        [star] if star == "*" => true,
        paths => paths.iter().any(|path| is_in(leaf, path)),
    }
}

/// True if every path of the mask names one of these leaves or a parent of some.
pub fn is_legal(mask: Option<&FieldMask>, leaves: &[&str]) -> bool {
    match mask.map_or(&[][..], |mask| mask.paths.as_slice()) {
        [star] if star == "*" => true,
        paths => paths
            .iter()
            .all(|path| leaves.iter().any(|leaf| is_in(leaf, path))),
    }
}

fn is_in(leaf: &str, path: &str) -> bool {
    leaf == path || leaf.starts_with(&format!("{path}."))
}
