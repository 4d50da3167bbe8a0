//! The rows of the generated customers, table by table, as the service itself would have written
//! them.

use contact_service::domain::{email_address::EmailAddress, email_confirmation};
use uuid::Uuid;

use super::{
    people::{ACCOUNTING, Pending, Population, STANDARD},
    population::{
        CONTACT_INTERVAL, Draw, contact_count, contact_id, creation_time, customer_number, draw,
        phone_count, phone_number, uuid_v7,
    },
};

/// A value of a column. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Text(&'a str),
    Number(u64),
    Bool(bool),
    Id(Uuid),
    Time(u64),
}

/// Receives the rows of a table.
pub(crate) trait Rows {
    /// Adds a row, in the order of the table's columns.
    fn push(&mut self, row: &[Value<'_>]);
}

/// A table, and the function that writes the rows of one customer.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) write: fn(&Population, u64, &mut dyn Rows),
}

/// Tables follow those that they reference.
pub(crate) const TABLES: [Table; 7] = [
    Table {
        name: "order_types",
        columns: &[
            "code",
            "display_name",
            "display_names",
            "system_management",
            "offered_by_phone",
            "requires_verified_channel",
            "retired",
            "updated_by",
            "update_time",
        ],
        write: write_order_types,
    },
    Table {
        name: "customers",
        columns: &[
            "customer_number",
            "email",
            "email_key",
            "phone_number",
            "security_notices",
            "planned_maintenance",
            "outages",
            "attention_line_suppressed",
            "attention_line_ordered_by",
            "review_remind_time",
            "version",
            "write_count",
            "create_time",
            "update_time",
        ],
        write: write_customer,
    },
    Table {
        name: "contacts",
        columns: &[
            "customer_number",
            "contact_id",
            "position",
            "types",
            "display_name",
            "locale",
            "email",
            "email_key",
            "pending_email",
            "pending_email_request_time",
            "pending_email_expire_time",
            "pending_email_id",
            "invoice_email_enabled",
            "restrictions_note",
            "allowed_order_types",
            "denied_order_types",
            "version",
            "create_time",
            "update_time",
        ],
        write: write_contacts,
    },
    Table {
        name: "contact_phone_numbers",
        columns: &["customer_number", "contact_id", "rank", "phone_number"],
        write: write_phone_numbers,
    },
    Table {
        name: "email_confirmations",
        columns: &[
            "customer_number",
            "confirmation_id",
            "contact_id",
            "masked_email",
            "state",
            "expire_time",
            "remind_time",
        ],
        write: write_confirmations,
    },
    Table {
        name: "audit_events",
        columns: &[
            "customer_number",
            "sequence",
            "event_id",
            "event_time",
            "actor",
            "kind",
            "contact_id",
            "changed_fields",
        ],
        write: write_events,
    },
    Table {
        name: "phone_passwords",
        columns: &[
            "customer_number",
            "contact_id",
            "consecutive_failures",
            "recent_failures",
            "is_revoked",
            "update_time",
        ],
        write: write_failed_attempts,
    },
];

const ACTOR: &str = "generator";
/// As in the service's rules: time between reminder and expiry of an address.
const REMINDER_LEAD: u64 = 24 * 60 * 60;

/// Ages of the events, in days: within the retention, and older than the shortest one.
const EVENT_AGES: std::ops::Range<u64> = 2..300;
/// As in the service's rules: time between the last review and the next mail about it.
const REVIEW_DAYS: u64 = 365;
const DAY: u64 = 24 * 60 * 60;

const NOTE: &str = "Bestellungen nur bis 500 €, darüber nach Rückruf bei der Geschäftsführung.";
/// Code, name, system management, offered by phone.
const ORDER_TYPES: [(&str, &str, bool, bool); 4] = [
    ("server_reboot", "Neustart eines Servers", true, true),
    ("domain_transfer", "Umzug einer Domain", false, true),
    ("tariff_upgrade", "Größerer Tarif", false, true),
    (
        "server_cancellation",
        "Kündigung eines Servers",
        false,
        false,
    ),
];

fn optional(text: Option<&String>) -> Value<'_> {
    text.map_or(Value::Null, |text| Value::Text(text))
}

/// The age of a customer's events, in days.
fn event_age(population: &Population, i: u64) -> u64 {
    let ages = EVENT_AGES.end - EVENT_AGES.start;
    EVENT_AGES.start + draw(population.seed, i, 0, Draw::EventAge) % ages
}

fn write_order_types(population: &Population, i: u64, rows: &mut dyn Rows) {
    // They belong to no customer.
    for (code, name, system_management, by_phone) in ORDER_TYPES.iter().filter(|_| i == 0) {
        rows.push(&[
            Value::Text(code),
            Value::Text(name),
            Value::Text("{}"),
            Value::Bool(*system_management),
            Value::Bool(*by_phone),
            Value::Bool(false),
            Value::Bool(false),
            Value::Text(ACTOR),
            Value::Time(population.midnight),
        ]);
    }
}

