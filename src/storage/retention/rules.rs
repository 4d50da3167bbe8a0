//! The rules by which the rows of each table expire, and their statements.

use sea_orm::DbBackend;

/// The rule by which rows of a table expire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) table: &'static str,
    /// The index that finds the rows.
    pub(super) index: &'static str,
    /// The condition of the partial index, or its first column.
    pub(super) condition: &'static str,
    /// The time of a row, the next column of the index.
    pub(super) time: &'static str,
    /// True if a row of exactly the limit has expired.
    pub(super) is_inclusive: bool,
    /// The columns of the index.
    pub(super) order: &'static str,
    /// The action on expired rows.
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Delete,
    /// Deletes them and raises the low watermark of the feed.
    DeleteFromFeed,
    /// Sets this column to NULL.
    Clear(&'static str),
}

pub(super) const EVENTS: Rule = Rule {
    table: "audit_events",
    index: "audit_events_by_time",
    condition: "length(kind) >= 0",
    time: "event_time",
    is_inclusive: false,
    order: "event_time",
    action: Action::Delete,
};
/// The third parameter is the last position.
pub(super) const FEED_ENTRIES: Rule = Rule {
    table: "feed_entries",
    index: "feed_entries_by_time",
    // The sign rules out the index of the positions.
    condition: "+position <= $3",
    action: Action::DeleteFromFeed,
    ..EVENTS
};
pub(super) const SEALED_NUMBERS: Rule = Rule {
    table: "feed_entries",
    index: "feed_entries_sealed",
    condition: "sealed_customer_number IS NOT NULL",
    action: Action::Clear("sealed_customer_number"),
    ..EVENTS
};
pub(super) const REQUEST_IDS: Rule = Rule {
    table: "request_ids",
    index: "request_ids_by_expiry",
    condition: "0 = 0",
    time: "expire_time",
    is_inclusive: true,
    order: "expire_time",
    action: Action::Delete,
};
pub(super) const CONFIRMED: Rule = Rule {
    table: "email_confirmations",
    index: "email_confirmations_by_expiry",
    condition: "state = 'confirmed'",
    order: "state, expire_time",
    ..REQUEST_IDS
};
pub(super) const EXPIRED: Rule = Rule {
    condition: "state = 'expired'",
    ..CONFIRMED
};
pub(super) const SUPERSEDED: Rule = Rule {
    condition: "state = 'superseded'",
    ..CONFIRMED
};
pub(super) const DEAD_MAILS: Rule = Rule {
    table: "outbox_mails",
    index: "outbox_mails_by_due_time",
    condition: "state = 'dead'",
    time: "due_time",
    order: "state, due_time",
    ..REQUEST_IDS
};
pub(super) const AGENTS: Rule = Rule {
    table: "phone_password_agents",
    index: "phone_password_agents_by_update_time",
    time: "update_time",
    order: "update_time",
    ..REQUEST_IDS
};
pub(super) const CALLS: Rule = Rule {
    table: "phone_password_calls",
    index: "phone_password_calls_by_expiry",
    ..REQUEST_IDS
};
/// Attempts on contacts without a password.
pub(super) const ORPHAN_ATTEMPTS: Rule = Rule {
    table: "phone_passwords",
    index: "phone_passwords_by_set_and_update_time",
    condition: "set_time IS NULL",
    time: "update_time",
    order: "set_time, update_time",
    ..REQUEST_IDS
};
pub(super) const MAIL_RECIPIENTS: Rule = Rule {
    table: "mail_recipients",
    index: "mail_recipients_by_last_time",
    time: "last_time",
    order: "last_time",
    ..REQUEST_IDS
};
pub(super) const MAIL_CUSTOMERS: Rule = Rule {
    table: "mail_customers",
    index: "mail_customers_by_last_time",
    ..MAIL_RECIPIENTS
};
pub(super) const CHECKS_OF_AGENTS: Rule = Rule {
    table: "channel_check_agents",
    index: "channel_check_agents_by_window_end",
    time: "window_end",
    order: "window_end",
    ..REQUEST_IDS
};
pub(super) const SEARCHES_OF_AGENTS: Rule = Rule {
    table: "customer_search_agents",
    index: "customer_search_agents_by_window_end",
    ..CHECKS_OF_AGENTS
};
pub(super) const CODES: Rule = Rule {
    table: "one_time_codes",
    index: "one_time_codes_by_expiry",
    ..REQUEST_IDS
};
pub(super) const PHONE_ORDERS: Rule = Rule {
    table: "phone_orders",
    index: "phone_orders_by_time",
    condition: "0 = 0",
    time: "decision_time",
    order: "decision_time",
    ..EVENTS
};
pub(super) const CHECKS_OF_CUSTOMERS: Rule = Rule {
    table: "channel_check_customers",
    index: "channel_check_customers_by_window_end",
    ..CHECKS_OF_AGENTS
};

impl Rule {
    /// Builds the query of the time of a full batch's newest row.
    pub(super) fn newest_sql(&self, backend: DbBackend, limit: u64) -> String {
        let Self { time, order, .. } = self;
        let (rows, offset) = (self.rows(backend), limit - 1);
        let condition = self.condition(self.is_inclusive);
        format!(
            "SELECT {time} FROM {rows} WHERE {condition} ORDER BY {order} LIMIT 1 OFFSET {offset}"
        )
    }

    /// Builds the statement that applies the action to the rows of a batch.
    pub(super) fn action_sql(&self, backend: DbBackend, is_full: bool) -> String {
        let (rows, time) = (self.rows(backend), self.time);
        let (action, returned) = match self.action {
            Action::Delete => (format!("DELETE FROM {rows}"), time),
            Action::DeleteFromFeed => (format!("DELETE FROM {rows}"), "position"),
            Action::Clear(column) => (format!("UPDATE {rows} SET {column} = NULL"), time),
        };
        let condition = self.condition(is_full || self.is_inclusive);
        format!("{action} WHERE {condition} RETURNING {returned}")
    }

    /// Returns the table, for SQLite with its index: it may scan a table that it estimates to be small.
    fn rows(&self, backend: DbBackend) -> String {
        let Self { table, index, .. } = self;
        if backend == DbBackend::Sqlite {
            format!("{table} INDEXED BY {index}")
        } else {
            (*table).to_owned()
        }
    }

    fn condition(&self, is_inclusive: bool) -> String {
        let Self {
            condition, time, ..
        } = self;
        let until = if is_inclusive { "<=" } else { "<" };
        format!("{condition} AND {time} >= $1 AND {time} {until} $2")
    }
}
