//! Compares everything that the service returns with the model: records, recipients, channels,
//! links, e-mails and the audit log.

use std::collections::BTreeMap;

use contact_service::api::proto::{
    self, ContactType, Purpose, verify_contact_channel_request::Channel,
};
use tonic::{Response, Status};

use super::{
    driver::{Difference, Driver, same},
    emails::{Mail, MailKind},
    fields::{DOMAIN, address_of},
    recipients::PURPOSES,
    reference_model::{Event, ModelResult},
};
use crate::{harness::rejection, mailbox};

/// Maximum lengths of attention lines; 0 is the default.
const MAX_LENGTHS: [i32; 3] = [0, 20, 8];
const SUBJECTS: [(&str, MailKind, &str); 8] = [
    (
        "Bitte bestätigen Sie Ihre E-Mail-Adresse",
        MailKind::Confirmation,
        "de",
    ),
    (
        "Please confirm your e-mail address",
        MailKind::Confirmation,
        "en",
    ),
    (
        "Erinnerung: Bitte bestätigen Sie Ihre E-Mail-Adresse",
        MailKind::Reminder,
        "de",
    ),
    (
        "Reminder: please confirm your e-mail address",
        MailKind::Reminder,
        "en",
    ),
    (
        "Ihre E-Mail-Adresse wurde ersetzt",
        MailKind::Replaced,
        "de",
    ),
    ("Your e-mail address was replaced", MailKind::Replaced, "en"),
    ("Ihr Telefonpasswort ist gesperrt", MailKind::Locked, "de"),
    ("Your phone password is locked", MailKind::Locked, "en"),
];
/// Kinds of events that the model records. Disclosures are not ordered among the writers, so
/// their events have no place in this sequence; `audit` covers them.
const CHANGES: [&str; 21] = [
    "EVENT_KIND_CUSTOMER_CREATED",
    "EVENT_KIND_CUSTOMER_UPDATED",
    "EVENT_KIND_CUSTOMER_ATTENTION_LINE_SET",
    "EVENT_KIND_CUSTOMER_ERASED",
    "EVENT_KIND_CONTACT_CREATED",
    "EVENT_KIND_CONTACT_UPDATED",
    "EVENT_KIND_CONTACT_DELETED",
    "EVENT_KIND_CONTACT_EMAIL_CHANGED",
    "EVENT_KIND_CONTACT_EMAIL_REMOVED",
    "EVENT_KIND_CONTACT_EMAIL_CHANGE_CANCELLED",
    "EVENT_KIND_CONTACT_EMAIL_CONFIRMATION_RESENT",
    "EVENT_KIND_CONTACT_EMAIL_CONFIRMED",
    "EVENT_KIND_CONTACT_PENDING_EMAIL_EXPIRED",
    "EVENT_KIND_CONTACT_INVOICE_EMAIL_LAPSED",
    "EVENT_KIND_CONTACT_PHONE_PASSWORD_SET",
    "EVENT_KIND_CONTACT_PHONE_PASSWORD_CLEARED",
    "EVENT_KIND_CONTACT_PHONE_PASSWORD_UNLOCKED",
    "EVENT_KIND_CONTACT_PHONE_PASSWORD_MATCHED",
    "EVENT_KIND_CONTACT_PHONE_PASSWORD_FAILED",
    "EVENT_KIND_CONTACT_PHONE_PASSWORD_REFUSED",
    "EVENT_KIND_CONTACT_PHONE_ORDER_DECIDED",
];

/// Compares the responses of model and service; rejections by reason.
fn both<T: PartialEq + std::fmt::Debug>(
    label: &str,
    model: ModelResult<T>,
    service: Result<T, Status>,
) -> Result<(), Difference> {
    let model = model.map_err(|rejection| rejection.reason.to_owned());
    let service = service.map_err(|status| rejection::<()>(Err(status)).1);
    same(label, &model, &service)
}

