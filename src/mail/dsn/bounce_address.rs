//! The envelope sender of mails whose bounces name the customer (variable envelope return path).

use uuid::Uuid;

use crate::{
    domain::{
        email_address::EmailAddress,
        ids::{ContactId, CustomerNumber},
    },
    error::Invalid,
};

const DELIMITER: char = '+';
/// Separates the contact from the customer number, which cannot contain it.
const CONTACT_DELIMITER: char = '=';
/// A customer number of the greatest length.
const LONGEST_NUMBER: &str = "00000000000000000000000000000000";

/// The address to which bounces are sent, such as `bounces@sender.example`.
///
/// A mail to a customer has the envelope sender `bounces+K-1001@sender.example`, followed by `=` and
/// the contact's id where that fits into the 64 octets of a local part (RFC 5321, 4.5.3.1.1).
#[derive(Clone, Debug)]
pub struct BounceAddress {
    local: String,
    domain: String,
}

impl BounceAddress {
    /// Parses an address without `+`, whose local part leaves space for every customer number.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || {
            Invalid::new(
                "must be an address such as bounces@example.com, without + and with at most 31 characters before the @",
            )
        };
        let address = EmailAddress::parse(text).map_err(|_| form())?;
        let (local, domain) = address.as_str().rsplit_once('@').ok_or_else(form)?;
        let longest = format!("{local}{DELIMITER}{LONGEST_NUMBER}@{domain}");
        if local.contains(DELIMITER) || EmailAddress::parse(&longest).is_err() {
            return Err(form());
        }
        Ok(Self {
            local: local.to_owned(),
            domain: domain.to_owned(),
        })
    }

    /// Returns the envelope sender of a mail to a customer or one of its contacts. The contact is
    /// left out if the address would be too long.
    pub fn envelope_sender(
        &self,
        customer_number: &CustomerNumber,
        contact_id: Option<ContactId>,
    ) -> EmailAddress {
        let Self { local, domain } = self;
        let number = customer_number.as_str();
        let with_contact = contact_id.and_then(|ContactId(id)| {
            let id = id.simple();
            let text = format!("{local}{DELIMITER}{number}{CONTACT_DELIMITER}{id}@{domain}");
            EmailAddress::parse(&text).ok()
        });
        with_contact.unwrap_or_else(|| {
            EmailAddress::from_stored(format!("{local}{DELIMITER}{number}@{domain}"))
        })
    }

    /// Returns the customer and contact of an envelope sender, or `None` for any other address.
    pub(super) fn attribution(&self, address: &str) -> Option<(CustomerNumber, Option<ContactId>)> {
        let address = EmailAddress::parse(address).ok()?;
        let (local, domain) = address.as_str().rsplit_once('@')?;
        let (base, customer) = local.split_once(DELIMITER)?;
        if !base.eq_ignore_ascii_case(&self.local) || domain != self.domain {
            return None;
        }
        let (number, contact_id) = match customer.split_once(CONTACT_DELIMITER) {
            Some((number, id)) => (number, Some(parse_simple(id)?)),
            None => (customer, None),
        };
        Some((CustomerNumber::parse(number).ok()?, contact_id))
    }
}

fn parse_simple(digits: &str) -> Option<ContactId> {
    let id = Uuid::try_parse(digits).ok()?;
    (digits.len() == 32 && !id.is_nil()).then_some(ContactId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTACT: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

    fn number(text: &str) -> CustomerNumber {
        CustomerNumber::parse(text).unwrap()
    }

    #[test]
    fn envelope_sender_is_read_back() {
        let contact = ContactId::parse(CONTACT).unwrap();
        let bounces = BounceAddress::parse("bounces@Müller.example").unwrap();
        for contact_id in [None, Some(contact)] {
            let sender = bounces.envelope_sender(&number("K-1001"), contact_id);
            let expected = Some((number("K-1001"), contact_id));
            assert_eq!(bounces.attribution(sender.as_str()), expected);
        }
        let sender = bounces.envelope_sender(&number("K-1001"), Some(contact));
        let expected = "bounces+K-1001=0190d6d25a3c7cc18f2e3d1f0a9b7c55@xn--mller-kva.example";
        assert_eq!(sender.as_str(), expected);
    }

    #[test]
    fn contact_is_left_out_of_a_long_local_part() {
        let contact = ContactId::parse(CONTACT).ok();
        let bounces = BounceAddress::parse(&format!("{}@example.com", "b".repeat(31))).unwrap();
        let longest = number(LONGEST_NUMBER);
        let sender = bounces.envelope_sender(&longest, contact);
        assert_eq!(bounces.attribution(sender.as_str()), Some((longest, None)));
    }

    #[test]
    fn other_addresses_name_no_customer() {
        let bounces = BounceAddress::parse("bounces@example.com").unwrap();
        for address in [
            "",
            "bounces@example.com",
            "bounces+@example.com",
            "bounces+K-1001@example.org",
            "bounces+K-1001@sub.example.com",
            "bounces-K-1001@example.com",
            "bouncesK-1001@example.com",
            "bounces+K_1001@example.com",
            "bounces+K-1001+x@example.com",
            "bounces+K-1001=@example.com",
            "bounces+K-1001=x@example.com",
            "bounces+K-1001=0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55@example.com",
            "bounces+K-1001=00000000000000000000000000000000@example.com",
        ] {
            assert_eq!(bounces.attribution(address), None, "{address}");
        }
        let any_case = bounces.attribution("Bounces+K-1001@EXAMPLE.com");
        assert_eq!(any_case, Some((number("K-1001"), None)));
    }

    #[test]
    fn bounce_address_leaves_space_for_the_customer() {
        let long_local = format!("{}@example.com", "b".repeat(32));
        for text in ["", "bounces", "bounces+x@example.com", long_local.as_str()] {
            assert!(BounceAddress::parse(text).is_err(), "{text:?}");
        }
    }
}
