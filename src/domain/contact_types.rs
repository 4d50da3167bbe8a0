//! The types of a contact, and sets of them.

/// The type of a contact. The first three select the recipients of messages; the others are
/// informational.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ContactType {
    /// The contact for every purpose without a special contact.
    Standard = 0,
    /// Invoices and payment reminders.
    Accounting = 1,
    /// Security notices, maintenance, outages.
    Technical = 2,
    /// Owner (informational).
    Owner = 3,
    /// Authorised signatory (informational).
    AuthorizedSignatory = 4,
    /// Data protection officer (informational).
    DataProtection = 5,
    /// Any other function (informational).
    Other = 6,
}

impl ContactType {
    /// All types, in the order of the API.
    pub const ALL: [Self; 7] = [
        Self::Standard,
        Self::Accounting,
        Self::Technical,
        Self::Owner,
        Self::AuthorizedSignatory,
        Self::DataProtection,
        Self::Other,
    ];

    const fn bit(self) -> i16 {
        1 << (self as u8)
    }
}

/// A set of contact types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContactTypes(i16);

impl ContactTypes {
    /// Returns the set as the number that is stored: bit 0 is STANDARD, bit 6 is OTHER.
    pub const fn bits(self) -> i16 {
        self.0
    }

    /// Converts a number from [`bits`](Self::bits). `None` if it has unknown bits.
    pub fn from_bits(bits: i16) -> Option<Self> {
        let known = ContactType::ALL
            .into_iter()
            .fold(0, |bits, contact_type| bits | contact_type.bit());
        (bits & !known == 0).then_some(Self(bits))
    }

    /// Returns true if the set contains `contact_type`.
    pub const fn contains(self, contact_type: ContactType) -> bool {
        self.0 & contact_type.bit() != 0
    }

    /// Returns true if the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns true if contacts of these types may have invoice e-mail (rule 22).
    pub const fn may_have_invoice_email(self) -> bool {
        self.contains(ContactType::Standard) || self.contains(ContactType::Accounting)
    }

    /// Iterates over the types in the order of the API.
    pub fn iter(self) -> impl Iterator<Item = ContactType> {
        ContactType::ALL
            .into_iter()
            .filter(move |contact_type| self.contains(*contact_type))
    }
}

impl FromIterator<ContactType> for ContactTypes {
    fn from_iter<I: IntoIterator<Item = ContactType>>(types: I) -> Self {
        types
            .into_iter()
            .fold(Self::default(), |set, contact_type| {
                Self(set.0 | contact_type.bit())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_is_restored_from_its_bits() {
        for bits in 0..128 {
            let set = ContactTypes::from_bits(bits).unwrap();
            assert_eq!(set.iter().collect::<ContactTypes>(), set);
            assert_eq!(set.bits(), bits);
        }
        assert_eq!(ContactTypes::from_bits(128), None);
        assert_eq!(ContactTypes::from_bits(-1), None);
    }

    #[test]
    fn standard_is_bit_0_as_the_database_trigger_assumes() {
        assert_eq!(ContactTypes::from_iter([ContactType::Standard]).bits(), 1);
    }
}
