//! The results by address: each with its customers.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use contact_service::domain::{contact::Locale, recipients::Recipient};
use serde::{Serialize, Serializer};

use super::{
    format::{Record, SEPARATOR},
    purpose::PurposeArg,
};

/// The addresses of all customers, in the order of their first customers. They are held in memory
/// until the last customer: any of them may have any address.
#[derive(Default)]
pub(super) struct AddressGroups {
    /// The index of a group in `groups`, by purpose and comparison key (rule 12).
    indexes: HashMap<(PurposeArg, Box<str>), usize>,
    groups: Vec<AddressGroup>,
    /// Customers so far: the lines of a file may repeat one.
    seen: HashSet<Box<str>>,
}

/// An address, as its first customer has it, and its customers.
#[derive(Serialize)]
pub(super) struct AddressGroup {
    email: Box<str>,
    #[serde(serialize_with = "serialize_locale")]
    locale: Locale,
    purpose: PurposeArg,
    /// Joined by [`SEPARATOR`], which takes less memory than a list.
    #[serde(serialize_with = "serialize_list")]
    customers: String,
}

impl AddressGroups {
    /// Returns true if the customer was not added before.
    pub(super) fn is_new(&mut self, customer_number: &str) -> bool {
        self.seen.insert(customer_number.into())
    }

    /// Adds a customer to the addresses of its recipients, which are distinct.
    pub(super) fn add(
        &mut self,
        customer_number: &str,
        purpose: PurposeArg,
        recipients: &[Recipient],
    ) {
        for recipient in recipients {
            let key = recipient.email.comparison_key().into_boxed_str();
            match self.indexes.entry((purpose, key)) {
                Entry::Occupied(index) => {
                    if let Some(group) = self.groups.get_mut(*index.get()) {
                        group.customers.push_str(SEPARATOR);
                        group.customers.push_str(customer_number);
                    }
                }
                Entry::Vacant(index) => {
                    index.insert(self.groups.len());
                    self.groups.push(AddressGroup {
                        email: recipient.email.as_str().into(),
                        locale: recipient.locale,
                        purpose,
                        customers: customer_number.to_owned(),
                    });
                }
            }
        }
    }

    pub(super) fn groups(&self) -> &[AddressGroup] {
        &self.groups
    }

    /// Returns the number of addresses for a purpose.
    pub(super) fn count(&self, purpose: PurposeArg) -> u64 {
        let groups = self.groups.iter();
        groups.filter(|group| group.purpose == purpose).count() as u64
    }
}

impl Record for AddressGroup {
    const COLUMNS: &'static [&'static str] = &["email", "locale", "purpose", "customers"];

    fn to_csv(&self) -> impl Serialize + '_ {
        (
            &self.email,
            self.locale.as_str(),
            self.purpose,
            &self.customers,
        )
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn serialize_locale<S: Serializer>(locale: &Locale, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(locale.as_str())
}

fn serialize_list<S: Serializer>(joined: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(joined.split(SEPARATOR))
}
