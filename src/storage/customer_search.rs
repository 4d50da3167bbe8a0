//! Searches over all customers (rule 30), by indexes that do not begin with the customer number. A
//! distributed database asks all its nodes.

use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{columns::to_types, database::Database, error::StorageError, timeout::with_timeout};
use crate::{
    domain::{
        caller::{Candidates, Channel, ChannelMatch, ChannelOwner, FoundCustomers, MAX_FOUND},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

/// More than [`MAX_FOUND`], as a contact may match by several of its numbers.
const MAX_ROWS: usize = 4 * (MAX_FOUND + 1);

const EMAILS_OF_CONTACTS: &str = "\
    SELECT customer_number, email_key, contact_id, position, types, display_name FROM contacts \
    WHERE email_key IN ({candidates}) ORDER BY {exact_first}, customer_number, position LIMIT {limit}";
const EMAILS_OF_CUSTOMERS: &str = "\
    SELECT customer_number, email_key FROM customers WHERE email_key IN ({candidates}) \
    ORDER BY {exact_first}, customer_number LIMIT {limit}";
const NUMBERS_OF_CONTACTS: &str = "\
    SELECT contacts.customer_number, contact_phone_numbers.phone_number, contacts.contact_id, \
      contacts.position, contacts.types, contacts.display_name \
    FROM contact_phone_numbers JOIN contacts \
      ON contacts.customer_number = contact_phone_numbers.customer_number \
      AND contacts.contact_id = contact_phone_numbers.contact_id \
    WHERE contact_phone_numbers.phone_number IN ({candidates}) \
    ORDER BY {exact_first}, contacts.customer_number, contacts.position LIMIT {limit}";
const NUMBERS_OF_CUSTOMERS: &str = "\
    SELECT customer_number, phone_number FROM customers WHERE phone_number IN ({candidates}) \
    ORDER BY {exact_first}, customer_number LIMIT {limit}";

/// A match before duplicates are removed.
struct Owner {
    customer_number: CustomerNumber,
    /// The position among the customer's contacts; the contact data is before them.
    position: i64,
    matched: ChannelMatch,
}

impl Database {
    /// Finds the owners of a channel among all customers: exact matches first, then by customer number,
    /// the contact data before the contacts in the order of their creation.
    pub async fn search_channel(&self, channel: &Channel) -> Result<FoundCustomers> {
        let candidates = Candidates::new(channel);
        let (column, of_contacts, of_customers) = match channel {
            Channel::Withheld => return Ok(FoundCustomers::default()),
            Channel::Email(_) => ("email_key", EMAILS_OF_CONTACTS, EMAILS_OF_CUSTOMERS),
            Channel::PhoneNumbers(_) => ("phone_number", NUMBERS_OF_CONTACTS, NUMBERS_OF_CUSTOMERS),
        };
        let contacts = self.search(of_contacts, column, &candidates);
        let customers = self.search(of_customers, column, &candidates);
        let (contacts, customers) = tokio::try_join!(contacts, customers)?;
        let contacts = contacts.iter().map(|row| of_contact(row, &candidates));
        let customers = customers.iter().map(|row| of_customer(row, &candidates));
        let mut found: Vec<_> = contacts.chain(customers).collect::<Result<_>>()?;
        found.sort_by_cached_key(|owner| {
            let number = owner.customer_number.clone();
            (owner.matched.kind, number, owner.position)
        });
        // A contact that matches by several numbers is listed with its best match.
        let mut listed = Vec::new();
        found.retain(|found| {
            let owner = (found.customer_number.clone(), found.position);
            let is_new = !listed.contains(&owner);
            listed.push(owner);
            is_new
        });
        let is_truncated = found.len() > MAX_FOUND;
        found.truncate(MAX_FOUND);
        let matches = found
            .into_iter()
            .map(|owner| (owner.customer_number, owner.matched));
        Ok(FoundCustomers {
            matches: matches.collect(),
            is_truncated,
        })
    }

    async fn search(
        &self,
        sql: &str,
        column: &str,
        candidates: &Candidates,
    ) -> Result<Vec<QueryResult>> {
        let placeholder = |nth: usize| format!("${nth}");
        let all: Vec<_> = (1..=candidates.iter().count()).map(placeholder).collect();
        // The exact ones are the first.
        let exact: Vec<_> = (1..=candidates.exact.len()).map(placeholder).collect();
        let exact = exact.join(", ");
        let sql = sql
            .replace("{candidates}", &all.join(", "))
            .replace(
                "{exact_first}",
                &format!("CASE WHEN {column} IN ({exact}) THEN 0 ELSE 1 END"),
            )
            .replace("{limit}", &MAX_ROWS.to_string());
        let values = candidates.iter().map(Value::from);
        let backend = self.readers.get_database_backend();
        let query = Statement::from_sql_and_values(backend, sql, values);
        let rows = self.readers.query_all_raw(query);
        with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await
    }
}

fn of_customer(row: &QueryResult, candidates: &Candidates) -> Result<Owner> {
    to_found(row, candidates, i64::MIN, ChannelOwner::ContactData)
}

fn of_contact(row: &QueryResult, candidates: &Candidates) -> Result<Owner> {
    let id: Uuid = row.try_get_by_index(2).map_err(StorageError::from)?;
    let position = row.try_get_by_index(3).map_err(StorageError::from)?;
    let types = row.try_get_by_index(4).map_err(StorageError::from)?;
    let owner = ChannelOwner::Contact {
        id: ContactId(id),
        display_name: row.try_get_by_index(5).map_err(StorageError::from)?,
        types: to_types(types)?,
    };
    to_found(row, candidates, position, owner)
}

fn to_found(
    row: &QueryResult,
    candidates: &Candidates,
    position: i64,
    owner: ChannelOwner,
) -> Result<Owner> {
    let number: String = row.try_get_by_index(0).map_err(StorageError::from)?;
    let channel: String = row.try_get_by_index(1).map_err(StorageError::from)?;
    let kind = candidates.match_kind(&channel);
    let kind = kind.ok_or_else(|| Error::internal("a search found another channel"))?;
    Ok(Owner {
        customer_number: CustomerNumber::from_stored(number),
        position,
        matched: ChannelMatch { owner, kind },
    })
}
