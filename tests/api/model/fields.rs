//! Small pools of values, so that entered values often exist already, and requests built from
//! them.

use contact_service::api::proto::{self, ContactType};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    sample::{select, subsequence},
    strategy::BoxedStrategy,
};

use super::values::PHONE_NUMBERS;

/// The domain of a history's addresses, which distinguishes its e-mails from those of others.
pub const DOMAIN: &str = "history.example";

/// An address at the customer's own domain: e-mails to one address are limited across customers,
/// and a customer's events do not show whose came first.
pub fn address_of(email: &str, number: &str) -> String {
    match email.split_once('@') {
        Some((local, domain)) if domain.eq_ignore_ascii_case(DOMAIN) => {
            format!("{local}@{number}.{domain}")
        }
        _ => email.to_owned(),
    }
}
/// Half of them are the same address (rule 12), so contacts often share one.
const LOCAL_PARTS: [&str; 6] = ["anna", "Anna", "anna", "bernd", "info", "rechnung"];
const NAMES: [&str; 6] = [
    "Anna Schmidt",
    "Maier, Bernd",
    "Bernd Maier",
    "Jörg Müßig",
    "Buchhaltung",
    "Maximiliane Freifrau von Hohenstein und Rechberg zu Oberursel am Taunus",
];
/// Passwords as they are set and as a caller says them. The last ones are rejected: too common,
/// too short, a name.
pub const PASSWORDS: [(&str, &str); 6] = [
    ("Roter Dachs 7", "roter-dachs 7"),
    ("grüne Eule 33", "Gruene EULE 33"),
    ("gelber Kranich 12", "gelber Kranich 12"),
    ("123 456", "123456"),
    ("Dachs", "dachs"),
    ("anna-schmidt", "Anna Schmidt"),
];
/// Replaced by the customer's number.
pub const NUMBER_AS_PASSWORD: usize = PASSWORDS.len();
/// The last one is never created.
pub const ORDER_TYPES: usize = 4;

pub fn chance(percent: u32) -> impl Strategy<Value = bool> + Clone {
    prop_oneof![100 - percent => Just(false), percent => Just(true)]
}

pub fn address() -> impl Strategy<Value = String> + Clone {
    (select(&LOCAL_PARTS[..]), chance(20)).prop_map(|(local, is_loud)| {
        if is_loud {
            format!("{local}@{}", DOMAIN.to_uppercase())
        } else {
            format!("{local}@{DOMAIN}")
        }
    })
}

pub fn address_or_none() -> impl Strategy<Value = String> + Clone {
    prop_oneof![1 => Just(String::new()), 3 => address()]
}

/// A mask over leaves and their parents: none, all, or an invalid one.
pub fn mask(
    paths: &'static [&'static str],
    wrong: &'static [&'static str],
) -> BoxedStrategy<Vec<String>> {
    let owned = |paths: Vec<&str>| paths.iter().map(|&path| path.to_owned()).collect();
    prop_oneof![
        4 => Just(Vec::new()),
        2 => Just(vec!["*".to_owned()]),
        6 => subsequence(paths, 1..4).prop_map(owned),
        1 => select(wrong).prop_map(|path| vec![path.to_owned()]),
    ]
    .boxed()
}

pub const CONTACT_PATHS: &[&str] = &[
    "types",
    "display_name",
    "locale",
    "phone_numbers",
    "invoice_email_enabled",
    "restrictions",
    "restrictions.note",
    "restrictions.allowed_order_types",
    "restrictions.denied_order_types",
];
pub const CUSTOMER_PATHS: &[&str] = &[
    "contact_data",
    "contact_data.email",
    "contact_data.phone_number",
    "contact_data.locale",
    "notification_settings",
    "notification_settings.security_notices",
    "notification_settings.planned_maintenance",
    "notification_settings.outages",
    "notification_settings.contact_changes",
];