fn write_customer(population: &Population, i: u64, rows: &mut dyn Rows) {
    let email = population.contact_data_email(i);
    let key = email.as_ref().map(|email| email.to_ascii_lowercase());
    let has_phone = population.percent(i, 0, Draw::ContactDataPhone) < 60;
    // A unique number, after those of the first contact.
    let phone = has_phone.then(|| phone_number(population.seed, i, 0, 9));
    let is_suppressed = email.is_some() && population.percent(i, 0, Draw::AttentionLine) < 5;
    let ordered_by = email.as_ref().filter(|_| is_suppressed);
    let count = contact_count(population.seed, i);
    let is_on = |what| Value::Bool(population.percent(i, 0, what) < 80);
    rows.push(&[
        Value::Text(&customer_number(i)),
        optional(email.as_ref()),
        optional(key.as_ref()),
        optional(phone.as_ref()),
        is_on(Draw::SecurityNotices),
        is_on(Draw::PlannedMaintenance),
        is_on(Draw::Outages),
        Value::Bool(is_suppressed),
        optional(ordered_by),
        Value::Time(population.midnight + (REVIEW_DAYS - event_age(population, i)) * DAY),
        Value::Number(1),
        // The next write gets the number after the last contact and event.
        Value::Number(count),
        Value::Time(creation_time(i, 0)),
        Value::Time(creation_time(i, 0)),
    ]);
}

fn write_contacts(population: &Population, i: u64, rows: &mut dyn Rows) {
    let number = customer_number(i);
    for j in 0..contact_count(population.seed, i) {
        let contact = population.contact(i, j);
        let key = contact
            .email
            .as_ref()
            .map(|email| email.to_ascii_lowercase());
        let pending = contact.pending.as_ref();
        let may_have_invoices = contact.types & (STANDARD | ACCOUNTING) != 0
            && (contact.email.is_some() || pending.is_some());
        let has_invoices = population.percent(i, j, Draw::InvoiceEmail) < 70;
        let is_english = population.percent(i, j, Draw::Locale) < 8;
        let (note, allowed, denied) = match population.percent(i, j, Draw::Restrictions) {
            0 => (NOTE, "[]", "[]"),
            1 => ("", r#"["server_reboot","tariff_upgrade"]"#, "[]"),
            2 => ("", "[]", r#"["domain_transfer"]"#),
            _ => ("", "[]", "[]"),
        };
        let of_pending = |value: fn(&Pending) -> Value<'_>| pending.map_or(Value::Null, value);
        rows.push(&[
            Value::Text(&number),
            Value::Id(contact.id),
            Value::Number(j + 1),
            Value::Number(contact.types),
            Value::Text(&contact.name),
            Value::Text(if is_english { "en" } else { "de" }),
            optional(contact.email.as_ref()),
            optional(key.as_ref()),
            of_pending(|pending| Value::Text(&pending.email)),
            of_pending(|pending| Value::Time(pending.request_time)),
            of_pending(|pending| Value::Time(pending.expire_time())),
            of_pending(|pending| Value::Id(pending.id)),
            Value::Bool(may_have_invoices && has_invoices),
            Value::Text(note),
            Value::Text(allowed),
            Value::Text(denied),
            Value::Number(1),
            Value::Time(creation_time(i, j)),
            Value::Time(creation_time(i, j)),
        ]);
    }
}

fn write_phone_numbers(population: &Population, i: u64, rows: &mut dyn Rows) {
    let seed = population.seed;
    let number = customer_number(i);
    for j in 0..contact_count(seed, i) {
        for k in 0..phone_count(seed, i, j) {
            rows.push(&[
                Value::Text(&number),
                Value::Id(contact_id(seed, i, j)),
                Value::Number(k),
                Value::Text(&phone_number(seed, i, j, k)),
            ]);
        }
    }
}

fn write_confirmations(population: &Population, i: u64, rows: &mut dyn Rows) {
    for j in 0..contact_count(population.seed, i) {
        let contact = population.contact(i, j);
        let Some(pending) = contact.pending else {
            continue;
        };
        let email = EmailAddress::parse(&pending.email).unwrap();
        rows.push(&[
            Value::Text(&customer_number(i)),
            Value::Id(pending.id),
            Value::Id(contact.id),
            Value::Text(&email_confirmation::mask(&email)),
            Value::Text("pending"),
            Value::Time(pending.expire_time()),
            Value::Time(pending.expire_time() - REMINDER_LEAD),
        ]);
    }
}

fn write_events(population: &Population, i: u64, rows: &mut dyn Rows) {
    let seed = population.seed;
    let number = customer_number(i);
    let age = event_age(population, i);
    for j in 0..contact_count(seed, i) {
        // The times follow the order of the customer's events.
        let time = population.midnight - age * DAY + j * CONTACT_INTERVAL;
        let fields = if phone_count(seed, i, j) == 0 {
            r#"["types","display_name"]"#
        } else {
            r#"["phone_numbers","types","display_name"]"#
        };
        rows.push(&[
            Value::Text(&number),
            Value::Number(j + 1),
            Value::Id(uuid_v7(time, seed, i, j, Draw::EventId)),
            Value::Time(time),
            Value::Text(ACTOR),
            Value::Text("contact.created"),
            Value::Id(contact_id(seed, i, j)),
            Value::Text(fields),
        ]);
    }
}

/// Failed attempts on contacts without a password.
fn write_failed_attempts(population: &Population, i: u64, rows: &mut dyn Rows) {
    for j in 0..contact_count(population.seed, i) {
        if population.percent(i, j, Draw::FailedAttempts) > 0 {
            continue;
        }
        rows.push(&[
            Value::Text(&customer_number(i)),
            Value::Id(contact_id(population.seed, i, j)),
            Value::Number(1),
            Value::Text("[]"),
            Value::Bool(false),
            Value::Time(population.midnight),
        ]);
    }
}
