//! The customer record (rules 23 and 24).

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    domain::{
        audit::Actor, contact::Locale, email_address::EmailAddress, etag::etag,
        ids::CustomerNumber, phone_number::PhoneNumber,
    },
    error::{Error, Result},
};

/// The time between reminders of a review, and from a review to the next reminder (rule 33).
pub const REVIEW_INTERVAL: TimeDelta = TimeDelta::days(365);

/// The declaration that the contacts were reviewed (rule 33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactsReview {
    /// The time of the declaration.
    pub time: DateTime<Utc>,
    /// The actor that declared it.
    pub by: Actor,
}

/// The customer's own e-mail address, phone number and language, mirrored from the master data.
#[derive(Clone, Debug, Default)]
pub struct ContactData {
    /// The e-mail address, which needs no confirmation.
    pub email: Option<EmailAddress>,
    /// The time at which an e-mail to the address failed.
    pub email_bounce_time: Option<DateTime<Utc>>,
    /// The time before which reports of failures are outdated, as the address was entered then, or
    /// delivered to after a failure.
    pub email_works_since: Option<DateTime<Utc>>,
    /// The phone number.
    pub phone_number: Option<PhoneNumber>,
    /// The language of messages to the address.
    pub locale: Locale,
}

/// The suppression of the attention line of invoices, and the order that set it (rule 23).
#[derive(Clone, Debug, Default)]
pub struct AttentionLineOrder {
    /// True if the attention line stays empty.
    pub suppressed: bool,
    /// The address that the last order came from, and its time. `None`: there was no order, or the
    /// suppression was lifted without naming an address.
    pub ordered: Option<(EmailAddress, DateTime<Utc>)>,
}

/// The notices that are also sent to the address of the customer's contact data.
#[allow(
    clippy::struct_excessive_bools,
    reason = "the settings are independent"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationSettings {
    /// Security notices.
    pub security_notices: bool,
    /// Planned maintenance.
    pub planned_maintenance: bool,
    /// Outages.
    pub outages: bool,
    /// Changes to who may act for the customer (rule 31).
    pub contact_changes: bool,
}

/// Enables all notices (rule 24).
impl Default for NotificationSettings {
    fn default() -> Self {
        Self {
            security_notices: true,
            planned_maintenance: true,
            outages: true,
            contact_changes: true,
        }
    }
}

/// A customer of the provider.
#[derive(Clone, Debug)]
pub struct Customer {
    /// The customer number.
    pub number: CustomerNumber,
    /// The customer's own address, phone number and language.
    pub contact_data: ContactData,
    /// The notices that are sent to the contact data's address.
    pub notification_settings: NotificationSettings,
    /// The last order about the attention line of invoices.
    pub attention_line: AttentionLineOrder,
    /// The last review of the contacts (rule 33).
    pub contacts_review: Option<ContactsReview>,
    /// The time of the next reminder of a review.
    pub review_remind_time: DateTime<Utc>,
    /// The number of changes of the record, from which its etag is derived.
    pub version: i64,
    /// The time of the record's creation.
    pub create_time: DateTime<Utc>,
    /// The time of the last change.
    pub update_time: DateTime<Utc>,
}

impl Customer {
    /// Creates a record with default values for all fields but the number.
    pub fn new(number: CustomerNumber, now: DateTime<Utc>) -> Self {
        Self {
            number,
            contact_data: ContactData::default(),
            notification_settings: NotificationSettings::default(),
            attention_line: AttentionLineOrder::default(),
            contacts_review: None,
            review_remind_time: now + REVIEW_INTERVAL,
            version: 1,
            create_time: now,
            update_time: now,
        }
    }

    /// Returns the etag of this version of the record.
    pub fn etag(&self) -> String {
        etag(self.create_time, self.version)
    }

    /// Suppresses the attention line or restores it, on an order from `ordered_by` (rule 23).
    /// Returns the names of the fields that differ.
    ///
    /// # Errors
    /// [`Error::OrderingAddressNotOnFile`] unless `ordered_by` is the contact data's address.
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
            (Some((stored, _)), Some(address)) => stored.is_same_as(address),
            (stored, address) => stored.is_none() && address.is_none(),
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

/// The fields that an update sets. `None` leaves a field unchanged.
#[derive(Clone, Debug, Default)]
pub struct CustomerChange {
    /// The new e-mail address; `Some(None)` removes it.
    pub email: Option<Option<EmailAddress>>,
    /// The new phone number; `Some(None)` removes it.
    pub phone_number: Option<Option<PhoneNumber>>,
    /// The new language.
    pub locale: Option<Locale>,
    /// Enables or disables security notices.
    pub security_notices: Option<bool>,
    /// Enables or disables notices of planned maintenance.
    pub planned_maintenance: Option<bool>,
    /// Enables or disables notices of outages.
    pub outages: Option<bool>,
    /// Enables or disables notices of changes to contacts.
    pub contact_changes: Option<bool>,
}

impl CustomerChange {
    /// Applies the change and returns the names of the fields that differ.
    pub fn apply_to(&self, customer: &mut Customer, now: DateTime<Utc>) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let data = &mut customer.contact_data;
        if let Some(email) = &self.email {
            let stored = data.email.as_ref().map(EmailAddress::as_str);
            if stored != email.as_ref().map(EmailAddress::as_str) {
                let own = data.email.as_ref().zip(email.as_ref());
                if !own.is_some_and(|(own, new)| own.is_same_as(new)) {
                    data.email_bounce_time = None;
                    data.email_works_since = Some(now);
                }
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
        for (new, setting, name) in [
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
            (
                self.contact_changes,
                &mut settings.contact_changes,
                "notification_settings.contact_changes",
            ),
        ] {
            if let Some(new) = new
                && new != *setting
            {
                *setting = new;
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
    fn change_returns_the_names_of_differing_fields() {
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
            change.apply_to(&mut customer, now),
            [
                "contact_data.email",
                "contact_data.locale",
                "notification_settings.outages"
            ]
        );
        assert!(change.apply_to(&mut customer, now).is_empty());
    }

    #[test]
    fn rule_23_order_is_recorded_once_with_address_and_time() {
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
        // Repeating the order changes nothing; the case of the address is ignored.
        let again = order(true, parse("A@example.com"), later);
        assert_eq!(again, (vec![], true, Some(now)));
        // Another order from the same address.
        let lifted = order(false, parse(address), later);
        assert_eq!(lifted, (vec![state], false, Some(later)));
        let suppressed = order(true, parse(address), now);
        assert_eq!(suppressed, (vec![state], true, Some(now)));
        let lifted = order(false, None, later);
        assert_eq!(lifted, (vec![state, from], false, None));
        assert_eq!(order(false, None, now), (vec![], false, None));
    }
}
