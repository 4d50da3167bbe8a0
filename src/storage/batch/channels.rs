//! Reads the owners of phone numbers and e-mail addresses (rule 21) of many requests at once.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{
        columns::to_types,
        error::StorageError,
        pools::reader_pool::{PinnedReaders, as_json},
        timeout::with_timeout,
    },
    batcher::{BatchSizes, Batcher},
};
use crate::{
    domain::{
        caller::{Candidates, Channel, ChannelMatch, ChannelOwner, MatchKind},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
    observability::metrics::SharedQuery,
};

/// The customer, and the forms in which the channel may be stored.
type ChannelKey = (CustomerNumber, Candidates);
/// The owners; `None` if there is no such customer. A row that cannot be read fails only its own
/// request.
type FoundOwners = Result<Option<Vec<ChannelMatch>>>;

/// The batchers of the two kinds of channels.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    phone_numbers: Batcher<ChannelKey, FoundOwners>,
    emails: Batcher<ChannelKey, FoundOwners>,
}

impl Channels {
    pub(crate) fn new(readers: &PinnedReaders, sizes: BatchSizes) -> Self {
        let batcher = |query, owners: &'static str| {
            let readers = readers.clone();
            let dialect = match readers {
                PinnedReaders::Postgres(_) => POSTGRES,
                PinnedReaders::Sqlite(_) => SQLITE,
            };
            let sql: Arc<str> = select(&dialect, owners).into();
            Batcher::new(query, sizes, move |keys: Vec<ChannelKey>| {
                let (readers, sql) = (readers.clone(), Arc::clone(&sql));
                async move { list(&readers, &sql, &keys).await }
            })
        };
        Self {
            phone_numbers: batcher(SharedQuery::PhoneNumbers, OWNERS_OF_PHONE_NUMBER),
            emails: batcher(SharedQuery::Emails, OWNERS_OF_EMAIL),
        }
    }

    /// Reads the owners of a channel; `None` if there is no such customer.
    pub(crate) async fn find(
        &self,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Option<Vec<ChannelMatch>>> {
        let batcher = match channel {
            Channel::Email(_) => &self.emails,
            Channel::PhoneNumbers(_) | Channel::Withheld => &self.phone_numbers,
        };
        batcher
            .load((number.clone(), Candidates::new(channel)))
            .await?
    }
}

const COLUMNS: &str = "requested.ordinal, contacts.contact_id, contacts.position, contacts.types, contacts.display_name";

const OWNERS_OF_PHONE_NUMBER: &str = "contact_phone_numbers.phone_number, customers.phone_number \
     FROM requested JOIN customers ON customers.customer_number = requested.number \
     LEFT JOIN contact_phone_numbers \
       ON contact_phone_numbers.customer_number = customers.customer_number \
       AND contact_phone_numbers.phone_number {is_candidate} \
     LEFT JOIN contacts ON contacts.customer_number = contact_phone_numbers.customer_number \
       AND contacts.contact_id = contact_phone_numbers.contact_id";

const OWNERS_OF_EMAIL: &str = "contacts.email_key, customers.email_key \
     FROM requested JOIN customers ON customers.customer_number = requested.number \
     LEFT JOIN contacts ON contacts.customer_number = customers.customer_number \
       AND contacts.email_key {is_candidate}";

/// No channel holds a line break.
const SEPARATOR: &str = "\n";

/// The keys as a table, and the condition that a column equals one of a key's candidates. Few
/// equalities, and no LIKE: each one is an index lookup.
struct Dialect {
    requested: &'static str,
    is_candidate: &'static str,
    /// Repeats the customer numbers, by which a distributed database finds the shards.
    shards: &'static str,
}

const POSTGRES: Dialect = Dialect {
    requested: "SELECT number, candidates, ordinal \
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS listed (number, candidates, ordinal)",
    is_candidate: "= ANY (string_to_array(requested.candidates, chr(10)))",
    shards: " WHERE customers.customer_number = ANY ($1)",
};

const SQLITE: Dialect = Dialect {
    requested: "SELECT value ->> 0 AS number, value ->> 1 AS candidates, key + 1 AS ordinal \
        FROM json_each($1)",
    is_candidate: "IN (SELECT value FROM json_each(requested.candidates))",
    // SQLite would begin with them, and search all keys for each customer.
    shards: "",
};

fn select(dialect: &Dialect, owners: &str) -> String {
    let Dialect {
        requested,
        is_candidate,
        shards,
    } = dialect;
    let owners = owners.replace("{is_candidate}", is_candidate);
    format!("WITH requested AS ({requested}) SELECT {COLUMNS}, {owners}{shards}")
}

