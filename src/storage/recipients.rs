//! Customers as the resolution of recipients sees them.

use super::{
    batch::recipients::{self, FoundAddressees},
    database::{Database, acquire},
};
use crate::{domain::ids::CustomerNumber, error::Result};

impl Database {
    /// Reads the customer and its contacts, in the order of their creation, from one snapshot that
    /// is not older than the request. Concurrent requests share a query.
    pub async fn find_addressees(&self, number: &CustomerNumber) -> FoundAddressees {
        self.addressees.load(number.clone()).await?
    }

    /// Reads many customers, in the order of `numbers`. The number of concurrent bulk reads is
    /// limited, so that connections remain for single ones.
    pub async fn list_addressees(
        &self,
        numbers: &[CustomerNumber],
    ) -> Result<Vec<FoundAddressees>> {
        let _permit = acquire(&self.bulk_reads).await?;
        recipients::list(&self.pinned, self.replica.as_ref(), numbers).await
    }
}