impl Driver<'_> {
    /// Compares the customer and its contacts.
    pub async fn compare_records(&mut self, number: &str) -> Result<(), Difference> {
        let customer_number = number.to_owned();
        let mut client = self.reader();
        let request = proto::GetCustomerRequest { customer_number };
        let customer = client.get_customer(request).await;
        let mut customer = customer.map(|found| found.into_inner().customer.unwrap());
        let model = self
            .model
            .customer(number)
            .map(super::reference_model::Customer::shown);
        if let (Ok(expected), Ok(customer)) = (&model, &mut customer) {
            self.names.put_in_customer(customer, expected);
        }
        both("the customer", model, customer)?;
        for types in [vec![], vec![ContactType::Technical, ContactType::Owner]] {
            self.compare_contacts(number, &types).await?;
        }
        Ok(())
    }

    async fn compare_contacts(
        &mut self,
        number: &str,
        types: &[ContactType],
    ) -> Result<(), Difference> {
        let request = proto::ListContactsRequest {
            customer_number: number.to_owned(),
            types: types.iter().copied().map(i32::from).collect(),
            ..proto::ListContactsRequest::default()
        };
        let contacts = self.reader().list_contacts(request).await;
        let mut contacts = contacts.map(|list| list.into_inner().contacts);
        let model = self.model.customer(number).map(|customer| {
            let is_listed = |contact: &&super::contacts::Contact| {
                types.is_empty() || types.iter().any(|&listed| contact.is(listed))
            };
            let listed = customer.contacts.iter().filter(is_listed);
            listed
                .map(|contact| self.model.shown(contact))
                .collect::<Vec<_>>()
        });
        if let (Ok(expected), Ok(contacts)) = (&model, &mut contacts) {
            for (contact, expected) in contacts.iter_mut().zip(expected) {
                self.names.put_in_contact(contact, expected, true);
            }
        }
        both("the contacts", model, contacts)
    }

    pub async fn compare_all(&mut self) -> Result<(), Difference> {
        for number in self.numbers.clone() {
            self.compare_records(&number).await?;
            self.compare_recipients(&number).await?;
            self.compare_channels(&number).await?;
            self.compare_audit_log(&number).await?;
        }
        self.compare_links().await?;
        self.compare_order_types().await
    }

    async fn compare_recipients(&mut self, number: &str) -> Result<(), Difference> {
        // Unknown customers are rejected, whatever the purpose.
        let is_on_file = self.model.customer(number).is_ok();
        let purposes = if is_on_file {
            &PURPOSES[..]
        } else {
            &PURPOSES[..1]
        };
        for &purpose in purposes {
            let is_invoice = purpose == Purpose::Invoice;
            let rooms = if is_invoice {
                &MAX_LENGTHS[..]
            } else {
                &MAX_LENGTHS[..1]
            };
            for &room in rooms {
                let request = proto::ResolveRecipientsRequest {
                    customer_number: number.to_owned(),
                    purpose: purpose.into(),
                    attention_line_chars: room,
                };
                let resolution = self.reader().resolve_recipients(request).await;
                let resolution = resolution.map(|found| {
                    let mut resolution = found.into_inner().resolution.unwrap();
                    for recipient in &mut resolution.recipients {
                        recipient.contact_id = self.names.label_of(&recipient.contact_id);
                    }
                    for exclusion in &mut resolution.exclusions {
                        exclusion.contact_id = self.names.label_of(&exclusion.contact_id);
                    }
                    resolution
                });
                let model = self.model.resolution(number, purpose, room);
                both(&format!("{purpose:?} in {room}"), model, resolution)?;
            }
        }
        Ok(())
    }

    async fn compare_channels(&mut self, number: &str) -> Result<(), Difference> {
        let addresses = ["ANNA", "bernd", "info", "rechnung"];
        let addresses = addresses.map(|local| address_of(&format!("{local}@{DOMAIN}"), number));
        // The last two are extensions of the others.
        let numbers = [
            "+49721913740",
            "+4930901820",
            "+497219137401",
            "+49309018201234",
        ];
        let numbers = numbers.map(str::to_owned);
        let channels = addresses.map(|text| (text.clone(), Channel::Email(text)));
        let numbers = numbers.map(|text| (text.clone(), Channel::PhoneNumber(text)));
        let channels = channels.into_iter().chain(numbers);
        let is_on_file = self.model.customer(number).is_ok();
        for (text, channel) in channels.take(if is_on_file { 8 } else { 1 }) {
            let request = proto::VerifyContactChannelRequest {
                customer_number: number.to_owned(),
                channel: Some(channel),
                ..proto::VerifyContactChannelRequest::default()
            };
            let found = self.reader().verify_contact_channel(request).await;
            let found = found.map(|found| {
                let mut found = found.into_inner();
                for owner in &mut found.matches {
                    owner.contact_id = self.names.label_of(&owner.contact_id);
                }
                found
            });
            let model = self.model.owners(number, &text);
            both(&format!("owners of {text}"), model, found)?;
        }
        Ok(())
    }

    /// Compares the events of changes, including those of an erased customer of this number.
    async fn compare_audit_log(&mut self, number: &str) -> Result<(), Difference> {
        let audit_log = self.audit_log(number).await;
        let model = match self.model.audit_logs.get(number) {
            Some(audit_log) => Ok(audit_log.clone()),
            None => self.model.customer(number).map(|_| Vec::new()),
        };
        both("the audit log", model.map(sorted), audit_log.map(sorted))
    }

    /// The events, oldest first.
    pub async fn audit_log(&mut self, number: &str) -> Result<Vec<Event>, Status> {
        let request = proto::ListAuditEventsRequest {
            customer_number: number.to_owned(),
            page_size: 1000,
            ..proto::ListAuditEventsRequest::default()
        };
        let response = self.reader().list_audit_events(request).await?;
        let events = response.into_inner().events.into_iter().rev();
        let changes = events.filter(|event| CHANGES.contains(&event.kind().as_str_name()));
        let events = changes.map(|mut event| {
            event.changed_fields.sort();
            Event {
                kind: event.kind().as_str_name().to_owned(),
                time: event.event_time,
                contact: self.names.label_of(&event.contact_id),
                actor: event.actor,
                fields: event.changed_fields,
            }
        });
        Ok(events.collect())
    }

    async fn compare_links(&mut self) -> Result<(), Difference> {
        let mut client = self.reader();
        for (&place, tokens) in &self.names.tokens {
            for token in tokens {
                let token = token.clone();
                let request = proto::InspectEmailConfirmationRequest { token };
                let service = client.inspect_email_confirmation(request).await;
                let service = service.map(Response::into_inner);
                let model = self.model.links[place].inspected(self.model.now);
                both(&format!("link {place}"), model, service)?;
            }
        }
        Ok(())
    }

    async fn compare_order_types(&mut self) -> Result<(), Difference> {
        let request = proto::ListOrderTypesRequest::default();
        let listed = self.reader().list_order_types(request).await;
        let mut listed = listed.unwrap().into_inner().order_types;
        listed.retain(|order_type| order_type.code.starts_with(&self.base));
        let model: Vec<_> = self.model.order_types.values().cloned().collect();
        same("the order types", &model, &listed)
    }

    /// Sends the queued e-mails; collects the tokens of their links.
    pub async fn deliver(&mut self) -> Result<(), Difference> {
        let mut sent = Vec::new();
        for mail in self.server().mails().await {
            // E-mails of other histories may have become due.
            if mail.text.contains(&format!("{}-", self.base)) {
                sent.push(mail);
            }
        }
        let model = self.model.deliver();
        let mut by_text: BTreeMap<Mail, Vec<usize>> = BTreeMap::new();
        for mail in &model {
            let links = by_text.entry(without_link(mail)).or_default();
            links.extend(mail.link);
        }
        let mut expected: Vec<_> = model.iter().map(without_link).collect();
        let mut delivered: Vec<_> = sent.iter().map(|mail| self.read(mail)).collect();
        for (mail, read) in sent.iter().zip(&delivered) {
            // Two links that are sent in identical words cannot be distinguished.
            if let Some([link]) = by_text.get(read).map(Vec::as_slice) {
                let tokens = self.names.tokens.entry(*link).or_default();
                tokens.push(mail.token());
            }
        }
        expected.sort();
        delivered.sort();
        same("the mails", &expected, &delivered)
    }

    fn read(&self, mail: &mailbox::Mail) -> Mail {
        let found = SUBJECTS
            .iter()
            .find(|(subject, ..)| *subject == mail.subject);
        let &(_, kind, locale) = found.expect("an unknown subject");
        let greeting = mail.text.lines().next().unwrap_or_default();
        let name = greeting
            .trim_start_matches("Guten Tag ")
            .trim_start_matches("Hello ");
        let mut numbers = self.numbers.iter();
        let number = numbers.find(|number| mail.text.contains(number.as_str()));
        Mail {
            kind,
            number: number.expect("no number").clone(),
            to: mail.to.clone(),
            name: name.trim_end_matches(',').to_owned(),
            locale: locale.to_owned(),
            link: None,
        }
    }
}

fn without_link(mail: &Mail) -> Mail {
    Mail {
        link: None,
        ..mail.clone()
    }
}

/// Sorts expiries of the same instant by contact, because they are stored in any order.
fn sorted(mut audit_log: Vec<Event>) -> Vec<Event> {
    const LAPSED: [&str; 2] = [
        "EVENT_KIND_CONTACT_PENDING_EMAIL_EXPIRED",
        "EVENT_KIND_CONTACT_INVOICE_EMAIL_LAPSED",
    ];
    let is_lapse = |event: &Event| LAPSED.contains(&event.kind.as_str());
    let same_round =
        |one: &Event, other: &Event| is_lapse(one) && is_lapse(other) && one.time == other.time;
    for events in audit_log.chunk_by_mut(same_round) {
        events.sort_by(|one, other| one.contact.cmp(&other.contact));
    }
    audit_log
}
