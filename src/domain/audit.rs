//! The trail (rule 25): what happened to whom, by whom; names of fields, never values.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    ids::{ContactId, CustomerNumber},
    phone_order::{OrderDecision, PhoneOrder},
};

/// Who acts: the `sub` of the caller's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub String);

const SERVICE: &str = "contact-service";
const CONFIRMATION_PAGE: &str = "confirmation-page";
const COMMAND_LINE: &str = "command-line";
const IMPORT: &str = "import";
const DEMO: &str = "demo";

impl Actor {
    /// The actors that no token may name as its subject.
    const RESERVED: [&str; 5] = [SERVICE, CONFIRMATION_PAGE, COMMAND_LINE, IMPORT, DEMO];

    /// The service itself, for what time brings about.
    pub fn service() -> Self {
        Self(SERVICE.to_owned())
    }

    /// The holder of a confirmation link who pressed the button of the page.
    pub fn confirmation_page() -> Self {
        Self(CONFIRMATION_PAGE.to_owned())
    }

    /// The operator who runs a command on the database.
    pub fn command_line() -> Self {
        Self(COMMAND_LINE.to_owned())
    }

    /// An import; not the file's name, which may hold a person's.
    pub fn import() -> Self {
        Self(IMPORT.to_owned())
    }

    /// The sample data of `serve --demo`.
    pub fn demo() -> Self {
        Self(DEMO.to_owned())
    }

    /// Returns true for a subject that reads like one of the service's own actors.
    pub fn is_reserved(subject: &str) -> bool {
        let subject = subject.trim();
        Self::RESERVED
            .iter()
            .any(|own| own.eq_ignore_ascii_case(subject))
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A customer was put on file.
    CustomerCreated,
    /// Contact data or notification settings were set.
    CustomerUpdated,
    /// The attention line was suppressed or allowed again.
    AttentionLineSet,
    /// All that is on file about a customer was given out.
    CustomerExported,
    /// A customer was erased, with all that was on file about it.
    CustomerErased,
    /// A contact was put on file.
    ContactCreated,
    /// A contact was changed.
    ContactUpdated,
    /// A contact was deleted.
    ContactDeleted,
    /// An address was entered for confirmation.
    EmailChanged,
    /// The addresses of a contact were removed.
    EmailRemoved,
    /// A pending address was dropped.
    EmailChangeCancelled,
    /// The link to a pending address was sent again.
    EmailConfirmationResent,
    /// A pending address was confirmed and became the current one.
    EmailConfirmed,
    /// A pending address was not confirmed in time.
    PendingEmailExpired,
    /// Invoice e-mail was disabled because the last address of the contact expired.
    InvoiceEmailLapsed,
    /// A mail to an address was refused for good.
    EmailBounced,
    /// A phone password was set.
    PhonePasswordSet,
    /// A phone password was removed.
    PhonePasswordCleared,
    /// A supervisor lifted the lock of a phone password.
    PhonePasswordUnlocked,
    /// A phone password was checked and was right.
    PhonePasswordMatched,
    /// A phone password was checked and was wrong, or none is set.
    PhonePasswordFailed,
    /// A phone password was not checked, because it is locked, or because of the limits of the
    /// call or the agent.
    PhonePasswordRefused,
    /// It was decided whether an order may be placed by phone.
    PhoneOrderDecided,
    /// Somebody was told that a channel is a contact's.
    ChannelVerified,
    /// Somebody was told that a channel is in the customer's contact data.
    ContactDataVerified,
    /// Somebody was told that a channel is not on file.
    ChannelNotOnFile,
    /// A request that names the customer was denied: by the token's customer or scopes, or by a
    /// grant that is not valid.
    AccessDenied,
    /// An order type, which belongs to no customer, was set.
    OrderTypeUpdated,
}

impl EventKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 28] = [
        Self::CustomerCreated,
        Self::CustomerUpdated,
        Self::AttentionLineSet,
        Self::CustomerExported,
        Self::CustomerErased,
        Self::ContactCreated,
        Self::ContactUpdated,
        Self::ContactDeleted,
        Self::EmailChanged,
        Self::EmailRemoved,
        Self::EmailChangeCancelled,
        Self::EmailConfirmationResent,
        Self::EmailConfirmed,
        Self::PendingEmailExpired,
        Self::InvoiceEmailLapsed,
        Self::EmailBounced,
        Self::PhonePasswordSet,
        Self::PhonePasswordCleared,
        Self::PhonePasswordUnlocked,
        Self::PhonePasswordMatched,
        Self::PhonePasswordFailed,
        Self::PhonePasswordRefused,
        Self::PhoneOrderDecided,
        Self::ChannelVerified,
        Self::ContactDataVerified,
        Self::ChannelNotOnFile,
        Self::AccessDenied,
        Self::OrderTypeUpdated,
    ];

    /// The name that is kept and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomerCreated => "customer.created",
            Self::CustomerUpdated => "customer.updated",
            Self::AttentionLineSet => "customer.attention_line_set",
            Self::CustomerExported => "customer.exported",
            Self::CustomerErased => "customer.erased",
            Self::ContactCreated => "contact.created",
            Self::ContactUpdated => "contact.updated",
            Self::ContactDeleted => "contact.deleted",
            Self::EmailChanged => "contact.email_changed",
            Self::EmailRemoved => "contact.email_removed",
            Self::EmailChangeCancelled => "contact.email_change_cancelled",
            Self::EmailConfirmationResent => "contact.email_confirmation_resent",
            Self::EmailConfirmed => "contact.email_confirmed",
            Self::PendingEmailExpired => "contact.pending_email_expired",
            Self::InvoiceEmailLapsed => "contact.invoice_email_lapsed",
            Self::EmailBounced => "contact.email_bounced",
            Self::PhonePasswordSet => "contact.phone_password_set",
            Self::PhonePasswordCleared => "contact.phone_password_cleared",
            Self::PhonePasswordUnlocked => "contact.phone_password_unlocked",
            Self::PhonePasswordMatched => "contact.phone_password_matched",
            Self::PhonePasswordFailed => "contact.phone_password_failed",
            Self::PhonePasswordRefused => "contact.phone_password_refused",
            Self::PhoneOrderDecided => "contact.phone_order_decided",
            Self::ChannelVerified => "contact.channel_verified",
            Self::ContactDataVerified => "customer.channel_verified",
            Self::ChannelNotOnFile => "customer.channel_not_on_file",
            Self::AccessDenied => "customer.access_denied",
            Self::OrderTypeUpdated => "order_type.updated",
        }
    }
}

