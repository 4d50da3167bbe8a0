//! The channel that a caller or writer used, and the contacts that it belongs to (rule 21).

use crate::domain::{
    caller_id::CallerId, contact_types::ContactTypes, email_address::EmailAddress, ids::ContactId,
    phone_number::PhoneNumber,
};

/// The phone number or e-mail address used, in the form in which it is stored.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The numbers that the caller ID can mean, at least one.
    PhoneNumbers(Vec<PhoneNumber>),
    /// A phone number that the caller withholds.
    Withheld,
    /// An e-mail address.
    Email(EmailAddress),
}

impl Channel {
    /// Its name in requests and in the audit log.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::PhoneNumbers(_) | Self::Withheld => "phone_number",
            Self::Email(_) => "email",
        }
    }
}

impl From<CallerId> for Channel {
    fn from(caller_id: CallerId) -> Self {
        match caller_id {
            CallerId::Numbers(numbers) => Self::PhoneNumbers(numbers),
            CallerId::Withheld => Self::Withheld,
        }
    }
}

/// How a channel matches the one on file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// It is the one on file.
    Exact,
    /// It is an extension of a phone number on file.
    SameLine,
}

/// The forms in which a channel may be on file.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// The channel itself.
    pub exact: Vec<String>,
    /// The phone numbers that it may be an extension of.
    pub same_line: Vec<String>,
}

impl Candidates {
    /// The forms in which a channel may be on file; none of a withheld number.
    pub fn of(channel: &Channel) -> Self {
        let (exact, same_line) = match channel {
            Channel::Withheld => (Vec::new(), Vec::new()),
            Channel::Email(email) => (vec![email.comparison_key()], Vec::new()),
            Channel::PhoneNumbers(numbers) => {
                let exact = numbers.iter().map(|number| number.as_str().to_owned());
                let lines = numbers.iter().flat_map(PhoneNumber::lines);
                (exact.collect(), lines.map(str::to_owned).collect())
            }
        };
        Self { exact, same_line }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let all = self.exact.iter().chain(&self.same_line);
        all.map(String::as_str)
    }

    /// How a value on file matches; `None`: it does not.
    pub fn kind_of(&self, on_file: &str) -> Option<MatchKind> {
        let is_in = |candidates: &[String]| candidates.iter().any(|value| value == on_file);
        if is_in(&self.exact) {
            return Some(MatchKind::Exact);
        }
        is_in(&self.same_line).then_some(MatchKind::SameLine)
    }
}

/// An owner of a channel. It identifies, it does not authenticate.
#[derive(Clone, Debug)]
pub struct ChannelMatch {
    /// The contact or the customer itself.
    pub owner: ChannelOwner,
    /// How the channel matches.
    pub kind: MatchKind,
}

/// The contact or the contact data that has a channel.
#[derive(Clone, Debug)]
pub enum ChannelOwner {
    /// The customer's own contact data.
    ContactData,
    /// A contact.
    Contact {
        /// The contact's id.
        id: ContactId,
        /// The contact's name.
        display_name: String,
        /// The contact's types.
        types: ContactTypes,
    },
}
