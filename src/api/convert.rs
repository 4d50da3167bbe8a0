//! Converts between messages and domain types. Decoding collects all violations of a request; encoding is
//! infallible.

use chrono::{DateTime, Datelike, Utc};
use hmac::Mac;
use prost::Message;
use prost_types::Timestamp;

use crate::{
    api::{
        page_token::{Cursor, PageContext},
        proto,
    },
    app::RequestKey,
    crypto::keyring::VersionedKeys,
    domain::{
        caller::MatchKind,
        contact::Contact,
        contact_types::{ContactType, ContactTypes},
        customer::{AttentionLineOrder, ContactsReview, Customer},
        email_address::EmailAddress,
        email_confirmation::PendingEmail,
        ids::{ContactId, ContactRef, CustomerNumber, parse_uuid},
        person_name::{PersonName, Salutation},
        phone_order::TimeRange,
        restrictions::{OrderTypeCode, Restrictions},
        text,
    },
    error::{Error, FieldViolation, Result, Violation},
};

const MAX_CALL_ID_CHARS: usize = 128;
const MAX_SUBJECT_CHARS: usize = 255;
const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 1_000;

/// The field violations of a request, which are reported all at once.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Adds a violation of `field`.
    pub(super) fn add(&mut self, field: impl Into<String>, violation: Violation) {
        self.0.push(FieldViolation::new(field, violation));
    }

    /// Returns the parsed value, or adds a violation of `field`.
    pub(super) fn check<T>(
        &mut self,
        field: impl Into<String>,
        parsed: std::result::Result<T, Violation>,
    ) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(violation) => {
                self.add(field, violation);
                None
            }
        }
    }

    /// Returns true if there is no violation.
    pub(super) fn is_clean(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the violations as an error.
    pub(super) fn into_error(self) -> Error {
        Error::InvalidFields(self.0)
    }

    /// Returns `value` if it is present and there is no violation.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.is_clean() => Ok(value),
            Some(_) | None => Err(self.into_error()),
        }
    }

    /// Decodes the customer number in `field`.
    pub(super) fn customer_number(&mut self, field: &str, text: &str) -> Option<CustomerNumber> {
        self.check(field, CustomerNumber::parse(text))
    }

    /// Decodes the customer number that a list may be restricted to; `None` if it is empty.
    pub(super) fn customer_or_none(&mut self, text: &str) -> Option<CustomerNumber> {
        self.optional("customer_number", text, CustomerNumber::parse)
    }

    /// Decodes the contact that a list may be restricted to, which needs a customer; `None` if it is empty.
    pub(super) fn contact_of(&mut self, customer_number: &str, text: &str) -> Option<ContactId> {
        let id = self.optional("contact_id", text, ContactId::parse)?;
        if customer_number.is_empty() {
            self.add("contact_id", Violation::CustomerNumberMissing);
        }
        Some(id)
    }

    /// Decodes `call_id` if it is not empty.
    pub(super) fn optional_call_id(&mut self, text: &str) -> Option<String> {
        if text.is_empty() {
            None
        } else {
            self.call_id(text)
        }
    }

    /// Decodes `call_id`: one line of 1 to 128 characters.
    pub(super) fn call_id(&mut self, text: &str) -> Option<String> {
        self.check("call_id", text::single_line(text, MAX_CALL_ID_CHARS))
    }

    /// Decodes `customer_number` and `contact_id`.
    pub(super) fn contact_ref(
        &mut self,
        customer_number: &str,
        contact_id: &str,
    ) -> Option<ContactRef> {
        let customer_number = self.customer_number("customer_number", customer_number);
        let contact_id = self.check("contact_id", ContactId::parse(contact_id));
        Some(ContactRef {
            customer_number: customer_number?,
            contact_id: contact_id?,
        })
    }

    /// Decodes `request_id`, and computes the digests of the request under each service key. They are
    /// HMACs, because a plain hash of a request with a phone password could be brute-forced. `message` must
    /// have neither its `request_id` nor `validate_only`, so that a validation has the digest of the
    /// request that it validates.
    pub(super) fn request_key<M: Message>(
        &mut self,
        keys: &VersionedKeys,
        rpc: &str,
        request_id: &str,
        message: &M,
    ) -> Option<RequestKey> {
        if request_id.is_empty() {
            return None;
        }
        let request_id = self.check("request_id", parse_uuid(request_id))?;
        let message = message.encode_to_vec();
        let mac_of = |version, label| {
            let mut mac = keys.mac(version, label)?;
            mac.update(rpc.as_bytes());
            mac.update(&[0]);
            mac.update(&message);
            Some(mac)
        };
        let digest = |version| {
            Some(
                mac_of(version, "request-digest")?
                    .finalize()
                    .into_bytes()
                    .into(),
            )
        };
        let seed = |version| {
            let mut mac = mac_of(version, "request-seed")?;
            mac.update(request_id.as_bytes());
            Some(mac.finalize().into_bytes().into())
        };
        Some(RequestKey {
            request_id,
            digests: keys.versions().filter_map(digest).collect(),
            seeds: keys.versions().filter_map(seed).collect(),
        })
    }

    /// Decodes `page_size`: 50 by default, at most 1,000.
    pub(super) fn page_size(&mut self, size: i32) -> usize {
        match usize::try_from(size) {
            Ok(0) => DEFAULT_PAGE_SIZE,
            Ok(size) => size.min(MAX_PAGE_SIZE),
            Err(_) => {
                self.add("page_size", Violation::Negative);
                DEFAULT_PAGE_SIZE
            }
        }
    }

    /// Decodes a set of contact types.
    pub(super) fn contact_types(&mut self, field: &str, types: &[i32]) -> ContactTypes {
        if types.len() > ContactType::ALL.len() {
            let (max, of) = (ContactType::ALL.len(), "types");
            self.add(field, Violation::TooMany { max, of });
            return ContactTypes::default();
        }
        types
            .iter()
            .enumerate()
            .filter_map(|(index, number)| {
                let known = to_contact_type(*number);
                if known.is_none() {
                    self.add(format!("{field}[{index}]"), Violation::UnknownContactType);
                }
                known
            })
            .collect()
    }

    /// Decodes the range of time from `start_time` to `end_time`; each may be absent.
    pub(super) fn time_range(
        &mut self,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> TimeRange {
        let start = start.and_then(|time| self.time("start_time", time));
        let end = end.and_then(|time| self.time("end_time", time));
        if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            self.add("end_time", Violation::EmptyTimeRange);
        }
        TimeRange { start, end }
    }

    /// Decodes a time that the databases can store.
    pub(super) fn time(&mut self, field: &str, time: Timestamp) -> Option<DateTime<Utc>> {
        let nanos = u32::try_from(time.nanos).ok();
        let time = nanos.and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos));
        // The databases store no times before the year 1 or after the year 9999.
        let time = time.filter(|time| (1..=9999).contains(&time.year()));
        self.check(field, time.ok_or(Violation::NotATime))
    }

    /// Decodes the actor or agent in `field`, the subject of a token; `None` if it is empty.
    pub(super) fn subject(&mut self, field: &str, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        let max = MAX_SUBJECT_CHARS;
        let subject = if text.chars().nth(max).is_some() {
            Err(Violation::TooLong { max })
        } else if text.contains(char::is_control) {
            Err(Violation::NotASingleLine)
        } else {
            Ok(text.to_owned())
        };
        self.check(field, subject)
    }

    /// Parses `text`; `None` if it is empty.
    pub(super) fn optional<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: fn(&str) -> std::result::Result<T, Violation>,
    ) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        self.check(field, parse(text))
    }
}

