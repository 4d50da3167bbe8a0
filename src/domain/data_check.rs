//! The checks of stored data: what each finds, and how the data is mended.
//!
//! Stored data passes all of them unless the database was restored incompletely, changed by hand, or
//! damaged.

use std::fmt;

use crate::domain::ids::ContactId;

/// A check of stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataCheck {
    /// The name, such as `last-standard-contact`.
    pub name: &'static str,
    /// The problem.
    pub problem: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

/// Data that did not pass a check. It holds numbers and ids only, no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: DataCheck,
    /// The customer; `None` if the data belongs to none.
    pub customer_number: Option<String>,
    /// The contact, if the data belongs to one.
    pub contact_id: Option<ContactId>,
    /// The row within the customer, the version or the position, such as `mail 0190…`.
    pub row: Option<String>,
}

impl Finding {
    /// Creates a finding about a customer.
    pub fn of_customer(check: DataCheck, customer_number: &str) -> Self {
        Self {
            check,
            customer_number: Some(customer_number.to_owned()),
            contact_id: None,
            row: None,
        }
    }

    /// Creates a finding about a contact.
    pub fn of_contact(check: DataCheck, customer_number: &str, contact_id: ContactId) -> Self {
        Self {
            contact_id: Some(contact_id),
            ..Self::of_customer(check, customer_number)
        }
    }

    /// Creates a finding that belongs to no customer.
    pub fn of_row(check: DataCheck, row: impl Into<String>) -> Self {
        Self {
            check,
            customer_number: None,
            contact_id: None,
            row: Some(row.into()),
        }
    }

    /// Adds the row.
    #[must_use]
    pub fn with_row(mut self, row: impl Into<String>) -> Self {
        self.row = Some(row.into());
        self
    }
}

/// Formats the finding as one line.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DataCheck {
            name,
            problem,
            remedy,
        } = self.check;
        if let Some(number) = &self.customer_number {
            write!(formatter, "{number} ")?;
        }
        if let Some(ContactId(id)) = self.contact_id {
            write!(formatter, "contact {id} ")?;
        }
        if let Some(row) = &self.row {
            write!(formatter, "{row} ")?;
        }
        write!(formatter, "{name}: {problem}; {remedy}")
    }
}

