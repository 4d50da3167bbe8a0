//! The measurable RPCs and their requests, encoded before the measurement starts.

use clap::ValueEnum;
use contact_service::api::proto::{
    AllCustomers, CheckPhonePasswordRequest, Contact, ContactType, CreateContactRequest,
    FindCustomersRequest, GetContactRequest, Purpose, ResolveRecipientsRequest,
    StreamRecipientsRequest, UpdateContactRequest, VerifyContactChannelRequest,
    find_customers_request, verify_contact_channel_request::Channel,
};
use prost::Message;
use prost_types::FieldMask;

use super::population::{Draw, contact_id, customer_number, draw, phone_number};

/// A phone password that is valid for every contact.
pub(crate) const PASSWORD: &str = "Roter Dachs 7";
/// Number of customers with a phone password.
pub(crate) const WITH_PASSWORD: u64 = 64;
/// Maximum number of different requests over all connections.
const MAX_REQUESTS: u64 = 1 << 16;
const CUSTOMERS_PER_MESSAGE: u64 = 1000;
/// Placeholder for a number that differs in every request.
const COUNTER: &str = "################";

/// The RPC to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rpc {
    /// The server's health check: an RPC without work
    Empty,
    /// `ResolveRecipients`
    Resolve,
    /// `GetContact`
    GetContact,
    /// `VerifyContactChannel` with a phone number
    VerifyChannel,
    /// `FindCustomers` with a phone number
    FindCustomers,
    /// `CreateContact`
    CreateContact,
    /// `UpdateContact` of the name
    UpdateContact,
    /// `CheckPhonePassword` with the right password
    CheckPassword,
    /// `StreamRecipients` over all customers, each by its number
    Stream,
    /// `StreamRecipients` with `all_customers`
    StreamAll,
}

impl Rpc {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Empty => "/grpc.health.v1.Health/Check",
            Self::Resolve => "/contact.v1.ContactService/ResolveRecipients",
            Self::GetContact => "/contact.v1.ContactService/GetContact",
            Self::VerifyChannel => "/contact.v1.ContactService/VerifyContactChannel",
            Self::FindCustomers => "/contact.v1.ContactService/FindCustomers",
            Self::CreateContact => "/contact.v1.ContactService/CreateContact",
            Self::UpdateContact => "/contact.v1.ContactService/UpdateContact",
            Self::CheckPassword => "/contact.v1.ContactService/CheckPhonePassword",
            Self::Stream | Self::StreamAll => "/contact.v1.ContactService/StreamRecipients",
        }
    }

    /// First bytes of a successful response: SERVING, `ON_FILE`, MATCH, or field 1 with a
    /// message.
    pub(crate) const fn response_prefix(self) -> &'static [u8] {
        match self {
            Self::Empty | Self::VerifyChannel | Self::FindCustomers | Self::CheckPassword => {
                b"\x08\x01"
            }
            Self::Resolve
            | Self::GetContact
            | Self::CreateContact
            | Self::UpdateContact
            | Self::Stream
            | Self::StreamAll => b"\x0a",
        }
    }
}

/// The inputs of the requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Material {
    pub(crate) rpc: Rpc,
    pub(crate) purpose: Purpose,
    pub(crate) customers: u64,
    pub(crate) seed: u64,
    pub(crate) connections: u64,
}

/// Concatenated requests, each with its gRPC prefix.
#[derive(Default)]
pub(crate) struct Bodies {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

struct Entry {
    end: usize,
    /// Offset of its counter, if it has one.
    counter: Option<usize>,
}

impl Bodies {
    /// Body `index`, wrapping around, and the offset of its counter.
    pub(crate) fn get(&self, index: usize) -> (&[u8], Option<usize>) {
        let index = index % self.entries.len();
        let before = index
            .checked_sub(1)
            .and_then(|before| self.entries.get(before));
        let entry = self.entries.get(index).unwrap();
        let begin = before.map_or(0, |before| before.end);
        (self.bytes.get(begin..entry.end).unwrap(), entry.counter)
    }

    /// All bodies, concatenated.
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn push(&mut self, message: &impl Message) {
        let begin = self.bytes.len();
        self.bytes.push(0);
        let length = u32::try_from(message.encoded_len()).unwrap();
        self.bytes.extend(length.to_be_bytes());
        message.encode(&mut self.bytes).unwrap();
        let body = self.bytes.get(begin..).unwrap();
        let counter = body
            .windows(COUNTER.len())
            .position(|window| window == COUNTER.as_bytes());
        let end = self.bytes.len();
        self.entries.push(Entry { end, counter });
    }
}

/// Writes a number at the offset of a body's counter.
pub(crate) fn write_counter(body: &mut [u8], at: usize, number: u64) {
    let place = body.get_mut(at..at + COUNTER.len()).unwrap();
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = *b"0123456789abcdef"
            .get(usize::try_from(rest % 16).unwrap())
            .unwrap();
        rest /= 16;
    }
}

