//! The names of contact types in this service and other systems.

use contact_service::domain::contact_types::ContactType;

use super::columns::plain;

/// Separators of several types.
const BETWEEN: [char; 8] = [',', ';', '|', '/', '+', '&', '\n', '\r'];
const AND: [&str; 3] = ["und", "and", "u."];

/// English and German names of types, normalized by [`plain`].
const NAMES: &[(ContactType, &[&str])] = &[
    (
        ContactType::Standard,
        &[
            "standard",
            "standardkontakt",
            "standardansprechpartner",
            "standardansprechpartnerin",
            "hauptansprechpartner",
            "hauptansprechpartnerin",
            "hauptkontakt",
            "primary",
            "primarycontact",
            "primär",
            "primaer",
            "main",
            "maincontact",
            "default",
            "general",
            "allgemein",
        ],
    ),
    (ContactType::Accounting, ACCOUNTING),
    (ContactType::Technical, TECHNICAL),
    (
        ContactType::Owner,
        &[
            "owner",
            "ownerc",
            "inhaber",
            "inhaberin",
            "domaininhaber",
            "domaininhaberin",
            "firmeninhaber",
            "firmeninhaberin",
            "eigentümer",
            "eigentuemer",
            "eigentümerin",
            "eigentuemerin",
            "holder",
            "registrant",
        ],
    ),
    (ContactType::AuthorizedSignatory, AUTHORIZED_SIGNATORY),
    (
        ContactType::DataProtection,
        &[
            "dataprotection",
            "dataprotectionofficer",
            "dpo",
            "privacy",
            "datenschutz",
            "datenschutzbeauftragter",
            "datenschutzbeauftragte",
            "datenschutzkontakt",
            "dsb",
        ],
    ),
    (
        ContactType::Other,
        &["other", "sonstige", "sonstiger", "sonstiges", "andere"],
    ),
];
const ACCOUNTING: &[&str] = &[
    "accounting",
    "accountant",
    "accountspayable",
    "cfo",
    "finance",
    "billing",
    "billingc",
    "billingcontact",
    "invoice",
    "invoices",
    "invoicing",
    "invoicerecipient",
    "buchhaltung",
    "buchhalter",
    "buchhalterin",
    "finanzbuchhaltung",
    "fibu",
    "kreditorenbuchhaltung",
    "finanzen",
    "rechnung",
    "rechnungen",
    "rechnungsadresse",
    "rechnungsanschrift",
    "kaufmännischeransprechpartner",
    "kaufmaennischeransprechpartner",
    "rechnungskontakt",
    "rechnungsempfänger",
    "rechnungsempfaenger",
    "rechnungsempfängerin",
    "rechnungsempfaengerin",
    "rechnungswesen",
];
const TECHNICAL: &[&str] = &[
    "technical",
    "technicalcontact",
    "tech",
    "techc",
    "techcontact",
    "technik",
    "techniker",
    "technikerin",
    "technisch",
    "technischerkontakt",
    "ansprechpartnertechnik",
    "cto",
    "technischeransprechpartner",
    "technischeansprechpartnerin",
    "administrator",
    "administratorin",
    "systemadministrator",
    "systemadministratorin",
    "sysadmin",
    "admin",
    "it",
    "edv",
    "zonec",
];
/// The admin-c of a domain is the person who may decide on it.
const AUTHORIZED_SIGNATORY: &[&str] = &[
    "authorizedsignatory",
    "authorisedsignatory",
    "zeichnungsberechtigter",
    "zeichnungsberechtigte",
    "zeichnungsberechtigt",
    "bevollmächtigter",
    "bevollmaechtigter",
    "bevollmächtigte",
    "bevollmaechtigte",
    "geschäftsführer",
    "geschaeftsfuehrer",
    "geschäftsführerin",
    "geschaeftsfuehrerin",
    "geschäftsführung",
    "geschaeftsfuehrung",
    "geschäftsleitung",
    "geschaeftsleitung",
    "prokurist",
    "prokuristin",
    "vorstand",
    "managingdirector",
    "ceo",
    "adminc",
    "admincontact",
    "administrativecontact",
    "administrativerkontakt",
];

/// Returns the type with a name; the API's form `CONTACT_TYPE_OWNER` is accepted.
pub(super) fn contact_type(name: &str) -> Option<ContactType> {
    let name = plain(name);
    let name = name.strip_prefix("contacttype").unwrap_or(&name);
    let known = NAMES.iter().find(|(_, names)| names.contains(&name));
    known.map(|(contact_type, _)| *contact_type)
}

/// Splits the names of several types: `Technik/Buchhaltung`, `Technik und Buchhaltung`.
pub(super) fn split(text: &str) -> Vec<String> {
    let parts = text.split(BETWEEN).flat_map(|part| {
        let words: Vec<_> = part.split_whitespace().collect();
        let is_and = |word: &&str| AND.iter().any(|and| word.eq_ignore_ascii_case(and));
        let names = words.split(is_and).map(|words| words.join(" "));
        names.collect::<Vec<_>>()
    });
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_type_has_names_and_every_name_one_type() {
        for known in ContactType::ALL {
            assert!(NAMES.iter().any(|(named, _)| *named == known), "{known:?}");
        }
        for (known, names) in NAMES {
            for name in *names {
                assert_eq!(plain(name), *name);
                assert_eq!(contact_type(name), Some(*known), "{name}");
            }
        }
    }

    #[rstest]
    #[case("AUTHORIZED_SIGNATORY", ContactType::AuthorizedSignatory)]
    #[case("CONTACT_TYPE_DATA_PROTECTION", ContactType::DataProtection)]
    #[case("Kaufmännischer Ansprechpartner", ContactType::Accounting)]
    #[case("Ansprechpartner Technik", ContactType::Technical)]
    #[case("Inhaberin", ContactType::Owner)]
    #[case("Datenschutz-Beauftragte", ContactType::DataProtection)]
    #[case("DSB", ContactType::DataProtection)]
    #[case("Technischer Ansprechpartner", ContactType::Technical)]
    #[case("Tech-C", ContactType::Technical)]
    #[case("Accounts Payable", ContactType::Accounting)]
    #[case("Rechnungsempfänger", ContactType::Accounting)]
    #[case("Primary", ContactType::Standard)]
    #[case("Geschäftsführer", ContactType::AuthorizedSignatory)]
    fn names_of_other_systems_are_known(#[case] name: &str, #[case] known: ContactType) {
        assert_eq!(contact_type(name), Some(known));
    }

    #[rstest]
    #[case("Technik", &["Technik"])]
    #[case("Technik,Buchhaltung; DSB|Tech/IT+EDV", &["Technik", "Buchhaltung", "DSB", "Tech", "IT", "EDV"])]
    #[case("Technik und Rechnung UND x", &["Technik", "Rechnung", "x"])]
    #[case("Hund und  Katze & Maus\nund", &["Hund", "Katze", "Maus"])]
    #[case(" , ", &[])]
    fn several_types_are_split(#[case] text: &str, #[case] names: &[&str]) {
        assert_eq!(split(text), names);
    }

    #[test]
    fn an_unknown_name_is_none() {
        assert_eq!(contact_type("Chef"), None);
    }
}
