//! The columns of contacts and customers, by their English and German names.

/// A column of the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    CustomerNumber,
    Types,
    DisplayName,
    Locale,
    Email,
    PhoneNumbers,
    InvoiceEmailEnabled,
    RestrictionsNote,
    AllowedOrderTypes,
    DeniedOrderTypes,
    ExternalId,
    /// Parts of a name, which also compose a missing display name: this one to `FamilyName`.
    Salutation,
    Title,
    GivenName,
    FamilyName,
    Position,
    Department,
    /// Contact data and notification settings of a created customer: this one to `Outages`.
    ContactDataEmail,
    ContactDataPhoneNumber,
    ContactDataLocale,
    SecurityNotices,
    PlannedMaintenance,
    Outages,
    /// The source line of a rejected row; ignored by the import.
    Line,
    /// The reason of a rejected row; ignored by the import.
    Reason,
}

impl Column {
    /// All columns that the import reads, in the order of the documentation.
    pub(super) const ALL: [Self; 23] = [
        Self::CustomerNumber,
        Self::Types,
        Self::DisplayName,
        Self::Locale,
        Self::Email,
        Self::PhoneNumbers,
        Self::InvoiceEmailEnabled,
        Self::RestrictionsNote,
        Self::AllowedOrderTypes,
        Self::DeniedOrderTypes,
        Self::ExternalId,
        Self::Salutation,
        Self::Title,
        Self::GivenName,
        Self::FamilyName,
        Self::Position,
        Self::Department,
        Self::ContactDataEmail,
        Self::ContactDataPhoneNumber,
        Self::ContactDataLocale,
        Self::SecurityNotices,
        Self::PlannedMaintenance,
        Self::Outages,
    ];

    /// The name in reasons of rejected rows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CustomerNumber => "customer_number",
            Self::Types => "types",
            Self::DisplayName => "display_name",
            Self::Locale => "locale",
            Self::Email => "email",
            Self::PhoneNumbers => "phone_numbers",
            Self::InvoiceEmailEnabled => "invoice_email_enabled",
            Self::RestrictionsNote => "restrictions_note",
            Self::AllowedOrderTypes => "allowed_order_types",
            Self::DeniedOrderTypes => "denied_order_types",
            Self::ExternalId => "external_id",
            Self::Salutation => "salutation",
            Self::Title => "title",
            Self::GivenName => "given_name",
            Self::FamilyName => "family_name",
            Self::Position => "position",
            Self::Department => "department",
            Self::ContactDataEmail => "contact_data_email",
            Self::ContactDataPhoneNumber => "contact_data_phone_number",
            Self::ContactDataLocale => "contact_data_locale",
            Self::SecurityNotices => "security_notices",
            Self::PlannedMaintenance => "planned_maintenance",
            Self::Outages => "outages",
            Self::Line => "line",
            Self::Reason => "reason",
        }
    }

    /// Other names, normalized by [`plain`].
    const fn other_names(self) -> &'static [&'static str] {
        match self {
            Self::CustomerNumber => CUSTOMER_NUMBER,
            Self::Types => TYPES,
            Self::DisplayName => &[
                "name",
                "fullname",
                "vollständigername",
                "ansprechpartner",
                "anzeigename",
                "contactname",
                "kontaktname",
            ],
            Self::Locale => &["language", "sprache"],
            Self::Email => &["emailaddress", "emailadresse", "mail", "mailadresse"],
            Self::PhoneNumbers => PHONE_NUMBERS,
            Self::InvoiceEmailEnabled => &[
                "invoiceemail",
                "rechnungperemail",
                "rechnungsemail",
                "emailrechnung",
            ],
            Self::RestrictionsNote => &["restrictions", "einschränkungen", "einschraenkungen"],
            Self::AllowedOrderTypes => &["erlaubteauftragsarten"],
            Self::DeniedOrderTypes => &["gesperrteauftragsarten"],
            Self::ExternalId => &["externeid", "fremdid"],
            Self::Salutation => &["anrede"],
            Self::Title => &["titel", "akademischertitel"],
            Self::GivenName => &["vorname", "vornamen", "firstname", "forename"],
            Self::FamilyName => &["nachname", "familienname", "lastname", "surname"],
            Self::Position => &[
                "jobtitle",
                "berufsbezeichnung",
                "stelle",
                "stellung",
                "funktion",
            ],
            Self::Department => &["abteilung", "dept", "bereich"],
            Self::ContactDataEmail => CONTACT_DATA_EMAIL,
            Self::ContactDataPhoneNumber => CONTACT_DATA_PHONE_NUMBER,
            Self::ContactDataLocale => &[
                "contactdatalanguage",
                "kontaktsprache",
                "stammdatensprache",
                "kundensprache",
                "customerlanguage",
            ],
            Self::SecurityNotices => &[
                "securitynotice",
                "sicherheitshinweise",
                "sicherheitshinweis",
                "sicherheitsmeldungen",
            ],
            Self::PlannedMaintenance => PLANNED_MAINTENANCE,
            Self::Outages => OUTAGES,
            Self::Line | Self::Reason => &[],
        }
    }

    /// Returns the column with a name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let name = plain(name);
        let all = Self::ALL.into_iter();
        all.chain([Self::Line, Self::Reason]).find(|column| {
            plain(column.name()) == name || column.other_names().contains(&name.as_str())
        })
    }

    /// Returns true for a list: joined columns are then separate values, not one text.
    pub(super) const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Types | Self::PhoneNumbers | Self::AllowedOrderTypes | Self::DeniedOrderTypes
        )
    }
}