/// Takes the options of a change out of a request, whose content without them identifies it.
macro_rules! change_options {
    ($violations:expr, $keys:expr, $rpc:expr, $request:ident, $etag:expr) => {{
        let request_id = std::mem::take(&mut $request.request_id);
        let validate_only = std::mem::take(&mut $request.validate_only);
        crate::app::ChangeOptions {
            etag: $etag,
            request: $violations.request_key($keys, $rpc, &request_id, &$request),
            validate_only,
        }
    }};
}
pub(super) use change_options;

/// Returns the cursor of a page token, or `first` without a token.
pub(super) fn page_start<C: Cursor>(
    keys: &VersionedKeys,
    context: PageContext<'_>,
    token: &str,
    first: C,
) -> Result<C> {
    if token.is_empty() {
        Ok(first)
    } else {
        keys.cursor(context, token)
    }
}

/// Returns the token of the next page; empty after the last one.
pub(super) fn next_page_token(
    keys: &VersionedKeys,
    context: PageContext<'_>,
    next: Option<impl Cursor>,
) -> Result<String> {
    next.map_or(Ok(String::new()), |cursor| {
        keys.page_token(context, &cursor)
    })
}

fn to_contact_type(number: i32) -> Option<ContactType> {
    match proto::ContactType::try_from(number).ok()? {
        proto::ContactType::Unspecified => None,
        proto::ContactType::Standard => Some(ContactType::Standard),
        proto::ContactType::Accounting => Some(ContactType::Accounting),
        proto::ContactType::Technical => Some(ContactType::Technical),
        proto::ContactType::Owner => Some(ContactType::Owner),
        proto::ContactType::AuthorizedSignatory => Some(ContactType::AuthorizedSignatory),
        proto::ContactType::DataProtection => Some(ContactType::DataProtection),
        proto::ContactType::Other => Some(ContactType::Other),
    }
}

