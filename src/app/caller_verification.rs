//! Caller verification (rule 21): is a channel on file, and whose is it?

use crate::{
    app::App,
    domain::{
        caller::{Channel, ChannelMatch},
        customer::CustomerNumber,
    },
    error::{Error, Result},
};

impl App {
    /// Whose the channel is; empty: it is not on file for this customer. Pending
    /// addresses are not on file.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn verify_contact_channel(
        &self,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Vec<ChannelMatch>> {
        let matches = self.database.find_channel(number, channel).await?;
        matches.ok_or(Error::CustomerNotFound)
    }
}
