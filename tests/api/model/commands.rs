//! What a history is made of: commands that speak of contacts, links and grants by their place
//! among those that there are, so that a history stays one when commands are left out of it.

use chrono::TimeDelta;
use contact_service::api::proto::{self, ContactType};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::{select, subsequence},
    strategy::BoxedStrategy,
};

use super::values::PHONE_NUMBERS;

/// Of one of two agents.
#[derive(Clone, Debug)]
pub struct Step {
    pub agent: usize,
    pub command: Command,
}

/// Which contact is meant.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// One that is on file.
    Live(usize),
    /// One that was ever on file.
    Any(usize),
    /// One that is on file, but under the other customer's number.
    Misplaced(usize),
    /// None of ours.
    Nobody(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etag {
    None,
    Current,
    Stale,
}

/// What of a grant is not as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    Nothing,
    Agent,
    Call,
    Contact,
    Text,
}

#[derive(Clone, Debug)]
pub enum Command {
    UpdateCustomer {
        customer: usize,
        fields: proto::Customer,
        mask: Vec<String>,
        etag: Etag,
        allow_missing: bool,
    },
    SetAttentionLine {
        customer: usize,
        suppressed: bool,
        from: String,
    },
    CreateContact {
        customer: usize,
        fields: proto::Contact,
        email: String,
        password: Option<usize>,
        request: Option<usize>,
        validate_only: bool,
    },
    UpdateContact {
        contact: Pick,
        fields: proto::Contact,
        mask: Vec<String>,
        etag: Etag,
        request: Option<usize>,
        validate_only: bool,
    },
    DeleteContact {
        contact: Pick,
        etag: Etag,
        request: Option<usize>,
        validate_only: bool,
    },
    ChangeEmail {
        contact: Pick,
        email: String,
        request: Option<usize>,
    },
    RemoveEmail {
        contact: Pick,
        request: Option<usize>,
    },
    CancelEmailChange(Pick),
    Resend(Pick),
    Confirm(usize),
    SetPhonePassword {
        contact: Pick,
        /// `None`: one that the service makes.
        password: Option<usize>,
    },
    ClearPhonePassword(Pick),
    CheckPhonePassword {
        contact: Pick,
        call: usize,
        is_right: bool,
    },
    /// Wrong ones, each in a call of its own, on one contact id or on many of nobody.
    Guess {
        contact: Pick,
        count: usize,
        pause: TimeDelta,
        spread: bool,
    },
    Unlock(Pick),
    Authorize {
        grant: usize,
        twist: Twist,
        order_type: usize,
        administers: bool,
    },
    UpdateOrderType {
        code: usize,
        system_management: bool,
        by_phone: bool,
        allow_missing: bool,
    },
    EraseCustomer {
        customer: usize,
        is_confirmed: bool,
    },
    /// A request that had an id, once more.
    Repeat(usize),
    Wait(TimeDelta),
    /// What the service does by itself from time to time.
    Work,
    Deliver,
}

/// The domain of a history's addresses, which tells its mails from those of others.
pub const DOMAIN: &str = "history.example";
/// Two of them are the same address (rule 12).
const LOCAL_PARTS: [&str; 5] = ["anna", "Anna", "bernd", "info", "rechnung"];
const NAMES: [&str; 5] = [
    "Anna Schmidt",
    "Bernd Maier",
    "Jörg Müßig",
    "Buchhaltung",
    "Maximiliane Freifrau von Hohenstein und Rechberg zu Oberursel am Taunus",
];
/// As they are set, and as somebody says them. The last ones are refused: too common, too
/// short, somebody's name.
pub const PASSWORDS: [(&str, &str); 6] = [
    ("Roter Dachs 7", "roter-dachs 7"),
    ("grüne Eule 33", "Gruene EULE 33"),
    ("gelber Kranich 12", "gelber Kranich 12"),
    ("123 456", "123456"),
    ("Dachs", "dachs"),
    ("anna-schmidt", "Anna Schmidt"),
];
/// In place of a password: the customer's number.
pub const NUMBER_AS_PASSWORD: usize = PASSWORDS.len();
/// Of which the last is never made.
pub const ORDER_TYPES: usize = 4;

fn chance(percent: u32) -> impl Strategy<Value = bool> + Clone {
    prop_oneof![100 - percent => Just(false), percent => Just(true)]
}

fn address() -> impl Strategy<Value = String> + Clone {
    (select(&LOCAL_PARTS[..]), chance(20)).prop_map(|(local, is_loud)| {
        if is_loud {
            format!("{local}@{}", DOMAIN.to_uppercase())
        } else {
            format!("{local}@{DOMAIN}")
        }
    })
}

