//! Audit events (rule 25): actor, kind, customer, contact and the names of changed fields, never
//! their values.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    ids::{ContactId, CustomerNumber},
    phone_order::{OrderDecision, PhoneOrder, TimeRange},
};

/// The subject (`sub`) of the token that made a change, or one of the service's own actors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub String);

const SERVICE: &str = "contact-service";
const CONFIRMATION_PAGE: &str = "confirmation-page";
const COMMAND_LINE: &str = "command-line";
const IMPORT: &str = "import";
const DEMO: &str = "demo";

impl Actor {
    /// The actors that no token may have as its subject.
    pub const RESERVED: [&str; 5] = [SERVICE, CONFIRMATION_PAGE, COMMAND_LINE, IMPORT, DEMO];

    /// Returns the actor of changes that the passing of time causes, such as expiries.
    pub fn service() -> Self {
        Self(SERVICE.to_owned())
    }

    /// Returns the actor of confirmations on the web page.
    pub fn confirmation_page() -> Self {
        Self(CONFIRMATION_PAGE.to_owned())
    }

    /// Returns the actor of commands that an operator runs on the database.
    pub fn command_line() -> Self {
        Self(COMMAND_LINE.to_owned())
    }

    /// Returns the actor of imports. It omits the file name, which may contain personal data.
    pub fn import() -> Self {
        Self(IMPORT.to_owned())
    }

    /// Returns the actor that creates the sample data of `serve --demo`.
    pub fn demo() -> Self {
        Self(DEMO.to_owned())
    }

    /// Returns true if a subject equals one of the service's own actors, ignoring case.
    pub fn is_reserved(subject: &str) -> bool {
        let subject = subject.trim();
        Self::RESERVED
            .iter()
            .any(|own| own.eq_ignore_ascii_case(subject))
    }
}

/// The detail of a disclosure that contains how the channel matched.
pub const MATCH_DETAIL: &str = "match";

/// The detail of a bounce that contains the enhanced status code.
pub const STATUS_CODE_DETAIL: &str = "status_code";

/// The detail of a complaint that contains its time.
pub const REPORT_TIME_DETAIL: &str = "report_time";

/// The kind of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A customer was created.
    CustomerCreated,
    /// Contact data or notification settings were set.
    CustomerUpdated,
    /// The attention line was suppressed or restored.
    AttentionLineSet,
    /// Everything on file about a customer was exported.
    CustomerExported,
    /// A customer was erased with everything on file about it.
    CustomerErased,
    /// A contact was created.
    ContactCreated,
    /// Fields of a contact were set.
    ContactUpdated,
    /// A contact was deleted.
    ContactDeleted,
    /// An e-mail address was entered for confirmation.
    EmailChanged,
    /// The e-mail addresses of a contact were removed.
    EmailRemoved,
    /// A pending address was dropped.
    EmailChangeCancelled,
    /// The link to a pending address was sent again.
    EmailConfirmationResent,
    /// A pending address was confirmed and became the current one.
    EmailConfirmed,
    /// A pending address expired.
    PendingEmailExpired,
    /// Invoice e-mail was disabled because the last address of the contact expired.
    InvoiceEmailLapsed,
    /// An e-mail to an address bounced.
    EmailBounced,
    /// A phone password was set.
    PhonePasswordSet,
    /// A phone password was removed.
    PhonePasswordCleared,
    /// A supervisor lifted the lock of a phone password.
    PhonePasswordUnlocked,
    /// A phone password was checked and matched.
    PhonePasswordMatched,
    /// A phone password was checked and did not match, or none is set.
    PhonePasswordFailed,
    /// A phone password was not checked because of a lock, or of the limit of the phone call or the
    /// agent.
    PhonePasswordRefused,
    /// A phone order was allowed, denied or left to the agent.
    PhoneOrderDecided,
    /// The owner of a channel was disclosed: a contact.
    ChannelVerified,
    /// The owner of a channel was disclosed: the customer's contact data.
    ContactDataVerified,
    /// It was disclosed that a channel is not on file.
    ChannelNotOnFile,
    /// A request that names the customer was denied because of the token's customer or scopes, or an
    /// invalid grant.
    AccessDenied,
    /// An order type was set. It belongs to no customer.
    OrderTypeUpdated,
    /// The contacts of a customer were declared reviewed.
    ContactsReviewed,
    /// A search over all customers disclosed the owner of a channel: a contact.
    ContactFound,
    /// A search over all customers disclosed the owner of a channel: the customer's contact data.
    CustomerFound,
    /// A search over all customers found nothing. It belongs to no customer.
    CustomerNotFound,
    /// An agent requested that a one-time code be mailed.
    OneTimeCodeRequested,
    /// A one-time code was created for the portal.
    OneTimeCodeCreated,
    /// A one-time code was checked and matched.
    OneTimeCodeMatched,
    /// A one-time code was checked and did not match, or there is none.
    OneTimeCodeFailed,
    /// A one-time code was not checked because of a lock, or of the limit of the phone call or the
    /// agent.
    OneTimeCodeRefused,
    /// The outcome of a phone order was recorded.
    PhoneOrderOutcomeRecorded,
    /// Mails to an address that had failed are delivered again.
    EmailBounceCleared,
    /// An e-mail to the address of the contact data failed.
    ContactDataBounced,
    /// Mails to the address of the contact data, which had failed, are delivered again.
    ContactDataBounceCleared,
    /// A recipient reported a mail to the address of a contact as unwanted.
    EmailComplaint,
    /// A recipient reported a mail to the address of the contact data as unwanted.
    ContactDataComplaint,
}

