//! Everything that the service gives out, beside what the model says: records, recipients,
//! channels, links, mails and the trail.

use std::collections::BTreeMap;

use contact_service::api::proto::{
    self, ContactType, Purpose, verify_contact_channel_request::Channel,
};
use tonic::{Response, Status};

use super::{
    book::{Event, Outcome},
    driver::{Difference, Driver, same},
    emails::{Mail, MailKind},
    fields::{DOMAIN, address_of},
    recipients::PURPOSES,
};
use crate::{harness::rejection, mailbox};

/// Room for attention lines; 0 is the usual one.
const ROOMS: [i32; 3] = [0, 20, 8];
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
/// Kinds of events that the model knows. A disclosure takes no turn among the writers, so its
/// events have no place in this order; `audit` looks at them.
const CHANGES: [&str; 21] = [
    "customer.created",
    "customer.updated",
    "customer.attention_line_set",
    "customer.erased",
    "contact.created",
    "contact.updated",
    "contact.deleted",
    "contact.email_changed",
    "contact.email_removed",
    "contact.email_change_cancelled",
    "contact.email_confirmation_resent",
    "contact.email_confirmed",
    "contact.pending_email_expired",
    "contact.invoice_email_lapsed",
    "contact.phone_password_set",
    "contact.phone_password_cleared",
    "contact.phone_password_unlocked",
    "contact.phone_password_matched",
    "contact.phone_password_failed",
    "contact.phone_password_refused",
    "contact.phone_order_decided",
];

/// The model's answer beside the service's; a rejection by its reason.
fn both<T: PartialEq + std::fmt::Debug>(
    what: &str,
    model: Outcome<T>,
    service: Result<T, Status>,
) -> Result<(), Difference> {
    let model = model.map_err(|rejection| rejection.reason.to_owned());
    let service = service.map_err(|status| rejection::<()>(Err(status)).1);
    same(what, &model, &service)
}

