//! Maps the labels of the model to the values of the service: ids, etags, grants, links,
//! passwords.

use std::collections::BTreeMap;

use contact_service::api::proto;

use super::requests::{LabelSlot, Request, Response};

/// The label of a value that no later command can refer to.
const UNKNOWN: &str = "unknown ";

#[derive(Debug, Default)]
pub struct Names {
    /// Ids and etags by label.
    real: BTreeMap<String, String>,
    /// The labels; those of etags by their contact or customer.
    labels: BTreeMap<(String, String), String>,
    grants: Vec<String>,
    /// By the index of the link in the model.
    pub tokens: BTreeMap<usize, Vec<String>>,
    generated: Vec<String>,
}

impl Names {
    /// The label of an unknown id.
    pub fn unknown(index: usize) -> String {
        format!("{UNKNOWN}{index}")
    }

    fn id_of(&self, label: &str) -> String {
        match label.strip_prefix(UNKNOWN) {
            Some(index) => format!("0190d6d2-0000-7000-8000-{index:0>12}"),
            None => self.text_of(label),
        }
    }

    /// A label without a value maps to itself.
    fn text_of(&self, label: &str) -> String {
        let real = self.real.get(label);
        real.map_or_else(|| label.to_owned(), Clone::clone)
    }

    /// The request with the service's values.
    pub fn to_real(&self, request: Request) -> Request {
        request.with(&mut |place, label| match place {
            LabelSlot::ContactId => self.id_of(label),
            LabelSlot::Etag(_) => self.text_of(label),
            LabelSlot::Grant => {
                let place = place_of("grant ", label);
                let grant = place.and_then(|place| self.grants.get(place));
                grant.map_or_else(|| label.to_owned(), Clone::clone)
            }
            LabelSlot::Token => {
                let tokens = place_of("link ", label).and_then(|place| self.tokens.get(&place));
                let newest = tokens.and_then(|tokens| tokens.last());
                newest.map_or_else(|| label.to_owned(), Clone::clone)
            }
            LabelSlot::PhonePassword => {
                let place = place_of("generated ", label);
                let generated = place.and_then(|place| self.generated.get(place));
                generated.map_or_else(|| label.to_owned(), Clone::clone)
            }
        })
    }

    /// The request of the service with the model's labels.
    pub fn to_labels(&self, request: Request) -> Request {
        request.with(&mut |place, real| match place {
            LabelSlot::ContactId => self.label_of(real),
            LabelSlot::Etag(of) => self.etag_label(&self.label_of(of), real),
            LabelSlot::Grant | LabelSlot::Token | LabelSlot::PhonePassword => real.to_owned(),
        })
    }

    /// A value without a label maps to itself.
    pub fn label_of(&self, id: &str) -> String {
        if let Some(index) = id.strip_prefix("0190d6d2-0000-7000-8000-") {
            return Self::unknown(index.parse().expect("malformed label of an unknown id"));
        }
        self.etag_label("", id)
    }

    fn etag_label(&self, of: &str, etag: &str) -> String {
        let label = self.labels.get(&(of.to_owned(), etag.to_owned()));
        label.map_or_else(|| etag.to_owned(), Clone::clone)
    }

    /// Replaces a value by its label. A new value gets the expected label if that is free, and
    /// keeps it unless the response is from a validate-only request.
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

    /// Replaces the values in a response by labels.
    pub fn put_in_response(&mut self, response: &mut Response, expected: &Response, keeps: bool) {
        if let (Response::Customer(customer), Response::Customer(expected)) =
            (&mut *response, expected)
        {
            self.put_in_customer(customer, expected);
        }
        let mut expected = expected.clone();
        if let Some((contact, expected)) = response.shown_contact().zip(expected.shown_contact()) {
            self.put_in_contact(contact, expected, keeps);
        }
        match (response, expected) {
            (Response::Confirmed(confirmed), _) => {
                confirmed.contact_id = self.label_of(&confirmed.contact_id);
            }
            (Response::Checked(checked), Response::Checked(expected))
                if !checked.grant.is_empty() && !expected.grant.is_empty() =>
            {
                // Order types are those of all histories.
                let own = expected.order_options.first().expect("no order type");
                let (own, _) = own.order_type.split_once('.').expect("no prefix");
                let is_own = |of: &proto::OrderOption| of.order_type.starts_with(own);
                checked.order_options.retain(is_own);
                let caller = checked.caller.as_mut().expect("no caller");
                caller.contact_id = self.label_of(&caller.contact_id);
                let real = std::mem::replace(&mut checked.grant, expected.grant);
                self.grants.push(real);
            }
            (Response::PasswordSet(set), Response::PasswordSet(expected)) => {
                let label = expected.generated_phone_password;
                if !set.generated_phone_password.is_empty() && !label.is_empty() {
                    let real = std::mem::replace(&mut set.generated_phone_password, label);
                    self.generated.push(real);
                }
            }
            (Response::Decided(decided), _) => {
                let order = decided.order.as_mut().expect("no order");
                let id = uuid::Uuid::parse_str(&order.authorization_id).expect("no id");
                assert_eq!(id.get_version_num(), 7);
                order.authorization_id.clear();
                order.contact_id = self.label_of(&order.contact_id);
            }
            _ => {}
        }
    }
}

/// The index in a label of this kind.
pub fn place_of(kind: &str, label: &str) -> Option<usize> {
    label.strip_prefix(kind)?.parse().ok()
}