/// A row: the customer's own channel, and at most one contact.
struct OwnerRow {
    ordinal: i64,
    customer_channel: Option<String>,
    contact: Option<OwnerColumns>,
}

struct OwnerColumns {
    id: Uuid,
    position: i64,
    types: i16,
    display_name: String,
    channel: String,
}

/// Reads a row of either database.
macro_rules! owner_from {
    ($row:ty) => {
        impl TryFrom<&$row> for OwnerRow {
            type Error = sqlx::Error;

            fn try_from(row: &$row) -> sqlx::Result<Self> {
                let contact = match row.try_get(1)? {
                    Some(id) => Some(OwnerColumns {
                        id,
                        position: row.try_get(2)?,
                        types: row.try_get(3)?,
                        display_name: row.try_get(4)?,
                        channel: row.try_get(5)?,
                    }),
                    None => None,
                };
                Ok(Self {
                    ordinal: row.try_get(0)?,
                    customer_channel: row.try_get(6)?,
                    contact,
                })
            }
        }
    };
}

owner_from!(PgRow);
owner_from!(SqliteRow);

async fn list(
    readers: &PinnedReaders,
    sql: &Arc<str>,
    keys: &[ChannelKey],
) -> Result<Vec<FoundOwners>> {
    let owners: sqlx::Result<Vec<OwnerRow>> = with_timeout(async {
        match readers {
            PinnedReaders::Postgres(readers) => {
                let numbers: Vec<_> = keys.iter().map(|(number, _)| number.as_str()).collect();
                let candidates = keys.iter().map(|(_, candidates)| joined(candidates));
                let candidates: Vec<_> = candidates.collect();
                let query = || {
                    let query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                    query.bind(&numbers).bind(&candidates)
                };
                let rows = readers.fetch_all(query).await?;
                Ok(rows.iter().map(OwnerRow::try_from).collect())
            }
            PinnedReaders::Sqlite(readers) => {
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(number, candidates)| (number.as_str(), all_of(candidates)))
                    .collect();
                let keys = as_json(&keys)?;
                let query = || sqlx::query(AssertSqlSafe(Arc::clone(sql))).bind(&keys);
                let rows = readers.fetch_all(query).await?;
                Ok(rows.iter().map(OwnerRow::try_from).collect())
            }
        }
    })
    .await?;
    let mut by_key: Vec<Option<Vec<OwnerRow>>> = keys.iter().map(|_| None).collect();
    for owner in owners.map_err(StorageError::from)? {
        let ordinal = usize::try_from(owner.ordinal - 1).ok();
        let owners_of_key = ordinal.and_then(|ordinal| by_key.get_mut(ordinal));
        let owners_of_key = owners_of_key.ok_or_else(|| Error::internal("a row without a key"))?;
        owners_of_key.get_or_insert_default().push(owner);
    }
    let matches = by_key
        .into_iter()
        .zip(keys)
        .map(|(owners, (_, candidates))| {
            let matches = owners.map(|owners| to_matches(owners, candidates));
            matches.transpose()
        });
    Ok(matches.collect())
}

fn all_of(candidates: &Candidates) -> Vec<&str> {
    candidates.iter().collect()
}

fn joined(candidates: &Candidates) -> String {
    all_of(candidates).join(SEPARATOR)
}

fn to_matches(owners: Vec<OwnerRow>, candidates: &Candidates) -> Result<Vec<ChannelMatch>> {
    let mut found: Vec<(MatchKind, i64, ChannelMatch)> = Vec::new();
    let customer_channel = owners
        .iter()
        .find_map(|owner| owner.customer_channel.as_deref());
    if let Some(kind) = customer_channel.and_then(|channel| candidates.match_kind(channel)) {
        let owner = ChannelOwner::ContactData;
        found.push((kind, i64::MIN, ChannelMatch { owner, kind }));
    }
    for contact in owners.into_iter().filter_map(|owner| owner.contact) {
        let Some(kind) = candidates.match_kind(&contact.channel) else {
            continue;
        };
        let owner = ChannelOwner::Contact {
            id: ContactId(contact.id),
            display_name: contact.display_name,
            types: to_types(contact.types)?,
        };
        found.push((kind, contact.position, ChannelMatch { owner, kind }));
    }
    found.sort_by_key(|(kind, position, _)| (*kind, *position));
    // A contact that matches by several numbers is listed with its best match.
    let mut listed = Vec::new();
    found.retain(|(_, position, _)| {
        let is_new = !listed.contains(position);
        listed.push(*position);
        is_new
    });
    Ok(found.into_iter().map(|(.., found)| found).collect())
}
