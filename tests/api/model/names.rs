//! What the labels of the model stand for in the service: ids, etags, grants, links, passwords.

use std::collections::BTreeMap;

use contact_service::api::proto;

use super::requests::{Answer, Place, Request};

/// The label of what has no label yet, in an answer that keeps nothing.
const NOBODY: &str = "nobody ";

#[derive(Debug, Default)]
pub struct Names {
    /// Ids and etags by their labels.
    real: BTreeMap<String, String>,
    /// The labels: of etags by whose they are.
    labels: BTreeMap<(String, String), String>,
    grants: Vec<String>,
    /// By the link's place in the book.
    pub tokens: BTreeMap<usize, Vec<String>>,
    generated: Vec<String>,
}

impl Names {
    /// The label of an id that is nobody's.
    pub fn nobody(index: usize) -> String {
        format!("{NOBODY}{index}")
    }

    fn id_of(&self, label: &str) -> String {
        match label.strip_prefix(NOBODY) {
            Some(index) => format!("0190d6d2-0000-7000-8000-{index:0>12}"),
            None => self.text_of(label),
        }
    }

    /// A label that stands for nothing yet stands for itself.
    fn text_of(&self, label: &str) -> String {
        let real = self.real.get(label);
        real.map_or_else(|| label.to_owned(), Clone::clone)
    }

    /// The request as the service gets it.
    pub fn to_real(&self, request: Request) -> Request {
        request.with(&mut |place, label| match place {
            Place::ContactId => self.id_of(label),
            Place::Etag(_) => self.text_of(label),
            Place::Grant => {
                let place = place_of("grant ", label);
                let grant = place.and_then(|place| self.grants.get(place));
                grant.map_or_else(|| label.to_owned(), Clone::clone)
            }
            Place::Token => {
                let tokens = place_of("link ", label).and_then(|place| self.tokens.get(&place));
                let newest = tokens.and_then(|tokens| tokens.last());
                newest.map_or_else(|| label.to_owned(), Clone::clone)
            }
            Place::PhonePassword => {
                let place = place_of("generated ", label);
                let generated = place.and_then(|place| self.generated.get(place));
                generated.map_or_else(|| label.to_owned(), Clone::clone)
            }
        })
    }

    /// A request of the service's ids and etags as the model gets it.
    pub fn to_labels(&self, request: Request) -> Request {
        request.with(&mut |place, real| match place {
            Place::ContactId => self.label_of(real),
            Place::Etag(of) => self.etag_label(&self.label_of(of), real),
            Place::Grant | Place::Token | Place::PhonePassword => real.to_owned(),
        })
    }

    /// What has no label keeps its text.
    pub fn label_of(&self, id: &str) -> String {
        if let Some(index) = id.strip_prefix("0190d6d2-0000-7000-8000-") {
            return Self::nobody(index.parse().expect("no id of nobody"));
        }
        self.etag_label("", id)
    }

    fn etag_label(&self, of: &str, etag: &str) -> String {
        let label = self.labels.get(&(of.to_owned(), etag.to_owned()));
        label.map_or_else(|| etag.to_owned(), Clone::clone)
    }

    /// Puts the label in place of a text. One that was never seen gets the label that is
    /// expected, if that one is free, and keeps it unless the answer was given for a check.
    fn put(&mut self, of: &str, text: &mut String, expected: &str, keeps: bool) {
        let label = self.etag_label(of, text);
        if label != *text {
            *text = label;
        } else if !expected.is_empty() && !text.is_empty() && !self.real.contains_key(expected) {
            if keeps {
                let key = (of.to_owned(), text.clone());
                self.real.insert(expected.to_owned(), text.clone());
                self.labels.insert(key, expected.to_owned());
            }
            expected.clone_into(text);
        }
    }

    pub fn put_in_contact(
        &mut self,
        contact: &mut proto::Contact,
        expected: &proto::Contact,
        keeps: bool,
    ) {
        self.put("", &mut contact.contact_id, &expected.contact_id, keeps);
        let of = contact.contact_id.clone();
        self.put(&of, &mut contact.etag, &expected.etag, keeps);
    }

    pub fn put_in_customer(&mut self, customer: &mut proto::Customer, expected: &proto::Customer) {
        let of = customer.customer_number.clone();
        self.put(&of, &mut customer.etag, &expected.etag, true);
    }

    /// Puts labels into an answer.
    pub fn put_in_answer(&mut self, answer: &mut Answer, expected: &Answer, keeps: bool) {
        if let (Answer::Customer(customer), Answer::Customer(expected)) = (&mut *answer, expected) {
            self.put_in_customer(customer, expected);
        }
        let mut expected = expected.clone();
        if let Some((contact, expected)) = answer.shown_contact().zip(expected.shown_contact()) {
            self.put_in_contact(contact, expected, keeps);
        }
        match (answer, expected) {
            (Answer::Confirmed(confirmed), _) => {
                confirmed.contact_id = self.label_of(&confirmed.contact_id);
            }
            (Answer::Checked(checked), Answer::Checked(expected))
                if !checked.grant.is_empty() && !expected.grant.is_empty() =>
            {
                let real = std::mem::replace(&mut checked.grant, expected.grant);
                self.grants.push(real);
            }
            (Answer::PasswordSet(set), Answer::PasswordSet(expected)) => {
                let label = expected.generated_phone_password;
                if !set.generated_phone_password.is_empty() && !label.is_empty() {
                    let real = std::mem::replace(&mut set.generated_phone_password, label);
                    self.generated.push(real);
                }
            }
            (Answer::Decided(decided), _) => {
                let id = uuid::Uuid::parse_str(&decided.authorization_id).expect("no id");
                assert_eq!(id.get_version_num(), 7);
                decided.authorization_id.clear();
            }
            _ => {}
        }
    }
}

/// The number behind the kind of a label.
pub fn place_of(kind: &str, label: &str) -> Option<usize> {
    label.strip_prefix(kind)?.parse().ok()
}
