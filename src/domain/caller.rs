//! Caller verification: the channel that a caller or writer used, and its owners (rule 21).

use crate::domain::{
    caller_id::CallerId,
    contact_types::ContactTypes,
    email_address::EmailAddress,
    ids::{ContactId, CustomerNumber},
    phone_number::PhoneNumber,
};

/// The phone number or e-mail address used, in the stored form.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The possible readings of the caller ID, at least one.
    PhoneNumbers(Vec<PhoneNumber>),
    /// A withheld phone number.
    Withheld,
    /// An e-mail address.
    Email(EmailAddress),
}

impl Channel {
    /// Returns the name of the field in requests and in the audit log.
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

/// The way in which a channel matches one on file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// The channels are equal.
    Exact,
    /// The channel is an extension of a phone number on file.
    SameLine,
}

/// The forms in which a channel may be on file.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// The channel itself.
    pub exact: Vec<String>,
    /// The phone numbers that the channel may be an extension of.
    pub same_line: Vec<String>,
}

impl MatchKind {
    /// Returns the code in the details of events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "EXACT",
            Self::SameLine => "SAME_LINE",
        }
    }

    /// Returns the kind of this code.
    pub fn find(name: &str) -> Option<Self> {
        let all = [Self::Exact, Self::SameLine];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Candidates {
    /// Returns the forms in which a channel may be on file. A withheld number has none.
    pub fn new(channel: &Channel) -> Self {
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

    /// Iterates over all forms.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let all = self.exact.iter().chain(&self.same_line);
        all.map(String::as_str)
    }

    /// Returns how a stored value matches, or `None` if it does not.
    pub fn match_kind(&self, stored: &str) -> Option<MatchKind> {
        let is_in = |candidates: &[String]| candidates.iter().any(|value| value == stored);
        if is_in(&self.exact) {
            return Some(MatchKind::Exact);
        }
        is_in(&self.same_line).then_some(MatchKind::SameLine)
    }
}

/// A match of a channel with its owner. It identifies the caller, but does not authenticate it.
#[derive(Clone, Debug)]
pub struct ChannelMatch {
    /// The owner of the channel on file.
    pub owner: ChannelOwner,
    /// The kind of the match.
    pub kind: MatchKind,
}

/// The customers that a search over all customers found (rule 30).
#[derive(Clone, Debug, Default)]
pub struct FoundCustomers {
    /// The matches with their customers, at most [`MAX_FOUND`].
    pub matches: Vec<(CustomerNumber, ChannelMatch)>,
    /// True if there are more.
    pub is_truncated: bool,
}

/// The maximum number of matches of a search (rule 30).
pub const MAX_FOUND: usize = 20;

/// The owner of a channel: a contact or the contact data.
#[derive(Clone, Debug)]
pub enum ChannelOwner {
    /// The customer's contact data.
    ContactData,
    /// A contact.
    Contact {
        /// The contact's id within the customer.
        id: ContactId,
        /// The name of the person or department.
        display_name: String,
        /// The contact's types; never empty.
        types: ContactTypes,
    },
}
