//! Single contacts, for many callers at once.

use std::{collections::HashMap, sync::LazyLock};

use sea_orm::{
    DbBackend, FromQueryResult, QueryResult, QueryTrait,
    sea_query::{Condition, Expr},
};
use uuid::Uuid;

use super::{Record, Row, gather, selection};
use crate::{
    domain::{
        contact::Contact,
        ids::{ContactId, CustomerNumber},
    },
    error::Result,
    storage::{
        bounded,
        error::Failure,
        pools::reader_pool::{HeldReaders, as_json},
    },
};

/// Which contact of which customer.
pub(in crate::storage) type ContactKey = (CustomerNumber, ContactId);
/// A contact, if there is one. One that holds what no contact holds fails alone.
pub(in crate::storage) type FoundContact = Result<Option<Contact>>;

/// Many contacts by one statement, each in its place.
pub(in crate::storage) async fn find_many(
    readers: &HeldReaders,
    keys: &[ContactKey],
) -> Result<Vec<FoundContact>> {
    let numbers = keys.iter().map(|(number, _)| number.as_str());
    let rows: Vec<QueryResult> = bounded(async {
        match readers {
            HeldReaders::Postgres(readers) => {
                let ids: Vec<Uuid> = keys.iter().map(|(_, id)| id.0).collect();
                let numbers: Vec<_> = numbers.collect();
                let query = || {
                    let query = sqlx::query(POSTGRES_FIND_MANY.as_str());
                    query.bind(&numbers).bind(&ids)
                };
                let rows = readers.fetch_all(query).await?;
                Ok(rows.into_iter().map(QueryResult::from).collect())
            }
            HeldReaders::Sqlite(readers) => {
                let ids = keys.iter().map(|(_, id)| id.0.simple().to_string());
                let keys: Vec<_> = numbers.zip(ids).collect();
                let keys = as_json(&keys)?;
                let query = || sqlx::query(SQLITE_FIND_MANY.as_str()).bind(&keys);
                let rows = readers.fetch_all(query).await?;
                Ok(rows.into_iter().map(QueryResult::from).collect())
            }
        }
    })
    .await?;
    let rows: std::result::Result<_, _> = rows
        .iter()
        .map(|row| Row::from_query_result(row, ""))
        .collect();
    let found: HashMap<Uuid, Record> = gather(rows.map_err(Failure::from)?)?
        .into_iter()
        .map(|record| (record.contact.contact_id, record))
        .collect();
    let mut answers = Vec::with_capacity(keys.len());
    for (number, id) in keys {
        let record = found
            .get(&id.0)
            .filter(|record| record.contact.customer_number == number.as_str());
        answers.push(record.cloned().map(Record::into_contact).transpose());
    }
    Ok(answers)
}

static POSTGRES_FIND_MANY: LazyLock<String> = LazyLock::new(|| {
    let among = "(contacts.customer_number, contacts.contact_id) IN \
                 (SELECT * FROM unnest($1::text[], $2::uuid[]))";
    selection(Condition::all().add(Expr::cust(among)))
        .build(DbBackend::Postgres)
        .sql
});

static SQLITE_FIND_MANY: LazyLock<String> = LazyLock::new(|| {
    let among = "(contacts.customer_number, contacts.contact_id) IN \
                 (SELECT value ->> 0, unhex(value ->> 1) FROM json_each($1))";
    selection(Condition::all().add(Expr::cust(among)))
        .build(DbBackend::Sqlite)
        .sql
});