/// Encodes the kind of a match.
pub(super) fn match_kind(kind: MatchKind) -> proto::ChannelMatchKind {
    match kind {
        MatchKind::Exact => proto::ChannelMatchKind::Exact,
        MatchKind::SameLine => proto::ChannelMatchKind::SameLine,
    }
}

/// Encodes contact types.
pub(super) fn contact_types(types: ContactTypes) -> Vec<i32> {
    types
        .iter()
        .map(|contact_type| from_contact_type(contact_type).into())
        .collect()
}

fn from_contact_type(contact_type: ContactType) -> proto::ContactType {
    match contact_type {
        ContactType::Standard => proto::ContactType::Standard,
        ContactType::Accounting => proto::ContactType::Accounting,
        ContactType::Technical => proto::ContactType::Technical,
        ContactType::Owner => proto::ContactType::Owner,
        ContactType::AuthorizedSignatory => proto::ContactType::AuthorizedSignatory,
        ContactType::DataProtection => proto::ContactType::DataProtection,
        ContactType::Other => proto::ContactType::Other,
    }
}

/// Encodes a time.
pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// Encodes a customer.
pub(super) fn customer(customer: Customer) -> proto::Customer {
    let etag = customer.etag();
    let data = customer.contact_data;
    let settings = customer.notification_settings;
    proto::Customer {
        customer_number: customer.number.as_str().to_owned(),
        contact_data: Some(proto::ContactData {
            email: data
                .email
                .map_or_else(String::new, |email| email.as_str().to_owned()),
            phone_number: data
                .phone_number
                .map_or_else(String::new, |number| number.as_str().to_owned()),
            locale: data.locale.as_str().to_owned(),
            email_bounce_time: data.email_bounce_time.map(timestamp),
        }),
        notification_settings: Some(proto::NotificationSettings {
            security_notices: Some(settings.security_notices),
            planned_maintenance: Some(settings.planned_maintenance),
            outages: Some(settings.outages),
            contact_changes: Some(settings.contact_changes),
        }),
        attention_line: Some(attention_line(customer.attention_line)),
        contacts_review: customer.contacts_review.map(contacts_review),
        etag,
        create_time: Some(timestamp(customer.create_time)),
        update_time: Some(timestamp(customer.update_time)),
    }
}