/// Where an entry stands among its customer's: by its change, and then by its id, which begins
/// with the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventRank {
    /// [`AuditEvent::sequence`].
    pub sequence: i64,
    /// [`AuditEvent::id`].
    pub id: Uuid,
}

impl EventRank {
    /// Before all entries.
    pub const FIRST: Self = Self {
        sequence: 0,
        id: Uuid::nil(),
    };

    /// Behind all entries.
    pub const LAST: Self = Self {
        sequence: i64::MAX,
        id: Uuid::max(),
    };
}

/// One entry of the trail.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Which entry it is.
    pub id: Uuid,
    /// The rank of its change among the customer's; grows, with gaps. A disclosure has the one
    /// of the change before it.
    pub sequence: i64,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// Who did it.
    pub actor: Actor,
    /// What happened; kept as text, so that older and newer versions can share a trail.
    pub kind: String,
    /// The customer it happened to; `None`: it belongs to no customer.
    pub customer_number: Option<CustomerNumber>,
    /// The contact it happened to; `None` is the customer itself.
    pub contact_id: Option<ContactId>,
    /// Names of the fields that changed.
    pub changed_fields: Vec<String>,
    /// Codes that belong to the event by name, such as the order type of a decision; never personal data.
    pub details: BTreeMap<String, String>,
}

impl AuditEvent {
    /// What happened at a time, of nobody yet: no customer, no rank, no fields.
    pub fn new(id: Uuid, event_time: DateTime<Utc>, actor: &Actor, kind: EventKind) -> Self {
        Self {
            id,
            sequence: 0,
            event_time,
            actor: actor.clone(),
            kind: kind.as_str().to_owned(),
            customer_number: None,
            contact_id: None,
            changed_fields: Vec::new(),
            details: BTreeMap::new(),
        }
    }

    /// Adds the codes of a decision about a phone order.
    #[must_use]
    pub fn with_phone_order(mut self, order: &PhoneOrder) -> Self {
        let code = |text: &str| text.to_uppercase();
        let decision = match order.decision {
            OrderDecision::Denied(_) => {
                let denial = code(order.decision.as_str());
                self.details.insert("denial".to_owned(), denial);
                "DENIED".to_owned()
            }
            OrderDecision::Allowed | OrderDecision::AgentDecision => code(order.decision.as_str()),
        };
        self.details.extend([
            ("authorization_id".to_owned(), order.id.to_string()),
            (
                "order_type".to_owned(),
                order.order_type.code.as_str().to_owned(),
            ),
            ("decision".to_owned(), decision),
        ]);
        self
    }

    /// Records that a reason was given, without the reason.
    #[must_use]
    pub fn with_reason_given(mut self) -> Self {
        let name = "reason_given".to_owned();
        self.details.insert(name, "true".to_owned());
        self
    }

    /// Sets the names of the changed fields.
    #[must_use]
    pub fn with_changed_fields(mut self, fields: &[&str]) -> Self {
        self.changed_fields = fields.iter().map(|&field| field.to_owned()).collect();
        self
    }

    /// Where it stands among its customer's.
    pub fn rank(&self) -> EventRank {
        EventRank {
            sequence: self.sequence,
            id: self.id,
        }
    }
}

/// An entry as the feed of changes gives it.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its place in the feed, from 1 on.
    pub position: i64,
    /// The entry.
    pub event: AuditEvent,
    /// The number of the customer, sealed, where the entry bears its pseudonym: of an erasure that
    /// is not long ago.
    pub sealed_number: Option<Vec<u8>>,
}
