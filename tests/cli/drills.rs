//! Key rotation, kills and restores: no contact may be locked, and no change skipped.

mod keys;
mod kill;
mod restore;
mod sequencing;

use std::{collections::BTreeMap, time::Duration};

use contact_service::api::proto::{self, ContactType};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::process::{Client, Sandbox, client};

const SCOPES: &str = "customers.read contact_data.write contacts.read contacts.write \
    phone_password.check phone_orders.authorize order_types.write changes.watch";
/// Keys of 32 bytes in base64.
const KEYS: [&str; 2] = [
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
];
/// Pause between attempts to reach a server that is starting.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Returns a value of `SERVICE_KEYS` or `PHONE_PEPPER` with these versions, newest first.
pub(crate) fn keys(versions: &[usize]) -> String {
    let one = |version: &usize| format!("{version}:{}", KEYS[version - 1]);
    versions.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Mints a token with the keys of the server in the sandbox.
pub(crate) fn token(sandbox: &Sandbox) -> String {
    let minted = sandbox.run(&["token", "--sub", "tester", "--scope", SCOPES, "--ttl", "1h"]);
    minted.printed()
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"))
        .reason
}

/// Creates a customer, or changes the phone number of its contact data.
pub(crate) async fn write(
    client: &mut Client,
    number: &str,
    phone_number: &str,
) -> Result<(), Status> {
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: number.into(),
            contact_data: Some(proto::ContactData {
                phone_number: phone_number.into(),
                ..proto::ContactData::default()
            }),
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    client.update_customer(request).await.map(|_| ())
}

pub(crate) async fn create_contact(
    client: &mut Client,
    number: &str,
    name: &str,
) -> proto::Contact {
    let request = proto::CreateContactRequest {
        customer_number: number.into(),
        contact: Some(proto::Contact {
            display_name: name.into(),
            types: vec![ContactType::Standard.into()],
            ..proto::Contact::default()
        }),
        ..proto::CreateContactRequest::default()
    };
    let created = client.create_contact(request).await.unwrap();
    created.into_inner().contact.unwrap()
}

async fn read(client: &mut Client, number: &str) -> Result<Option<proto::Customer>, Status> {
    let request = proto::GetCustomerRequest {
        customer_number: number.into(),
    };
    match client.get_customer(request).await {
        Ok(response) => Ok(response.into_inner().customer),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// A copy of all customers, maintained with the change feed.
struct Cache {
    client: Client,
    cursor: String,
    customers: BTreeMap<String, proto::Customer>,
    /// The number of full reloads.
    expired: usize,
}

impl Cache {
    fn of(address: &str, token: &str) -> Self {
        Self {
            client: client(address, token),
            cursor: String::new(),
            customers: BTreeMap::new(),
            expired: 0,
        }
    }

    /// Continues with another server.
    fn connect(&mut self, address: &str, token: &str) {
        self.client = client(address, token);
    }

    /// Follows the feed until this customer has changed.
    async fn follow_until(&mut self, last: &str) {
        while let Err(status) = self.try_follow_until(last).await {
            match status.code() {
                Code::FailedPrecondition => {
                    assert_eq!(reason(&status), "CURSOR_EXPIRED");
                    self.customers.clear();
                    self.cursor.clear();
                    self.expired += 1;
                }
                // The server was killed, and restarts.
                Code::Unavailable | Code::Unknown | Code::Cancelled => {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
                _ => panic!("{status:?}"),
            }
        }
    }

    async fn try_follow_until(&mut self, last: &str) -> Result<(), Status> {
        let request = proto::WatchChangesRequest {
            cursor: self.cursor.clone(),
        };
        let mut watch = self.client.watch_changes(request).await?.into_inner();
        loop {
            let Some(response) = watch.message().await? else {
                return Err(Status::unavailable("the server stops"));
            };
            let mut is_last = false;
            for change in response.events {
                let number = change.customer_number;
                if number.is_empty() {
                    // A change of an order type.
                    continue;
                }
                match read(&mut self.client, &number).await? {
                    Some(customer) => self.customers.insert(number.clone(), customer),
                    None => self.customers.remove(&number),
                };
                is_last |= number == last;
            }
            self.cursor = response.cursor;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Asserts that the copy has the customers of the server.
    async fn assert_holds(&mut self, numbers: &[String]) {
        let known: Vec<_> = self.customers.keys().cloned().collect();
        assert_eq!(known, numbers);
        for number in numbers {
            let stored = read(&mut self.client, number).await.unwrap();
            assert_eq!(stored.as_ref(), self.customers.get(number), "{number}");
        }
    }
}
