//! Whose a phone number or an address is (rule 21).

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Database, bounded,
    contacts::to_types,
    failure::Failure,
    held::{HeldReaders, as_json},
    shared_query::SharedQuery,
};
use crate::{
    domain::{
        caller::{Channel, ChannelMatch},
        contact::ContactId,
        customer::CustomerNumber,
    },
    error::{Error, Result},
};

/// Which channel of which customer, as it is stored.
type Key = (CustomerNumber, String);
/// Whose it is; `None`: there is no such customer. What cannot be read fails alone.
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
            let asked = match readers {
                HeldReaders::Postgres(_) => ASKED_OF_POSTGRES,
                HeldReaders::Sqlite(_) => ASKED_OF_SQLITE,
            };
            let sql: Arc<str> = select(asked, owners).into();
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
    /// The contacts of the customer that have the channel, in the order of their
    /// creation, and before them the contact data, if that has it; `None`: there is no such
    /// customer. Calls at the same moment share a query.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_channel(
        &self,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Option<Vec<ChannelMatch>>> {
        let (query, text) = match channel {
            Channel::Email(email) => (&self.channels.emails, email.comparison_key()),
            Channel::PhoneNumber(phone_number) => (
                &self.channels.phone_numbers,
                phone_number.as_str().to_owned(),
            ),
        };
        query.ask((number.clone(), text)).await?
    }
}

const COLUMNS: &str =
    "asked.place, contacts.contact_id, contacts.position, contacts.types, contacts.display_name";

const OWNERS_OF_PHONE_NUMBER: &str = "customers.phone_number = asked.channel \
     FROM asked JOIN customers ON customers.customer_number = asked.number \
     LEFT JOIN contact_phone_numbers ON contact_phone_numbers.customer_number = asked.number \
       AND contact_phone_numbers.phone_number = asked.channel \
     LEFT JOIN contacts ON contacts.customer_number = contact_phone_numbers.customer_number \
       AND contacts.contact_id = contact_phone_numbers.contact_id";

const OWNERS_OF_EMAIL: &str = "customers.email_key = asked.channel \
     FROM asked JOIN customers ON customers.customer_number = asked.number \
     LEFT JOIN contacts ON contacts.customer_number = asked.number \
       AND contacts.email_key = asked.channel";

const ASKED_OF_POSTGRES: &str = "SELECT number, channel, place \
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS listed (number, channel, place)";

const ASKED_OF_SQLITE: &str = "SELECT value ->> 0 AS number, value ->> 1 AS channel, \
     key + 1 AS place FROM json_each($1)";

fn select(asked: &str, owners: &str) -> String {
    format!("WITH asked AS ({asked}) SELECT {COLUMNS}, {owners}")
}

/// An owner of a channel, or, without one, that the customer is there.
struct Owner {
    place: i64,
    is_contact_data: bool,
    contact: Option<(Uuid, i64, i16, String)>,
}

/// Of a row of either database.
macro_rules! owner_from {
    ($row:ty) => {
        impl TryFrom<&$row> for Owner {
            type Error = sqlx::Error;

            fn try_from(row: &$row) -> sqlx::Result<Self> {
                let contact = match row.try_get(1)? {
                    Some(id) => Some((id, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)),
                    None => None,
                };
                Ok(Self {
                    place: row.try_get(0)?,
                    is_contact_data: row.try_get::<Option<bool>, _>(5)?.unwrap_or_default(),
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
                let channels: Vec<_> = keys.iter().map(|(_, channel)| channel.as_str()).collect();
                let query = || {
                    let query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                    query.bind(&numbers).bind(&channels)
                };
                let rows = readers.fetch_all(query).await?;
                Ok(rows.iter().map(Owner::try_from).collect())
            }
            HeldReaders::Sqlite(readers) => {
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(number, channel)| (number.as_str(), channel))
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
        let of_key = of_key.ok_or_else(|| Error::internal("an answer that nobody asked for"))?;
        of_key.get_or_insert_default().push(owner);
    }
    let matches = of_keys
        .into_iter()
        .map(|owners| owners.map(to_matches).transpose());
    Ok(matches.collect())
}

fn to_matches(owners: Vec<Owner>) -> Result<Vec<ChannelMatch>> {
    let mut matches = Vec::new();
    if owners.iter().any(|owner| owner.is_contact_data) {
        matches.push(ChannelMatch::ContactData);
    }
    let mut contacts: Vec<_> = owners.into_iter().filter_map(|o| o.contact).collect();
    contacts.sort_unstable_by_key(|(_, position, ..)| *position);
    // Who has a number twice is one all the same.
    contacts.dedup_by_key(|(id, ..)| *id);
    for (id, _, types, display_name) in contacts {
        matches.push(ChannelMatch::Contact {
            id: ContactId(id),
            display_name,
            types: to_types(types)?,
        });
    }
    Ok(matches)
}