fn address_or_none() -> impl Strategy<Value = String> + Clone {
    prop_oneof![1 => Just(String::new()), 3 => address()]
}

fn customer() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![12 => Just(0_usize), 5 => Just(1_usize), 1 => Just(2_usize)]
}

fn pick() -> BoxedStrategy<Pick> {
    prop_oneof![
        30 => (0_usize..8).prop_map(Pick::Live),
        1 => (0_usize..8).prop_map(Pick::Any),
        1 => (0_usize..8).prop_map(Pick::Misplaced),
        1 => (0_usize..3).prop_map(Pick::Nobody),
    ]
    .boxed()
}

fn etag() -> impl Strategy<Value = Etag> + Clone {
    prop_oneof![6 => Just(Etag::None), 3 => Just(Etag::Current), 1 => Just(Etag::Stale)]
}

fn request() -> impl Strategy<Value = Option<usize>> + Clone {
    prop_oneof![2 => Just(None), 1 => (0_usize..4).prop_map(Some)]
}

/// A mask over leaves and what holds them; none, all, or one that is refused.
fn mask(
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

const CONTACT_PATHS: &[&str] = &[
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
const CUSTOMER_PATHS: &[&str] = &[
    "contact_data",
    "contact_data.email",
    "contact_data.phone_number",
    "notification_settings",
    "notification_settings.security_notices",
    "notification_settings.planned_maintenance",
    "notification_settings.outages",
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

/// A contact as a request has it; order types are named by their places.
fn contact_fields() -> BoxedStrategy<proto::Contact> {
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

/// Those of a contact that can be put on file; most can.
fn new_contact_fields() -> BoxedStrategy<proto::Contact> {
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

fn customer_fields() -> BoxedStrategy<proto::Customer> {
    let setting = || prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    let number = prop_oneof![4 => Just(""), 12 => select(vec!["0721 913740", "0049 30 901820"]), 1 => Just("913740")];
    (address_or_none(), number, (setting(), setting(), setting()))
        .prop_map(
            |(email, number, (security, maintenance, outages))| proto::Customer {
                contact_data: Some(proto::ContactData {
                    email,
                    phone_number: number.to_owned(),
                }),
                notification_settings: Some(proto::NotificationSettings {
                    security_notices: security,
                    planned_maintenance: maintenance,
                    outages,
                }),
                ..proto::Customer::default()
            },
        )
        .boxed()
}

/// Around the limits of the rules. A command takes a millisecond, so that one less than a limit
/// is the very instant.
fn wait() -> impl Strategy<Value = TimeDelta> {
    let limits = vec![
        TimeDelta::minutes(1),
        TimeDelta::minutes(15),
        TimeDelta::hours(1),
        TimeDelta::hours(24),
        TimeDelta::days(1),
        TimeDelta::days(6),
        TimeDelta::days(7),
    ];
    let near = vec![
        TimeDelta::zero(),
        TimeDelta::milliseconds(-1),
        TimeDelta::milliseconds(-1) - TimeDelta::microseconds(1),
    ];
    let other = select(vec![
        TimeDelta::seconds(1),
        TimeDelta::minutes(5),
        TimeDelta::hours(3),
        TimeDelta::days(3),
    ]);
    prop_oneof![3 => (select(limits), select(near)).prop_map(|(limit, by)| limit + by), 2 => other]
}

fn password() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![9 => 0_usize..3, 2 => 3..=NUMBER_AS_PASSWORD]
}

/// Commands that write a customer or its contacts, without the time and the phone.
pub fn writes() -> BoxedStrategy<Command> {
    let update_customer = (
        customer(),
        customer_fields(),
        mask(
            CUSTOMER_PATHS,
            &["etag", "attention_line_suppressed", "nonsense"],
        ),
        etag(),
        chance(70),
    );
    let update_customer =
        update_customer.prop_map(|(customer, fields, mask, etag, allow_missing)| {
            Command::UpdateCustomer {
                customer,
                fields,
                mask,
                etag,
                allow_missing,
            }
        });
    let set_attention_line =
        (customer(), any::<bool>(), address_or_none()).prop_map(|(customer, suppressed, from)| {
            Command::SetAttentionLine {
                customer,
                suppressed,
                from,
            }
        });
    prop_oneof![
        6 => update_customer,
        3 => set_attention_line,
        7 => create_contact(),
        12 => update_contact(),
        4 => (pick(), etag(), request(), chance(15)).prop_map(
            |(contact, etag, request, validate_only)| Command::DeleteContact {
                contact,
                etag,
                request,
                validate_only,
            }
        ),
        10 => (pick(), address(), request()).prop_map(|(contact, email, request)| {
            Command::ChangeEmail { contact, email, request }
        }),
        3 => (pick(), request()).prop_map(|(contact, request)| Command::RemoveEmail { contact, request }),
        2 => pick().prop_map(Command::CancelEmailChange),
        6 => pick().prop_map(Command::Resend),
        12 => link().prop_map(Command::Confirm),
        6 => (pick(), prop_oneof![6 => password().prop_map(Some), 1 => Just(None)]).prop_map(
            |(contact, password)| Command::SetPhonePassword { contact, password }
        ),
        1 => pick().prop_map(Command::ClearPhonePassword),
        2 => pick().prop_map(Command::Unlock),
    ]
    .boxed()
}

/// Mostly one of the newest.
fn link() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![6 => 0_usize..2, 2 => 2_usize..4, 1 => 4_usize..20]
}

fn create_contact() -> impl Strategy<Value = Command> {
    let password = prop_oneof![3 => Just(None), 1 => password().prop_map(Some)];
    (
        customer(),
        new_contact_fields(),
        address_or_none(),
        password,
        request(),
        chance(10),
    )
        .prop_map(
            |(customer, fields, email, password, request, validate_only)| Command::CreateContact {
                customer,
                fields,
                email,
                password,
                request,
                validate_only,
            },
        )
}

fn update_contact() -> impl Strategy<Value = Command> {
    let mask = mask(
        CONTACT_PATHS,
        &["email", "contact_id", "restrictions.", "nonsense"],
    );
    (
        pick(),
        contact_fields(),
        mask,
        etag(),
        request(),
        chance(10),
    )
        .prop_map(|(contact, fields, mask, etag, request, validate_only)| {
            Command::UpdateContact {
                contact,
                fields,
                mask,
                etag,
                request,
                validate_only,
            }
        })
}

fn calls() -> BoxedStrategy<Command> {
    let check = (pick(), 0_usize..3, chance(60));
    let check = check.prop_map(|(contact, call, is_right)| Command::CheckPhonePassword {
        contact,
        call,
        is_right,
    });
    let pauses = [
        TimeDelta::zero(),
        TimeDelta::minutes(1),
        TimeDelta::hours(1),
    ];
    let guess = (pick(), 4_usize..13, select(pauses.to_vec()), chance(15));
    let guess = guess.prop_map(|(contact, count, pause, spread)| Command::Guess {
        contact,
        count,
        pause,
        spread,
    });
    let siege = pick().prop_map(|contact| Command::Guess {
        contact,
        count: 51,
        pause: TimeDelta::hours(24),
        spread: false,
    });
    let authorize = (any::<usize>(), twist(), 0..ORDER_TYPES, any::<bool>());
    let authorize =
        authorize.prop_map(
            |(grant, twist, order_type, administers)| Command::Authorize {
                grant,
                twist,
                order_type,
                administers,
            },
        );
    let update_order_type = (0..ORDER_TYPES - 1, chance(30), chance(70), chance(80)).prop_map(
        |(code, system_management, by_phone, allow_missing)| Command::UpdateOrderType {
            code,
            system_management,
            by_phone,
            allow_missing,
        },
    );
    prop_oneof![
        40 => check,
        14 => guess,
        1 => siege,
        40 => authorize,
        12 => update_order_type,
    ]
    .boxed()
}

fn twist() -> impl Strategy<Value = Twist> + Clone {
    prop_oneof![
        12 => Just(Twist::Nothing),
        1 => Just(Twist::Agent),
        1 => Just(Twist::Call),
        1 => Just(Twist::Contact),
        1 => Just(Twist::Text),
    ]
}

fn step() -> impl Strategy<Value = Step> + Clone {
    let erase =
        (customer(), chance(80)).prop_map(|(customer, is_confirmed)| Command::EraseCustomer {
            customer,
            is_confirmed,
        });
    let command = prop_oneof![
        60 => writes(),
        26 => calls(),
        1 => erase,
        8 => any::<usize>().prop_map(Command::Repeat),
        14 => wait().prop_map(Command::Wait),
        3 => Just(Command::Work),
        6 => Just(Command::Deliver),
    ]
    .boxed();
    (chance(25), command).prop_map(|(is_other, command)| Step {
        agent: usize::from(is_other),
        command,
    })
}

/// Whole histories.
pub fn histories() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 10..41)
}
