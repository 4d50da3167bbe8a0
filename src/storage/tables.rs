//! The tables, and how a database of several nodes distributes them.

/// The placement of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// By the customer number, on the node of the customer's other rows.
    ByCustomer,
    /// By this column, its own key: the rows belong to no customer.
    ByKey(&'static str),
    /// A copy on every node: few rows, rarely written.
    Reference,
    /// On the coordinator, readable and writable from every node.
    Local,
}

/// The distribution of every table. A table follows those that it references.
pub const TABLE_DISTRIBUTIONS: [(&str, Distribution); 26] = [
    ("customers", Distribution::ByCustomer),
    ("contacts", Distribution::ByCustomer),
    ("contact_phone_numbers", Distribution::ByCustomer),
    ("contact_imports", Distribution::ByCustomer),
    ("request_ids", Distribution::ByCustomer),
    ("email_confirmations", Distribution::ByCustomer),
    ("confirmation_tokens", Distribution::ByCustomer),
    ("outbox_mails", Distribution::ByCustomer),
    ("mail_customers", Distribution::ByCustomer),
    ("mail_recipients", Distribution::ByKey("recipient_hash")),
    ("phone_passwords", Distribution::ByCustomer),
    ("phone_password_calls", Distribution::ByCustomer),
    ("phone_password_agents", Distribution::ByKey("agent")),
    ("one_time_codes", Distribution::ByCustomer),
    ("customer_search_agents", Distribution::ByKey("agent")),
    ("channel_check_customers", Distribution::ByCustomer),
    ("channel_check_agents", Distribution::ByKey("agent")),
    ("phone_orders", Distribution::ByCustomer),
    ("audit_events", Distribution::ByCustomer),
    ("feed_inbox", Distribution::ByCustomer),
    ("order_types", Distribution::Reference),
    ("change_feed", Distribution::Local),
    ("feed_entries", Distribution::Local),
    ("write_probes", Distribution::Local),
    ("schema_lock", Distribution::Local),
    ("seaql_migrations", Distribution::Local),
];
