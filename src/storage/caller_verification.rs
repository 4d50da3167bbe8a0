//! The owners of a phone number or an address (rule 21).

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Database, bounded, contacts::to_types};
use crate::storage::{
    batch::batcher::SharedQuery,
    error::Failure,
    pools::reader_pool::{HeldReaders, as_json},
};
use crate::{
    domain::{
        caller::{Candidates, Channel, ChannelMatch, ChannelOwner, MatchKind},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

/// The customer, and the forms in which its channel may be stored.
type Key = (CustomerNumber, Candidates);
/// The owners; `None`: there is no such customer. A key whose rows cannot be read fails alone.
type Found = Result<Option<Vec<ChannelMatch>>>;

/// The two kinds of channels, each with a query that calls share.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    phone_numbers: SharedQuery<Key, Found>,
    emails: SharedQuery<Key, Found>,
}

impl Channels {
    pub(super) fn new(readers: &HeldReaders) -> Self {
        let by = |name, owners: &'static str| {
            let readers = readers.clone();
            let dialect = match readers {
                HeldReaders::Postgres(_) => POSTGRES,
                HeldReaders::Sqlite(_) => SQLITE,
            };
            let sql: Arc<str> = select(&dialect, owners).into();
            SharedQuery::new(name, move |keys: Vec<Key>| {
                let (readers, sql) = (readers.clone(), Arc::clone(&sql));
                async move { find_many(&readers, &sql, &keys).await }
            })
        };
        Self {
            phone_numbers: by("phone_numbers", OWNERS_OF_PHONE_NUMBER),
            emails: by("emails", OWNERS_OF_EMAIL),
        }
    }
}

impl Database {
    /// The owners of the channel, each once: exact matches before those of the same line, and
    /// within these the contact data, then the contacts in the order of their creation. `None`:
    /// there is no such customer. Concurrent requests share a query.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_channel(
        &self,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Option<Vec<ChannelMatch>>> {
        let query = match channel {
            Channel::Email(_) => &self.channels.emails,
            Channel::PhoneNumbers(_) | Channel::Withheld => &self.channels.phone_numbers,
        };
        query
            .ask((number.clone(), Candidates::new(channel)))
            .await?
    }
}

const COLUMNS: &str =
    "asked.place, contacts.contact_id, contacts.position, contacts.types, contacts.display_name";

const OWNERS_OF_PHONE_NUMBER: &str = "contact_phone_numbers.phone_number, customers.phone_number \
     FROM asked JOIN customers ON customers.customer_number = asked.number \
     LEFT JOIN contact_phone_numbers ON contact_phone_numbers.customer_number = asked.number \
       AND contact_phone_numbers.phone_number {is_candidate} \
     LEFT JOIN contacts ON contacts.customer_number = contact_phone_numbers.customer_number \
       AND contacts.contact_id = contact_phone_numbers.contact_id";

const OWNERS_OF_EMAIL: &str = "contacts.email_key, customers.email_key \
     FROM asked JOIN customers ON customers.customer_number = asked.number \
     LEFT JOIN contacts ON contacts.customer_number = asked.number \
       AND contacts.email_key {is_candidate}";

/// Neither kind of channel has a line break.
const SEPARATOR: &str = "\n";

/// The questions, and the condition that a column holds one of a question's candidates. Few
/// equalities, and no LIKE: each is a look-up in the index.
struct Dialect {
    asked: &'static str,
    is_candidate: &'static str,
}

const POSTGRES: Dialect = Dialect {
    asked: "SELECT number, candidates, place \
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS listed (number, candidates, place)",
    is_candidate: "= ANY (string_to_array(asked.candidates, chr(10)))",
};

const SQLITE: Dialect = Dialect {
    asked: "SELECT value ->> 0 AS number, value ->> 1 AS candidates, key + 1 AS place \
        FROM json_each($1)",
    is_candidate: "IN (SELECT value FROM json_each(asked.candidates))",
};

fn select(dialect: &Dialect, owners: &str) -> String {
    let Dialect {
        asked,
        is_candidate,
    } = dialect;
    let owners = owners.replace("{is_candidate}", is_candidate);
    format!("WITH asked AS ({asked}) SELECT {COLUMNS}, {owners}")
}

/// A row of the answer: the customer's own channel, and with it at most one owner.
struct Owner {
    place: i64,
    of_customer: Option<String>,
    contact: Option<Contact>,
}

struct Contact {
    id: Uuid,
    position: i64,
    types: i16,
    display_name: String,
    channel: String,
}

/// Of a row of either database.
macro_rules! owner_from {
    ($row:ty) => {
        impl TryFrom<&$row> for Owner {
            type Error = sqlx::Error;

            fn try_from(row: &$row) -> sqlx::Result<Self> {
                let contact = match row.try_get(1)? {
                    Some(id) => Some(Contact {
                        id,
                        position: row.try_get(2)?,
                        types: row.try_get(3)?,
                        display_name: row.try_get(4)?,
                        channel: row.try_get(5)?,
                    }),
                    None => None,
                };
                Ok(Self {
                    place: row.try_get(0)?,
                    of_customer: row.try_get(6)?,
                    contact,
                })
            }
        }
    };
}

owner_from!(PgRow);
owner_from!(SqliteRow);

async fn find_many(readers: &HeldReaders, sql: &Arc<str>, keys: &[Key]) -> Result<Vec<Found>> {
    let owners: sqlx::Result<Vec<Owner>> = bounded(async {
        match readers {
            HeldReaders::Postgres(readers) => {
                let numbers: Vec<_> = keys.iter().map(|(number, _)| number.as_str()).collect();
                let candidates = keys.iter().map(|(_, candidates)| joined(candidates));
                let candidates: Vec<_> = candidates.collect();
                let query = || {
                    let query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                    query.bind(&numbers).bind(&candidates)
                };
                let rows = readers.fetch_all(query).await?;
                Ok(rows.iter().map(Owner::try_from).collect())
            }
            HeldReaders::Sqlite(readers) => {
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(number, candidates)| (number.as_str(), all_of(candidates)))
                    .collect();
                let keys = as_json(&keys)?;
                let query = || sqlx::query(AssertSqlSafe(Arc::clone(sql))).bind(&keys);
                let rows = readers.fetch_all(query).await?;
                Ok(rows.iter().map(Owner::try_from).collect())
            }
        }
    })
    .await?;
    let mut of_keys: Vec<Option<Vec<Owner>>> = keys.iter().map(|_| None).collect();
    for owner in owners.map_err(Failure::from)? {
        let place = usize::try_from(owner.place - 1).ok();
        let of_key = place.and_then(|place| of_keys.get_mut(place));
        let of_key = of_key.ok_or_else(|| Error::internal("an answer without a question"))?;
        of_key.get_or_insert_default().push(owner);
    }
    let matches = of_keys
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

fn to_matches(owners: Vec<Owner>, candidates: &Candidates) -> Result<Vec<ChannelMatch>> {
    let mut found: Vec<(MatchKind, i64, ChannelMatch)> = Vec::new();
    let of_customer = owners.iter().find_map(|owner| owner.of_customer.as_deref());
    if let Some(kind) = of_customer.and_then(|channel| candidates.match_kind(channel)) {
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
    // A contact that matches by several numbers is listed by the best one.
    let mut listed = Vec::new();
    found.retain(|(_, position, _)| {
        let is_new = !listed.contains(position);
        listed.push(*position);
        is_new
    });
    Ok(found.into_iter().map(|(.., found)| found).collect())
}
