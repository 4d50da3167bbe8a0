//! The conditions of rows that are inconsistent with other rows of their customer.
//!
//! Foreign keys rule out some of them, unless they are disabled: tools that restore or repair data do so.

use crate::domain::data_check::DataCheck;

/// Selects inconsistent rows of a table, named `r`.
pub(super) struct Condition {
    pub(super) check: DataCheck,
    pub(super) table: &'static str,
    /// The column of the contact's id.
    pub(super) contact: Option<&'static str>,
    /// The name of a row, and the column of its id.
    pub(super) row: Option<(&'static str, &'static str)>,
    pub(super) filter: &'static str,
}

macro_rules! missing {
    (customers) => {
        "NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_number = r.customer_number)"
    };
    (contacts) => {
        "NOT EXISTS (SELECT 1 FROM contacts c WHERE c.customer_number = r.customer_number \
           AND c.contact_id = r.contact_id)"
    };
    (email_confirmations) => {
        "NOT EXISTS (SELECT 1 FROM email_confirmations c \
           WHERE c.customer_number = r.customer_number AND c.confirmation_id = r.confirmation_id)"
    };
}

const fn on(check: DataCheck, table: &'static str, filter: &'static str) -> Condition {
    Condition {
        check,
        table,
        contact: None,
        row: None,
        filter,
    }
}

impl Condition {
    const fn contact(mut self) -> Self {
        self.contact = Some("contact_id");
        self
    }

    const fn row(mut self, name: &'static str, column: &'static str) -> Self {
        self.row = Some((name, column));
        self
    }
}

pub(super) const CONDITIONS: &[Condition] = &[
    on(
        DataCheck::CONTACT_WITHOUT_CUSTOMER,
        "contacts",
        missing!(customers),
    )
    .contact(),
    on(
        DataCheck::CONFIRMED_WITHOUT_EMAIL,
        "contacts",
        "r.email IS NULL AND (r.email_confirm_time IS NOT NULL OR r.email_bounce_time IS NOT NULL \
           OR r.email_works_since IS NOT NULL)",
    )
    .contact(),
    on(
        DataCheck::WRITE_COUNT,
        "customers",
        "EXISTS (SELECT 1 FROM audit_events e WHERE e.customer_number = r.customer_number \
           AND e.sequence > r.write_count) \
         OR EXISTS (SELECT 1 FROM contacts c WHERE c.customer_number = r.customer_number \
           AND c.position > r.write_count)",
    ),
    on(
        DataCheck::PHONE_NUMBER_WITHOUT_CONTACT,
        "contact_phone_numbers",
        missing!(contacts),
    )
    .contact(),
    on(
        DataCheck::CONFIRMATION_WITHOUT_CONTACT,
        "email_confirmations",
        missing!(contacts),
    )
    .contact()
    .row("confirmation", "confirmation_id"),
    on(
        DataCheck::TOKEN_WITHOUT_CONFIRMATION,
        "confirmation_tokens",
        missing!(email_confirmations),
    )
    .row("confirmation", "confirmation_id"),
    on(
        DataCheck::MAIL_WITHOUT_CUSTOMER,
        "outbox_mails",
        missing!(customers),
    )
    .contact()
    .row("mail", "mail_id"),
    // The confirmations of a deleted contact are deleted, its mails are not.
    on(
        DataCheck::MAIL_WITHOUT_CONFIRMATION,
        "outbox_mails",
        concat!(
            "r.confirmation_id IS NOT NULL AND NOT (",
            missing!(contacts),
            ") AND ",
            missing!(email_confirmations)
        ),
    )
    .contact()
    .row("mail", "mail_id"),
    on(
        DataCheck::MAIL_COUNT_WITHOUT_CUSTOMER,
        "mail_customers",
        missing!(customers),
    ),
    on(
        DataCheck::IMPORT_WITHOUT_CUSTOMER,
        "contact_imports",
        missing!(customers),
    )
    .contact(),
    on(
        DataCheck::REQUEST_WITHOUT_CUSTOMER,
        "request_ids",
        missing!(customers),
    )
    .contact()
    .row("request", "request_id"),
    on(
        DataCheck::REQUEST_WITHOUT_CONTACT,
        "request_ids",
        concat!(
            "r.contact_id IS NOT NULL AND r.response <> '' AND NOT (",
            missing!(customers),
            ") AND ",
            missing!(contacts)
        ),
    )
    .contact()
    .row("request", "request_id"),
    // Attempts on unknown contacts have rows without a password.
    on(
        DataCheck::PHONE_PASSWORD_WITHOUT_CONTACT,
        "phone_passwords",
        concat!("r.hash IS NOT NULL AND ", missing!(contacts)),
    )
    .contact(),
    on(
        DataCheck::PHONE_PASSWORD_INCOMPLETE,
        "phone_passwords",
        "(r.hash IS NULL) <> (r.pepper_version IS NULL) OR (r.hash IS NULL) <> (r.set_time IS NULL)",
    )
    .contact(),
    on(
        DataCheck::CODE_WITHOUT_CONTACT,
        "one_time_codes",
        missing!(contacts),
    )
    .contact(),
    on(
        DataCheck::ORDER_WITHOUT_CUSTOMER,
        "phone_orders",
        missing!(customers),
    )
    .contact()
    .row("order", "authorization_id"),
    on(
        DataCheck::ORDER_OUTCOME,
        "phone_orders",
        "(r.outcome IS NULL) <> (r.outcome_time IS NULL)",
    )
    .contact()
    .row("order", "authorization_id"),
];
