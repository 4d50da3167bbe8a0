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

/// The contacts and the contact data, in one statement and one round trip.
const OWNERS: &str = "\
    SELECT * FROM ( \
      SELECT contacts.customer_number, {channel}, contacts.contact_id, contacts.position, \
        contacts.types, contacts.display_name \
      FROM {contacts} WHERE {channel} IN ({candidates}) \
      ORDER BY CASE WHEN {channel} IN ({exact}) THEN 0 ELSE 1 END, contacts.customer_number, \
        contacts.position LIMIT {limit}) AS of_contacts \
    UNION ALL SELECT * FROM ( \
      SELECT customer_number, {column}, CAST(NULL AS uuid), CAST(NULL AS bigint), \
        CAST(NULL AS smallint), CAST(NULL AS text) FROM customers \
      WHERE {column} IN ({candidates}) \
      ORDER BY CASE WHEN {column} IN ({exact}) THEN 0 ELSE 1 END, customer_number \
      LIMIT {limit}) AS of_customers";
const EMAILS: &str = "contacts";
const NUMBERS: &str = "\
    contact_phone_numbers JOIN contacts \
      ON contacts.customer_number = contact_phone_numbers.customer_number \
      AND contacts.contact_id = contact_phone_numbers.contact_id";

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
        let (contacts, of_contacts, of_customers) = match channel {
            Channel::Withheld => return Ok(FoundCustomers::default()),
            Channel::Email(_) => (EMAILS, "contacts.email_key", "email_key"),
            Channel::PhoneNumbers(_) => {
                let channel = "contact_phone_numbers.phone_number";
                (NUMBERS, channel, "phone_number")
            }
        };
        let sql = OWNERS
            .replace("{contacts}", contacts)
            .replace("{channel}", of_contacts)
            .replace("{column}", of_customers);
        let rows = self.search(&sql, &candidates).await?;
        let found = rows.iter().map(|row| to_owner(row, &candidates));
        let mut found: Vec<_> = found.collect::<Result<_>>()?;
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

    async fn search(&self, sql: &str, candidates: &Candidates) -> Result<Vec<QueryResult>> {
        let placeholder = |nth: usize| format!("${nth}");
        let all: Vec<_> = (1..=candidates.iter().count()).map(placeholder).collect();
        // The exact ones are the first.
        let exact: Vec<_> = (1..=candidates.exact.len()).map(placeholder).collect();
        let sql = sql
            .replace("{candidates}", &all.join(", "))
            .replace("{exact}", &exact.join(", "))
            .replace("{limit}", &MAX_ROWS.to_string());
        let values = candidates.iter().map(Value::from);
        let backend = self.readers.get_database_backend();
        let query = Statement::from_sql_and_values(backend, sql, values);
        let rows = self.readers.query_all_raw(query);
        with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await
    }
}

fn to_owner(row: &QueryResult, candidates: &Candidates) -> Result<Owner> {
    let number: String = row.try_get_by_index(0).map_err(StorageError::from)?;
    let channel: String = row.try_get_by_index(1).map_err(StorageError::from)?;
    let contact: Option<Uuid> = row.try_get_by_index(2).map_err(StorageError::from)?;
    let position: Option<i64> = row.try_get_by_index(3).map_err(StorageError::from)?;
    let owner = if let Some(id) = contact {
        let types = row.try_get_by_index(4).map_err(StorageError::from)?;
        ChannelOwner::Contact {
            id: ContactId(id),
            display_name: row.try_get_by_index(5).map_err(StorageError::from)?,
            types: to_types(types)?,
        }
    } else {
        ChannelOwner::ContactData
    };
    let kind = candidates.match_kind(&channel);
    let kind = kind.ok_or_else(|| Error::internal("a search found another channel"))?;
    Ok(Owner {
        customer_number: CustomerNumber::from_stored(number),
        position: position.unwrap_or(i64::MIN),
        matched: ChannelMatch { owner, kind },
    })
}
