//! Who gets in touch (rule 21): over which channel, and whose that is.

use crate::domain::{
    contact::ContactId, contact_types::ContactTypes, email_address::EmailAddress,
    phone_number::PhoneNumber,
};

/// Over what somebody got in touch, in the form in which it is stored.
#[derive(Clone, Debug)]
pub enum Channel {
    /// A phone number.
    PhoneNumber(PhoneNumber),
    /// An e-mail address.
    Email(EmailAddress),
}

impl Channel {
    /// Its name in requests and in the trail.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::PhoneNumber(_) => "phone_number",
            Self::Email(_) => "email",
        }
    }
}

/// Whose a channel is. It identifies, it does not authenticate.
#[derive(Clone, Debug)]
pub enum ChannelMatch {
    /// The customer's own contact data.
    ContactData,
    /// A contact's.
    Contact {
        /// Which contact.
        id: ContactId,
        /// Its name.
        display_name: String,
        /// Its types.
        types: ContactTypes,
    },
}