const CUSTOMER_NUMBER: &[&str] = &[
    "kundennummer",
    "kundennr",
    "kundenno",
    "kdnummer",
    "kdnr",
    "customer",
    "customerno",
    "customerid",
    "clientid",
];
const TYPES: &[&str] = &[
    "type",
    "typ",
    "typen",
    "contacttype",
    "contacttypes",
    "kontakttyp",
    "kontakttypen",
    "kontaktart",
    "role",
    "roles",
    "rolle",
    "rollen",
];
const OUTAGES: &[&str] = &[
    "outage",
    "störungen",
    "stoerungen",
    "störung",
    "stoerung",
    "störungsmeldungen",
    "stoerungsmeldungen",
    "ausfälle",
    "ausfaelle",
];
const PLANNED_MAINTENANCE: &[&str] = &[
    "maintenance",
    "wartung",
    "wartungen",
    "wartungsarbeiten",
    "geplantewartung",
    "geplantewartungen",
];
const PHONE_NUMBERS: &[&str] = &[
    "phonenumber",
    "phone",
    "phones",
    "telephone",
    "telefon",
    "telefonnummer",
    "telefonnummern",
    "tel",
    "rufnummer",
    "rufnummern",
    "mobile",
    "mobilephone",
    "mobil",
    "mobiltelefon",
    "mobilnummer",
    "handy",
];
const CONTACT_DATA_EMAIL: &[&str] = &[
    "contactemail",
    "kontaktemail",
    "kontaktdatenemail",
    "stammdatenemail",
    "kundenemail",
    "kontaktemailadresse",
    "stammdatenemailadresse",
];
const CONTACT_DATA_PHONE_NUMBER: &[&str] = &[
    "contactdataphone",
    "contactphone",
    "kontakttelefon",
    "kontaktdatentelefon",
    "stammdatentelefon",
    "kundentelefon",
    "kontakttelefonnummer",
    "stammdatentelefonnummer",
];

/// Normalizes a name: lower case, without blanks and punctuation.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn each_name_means_one_column() {
        for column in Column::ALL {
            assert_eq!(Column::parse(column.name()), Some(column));
            for name in column.other_names() {
                assert_eq!(plain(name), *name);
                assert_eq!(Column::parse(name), Some(column));
            }
        }
    }

    #[rstest]
    #[case("Kd.-Nr.", Column::CustomerNumber)]
    #[case("Kontakt-E-Mail", Column::ContactDataEmail)]
    #[case("Stammdaten-E-Mail", Column::ContactDataEmail)]
    #[case("Stammdaten Telefon", Column::ContactDataPhoneNumber)]
    #[case("Stammdaten-Sprache", Column::ContactDataLocale)]
    #[case("Sicherheitshinweise", Column::SecurityNotices)]
    #[case("Wartung", Column::PlannedMaintenance)]
    #[case("Störungen", Column::Outages)]
    #[case("First Name", Column::GivenName)]
    #[case("lastname", Column::FamilyName)]
    fn names_are_found_in_any_spelling(#[case] name: &str, #[case] column: Column) {
        assert_eq!(Column::parse(name), Some(column));
    }
}