impl Driver<'_> {
    /// The customer and its contacts.
    pub async fn look_at_records(&mut self, number: &str) -> Result<(), Difference> {
        let customer_number = number.to_owned();
        let mut client = self.reader();
        let request = proto::GetCustomerRequest { customer_number };
        let customer = client.get_customer(request).await;
        let mut customer = customer.map(|found| found.into_inner().customer.unwrap());
        let model = self.book.customer(number).map(super::book::Customer::shown);
        if let (Ok(expected), Ok(customer)) = (&model, &mut customer) {
            self.names.put_in_customer(customer, expected);
        }
        both("the customer", model, customer)?;
        for types in [vec![], vec![ContactType::Technical, ContactType::Owner]] {
            self.look_at_contacts(number, &types).await?;
        }
        Ok(())
    }

    async fn look_at_contacts(
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
        let model = self.book.customer(number).map(|customer| {
            let is_listed = |contact: &&super::contacts::Contact| {
                types.is_empty() || types.iter().any(|&listed| contact.is(listed))
            };
            let listed = customer.contacts.iter().filter(is_listed);
            listed
                .map(|contact| self.book.shown(contact))
                .collect::<Vec<_>>()
        });
        if let (Ok(expected), Ok(contacts)) = (&model, &mut contacts) {
            for (contact, expected) in contacts.iter_mut().zip(expected) {
                self.names.put_in_contact(contact, expected, true);
            }
        }
        both("the contacts", model, contacts)
    }

    pub async fn look_at_all(&mut self) -> Result<(), Difference> {
        for number in self.numbers.clone() {
            self.look_at_records(&number).await?;
            self.look_at_recipients(&number).await?;
            self.look_at_channels(&number).await?;
            self.look_at_trail(&number).await?;
        }
        self.look_at_links().await?;
        self.look_at_order_types().await
    }

    async fn look_at_recipients(&mut self, number: &str) -> Result<(), Difference> {
        // Who is not on file is told so, whatever the purpose.
        let is_on_file = self.book.customer(number).is_ok();
        let purposes = if is_on_file {
            &PURPOSES[..]
        } else {
            &PURPOSES[..1]
        };
        for &purpose in purposes {
            let is_invoice = purpose == Purpose::Invoice;
            let rooms = if is_invoice { &ROOMS[..] } else { &ROOMS[..1] };
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
                let model = self.book.resolution(number, purpose, room);
                both(&format!("{purpose:?} in {room}"), model, resolution)?;
            }
        }
        Ok(())
    }

    async fn look_at_channels(&mut self, number: &str) -> Result<(), Difference> {
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
        let asked = addresses.map(|text| (text.clone(), Channel::Email(text)));
        let numbers = numbers.map(|text| (text.clone(), Channel::PhoneNumber(text)));
        let asked = asked.into_iter().chain(numbers);
        let is_on_file = self.book.customer(number).is_ok();
        for (text, channel) in asked.take(if is_on_file { 8 } else { 1 }) {
            let request = proto::VerifyContactChannelRequest {
                customer_number: number.to_owned(),
                channel: Some(channel),
            };
            let found = self.reader().verify_contact_channel(request).await;
            let found = found.map(|found| {
                let mut found = found.into_inner();
                for owner in &mut found.matches {
                    owner.contact_id = self.names.label_of(&owner.contact_id);
                }
                found
            });
            let model = self.book.owners(number, &text);
            both(&format!("whose {text} is"), model, found)?;
        }
        Ok(())
    }

    /// The trail of changes, also of a customer of this number that was erased.
    async fn look_at_trail(&mut self, number: &str) -> Result<(), Difference> {
        let trail = self.trail(number).await;
        let model = match self.book.trails.get(number) {
            Some(trail) => Ok(trail.clone()),
            None => self.book.customer(number).map(|_| Vec::new()),
        };
        both("the trail", model.map(in_order), trail.map(in_order))
    }

    /// The oldest first.
    pub async fn trail(&mut self, number: &str) -> Result<Vec<Event>, Status> {
        let request = proto::ListAuditEventsRequest {
            customer_number: number.to_owned(),
            page_size: 1000,
            ..proto::ListAuditEventsRequest::default()
        };
        let response = self.reader().list_audit_events(request).await?;
        let events = response.into_inner().events.into_iter().rev();
        let changes = events.filter(|event| CHANGES.contains(&event.kind.as_str()));
        let events = changes.map(|mut event| {
            event.changed_fields.sort();
            Event {
                time: event.event_time,
                contact: self.names.label_of(&event.contact_id),
                actor: event.actor,
                kind: event.kind,
                fields: event.changed_fields,
            }
        });
        Ok(events.collect())
    }

    async fn look_at_links(&mut self) -> Result<(), Difference> {
        let mut client = self.reader();
        for (&place, tokens) in &self.names.tokens {
            for token in tokens {
                let token = token.clone();
                let request = proto::InspectEmailConfirmationRequest { token };
                let service = client.inspect_email_confirmation(request).await;
                let service = service.map(Response::into_inner);
                let model = self.book.links[place].inspected(self.book.now);
                both(&format!("link {place}"), model, service)?;
            }
        }
        Ok(())
    }

    async fn look_at_order_types(&mut self) -> Result<(), Difference> {
        let request = proto::ListOrderTypesRequest {};
        let listed = self.reader().list_order_types(request).await;
        let mut listed = listed.unwrap().into_inner().order_types;
        listed.retain(|order_type| order_type.code.starts_with(&self.base));
        let model: Vec<_> = self.book.order_types.values().cloned().collect();
        same("the order types", &model, &listed)
    }

    /// Sends the mails that wait, and keeps the tokens of their links.
    pub async fn deliver(&mut self) -> Result<(), Difference> {
        let mut sent = Vec::new();
        for mail in self.server().mails().await {
            // Those of other histories may have become due.
            if mail.text.contains(&format!("{}-", self.base)) {
                sent.push(mail);
            }
        }
        let model = self.book.deliver();
        let mut by_text: BTreeMap<Mail, Vec<usize>> = BTreeMap::new();
        for mail in &model {
            let links = by_text.entry(without_link(mail)).or_default();
            links.extend(mail.link);
        }
        let mut expected: Vec<_> = model.iter().map(without_link).collect();
        let mut delivered: Vec<_> = sent.iter().map(|mail| self.read(mail)).collect();
        for (mail, read) in sent.iter().zip(&delivered) {
            // Of two links that are mailed in the same words nobody knows which is which.
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

/// Sorts expiries of the same time by contact: they are stored in any order.
fn in_order(mut trail: Vec<Event>) -> Vec<Event> {
    const LAPSED: [&str; 2] = [
        "contact.pending_email_expired",
        "contact.invoice_email_lapsed",
    ];
    let is_lapse = |event: &Event| LAPSED.contains(&event.kind.as_str());
    let same_round =
        |one: &Event, other: &Event| is_lapse(one) && is_lapse(other) && one.time == other.time;
    for events in trail.chunk_by_mut(same_round) {
        events.sort_by(|one, other| one.contact.cmp(&other.contact));
    }
    trail
}
