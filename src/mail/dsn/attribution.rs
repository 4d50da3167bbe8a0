//! Finds the customer to whom a returned mail was sent.

use super::{
    bounce_address::BounceAddress,
    fields::{Field, Item, header, items},
    mime::Email,
    report::Unattributed,
};
use crate::domain::ids::{ContactId, CustomerNumber};

const CUSTOMER_HEADER: &str = "X-Customer-Number";
const CONTACT_HEADER: &str = "X-Contact-Id";

/// The types of parts with the headers of the returned message.
const RETURNED: [&str; 4] = [
    "message/rfc822",
    "message/global",
    "text/rfc822-headers",
    "message/global-headers",
];

/// Headers of nearly all mails. Two of them distinguish a quoted header from a line of prose.
const USUAL_HEADERS: [&str; 8] = [
    "Date",
    "From",
    "Message-ID",
    "MIME-Version",
    "Received",
    "Return-Path",
    "Subject",
    "To",
];
const MIN_USUAL_HEADERS: usize = 2;

/// The customer, and the contact if it is named.
#[derive(Debug)]
pub(super) struct Attribution {
    pub(super) customer_number: CustomerNumber,
    pub(super) contact_id: Option<ContactId>,
}

impl Attribution {
    /// Finds the customer in the address that the bounce was sent to, and in the returned headers.
    ///
    /// # Errors
    /// [`Unattributed::NoCustomer`], or [`Unattributed::Conflict`] if two places disagree.
    pub(super) fn of(
        email: &Email<'_>,
        bounce_address: Option<&BounceAddress>,
    ) -> Result<Self, Unattributed> {
        let mut claims = Claims::default();
        for part in email.parts() {
            if part.is(&RETURNED) {
                claims.insert_header(header(&part.text()));
            } else if part.is(&["text/plain"]) {
                claims.insert_quoted(&part.text());
            }
        }
        // Last, because servers change the case of addresses, which customer numbers depend on.
        if let Some(bounce_address) = bounce_address {
            let addresses = email.delivery_addresses();
            let named = addresses.filter_map(|address| bounce_address.attribution(address));
            for (number, contact_id) in named {
                claims.insert_envelope(number, contact_id);
            }
        }
        claims.resolve()
    }
}

/// The different customers and contacts that a message names.
#[derive(Debug, Default)]
struct Claims {
    numbers: Vec<CustomerNumber>,
    contact_ids: Vec<ContactId>,
}

impl Claims {
    /// Collects the headers of a returned message.
    fn insert_header<'a>(&mut self, fields: impl Iterator<Item = Field<'a>>) {
        let mut numbers = Vec::new();
        let mut contact_ids = Vec::new();
        for field in fields {
            if field.is(CUSTOMER_HEADER) {
                numbers.extend(CustomerNumber::parse(&field.value));
            } else if field.is(CONTACT_HEADER) {
                contact_ids.extend(ContactId::parse(&field.value));
            }
        }
        // A contact is only known within its customer.
        if !numbers.is_empty() {
            for number in numbers {
                push_new(&mut self.numbers, number);
            }
            for contact_id in contact_ids {
                push_new(&mut self.contact_ids, contact_id);
            }
        }
    }

    /// Collects the first header that a text quotes, with or without `>` before each line.
    fn insert_quoted(&mut self, text: &str) {
        if !contains_ignoring_case(text, CUSTOMER_HEADER) {
            return;
        }
        let lines = text
            .lines()
            .map(|line| line.strip_prefix('>').map_or(line, unquote));
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut block = Vec::new();
        for item in items(&text).chain([Item::Blank]) {
            match item {
                Item::Field(field) => block.push(field),
                Item::Blank | Item::Other => {
                    if is_header(&block) {
                        return self.insert_header(block.into_iter());
                    }
                    block.clear();
                }
            }
        }
    }

    fn insert_envelope(&mut self, number: CustomerNumber, contact_id: Option<ContactId>) {
        let is_same = |other: &CustomerNumber| number.as_str().eq_ignore_ascii_case(other.as_str());
        if !self.numbers.iter().any(is_same) {
            self.numbers.push(number);
        }
        if let Some(contact_id) = contact_id {
            push_new(&mut self.contact_ids, contact_id);
        }
    }

    fn resolve(self) -> Result<Attribution, Unattributed> {
        let mut numbers = self.numbers.into_iter();
        let customer_number = numbers.next().ok_or(Unattributed::NoCustomer)?;
        if numbers.next().is_some() || self.contact_ids.len() > 1 {
            return Err(Unattributed::Conflict);
        }
        Ok(Attribution {
            customer_number,
            contact_id: self.contact_ids.first().copied(),
        })
    }
}

/// Adds a value that differs from the others. Two are enough for a conflict.
fn push_new<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if values.len() < 2 && !values.contains(&value) {
        values.push(value);
    }
}

/// Returns true if the fields are a header that names a customer.
fn is_header(fields: &[Field<'_>]) -> bool {
    let has = |name: &&str| fields.iter().any(|field| field.is(name));
    let usual = USUAL_HEADERS.iter().filter(|name| has(name)).count();
    has(&CUSTOMER_HEADER) && usual >= MIN_USUAL_HEADERS
}

fn unquote(line: &str) -> &str {
    line.strip_prefix(' ').unwrap_or(line)
}

fn contains_ignoring_case(text: &str, name: &str) -> bool {
    let mut windows = text.as_bytes().windows(name.len());
    windows.any(|window| window.eq_ignore_ascii_case(name.as_bytes()))
}