fn types() -> impl Strategy<Value = Vec<i32>> + Clone {
    let numbers = |types: Vec<ContactType>| types.into_iter().map(i32::from).collect();
    let all = vec![
        ContactType::Standard,
        ContactType::Accounting,
        ContactType::Technical,
        ContactType::Owner,
    ];
    prop_oneof![
        4 => Just(vec![i32::from(ContactType::Standard)]),
        1 => Just(Vec::new()),
        8 => subsequence(all, 1..4).prop_map(numbers),
    ]
}

fn order_types() -> impl Strategy<Value = Vec<String>> + Clone {
    let codes = vec((0..ORDER_TYPES).prop_map(|code| code.to_string()), 1..3);
    prop_oneof![3 => Just(Vec::new()), 2 => codes]
}

/// A contact as a request contains it; order types are given by index.
pub fn contact_fields() -> BoxedStrategy<proto::Contact> {
    let name = prop_oneof![8 => select(&NAMES[..]), 1 => Just("")];
    let locale = prop_oneof![4 => Just(""), 2 => Just("de"), 4 => Just("en"), 1 => Just("fr")];
    let number = prop_oneof![12 => 0_usize..4, 1 => Just(4_usize)];
    let number = number.prop_map(|index| PHONE_NUMBERS[index].0.to_owned());
    let note = prop_oneof![3 => Just(""), 1 => Just("nur Domains"), 1 => Just("Rückruf")];
    (
        types(),
        name,
        locale,
        vec(number, 0..3),
        prop_oneof![Just(None), Just(Some(true)), Just(Some(false))],
        (note, order_types(), order_types()),
    )
        .prop_map(
            |(types, name, locale, phone_numbers, invoice, (note, allowed, denied))| {
                proto::Contact {
                    types,
                    display_name: name.to_owned(),
                    locale: locale.to_owned(),
                    phone_numbers,
                    invoice_email_enabled: invoice,
                    restrictions: Some(proto::Restrictions {
                        note: note.to_owned(),
                        allowed_order_types: allowed,
                        denied_order_types: denied,
                    }),
                    ..proto::Contact::default()
                }
            },
        )
        .boxed()
}

/// The fields of a new contact, mostly valid.
pub fn new_contact_fields() -> BoxedStrategy<proto::Contact> {
    (contact_fields(), chance(80), chance(90))
        .prop_map(|(mut fields, is_plain, is_right)| {
            if is_right {
                if fields.types.is_empty() {
                    fields.types.push(ContactType::Standard.into());
                }
                if fields.display_name.is_empty() {
                    NAMES[0].clone_into(&mut fields.display_name);
                }
                if fields.locale == "fr" {
                    fields.locale.clear();
                }
            }
            if is_plain {
                fields.restrictions = None;
            }
            fields
        })
        .boxed()
}

pub fn customer_fields() -> BoxedStrategy<proto::Customer> {
    let setting = || prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    let number = prop_oneof![4 => Just(""), 12 => select(vec!["0721 913740", "0049 30 901820"]), 1 => Just("913740")];
    let locale = prop_oneof![8 => Just(""), 3 => Just("de"), 6 => Just("en"), 1 => Just("fr")];
    (
        address_or_none(),
        number,
        locale,
        (setting(), setting(), setting(), setting()),
    )
        .prop_map(
            |(email, number, locale, (security, maintenance, outages, contact_changes))| {
                proto::Customer {
                    contact_data: Some(proto::ContactData {
                        email,
                        phone_number: number.to_owned(),
                        locale: locale.to_owned(),
                        ..proto::ContactData::default()
                    }),
                    notification_settings: Some(proto::NotificationSettings {
                        security_notices: security,
                        planned_maintenance: maintenance,
                        outages,
                        contact_changes,
                    }),
                    ..proto::Customer::default()
                }
            },
        )
        .boxed()
}

pub fn password() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![9 => 0_usize..3, 2 => 3..=NUMBER_AS_PASSWORD]
}
