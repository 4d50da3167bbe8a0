//! The names of the vCard properties that the import knows.

use crate::cli::import::columns::Column;

pub(super) const KINDS: [&str; 2] = ["KIND", "X-ADDRESSBOOKSERVER-KIND"];
pub(super) const MEMBERS: [&str; 2] = ["MEMBER", "X-ADDRESSBOOKSERVER-MEMBER"];
pub(super) const EVOLUTION_LIST: &str = "X-EVOLUTION-LIST";
/// Apple's label of another property of the same group.
pub(super) const LABEL: &str = "X-ABLABEL";
pub(super) const TYPES: [&str; 3] = ["CATEGORIES", "ROLE", "TITLE"];
const OF_CONTACTS: [&str; 7] = ["FN", "N", "ORG", "NICKNAME", "EMAIL", "TEL", "LANG"];
pub(super) const UID: &str = "UID";
/// Usual properties that are not read.
const USUAL: [&str; 19] = [
    "VERSION", "NOTE", "URL", "ADR", "LABEL", "BDAY", "REV", "PHOTO", "LOGO", "SOUND", "KEY",
    "AGENT", "MAILER", "PRODID", "CLASS", "GEO", "TZ", "IMPP", "END",
];

/// Returns true for a property that the import reads.
pub(super) fn is_read(name: &str) -> bool {
    let known = [UID, LABEL, EVOLUTION_LIST];
    let known = known.iter().chain(&KINDS).chain(&MEMBERS);
    let mut known = known.chain(&TYPES).chain(&OF_CONTACTS);
    known.any(|known| *known == name) || extension(name).is_some()
}

/// Returns the column of an extension property, such as `X-CUSTOMER-NUMBER`.
pub(super) fn extension(name: &str) -> Option<Column> {
    let column = Column::parse(name.strip_prefix("X-")?)?;
    match column {
        Column::CustomerNumber
        | Column::InvoiceEmailEnabled
        | Column::RestrictionsNote
        | Column::AllowedOrderTypes
        | Column::DeniedOrderTypes
        | Column::ContactDataEmail
        | Column::ContactDataPhoneNumber
        | Column::ContactDataLocale
        | Column::SecurityNotices
        | Column::PlannedMaintenance
        | Column::Outages => Some(column),
        // These have standard vCard properties.
        Column::Types
        | Column::DisplayName
        | Column::Locale
        | Column::Email
        | Column::PhoneNumbers
        | Column::ExternalId
        | Column::Salutation
        | Column::Title
        | Column::GivenName
        | Column::FamilyName
        | Column::Position
        | Column::Department
        | Column::Line
        | Column::Reason => None,
    }
}

/// Returns true for a property that programs usually write.
pub(super) fn is_known(name: &str) -> bool {
    USUAL.contains(&name) || name.starts_with("X-") || is_read(name)
}
