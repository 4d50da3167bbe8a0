//! Who is written to.

use crate::{
    app::App,
    domain::{
        customer::CustomerNumber,
        recipients::{Purpose, Resolution, resolve},
    },
    error::{Error, Result},
};

impl App {
    /// Decides who is written to; `attention_line_chars` is the room of an
    /// invoice's attention line in characters.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn resolve_recipients(
        &self,
        number: &CustomerNumber,
        purpose: Purpose,
        attention_line_chars: usize,
    ) -> Result<Resolution> {
        let addressees = self
            .database
            .find_addressees(number, self.now())
            .await?
            .ok_or(Error::CustomerNotFound)?;
        Ok(resolve(&addressees, purpose, attention_line_chars))
    }
}
