//! Reads what the resolution of recipients needs: one statement for many customers, few columns.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{
        columns::{to_locale, to_types},
        error::StorageError,
        pools::{
            read_replica::ReadReplica,
            reader_pool::{PinnedReaders, as_json},
        },
        timeout::with_timeout,
    },
    batcher::{BatchSizes, Batcher},
};
use crate::{
    domain::{
        customer::NotificationSettings,
        email_address::EmailAddress,
        ids::{ContactId, CustomerNumber},
        recipients::{Addressees, Candidate},
    },
    error::{Error, Result},
    observability::metrics::{self, SharedQuery},
};

/// A customer as the resolution sees it; `None` if there is none of this number. A row that cannot
/// be read fails only its own request.
pub type FoundAddressees = Result<Option<Addressees>>;

/// The columns of a customer, and of one of its contacts if it has any.
const COLUMNS: &str = "customers.customer_number, customers.email, customers.security_notices, \
    customers.planned_maintenance, customers.outages, customers.attention_line_suppressed, \
    customers.locale, customers.email_bounce_time IS NOT NULL, \
    contacts.contact_id, contacts.position, contacts.types, contacts.display_name, \
    contacts.locale, contacts.email, contacts.pending_email_expire_time, \
    contacts.invoice_email_enabled, contacts.email_bounce_time IS NOT NULL";

const TABLES: &str =
    "customers LEFT JOIN contacts ON contacts.customer_number = customers.customer_number";

/// Short enough to fall back to the primary within the deadline.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

#[allow(clippy::struct_excessive_bools, reason = "the columns are independent")]
struct CustomerColumns {
    email: Option<String>,
    security_notices: bool,
    planned_maintenance: bool,
    outages: bool,
    attention_line_suppressed: bool,
    locale: String,
    email_bounced: bool,
}

struct ContactColumns {
    id: Uuid,
    position: i64,
    types: i16,
    display_name: String,
    locale: String,
    email: Option<String>,
    pending_email_expire_time: Option<DateTime<Utc>>,
    invoice_email_enabled: bool,
    email_bounced: bool,
}

/// A row of either database. Columns are read by position: looking up their names would take as
/// long as reading the values.
trait ResolutionRow {
    fn number(&self) -> sqlx::Result<&str>;
    fn customer(&self) -> sqlx::Result<CustomerColumns>;
    fn contact(&self) -> sqlx::Result<Option<ContactColumns>>;
}

macro_rules! resolution_row {
    ($row:ty) => {
        impl ResolutionRow for $row {
            fn number(&self) -> sqlx::Result<&str> {
                self.try_get(0)
            }

            fn customer(&self) -> sqlx::Result<CustomerColumns> {
                Ok(CustomerColumns {
                    email: self.try_get(1)?,
                    security_notices: self.try_get(2)?,
                    planned_maintenance: self.try_get(3)?,
                    outages: self.try_get(4)?,
                    attention_line_suppressed: self.try_get(5)?,
                    locale: self.try_get(6)?,
                    email_bounced: self.try_get(7)?,
                })
            }

            fn contact(&self) -> sqlx::Result<Option<ContactColumns>> {
                let Some(id) = self.try_get(8)? else {
                    return Ok(None);
                };
                Ok(Some(ContactColumns {
                    id,
                    position: self.try_get(9)?,
                    types: self.try_get(10)?,
                    display_name: self.try_get(11)?,
                    locale: self.try_get(12)?,
                    email: self.try_get(13)?,
                    pending_email_expire_time: self.try_get(14)?,
                    invoice_email_enabled: self.try_get(15)?,
                    email_bounced: self.try_get(16)?,
                }))
            }
        }
    };
}

resolution_row!(PgRow);
resolution_row!(SqliteRow);

/// Creates the batcher of single reads.
pub(crate) fn batcher(
    primary: &PinnedReaders,
    replica: Option<&ReadReplica>,
    sizes: BatchSizes,
) -> Batcher<CustomerNumber, FoundAddressees> {
    let (primary, replica) = (primary.clone(), replica.cloned());
    let load = move |numbers: Vec<CustomerNumber>| {
        let (primary, replica) = (primary.clone(), replica.clone());
        async move { list(&primary, replica.as_ref(), &numbers, Selection::Numbers).await }
    };
    Batcher::new(SharedQuery::Addressees, sizes, load)
}

/// Lists up to `limit` customer numbers after another one, in their order: from the primary, as a new
/// customer may not be on the replica yet. The replica serves while the primary is unavailable.
pub(crate) async fn list_numbers(
    primary: &PinnedReaders,
    replica: Option<&ReadReplica>,
    after: Option<&CustomerNumber>,
    limit: i64,
) -> Result<Vec<CustomerNumber>> {
    let after = after.map_or("", CustomerNumber::as_str);
    let listed = list_numbers_from(primary, after, limit).await;
    let readers = replica.and_then(|replica| replica.readers_for(&[]));
    match (listed, readers) {
        (Err(Error::DatabaseUnavailable), Some(readers)) => {
            list_numbers_from(readers, after, limit).await
        }
        (listed, _) => listed,
    }
}

