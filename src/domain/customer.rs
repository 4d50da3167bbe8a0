//! The customer record (rule 24).

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        contact::Locale, email_address::EmailAddress, etag::etag, ids::CustomerNumber,
        phone_number::PhoneNumber,
    },
    error::{Error, Result},
};

/// The customer's own address, number and language, mirrored from the master data.
#[derive(Clone, Debug, Default)]
pub struct ContactData {
    /// The address; needs no confirmation.
    pub email: Option<EmailAddress>,
    /// The number.
    pub phone_number: Option<PhoneNumber>,
    /// The language to write to the address in.
    pub locale: Locale,
}

/// The suppression of the attention line of invoices, and the order that set it (rule 23).
#[derive(Clone, Debug, Default)]
pub struct AttentionLineOrder {
    /// The line stays empty.
    pub suppressed: bool,
    /// The address from which the last order came, and when. `None`: there was none yet, or the
    /// suppression was lifted without naming an address.
    pub ordered: Option<(EmailAddress, DateTime<Utc>)>,
}

/// Which notices also go to the customer's contact-data address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationSettings {
    /// Security notices.
    pub security_notices: bool,
    /// Planned maintenance.
    pub planned_maintenance: bool,
    /// Outages.
    pub outages: bool,
}

/// Rule 24: each is on at first.
impl Default for NotificationSettings {
    fn default() -> Self {
        Self {
            security_notices: true,
            planned_maintenance: true,
            outages: true,
        }
    }
}

/// A customer of the provider.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Its number.
    pub number: CustomerNumber,
    /// Its own address and phone number.
    pub contact_data: ContactData,
    /// Its notification settings.
    pub notification_settings: NotificationSettings,
    /// The last order about the attention line of its invoices.
    pub attention_line: AttentionLineOrder,
    /// Counts the changes of this record; the etag is made of it.
    pub version: i64,
    /// When it was put on file.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

impl Customer {
    /// A record as it is before anything is known but its number.
    pub fn new(number: CustomerNumber, now: DateTime<Utc>) -> Self {
        Self {
            number,
            contact_data: ContactData::default(),
            notification_settings: NotificationSettings::default(),
            attention_line: AttentionLineOrder::default(),
            version: 1,
            create_time: now,
            update_time: now,
        }
    }
}

impl Customer {
    /// Tells this state of the record from others.
    pub fn etag(&self) -> String {
        etag(self.create_time, self.version)
    }

    /// Rule 23: suppresses the attention line, or lifts that, on the order that came from
    /// `ordered_by`, and names the fields that differ afterwards.
    ///
    /// # Errors
    /// [`Error::OrderingAddressNotOnFile`] when that is not the contact-data address.
    pub fn order_attention_line(
        &mut self,
        suppressed: bool,
        ordered_by: Option<EmailAddress>,
        now: DateTime<Utc>,
    ) -> Result<Vec<&'static str>> {
        let own = self.contact_data.email.as_ref();
        let is_own = |address: &EmailAddress| own.is_some_and(|own| own.is_same_as(address));
        if !ordered_by.as_ref().is_none_or(is_own) {
            return Err(Error::OrderingAddressNotOnFile);
        }
        let order = &mut self.attention_line;
        let mut changed = Vec::new();
        if order.suppressed != suppressed {
            order.suppressed = suppressed;
            changed.push("attention_line.suppressed");
        }
        let is_same_address = match (&order.ordered, &ordered_by) {
            (Some((kept, _)), Some(address)) => kept.is_same_as(address),
            (kept, address) => kept.is_none() && address.is_none(),
        };
        if !is_same_address {
            changed.push("attention_line.ordered_by_email");
        }
        if !changed.is_empty() {
            order.ordered = ordered_by.map(|address| (address, now));
        }
        Ok(changed)
    }
}