macro_rules! checks {
    ($($constant:ident $name:literal $problem:literal $remedy:literal)*) => {
        impl DataCheck {
            $(
                #[doc = concat!("Finds: ", $problem, ".")]
                pub const $constant: Self = Self {
                    name: $name,
                    problem: $problem,
                    remedy: $remedy,
                };
            )*

            /// All checks.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

checks! {
    UNREADABLE_CUSTOMER "unreadable-customer"
        "a column of the customer has a value that the service cannot read"
        "correct it, or restore it from a backup"
    UNREADABLE_CONTACT "unreadable-contact"
        "a column of the contact has a value that the service cannot read"
        "correct it, or restore it from a backup"
    UNREADABLE_MAIL "unreadable-mail"
        "a column of the queued mail has a value that the service cannot read"
        "delete the row; the mail would become a dead letter"
    LAST_STANDARD_CONTACT "last-standard-contact"
        "rule 2: the customer has contacts, but no STANDARD contact"
        "give one of them the type STANDARD"
    TOO_MANY_CONTACTS "too-many-contacts"
        "rule 4: the customer has more than 100 contacts"
        "delete contacts"
    TOO_MANY_PHONE_NUMBERS "too-many-phone-numbers"
        "rule 4: the contact has more than 10 phone numbers"
        "remove phone numbers"
    INVOICE_EMAIL "invoice-email"
        "rule 22: invoice e-mail is enabled without the type or an address for it"
        "disable it, or add the type or an address"
    EMAIL_FORM "email-form"
        "rule 12: a stored address is not in normalized form"
        "enter the address again"
    EMAIL_KEY "email-key"
        "rule 12: the key by which the address is found is not that of the address"
        "set email_key to the address in lower case"
    PHONE_NUMBER_FORM "phone-number-form"
        "a stored phone number is not in E.164"
        "enter the phone number again"
    CONFIRMED_WITHOUT_EMAIL "confirmed-without-email"
        "the contact has a time of confirmation or of a bounce, but no confirmed address"
        "set these times to NULL, or restore the address from a backup"
    PENDING_WITHOUT_CONFIRMATION "pending-without-confirmation"
        "rule 5: the pending address has no confirmation, so that its link is dead"
        "enter the address again"
    CONFIRMATION_WITHOUT_PENDING "confirmation-without-pending"
        "rule 8: the confirmation is pending, but its address is not"
        "set its state to superseded"
    CONFIRMATION_MISMATCH "confirmation-mismatch"
        "rule 8: the expiry or the masked address of the confirmation is not that of the pending address"
        "enter the address again"
    CONTACT_WITHOUT_CUSTOMER "contact-without-customer"
        "the customer of the contact is missing"
        "restore the customer from a backup, or delete the contact"
    PHONE_NUMBER_WITHOUT_CONTACT "phone-number-without-contact"
        "the contact of the phone number is missing"
        "restore the contact from a backup, or delete the row"
    CONFIRMATION_WITHOUT_CONTACT "confirmation-without-contact"
        "the contact of the e-mail confirmation is missing"
        "restore the contact from a backup, or delete the row"
    TOKEN_WITHOUT_CONFIRMATION "token-without-confirmation"
        "the confirmation of the mailed link is missing"
        "restore the confirmation from a backup, or delete the row"
    MAIL_WITHOUT_CUSTOMER "mail-without-customer"
        "the customer of the queued mail is missing"
        "restore the customer from a backup, or delete the row"
    MAIL_WITHOUT_CONFIRMATION "mail-without-confirmation"
        "the confirmation of the queued mail is missing, while its contact is on file"
        "enter the address again; the mail has no link to send"
    MAIL_COUNT_WITHOUT_CUSTOMER "mail-count-without-customer"
        "the customer of the count of confirmation mails is missing"
        "delete the row"
    MAIL_COUNT_FORM "mail-count-form"
        "the hash of the recipient is damaged"
        "delete the row; it only limits confirmation mails"
    IMPORT_WITHOUT_CUSTOMER "import-without-customer"
        "the customer of the imported row is missing"
        "delete the row"
    REQUEST_WITHOUT_CUSTOMER "request-without-customer"
        "the customer of the remembered request is missing"
        "delete the row"
    REQUEST_WITHOUT_CONTACT "request-without-contact"
        "rule 26: the remembered response is about a contact that is missing"
        "set the response to an empty text"
    PHONE_PASSWORD_WITHOUT_CONTACT "phone-password-without-contact"
        "the contact of the phone password is missing"
        "restore the contact from a backup, or delete the row"
    PHONE_PASSWORD_INCOMPLETE "phone-password-incomplete"
        "rule 15: only some of hash, pepper version and time of the phone password are stored"
        "clear the phone password; it must be set again"
    PEPPER_MISSING "pepper-missing"
        "rule 15: PHONE_PEPPER lacks the version of these phone passwords"
        "add the version to PHONE_PEPPER"
    CODE_WITHOUT_CONTACT "code-without-contact"
        "the contact of the one-time code is missing"
        "delete the row"
    ORDER_WITHOUT_CUSTOMER "order-without-customer"
        "the customer of the phone order is missing"
        "restore the customer from a backup, or delete the row"
    ORDER_OUTCOME "order-outcome"
        "rule 28: the outcome of the phone order has no time, or a time has no outcome"
        "set both columns, or both to NULL"
    EVENT_WITHOUT_CUSTOMER "event-without-customer"
        "rule 26: the audit log has events of a customer that is missing and was not erased"
        "restore the customer from a backup"
    WRITE_COUNT "write-count"
        "an audit event or a contact has a higher number than the customer's write count"
        "set write_count to the highest number"
    FEED_STATE "feed-state"
        "the row of the change feed is missing or has no epoch"
        "run contact-service migrate renew-feed; restore a missing row from a backup"
    FEED_GAP "feed-gap"
        "positions of the change feed are missing"
        "run contact-service migrate renew-feed after setting low_watermark to the last one missing"
    FEED_END "feed-end"
        "entries of the change feed are after its last position"
        "set last_position to the highest position, then run contact-service migrate renew-feed"
    FEED_ENTRY_WITHOUT_EVENT "feed-entry-without-event"
        "the audit event of the change feed's entry is missing"
        "restore the event from a backup"
    FEED_ENTRY_WITHOUT_CUSTOMER "feed-entry-without-customer"
        "the change feed names a customer that is missing and was not erased"
        "restore the customer from a backup"
    INBOX_WITHOUT_EVENT "inbox-without-event"
        "the audit event that waits for the change feed is missing"
        "restore the event from a backup"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = DataCheck::ALL.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), DataCheck::ALL.len());
    }

    #[test]
    fn finding_is_one_line_with_its_keys_first() {
        let finding = Finding::of_contact(DataCheck::INVOICE_EMAIL, "K-1", ContactId(Uuid::nil()));
        assert_eq!(
            finding.to_string(),
            "K-1 contact 00000000-0000-0000-0000-000000000000 invoice-email: rule 22: invoice \
             e-mail is enabled without the type or an address for it; disable it, or add the type \
             or an address"
        );
        let finding = Finding::of_row(DataCheck::FEED_GAP, "position 5");
        assert!(finding.to_string().starts_with("position 5 feed-gap: "));
    }
}