impl EventKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 43] = [
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
        Self::ContactsReviewed,
        Self::ContactFound,
        Self::CustomerFound,
        Self::CustomerNotFound,
        Self::OneTimeCodeRequested,
        Self::OneTimeCodeCreated,
        Self::OneTimeCodeMatched,
        Self::OneTimeCodeFailed,
        Self::OneTimeCodeRefused,
        Self::PhoneOrderOutcomeRecorded,
        Self::EmailBounceCleared,
        Self::ContactDataBounced,
        Self::ContactDataBounceCleared,
        Self::EmailComplaint,
        Self::ContactDataComplaint,
    ];

    /// Returns the stored name, which responses show as well.
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
            Self::ContactsReviewed => "customer.contacts_reviewed",
            Self::ContactFound => "contact.found",
            Self::CustomerFound => "customer.found",
            Self::CustomerNotFound => "customer.not_found",
            Self::OneTimeCodeRequested => "contact.one_time_code_requested",
            Self::OneTimeCodeCreated => "contact.one_time_code_created",
            Self::OneTimeCodeMatched => "contact.one_time_code_matched",
            Self::OneTimeCodeFailed => "contact.one_time_code_failed",
            Self::OneTimeCodeRefused => "contact.one_time_code_refused",
            Self::PhoneOrderOutcomeRecorded => "contact.phone_order_outcome_recorded",
            Self::EmailBounceCleared => "contact.email_bounce_cleared",
            Self::ContactDataBounced => "customer.email_bounced",
            Self::ContactDataBounceCleared => "customer.email_bounce_cleared",
            Self::EmailComplaint => "contact.email_complaint",
            Self::ContactDataComplaint => "customer.email_complaint",
        }
    }
}

/// The sort key of an event among those of its customer: by sequence number, then by id, which starts
/// with the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventSortKey {
    /// [`AuditEvent::sequence`].
    pub sequence: i64,
    /// [`AuditEvent::id`].
    pub id: Uuid,
}

impl EventSortKey {
    /// Before all events.
    pub const FIRST: Self = Self {
        sequence: 0,
        id: Uuid::nil(),
    };

    /// After all events.
    pub const LAST: Self = Self {
        sequence: i64::MAX,
        id: Uuid::max(),
    };
}

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// The id, a `UUIDv7`.
    pub id: Uuid,
    /// The sequence number of the change among those of the customer, with gaps. A disclosure has
    /// the number of the change before it.
    pub sequence: i64,
    /// The time of the event.
    pub event_time: DateTime<Utc>,
    /// The actor that caused the event.
    pub actor: Actor,
    /// The name of the [`EventKind`], as text: newer versions may have stored other kinds.
    pub kind: String,
    /// The customer; `None` for events of no customer.
    pub customer_number: Option<CustomerNumber>,
    /// The contact; `None` for events of the customer itself.
    pub contact_id: Option<ContactId>,
    /// The names of the changed fields.
    pub changed_fields: Vec<String>,
    /// Codes that belong to the event by name, such as the order type of a decision; never personal data.
    pub details: BTreeMap<String, String>,
}

impl AuditEvent {
    /// Creates an event without a customer, sequence number and changed fields.
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
                order.order_type.as_str().to_owned(),
            ),
            ("decision".to_owned(), decision),
        ]);
        self
    }

    /// Adds a code that belongs to the event; never personal data.
    #[must_use]
    pub fn with_detail(mut self, name: &str, code: impl Into<String>) -> Self {
        self.details.insert(name.to_owned(), code.into());
        self
    }

    /// Sets the names of the changed fields.
    #[must_use]
    pub fn with_changed_fields(mut self, fields: &[&str]) -> Self {
        self.changed_fields = fields.iter().map(|&field| field.to_owned()).collect();
        self
    }

    /// Returns the sort key among the events of the customer.
    pub fn sort_key(&self) -> EventSortKey {
        EventSortKey {
            sequence: self.sequence,
            id: self.id,
        }
    }
}

/// The events that a list contains. An event has to satisfy all filters.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// The contact; `None`: all contacts, and the customer itself.
    pub contact_id: Option<ContactId>,
    /// The kinds; empty: all.
    pub kinds: Vec<EventKind>,
    /// The actor; `None`: all actors.
    pub actor: Option<String>,
    /// The time range of the events.
    pub times: TimeRange,
}

/// An event of the change feed: what a client that caches has to know of an audit event.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// The position in the feed, starting at 1.
    pub position: i64,
    /// The id of the audit event.
    pub id: Uuid,
    /// The time of the change.
    pub event_time: DateTime<Utc>,
    /// The stored name of the kind.
    pub kind: String,
    /// The customer; `None` for events that belong to none.
    pub customer_number: Option<CustomerNumber>,
    /// The contact; `None` for events of the customer itself.
    pub contact_id: Option<ContactId>,
    /// The names of the changed fields.
    pub changed_fields: Vec<String>,
    /// The encrypted customer number of an erasure, which is stored under a pseudonym. It is
    /// deleted some time after the erasure.
    pub sealed_number: Option<Vec<u8>>,
}