/// Encodes a review.
pub(super) fn contacts_review(review: ContactsReview) -> proto::ContactsReview {
    proto::ContactsReview {
        review_time: Some(timestamp(review.time)),
        reviewed_by: review.by.0,
    }
}

fn attention_line(order: AttentionLineOrder) -> proto::AttentionLine {
    let (ordered_by, time) = order.ordered.unzip();
    proto::AttentionLine {
        suppressed: order.suppressed,
        ordered_by_email: ordered_by
            .map_or_else(String::new, |address| address.as_str().to_owned()),
        order_time: time.map(timestamp),
    }
}

/// Encodes a contact.
pub(super) fn contact(contact: &Contact) -> proto::Contact {
    let email = |address: &EmailAddress| address.as_str().to_owned();
    proto::Contact {
        customer_number: contact.customer_number.as_str().to_owned(),
        contact_id: contact.id.0.to_string(),
        types: contact_types(contact.types),
        display_name: contact.display_name.clone(),
        locale: contact.locale.as_str().to_owned(),
        email: contact.email.as_ref().map(email).unwrap_or_default(),
        pending_email: contact.pending_email.as_ref().map(pending_email),
        phone_numbers: contact
            .phone_numbers
            .iter()
            .map(|number| number.as_str().to_owned())
            .collect(),
        invoice_email_enabled: Some(contact.invoice_email_enabled),
        restrictions: Some(restrictions(&contact.restrictions)),
        phone_password: Some(proto::PhonePassword {
            configured: contact.phone_password.set_time.is_some(),
            set_time: contact.phone_password.set_time.map(timestamp),
            locked_until_time: contact.phone_password.locked_until.map(timestamp),
            revoked: contact.phone_password.is_revoked,
        }),
        etag: contact.etag(),
        create_time: Some(timestamp(contact.create_time)),
        update_time: Some(timestamp(contact.update_time)),
        email_bounce_time: contact.email_bounce_time.map(timestamp),
        name: person_name(&contact.name),
        position: contact.job_position.clone(),
        department: contact.department.clone(),
        email_unicode: contact.email.as_ref().map(unicode).unwrap_or_default(),
        email_confirm_time: contact.email_confirm_time.map(timestamp),
        last_standard_contact: contact.is_last_standard,
        invoice_email_available: contact.can_have_invoice_email(),
    }
}

/// Encodes restrictions.
pub(super) fn restrictions(restrictions: &Restrictions) -> proto::Restrictions {
    let codes = |codes: &[OrderTypeCode]| codes.iter().map(|c| c.as_str().to_owned()).collect();
    proto::Restrictions {
        note: restrictions.note.clone(),
        allowed_order_types: codes(&restrictions.allowed_order_types),
        denied_order_types: codes(&restrictions.denied_order_types),
    }
}

/// Returns the address with its domain in Unicode; empty if that is the same.
fn unicode(email: &EmailAddress) -> String {
    email.to_unicode().unwrap_or_default()
}

fn person_name(name: &PersonName) -> Option<proto::PersonName> {
    let salutation = match name.salutation {
        Salutation::Unspecified => proto::Salutation::Unspecified,
        Salutation::Herr => proto::Salutation::Herr,
        Salutation::Frau => proto::Salutation::Frau,
        Salutation::Neutral => proto::Salutation::Neutral,
    };
    (*name != PersonName::default()).then(|| proto::PersonName {
        salutation: salutation.into(),
        title: name.title.clone(),
        given_name: name.given_name.clone(),
        family_name: name.family_name.clone(),
    })
}

fn pending_email(pending: &PendingEmail) -> proto::PendingEmail {
    proto::PendingEmail {
        email: pending.email.as_str().to_owned(),
        request_time: Some(timestamp(pending.request_time)),
        expire_time: Some(timestamp(pending.expire_time)),
        resends_left: pending.resends_left.into(),
        bounce_time: pending.bounce_time.map(timestamp),
        email_unicode: unicode(&pending.email),
    }
}
