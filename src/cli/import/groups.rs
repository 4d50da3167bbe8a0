//! The rows of a file by customer.

use std::collections::HashMap;

use contact_service::{
    app::FileRow,
    domain::{
        contact_import::{ImportKey, merge_customer},
        customer::CustomerChange,
        ids::CustomerNumber,
    },
};
use csv::StringRecord;

use super::{
    cells,
    rejects::Reject,
    rows::{Content, Row, Table},
};

/// The rows of one customer.
pub(super) struct Group<'s> {
    pub(super) number: CustomerNumber,
    rows: Vec<(&'s Row, &'s StringRecord)>,
}

/// The rows of a table by customer, and those that belong to none.
#[derive(Default)]
pub(super) struct GroupedRows<'s> {
    /// In the order of the first row of each.
    pub(super) customers: Vec<Group<'s>>,
    pub(super) rejects: Vec<Reject<'s>>,
    /// Rows that are no contact, with the reason.
    pub(super) skipped: Vec<(&'s Row, &'static str)>,
}

impl<'s> GroupedRows<'s> {
    /// Groups the rows. A row without a valid customer number is rejected.
    pub(super) fn of(table: &'s Table) -> Self {
        let mut all = Self::default();
        let mut indexes: HashMap<CustomerNumber, usize> = HashMap::new();
        for row in &table.rows {
            let fields = match &row.content {
                Content::Fields(fields) => fields,
                Content::Unreadable(reason) => {
                    all.reject(row, reason.clone());
                    continue;
                }
                Content::NoContact(reason) => {
                    all.skipped.push((row, reason));
                    continue;
                }
            };
            let Some(number) = cells::customer_number(&table.header, fields) else {
                // Reading the whole row reports all of its errors.
                let reason = cells::contact_row(&table.header, fields).err();
                all.reject(row, reason.unwrap_or_default());
                continue;
            };
            let index = *indexes.entry(number.clone()).or_insert(all.customers.len());
            if let Some(group) = all.customers.get_mut(index) {
                group.rows.push((row, fields));
            } else {
                let rows = vec![(row, fields)];
                all.customers.push(Group { number, rows });
            }
        }
        all
    }

    fn reject(&mut self, row: &'s Row, reason: String) {
        self.rejects.push(Reject { row, reason });
    }
}

/// The rows of one customer as contacts, and those that are rejected without the database.
pub(super) struct ParsedRows<'s> {
    pub(super) contacts: Vec<(&'s Row, FileRow)>,
    pub(super) rejects: Vec<Reject<'s>>,
}

impl<'s> Group<'s> {
    /// The line of the first row.
    pub(super) fn line(&self) -> u64 {
        self.rows.first().map_or(0, |(row, _)| row.line)
    }

    /// Parses the rows. Of rows with the same key only the first counts, even if an earlier run
    /// imported it: repeating the import rejects the same rows.
    pub(super) fn parse(&self, table: &Table) -> ParsedRows<'s> {
        let (mut contacts, mut rejects) = (Vec::<(&Row, FileRow)>::new(), Vec::new());
        let mut index_of_key: HashMap<ImportKey, usize> = HashMap::new();
        for &(row, fields) in &self.rows {
            let contact = match cells::contact_row(&table.header, fields) {
                Ok(contact) => contact,
                Err(reason) => {
                    rejects.push(Reject { row, reason });
                    continue;
                }
            };
            let index = *index_of_key.entry(contact.key).or_insert(contacts.len());
            match contacts.get(index) {
                Some((first, earlier)) if earlier.values() != contact.values() => {
                    let reason = cells::contradiction(&table.header, fields, first.line);
                    rejects.push(Reject { row, reason });
                }
                _ => contacts.push((row, contact)),
            }
        }
        ParsedRows { contacts, rejects }
    }
}

/// Merges the columns about the customer itself from all of its rows.
///
/// # Errors
/// The lines of the first two rows that contradict each other: none of the rows is imported then,
/// so that the customer is not created with the wrong data.
pub(super) fn customer_change(rows: &[(&Row, FileRow)]) -> Result<CustomerChange, String> {
    let mut change = CustomerChange::default();
    let mut earlier: HashMap<&str, u64> = HashMap::new();
    for (row, contact) in rows {
        for (column, merged) in merge_customer(&mut change, &contact.customer) {
            let first = *earlier.entry(column).or_insert(row.line);
            if !merged {
                let line = row.line;
                return Err(format!(
                    "{column}: lines {first} and {line} of the same customer contradict each other"
                ));
            }
        }
    }
    Ok(change)
}
