//! Reads single contacts of many requests at once.

use std::{collections::HashMap, sync::LazyLock};

use sea_orm::{
    DbBackend, FromQueryResult, QueryResult, QueryTrait,
    sea_query::{Condition, Expr, IntoCondition},
};
use uuid::Uuid;

use super::{
    super::{
        contacts::record::{ContactRecord, ContactRow, gather, selection},
        error::StorageError,
        pools::reader_pool::{PinnedReaders, as_json},
        timeout::with_timeout,
    },
    batcher::{BatchSizes, Batcher},
};
use crate::{
    domain::{
        contact::Contact,
        ids::{ContactId, CustomerNumber},
    },
    error::Result,
    observability::metrics::SharedQuery,
};

/// The key of a contact.
pub(crate) type ContactKey = (CustomerNumber, ContactId);
/// A contact, if it exists. A contact whose row cannot be read fails only its own request.
pub(crate) type FoundContact = Result<Option<Contact>>;

/// Creates the batcher of single reads.
pub(crate) fn batcher(
    readers: &PinnedReaders,
    sizes: BatchSizes,
) -> Batcher<ContactKey, FoundContact> {
    let readers = readers.clone();
    let load = move |keys: Vec<ContactKey>| {
        let readers = readers.clone();
        async move { find_many(&readers, &keys).await }
    };
    Batcher::new(SharedQuery::Contacts, sizes, load)
}

/// Reads contacts by one statement, in the order of `keys`.
async fn find_many(readers: &PinnedReaders, keys: &[ContactKey]) -> Result<Vec<FoundContact>> {
    let numbers = keys.iter().map(|(number, _)| number.as_str());
    let rows: Vec<QueryResult> = with_timeout(async {
        match readers {
            PinnedReaders::Postgres(readers) => {
                let ids: Vec<Uuid> = keys.iter().map(|(_, id)| id.0).collect();
                let numbers: Vec<_> = numbers.collect();
                let query = || {
                    let query = sqlx::query(POSTGRES_FIND_MANY.as_str());
                    query.bind(&numbers).bind(&ids)
                };
                let rows = readers.fetch_all(query).await?;
                Ok(rows.into_iter().map(QueryResult::from).collect())
            }
            PinnedReaders::Sqlite(readers) => {
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
        .map(|row| ContactRow::from_query_result(row, ""))
        .collect();
    let found: HashMap<Uuid, ContactRecord> = gather(rows.map_err(StorageError::from)?)?
        .into_iter()
        .map(|record| (record.contact.contact_id, record))
        .collect();
    let mut contacts = Vec::with_capacity(keys.len());
    for (number, id) in keys {
        let record = found
            .get(&id.0)
            .filter(|record| record.contact.customer_number == number.as_str());
        contacts.push(record.cloned().map(ContactRecord::into_contact).transpose());
    }
    Ok(contacts)
}

/// A distributed database finds the shards by the conditions with ANY.
static POSTGRES_FIND_MANY: LazyLock<String> = LazyLock::new(|| {
    let condition = "(contacts.customer_number, contacts.contact_id) IN \
                 (SELECT * FROM unnest($1::text[], $2::uuid[])) \
                 AND contacts.customer_number = ANY($1)";
    let of_others = Expr::cust("other.customer_number = ANY($1)");
    selection(
        Expr::cust(condition).into_condition(),
        of_others.into_condition(),
    )
    .build(DbBackend::Postgres)
    .sql
});

static SQLITE_FIND_MANY: LazyLock<String> = LazyLock::new(|| {
    let condition = "(contacts.customer_number, contacts.contact_id) IN \
                 (SELECT value ->> 0, unhex(value ->> 1) FROM json_each($1))";
    selection(Expr::cust(condition).into_condition(), Condition::all())
        .build(DbBackend::Sqlite)
        .sql
});