/// What an update sets; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct CustomerChange {
    /// The new address, or none.
    pub email: Option<Option<EmailAddress>>,
    /// The new number, or none.
    pub phone_number: Option<Option<PhoneNumber>>,
    /// The new language.
    pub locale: Option<Locale>,
    /// Security notices.
    pub security_notices: Option<bool>,
    /// Planned maintenance.
    pub planned_maintenance: Option<bool>,
    /// Outages.
    pub outages: Option<bool>,
}

impl CustomerChange {
    /// Applies the change and names the fields that differ afterwards.
    pub fn apply_to(&self, customer: &mut Customer) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let data = &mut customer.contact_data;
        if let Some(email) = &self.email {
            let kept = data.email.as_ref().map(EmailAddress::as_str);
            if kept != email.as_ref().map(EmailAddress::as_str) {
                data.email.clone_from(email);
                changed.push("contact_data.email");
            }
        }
        if let Some(number) = &self.phone_number
            && data.phone_number != *number
        {
            data.phone_number.clone_from(number);
            changed.push("contact_data.phone_number");
        }
        if let Some(locale) = self.locale
            && data.locale != locale
        {
            data.locale = locale;
            changed.push("contact_data.locale");
        }
        let settings = &mut customer.notification_settings;
        for (new, kept, name) in [
            (
                self.security_notices,
                &mut settings.security_notices,
                "notification_settings.security_notices",
            ),
            (
                self.planned_maintenance,
                &mut settings.planned_maintenance,
                "notification_settings.planned_maintenance",
            ),
            (
                self.outages,
                &mut settings.outages,
                "notification_settings.outages",
            ),
        ] {
            if let Some(new) = new
                && new != *kept
            {
                *kept = new;
                changed.push(name);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_only_what_differs() {
        let now = DateTime::UNIX_EPOCH;
        let mut customer = Customer::new(CustomerNumber::parse("1").unwrap(), now);
        let change = CustomerChange {
            email: Some(Some(EmailAddress::parse("a@example.com").unwrap())),
            locale: Some(Locale::English),
            outages: Some(false),
            security_notices: Some(true),
            ..CustomerChange::default()
        };
        assert_eq!(
            change.apply_to(&mut customer),
            [
                "contact_data.email",
                "contact_data.locale",
                "notification_settings.outages"
            ]
        );
        assert!(change.apply_to(&mut customer).is_empty());
    }

    #[test]
    fn rule_23_an_order_is_recorded_once_with_its_address_and_time() {
        let (now, address) = (DateTime::UNIX_EPOCH, "a@example.com");
        let parse = |text| Some(EmailAddress::parse(text).unwrap());
        let mut customer = Customer::new(CustomerNumber::parse("1").unwrap(), now);
        let foreign = customer.order_attention_line(true, parse(address), now);
        assert_eq!(foreign, Err(Error::OrderingAddressNotOnFile));
        customer.contact_data.email = parse(address);
        let (state, from) = (
            "attention_line.suppressed",
            "attention_line.ordered_by_email",
        );
        let later = now + chrono::TimeDelta::hours(1);
        let mut order = |suppressed, from: Option<EmailAddress>, time| {
            let changed = customer.order_attention_line(suppressed, from, time);
            let order = customer.attention_line.clone();
            let ordered = order.ordered.map(|(_, time)| time);
            (changed.unwrap(), order.suppressed, ordered)
        };
        let first = order(true, parse(address), now);
        assert_eq!(first, (vec![state, from], true, Some(now)));
        // The same again changes nothing, whatever the capitals.
        let again = order(true, parse("A@example.com"), later);
        assert_eq!(again, (vec![], true, Some(now)));
        // The same address orders something else: that is another order.
        let lifted = order(false, parse(address), later);
        assert_eq!(lifted, (vec![state], false, Some(later)));
        let suppressed = order(true, parse(address), now);
        assert_eq!(suppressed, (vec![state], true, Some(now)));
        let lifted = order(false, None, later);
        assert_eq!(lifted, (vec![state, from], false, None));
        assert_eq!(order(false, None, now), (vec![], false, None));
    }
}
