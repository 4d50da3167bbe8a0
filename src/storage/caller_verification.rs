//! The verification of callers: the owners of a channel (rule 21), and the counts that limit it.

use super::{batch::channel_checks::ChannelCheck, database::Database};
use crate::{
    domain::{
        caller::{Channel, ChannelMatch},
        ids::CustomerNumber,
    },
    error::Result,
};

impl Database {
    /// Reads the owners of the channel, each once: exact matches before those of the same line,
    /// and within these the contact data, then the contacts in the order of their creation.
    /// `None` if there is no such customer. Concurrent requests share a statement.
    pub async fn find_channel(
        &self,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Option<Vec<ChannelMatch>>> {
        self.channels.find(number, channel).await
    }

    /// Counts a check against the limits of its agent and its customer, or a search against that of its
    /// agent.
    ///
    /// # Errors
    /// [`Error::FindLimit`](crate::error::Error::FindLimit) beyond `per_minute`; such a check
    /// does not count against the customer's limit if the agent's was reached.
    pub async fn count_channel_check(&self, check: ChannelCheck) -> Result<()> {
        self.channel_checks.load(check).await?
    }
}