const LIST_NUMBERS: &str = "\
    SELECT customer_number FROM customers WHERE customer_number > $1 \
    ORDER BY customer_number LIMIT $2";

async fn list_numbers_from(
    readers: &PinnedReaders,
    after: &str,
    limit: i64,
) -> Result<Vec<CustomerNumber>> {
    with_timeout(async {
        let numbers: sqlx::Result<Vec<String>> = match readers {
            PinnedReaders::Postgres(readers) => {
                let query = || sqlx::query(LIST_NUMBERS).bind(after).bind(limit);
                let rows = readers.fetch_all(query).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            PinnedReaders::Sqlite(readers) => {
                let query = || sqlx::query(LIST_NUMBERS).bind(after).bind(limit);
                let rows = readers.fetch_all(query).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
        };
        let numbers = numbers.map_err(StorageError::from)?.into_iter();
        Ok(numbers.map(CustomerNumber::from_stored).collect())
    })
    .await
}

const COUNT: &str = "SELECT count(*) FROM customers";

/// Counts the customers.
pub(crate) async fn count(readers: &PinnedReaders) -> Result<u64> {
    with_timeout(async {
        let count: sqlx::Result<i64> = match readers {
            PinnedReaders::Postgres(readers) => {
                let rows = readers.fetch_all(|| sqlx::query(COUNT)).await?;
                rows.first().map_or(Ok(0), |row| row.try_get(0))
            }
            PinnedReaders::Sqlite(readers) => {
                let rows = readers.fetch_all(|| sqlx::query(COUNT)).await?;
                rows.first().map_or(Ok(0), |row| row.try_get(0))
            }
        };
        let count = count.map_err(StorageError::from)?;
        Ok(u64::try_from(count).unwrap_or_default())
    })
    .await
}

/// How customers are selected.
#[derive(Clone, Copy)]
pub(crate) enum Selection {
    /// By their numbers.
    Numbers,
    /// By the first and the last number, between which there is no other customer: this reads both
    /// tables in the order of an index, at a third of the cost.
    Range,
}

/// Reads all of them by one statement, in the order of `numbers`: from the replica if it is
/// available and up to date, or else from the primary.
pub(crate) async fn list(
    primary: &PinnedReaders,
    replica: Option<&ReadReplica>,
    numbers: &[CustomerNumber],
    selection: Selection,
) -> Result<Vec<FoundAddressees>> {
    let available = replica.and_then(|replica| Some((replica, replica.readers_for(numbers)?)));
    if let Some((replica, readers)) = available {
        let rows = list_from(readers, numbers, selection);
        match tokio::time::timeout(REPLICA_TIMEOUT, rows).await {
            // Replayed changes can also cancel reads of the replica.
            Err(_) | Ok(Err(Error::DatabaseUnavailable | Error::Conflict)) => {
                replica.trip_breaker();
            }
            Ok(found) => return found,
        }
    }
    if replica.is_some_and(|replica| !replica.is_available()) {
        metrics::replica_fallback();
    }
    list_from(primary, numbers, selection).await
}

async fn list_from(
    readers: &PinnedReaders,
    numbers: &[CustomerNumber],
    selection: Selection,
) -> Result<Vec<FoundAddressees>> {
    match (selection, numbers) {
        (Selection::Range, [first, .., last]) => list_range(readers, [first, last], numbers).await,
        _ => list_numbered(readers, numbers).await,
    }
}

async fn list_range(
    readers: &PinnedReaders,
    limits: [&CustomerNumber; 2],
    numbers: &[CustomerNumber],
) -> Result<Vec<FoundAddressees>> {
    let [first, last] = limits.map(CustomerNumber::as_str);
    with_timeout(async {
        match readers {
            PinnedReaders::Postgres(readers) => {
                let query = || sqlx::query(RANGE_SELECT.as_str()).bind(first).bind(last);
                gather(&readers.fetch_all(query).await?, numbers)
            }
            PinnedReaders::Sqlite(readers) => {
                let query = || sqlx::query(RANGE_SELECT.as_str()).bind(first).bind(last);
                gather(&readers.fetch_all(query).await?, numbers)
            }
        }
    })
    .await
}

async fn list_numbered(
    readers: &PinnedReaders,
    numbers: &[CustomerNumber],
) -> Result<Vec<FoundAddressees>> {
    let texts: Vec<&str> = numbers.iter().map(CustomerNumber::as_str).collect();
    with_timeout(async {
        match readers {
            PinnedReaders::Postgres(readers) => {
                let query = || sqlx::query(POSTGRES_SELECT.as_str()).bind(&texts);
                gather(&readers.fetch_all(query).await?, numbers)
            }
            PinnedReaders::Sqlite(readers) => {
                let texts = as_json(&texts)?;
                let query = || sqlx::query(SQLITE_SELECT.as_str()).bind(&texts);
                gather(&readers.fetch_all(query).await?, numbers)
            }
        }
    })
    .await
}

/// The shards of customers by Citus; 0 where its tables are not distributed.
const SHARDS: &str = "\
    SELECT CASE \
      WHEN EXISTS (SELECT 1 FROM pg_dist_partition \
        WHERE logicalrelid = 'customers'::regclass AND partmethod = 'h') \
      THEN get_shard_id_for_distribution_column('customers'::regclass, number) ELSE 0 END \
    FROM unnest($1::text[]) WITH ORDINALITY AS listed (number, ordinal) ORDER BY ordinal";

/// Returns the shards of the customers, in the order of `numbers`.
pub(crate) async fn list_shards(
    readers: &PinnedReaders,
    numbers: &[CustomerNumber],
) -> Result<Vec<i64>> {
    let PinnedReaders::Postgres(readers) = readers else {
        return Ok(vec![0; numbers.len()]);
    };
    let numbers: Vec<&str> = numbers.iter().map(CustomerNumber::as_str).collect();
    let query = || sqlx::query(SHARDS).bind(&numbers);
    let rows = with_timeout(readers.fetch_all(query)).await?;
    let shards: sqlx::Result<_> = rows.iter().map(|row| row.try_get(0)).collect();
    Ok(shards.map_err(StorageError::from)?)
}

static POSTGRES_SELECT: LazyLock<String> = LazyLock::new(|| select("= ANY($1)"));
static SQLITE_SELECT: LazyLock<String> =
    LazyLock::new(|| select("IN (SELECT value FROM json_each($1))"));

/// The condition on the contacts follows from that on the customers, but databases infer only equality.
static RANGE_SELECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM {TABLES} AND contacts.customer_number BETWEEN $1 AND $2 \
         WHERE customers.customer_number BETWEEN $1 AND $2"
    )
});

fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM {TABLES} WHERE customers.customer_number {condition}")
}

/// Collects the customers of `numbers` from rows in any order.
fn gather<R: ResolutionRow>(
    rows: &[R],
    numbers: &[CustomerNumber],
) -> Result<Vec<FoundAddressees>> {
    let mut by_customer: HashMap<&str, Vec<&R>> = HashMap::with_capacity(numbers.len());
    for row in rows {
        let number = row.number().map_err(StorageError::from)?;
        by_customer.entry(number).or_default().push(row);
    }
    let find = |number: &CustomerNumber| {
        let rows = by_customer.get(number.as_str());
        rows.map(|rows| to_addressees(number, rows)).transpose()
    };
    Ok(numbers.iter().map(find).collect())
}

fn to_addressees<R: ResolutionRow>(number: &CustomerNumber, rows: &[&R]) -> Result<Addressees> {
    let missing = || Error::internal("a customer without a row");
    let customer = rows.first().ok_or_else(missing)?.customer();
    let customer = customer.map_err(StorageError::from)?;
    let mut contacts = Vec::with_capacity(rows.len());
    for row in rows {
        contacts.extend(row.contact().map_err(StorageError::from)?);
    }
    contacts.sort_unstable_by_key(|contact| contact.position);
    Ok(Addressees {
        customer_number: number.clone(),
        contact_data_email: customer.email.map(EmailAddress::from_stored),
        contact_data_bounced: customer.email_bounced,
        contact_data_locale: to_locale(&customer.locale, "customers.locale")?,
        notification_settings: NotificationSettings {
            security_notices: customer.security_notices,
            planned_maintenance: customer.planned_maintenance,
            outages: customer.outages,
            // The resolution does not depend on it.
            contact_changes: true,
        },
        attention_line_suppressed: customer.attention_line_suppressed,
        contacts: contacts
            .into_iter()
            .map(to_candidate)
            .collect::<Result<_>>()?,
    })
}

fn to_candidate(contact: ContactColumns) -> Result<Candidate> {
    Ok(Candidate {
        id: ContactId(contact.id),
        types: to_types(contact.types)?,
        display_name: contact.display_name,
        locale: to_locale(&contact.locale, "contacts.locale")?,
        email: contact.email.map(EmailAddress::from_stored),
        pending_email_expire_time: contact.pending_email_expire_time,
        invoice_email_enabled: contact.invoice_email_enabled,
        email_bounced: contact.email_bounced,
    })
}
