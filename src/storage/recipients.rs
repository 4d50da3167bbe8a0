//! Customers as the resolution of recipients sees them.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use super::{
    batch::recipients::{self, FoundAddressees, Selection},
    database::{BULK_READS, Database, acquire},
};
use crate::{
    domain::ids::CustomerNumber,
    error::{Error, Result},
};

/// Number of customers in one read of a long run.
const CUSTOMERS: usize = 250;
/// The same for a distributed database, where a read is a query to each of 32 shards.
const DISTRIBUTED_CUSTOMERS: usize = 2_000;

impl Database {
    /// Reads the customer and its contacts, in the order of their creation, from one snapshot that
    /// is not older than the request. Concurrent requests share a query.
    pub async fn find_addressees(&self, number: &CustomerNumber) -> FoundAddressees {
        self.addressees.load(number.clone()).await?
    }

    /// Reads many customers, in the order of `numbers`. The number of concurrent bulk reads is
    /// limited, so that connections remain for single ones. While a node of a distributed database is
    /// down, only its customers have an error.
    pub async fn list_addressees(
        &self,
        numbers: &[CustomerNumber],
    ) -> Result<Vec<FoundAddressees>> {
        self.list_selected(numbers, Selection::Numbers).await
    }

    /// Lists up to `limit` customer numbers after another one, or the first ones, in their order.
    pub async fn list_customer_numbers(
        &self,
        after: Option<&CustomerNumber>,
        limit: usize,
    ) -> Result<Vec<CustomerNumber>> {
        let _permit = acquire(&self.bulk_reads).await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        recipients::list_numbers(&self.pinned, self.replica.as_ref(), after, limit).await
    }

    /// Reads successive customers that were listed on the primary, in the order of `numbers`. Those that
    /// are not on the replica yet are read from the primary.
    pub async fn list_listed_addressees(
        &self,
        numbers: &[CustomerNumber],
    ) -> Result<Vec<FoundAddressees>> {
        let mut found = self.list_selected(numbers, Selection::Range).await?;
        let is_missing = |found: &FoundAddressees| matches!(found, Ok(None));
        let missing = numbers.iter().zip(&found);
        let missing = missing.filter(|(_, found)| is_missing(found));
        let missing: Vec<_> = missing.map(|(number, _)| number.clone()).collect();
        if missing.is_empty() || self.replica.is_none() {
            return Ok(found);
        }
        let read = self.list_current_addressees(&missing).await?;
        let places = found.iter_mut().filter(|found| is_missing(found));
        for (place, read) in places.zip(read) {
            *place = read;
        }
        Ok(found)
    }

    /// Returns the number of customers that are best read at once in a long run.
    pub fn customers_per_read(&self) -> usize {
        if self.is_distributed() {
            DISTRIBUTED_CUSTOMERS
        } else {
            CUSTOMERS
        }
    }

    /// Reads many customers from the primary, in the order of `numbers`.
    pub async fn list_current_addressees(
        &self,
        numbers: &[CustomerNumber],
    ) -> Result<Vec<FoundAddressees>> {
        let _permit = acquire(&self.bulk_reads).await?;
        recipients::list(&self.pinned, None, numbers, Selection::Numbers).await
    }

    /// Counts the customers.
    pub async fn count_customers(&self) -> Result<u64> {
        let _permit = acquire(&self.bulk_reads).await?;
        recipients::count(&self.pinned).await
    }

    async fn list_selected(
        &self,
        numbers: &[CustomerNumber],
        selection: Selection,
    ) -> Result<Vec<FoundAddressees>> {
        if self.is_distributed() {
            // A range of numbers is on all shards.
            self.list_by_shard(numbers).await
        } else {
            self.list_together(numbers, selection).await
        }
    }

    async fn list_together(
        &self,
        numbers: &[CustomerNumber],
        selection: Selection,
    ) -> Result<Vec<FoundAddressees>> {
        let _permit = acquire(&self.bulk_reads).await?;
        recipients::list(&self.pinned, self.replica.as_ref(), numbers, selection).await
    }

    async fn list_by_shard(&self, numbers: &[CustomerNumber]) -> Result<Vec<FoundAddressees>> {
        let permit = acquire(&self.bulk_reads).await?;
        let shards = recipients::list_shards(&self.pinned, numbers).await?;
        drop(permit);
        let mut groups = BTreeMap::<i64, (Vec<usize>, Vec<CustomerNumber>)>::new();
        for ((place, number), shard) in numbers.iter().enumerate().zip(shards) {
            let (places, group) = groups.entry(shard).or_default();
            places.push(place);
            group.push(number.clone());
        }
        let read = |(places, group): (Vec<usize>, Vec<CustomerNumber>)| async move {
            let found = self.list_together(&group, Selection::Numbers).await;
            let found = found.unwrap_or_else(|error| vec![Err(error); group.len()]);
            places.into_iter().zip(found)
        };
        let groups = stream::iter(groups.into_values().map(read));
        let found: BTreeMap<_, _> = groups
            .buffer_unordered(BULK_READS)
            .flat_map(stream::iter)
            .collect()
            .await;
        if found.len() != numbers.len() {
            return Err(Error::internal("a shard omitted customers"));
        }
        Ok(found.into_values().collect())
    }
}