impl Material {
    /// The requests of one connection. Writes of different connections never share a customer,
    /// and none repeats one before all had their turn.
    pub(crate) fn bodies(&self, connection: u64) -> Bodies {
        let mut bodies = Bodies::default();
        let each = MAX_REQUESTS / self.connections;
        match self.rpc {
            Rpc::Empty => bodies.push(&()),
            Rpc::Resolve | Rpc::GetContact | Rpc::VerifyChannel | Rpc::FindCustomers => {
                for n in 0..each {
                    let n = n * self.connections + connection;
                    self.push(&mut bodies, self.random_customer(n));
                }
            }
            Rpc::CreateContact | Rpc::UpdateContact => {
                for n in 0..each.min(self.customers / self.connections) {
                    self.push(
                        &mut bodies,
                        self.spread_customer(n * self.connections + connection),
                    );
                }
            }
            Rpc::CheckPassword => {
                for n in (connection..self.with_password()).step_by(self.step()) {
                    self.push(&mut bodies, self.spread_customer(n));
                }
            }
            Rpc::StreamAll => bodies.push(&StreamRecipientsRequest {
                purpose: self.purpose.into(),
                all_customers: Some(AllCustomers::default()),
                ..StreamRecipientsRequest::default()
            }),
            Rpc::Stream => {
                for begin in (0..self.customers).step_by(1000) {
                    let end = (begin + CUSTOMERS_PER_MESSAGE).min(self.customers);
                    bodies.push(&StreamRecipientsRequest {
                        customer_numbers: (begin..end).map(customer_number).collect(),
                        purpose: self.purpose.into(),
                        attention_line_chars: 0,
                        ..StreamRecipientsRequest::default()
                    });
                }
            }
        }
        bodies
    }

    fn step(&self) -> usize {
        usize::try_from(self.connections).unwrap()
    }

    fn with_password(&self) -> u64 {
        self.customers.min(WITH_PASSWORD)
    }

    /// The contacts that get a phone password, by customer.
    pub(crate) fn contacts_with_password(&self) -> Vec<(String, String)> {
        let spread_customer = (0..self.with_password()).map(|n| self.spread_customer(n));
        spread_customer
            .map(|i| (customer_number(i), contact_id(self.seed, i, 0).to_string()))
            .collect()
    }

    /// A random customer, uniformly distributed.
    const fn random_customer(&self, n: u64) -> u64 {
        // A different seed, so that the values drawn are independent of the customer.
        draw(!self.seed, n, 0, Draw::ContactId) % self.customers
    }

    /// The n-th customer of a spread-out order in which every customer occurs once.
    fn spread_customer(&self, n: u64) -> u64 {
        let customers = u128::from(self.customers);
        // A step of the golden ratio spreads neighbors.
        let mut stride = customers * 618 / 1000 + 1;
        while greatest_common_divisor(stride, customers) != 1 {
            stride += 1;
        }
        let offset = u128::from(self.random_customer(0));
        u64::try_from((offset + u128::from(n) * stride) % customers).unwrap()
    }

    fn push(&self, bodies: &mut Bodies, i: u64) {
        let customer_number = customer_number(i);
        let contact_id = contact_id(self.seed, i, 0).to_string();
        match self.rpc {
            Rpc::Resolve => bodies.push(&ResolveRecipientsRequest {
                customer_number,
                purpose: self.purpose.into(),
                attention_line_chars: 0,
            }),
            Rpc::GetContact => bodies.push(&GetContactRequest {
                customer_number,
                contact_id,
            }),
            Rpc::VerifyChannel => bodies.push(&VerifyContactChannelRequest {
                customer_number,
                channel: Some(Channel::PhoneNumber(phone_number(self.seed, i, 0, 0))),
                ..VerifyContactChannelRequest::default()
            }),
            Rpc::FindCustomers => bodies.push(&FindCustomersRequest {
                channel: Some(find_customers_request::Channel::PhoneNumber(phone_number(
                    self.seed, i, 0, 0,
                ))),
                ..FindCustomersRequest::default()
            }),
            Rpc::CreateContact => bodies.push(&CreateContactRequest {
                customer_number,
                contact: Some(Contact {
                    types: vec![ContactType::Standard.into()],
                    display_name: "Jürgen Müller".into(),
                    phone_numbers: vec!["+497211234567".into()],
                    ..Contact::default()
                }),
                ..CreateContactRequest::default()
            }),
            Rpc::UpdateContact => bodies.push(&UpdateContactRequest {
                contact: Some(Contact {
                    customer_number,
                    contact_id,
                    // A different name each time, otherwise there is nothing to write.
                    display_name: format!("Jürgen Müller {COUNTER}"),
                    ..Contact::default()
                }),
                update_mask: Some(FieldMask {
                    paths: vec!["display_name".into()],
                }),
                ..UpdateContactRequest::default()
            }),
            Rpc::CheckPassword => bodies.push(&CheckPhonePasswordRequest {
                customer_number,
                contact_id,
                phone_password: PASSWORD.into(),
                // The attempts per phone call are limited.
                call_id: format!("load-{COUNTER}"),
            }),
            Rpc::Empty | Rpc::Stream | Rpc::StreamAll => {}
        }
    }
}

const fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
