//! What a history is made of: commands that speak of contacts, links and grants by their place
//! among those that there are, so that a history stays one when commands are left out of it.

use chrono::TimeDelta;
use contact_service::api::proto;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::select,
    strategy::BoxedStrategy,
};

use super::fields::{
    CONTACT_PATHS, CUSTOMER_PATHS, ORDER_TYPES, address, address_or_none, chance, contact_fields,
    customer_fields, mask, new_contact_fields, password,
};

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
    /// An address that is entered, and confirmed at once.
    Settle {
        contact: Pick,
        email: String,
    },
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

/// Commands that write a customer or its contacts, without the time and the phone.
pub fn writes() -> BoxedStrategy<Command> {
    let update_customer = (
        customer(),
        customer_fields(),
        mask(CUSTOMER_PATHS, &["etag", "attention_line", "nonsense"]),
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
        9 => (pick(), address()).prop_map(|(contact, email)| Command::Settle { contact, email }),
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
