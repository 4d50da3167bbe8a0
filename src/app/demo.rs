//! Sample customers for `serve --demo`. They are written past the use cases, as no RPC creates
//! confirmed addresses.

use std::collections::BTreeMap;

use super::{
    contact_edit::{PhonePasswordEdit, UpdateContact},
    contact_update::PHONE_PASSWORD,
    context::App,
    idempotency::ChangeOptions,
    order_types::OrderTypeUpdate,
    phone_password::NewPhonePassword,
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, Locale, MAX_CONTACTS},
        contact_types::{ContactType, ContactTypes},
        customer::{ContactData, Customer, NotificationSettings},
        email_address::EmailAddress,
        email_confirmation::PendingEmail,
        ids::{ContactId, ContactRef, CustomerNumber},
        phone_number::PhoneNumber,
        phone_order::{OrderTerms, OrderType},
        phone_password::NormalizedPassword,
        restrictions::{OrderTypeCode, Restrictions},
    },
    error::{Error, Result, Violation},
    storage::Outcome,
};

struct SampleCustomer {
    number: &'static str,
    email: &'static str,
    phone_number: &'static str,
    security_notices: bool,
    contacts: &'static [SampleContact],
}

struct SampleContact {
    name: &'static str,
    types: &'static [ContactType],
    locale: Locale,
    email: &'static str,
    pending_email: &'static str,
    phone_number: &'static str,
    invoice_email: bool,
    denied_order_type: &'static str,
    note: &'static str,
    phone_password: &'static str,
}

const EMPTY_CONTACT: SampleContact = SampleContact {
    name: "",
    types: &[ContactType::Standard],
    locale: Locale::German,
    email: "",
    pending_email: "",
    phone_number: "",
    invoice_email: false,
    denied_order_type: "",
    note: "",
    phone_password: "",
};

const BY_PHONE: OrderTerms = OrderTerms {
    system_management: false,
    offered_by_phone: true,
    requires_verified_channel: false,
    retired: false,
};
const SYSTEM_MANAGEMENT: OrderTerms = OrderTerms {
    system_management: true,
    ..BY_PHONE
};

/// Code, names in German and English, and terms.
const ORDER_TYPES: &[(&str, [&str; 2], OrderTerms)] = &[
    (
        "server_reboot",
        ["Neustart eines Servers", "Reboot of a server"],
        SYSTEM_MANAGEMENT,
    ),
    (
        "system_administration",
        ["Systemverwaltung", "System administration"],
        SYSTEM_MANAGEMENT,
    ),
    (
        "web_hosting",
        ["Webhosting-Paket", "Web hosting package"],
        BY_PHONE,
    ),
    (
        "domain_registration",
        ["Registrierung einer Domain", "Registration of a domain"],
        BY_PHONE,
    ),
    (
        "domain_transfer",
        ["Umzug einer Domain", "Transfer of a domain"],
        BY_PHONE,
    ),
    (
        "cancellation",
        ["Kündigung", "Cancellation"],
        OrderTerms {
            requires_verified_channel: true,
            ..BY_PHONE
        },
    ),
    (
        "contract_takeover",
        ["Vertragsübernahme", "Transfer of a contract"],
        OrderTerms {
            offered_by_phone: false,
            ..BY_PHONE
        },
    ),
];

/// A customer with contacts of all types, one whose invoices are sent by post, and one with
/// contact data only.
const SAMPLES: &[SampleCustomer] = &[
    SampleCustomer {
        number: "K-1001",
        email: "info@muster.example",
        phone_number: "+49 721 1234560",
        security_notices: true,
        contacts: &[
            SampleContact {
                name: "Anna Schmidt",
                email: "anna.schmidt@muster.example",
                phone_number: "+49 721 1234561",
                invoice_email: true,
                note: "Nur bis 500 Euro im Monat",
                phone_password: "gelber Kranich 12",
                ..EMPTY_CONTACT
            },
            SampleContact {
                name: "Bernd Maier",
                types: &[ContactType::Accounting],
                email: "buchhaltung@muster.example",
                phone_number: "+49 721 1234562",
                invoice_email: true,
                ..EMPTY_CONTACT
            },
            SampleContact {
                name: "Buchhaltung Filiale Süd",
                types: &[ContactType::Accounting],
                email: "Buchhaltung@muster.example",
                invoice_email: true,
                ..EMPTY_CONTACT
            },
            SampleContact {
                name: "Carla Weber",
                types: &[ContactType::Technical, ContactType::AuthorizedSignatory],
                locale: Locale::English,
                email: "carla.weber@muster.example",
                phone_number: "+49 171 1234563",
                denied_order_type: "cancellation",
                phone_password: "Roter Dachs 7",
                ..EMPTY_CONTACT
            },
        ],
    },
    SampleCustomer {
        number: "K-1002",
        email: "office@beispiel.example",
        phone_number: "+49 30 1234560",
        security_notices: false,
        contacts: &[
            SampleContact {
                name: "Dora Klein",
                email: "dora.klein@beispiel.example",
                pending_email: "dora.neu@beispiel.example",
                ..EMPTY_CONTACT
            },
            SampleContact {
                name: "Emil Groß",
                types: &[ContactType::Accounting],
                pending_email: "emil.gross@beispiel.example",
                invoice_email: true,
                ..EMPTY_CONTACT
            },
        ],
    },
    SampleCustomer {
        number: "K-1003",
        email: "kontakt@verein.example",
        phone_number: "",
        security_notices: true,
        contacts: &[],
    },
];

/// Iterates over the customer numbers of the samples.
pub fn sample_numbers() -> impl Iterator<Item = &'static str> {
    SAMPLES.iter().map(|sample| sample.number)
}

impl App {
    /// Creates the sample order types and customers that do not exist yet.
    ///
    /// # Errors
    /// Database errors.
    pub async fn load_samples(&self) -> Result<()> {
        let existing = self.list_order_types(true).await?;
        for (code, [german, english], terms) in ORDER_TYPES {
            let order_type = OrderType {
                code: OrderTypeCode::parse(code).map_err(defect)?,
                display_name: (*german).to_owned(),
                display_names: BTreeMap::from([
                    (Locale::German, (*german).to_owned()),
                    (Locale::English, (*english).to_owned()),
                ]),
                terms: *terms,
            };
            if existing
                .iter()
                .all(|on_file| on_file.code != order_type.code)
            {
                let update = OrderTypeUpdate {
                    order_type,
                    fields: Vec::new(),
                };
                self.update_order_type(&Actor::demo(), update, true, false)
                    .await?;
            }
        }
        for sample in SAMPLES {
            if self.load_sample(sample).await? {
                self.mail_signal.raise_if(true);
                self.set_sample_passwords(sample).await?;
            }
        }
        Ok(())
    }

    async fn set_sample_passwords(&self, sample: &SampleCustomer) -> Result<()> {
        let customer_number = CustomerNumber::parse(sample.number).map_err(defect)?;
        let all = ContactTypes::default();
        let page = self
            .list_contacts(&customer_number, all, i64::MIN, MAX_CONTACTS)
            .await?;
        for (contact, sample) in page.contacts.iter().zip(sample.contacts) {
            let password = optional(sample.phone_password, NormalizedPassword::parse)?;
            let contact = ContactRef {
                customer_number: customer_number.clone(),
                contact_id: contact.id,
            };
            if let Some(password) = password {
                let new = NewPhonePassword::Given(password);
                let set = PhonePasswordEdit::Set {
                    new,
                    field: PHONE_PASSWORD,
                };
                let update = UpdateContact {
                    phone_password: Some(set),
                    ..UpdateContact::new(contact, ChangeOptions::default())
                };
                self.update_contact(&Actor::demo(), update).await?;
            }
        }
        Ok(())
    }

    /// Creates a sample customer with its contacts. Returns false if it exists.
    async fn load_sample(&self, sample: &'static SampleCustomer) -> Result<bool> {
        let app = self.clone();
        self.database
            .transaction(move |transaction| {
                let app = app.clone();
                Box::pin(async move {
                    let customer_number = CustomerNumber::parse(sample.number).map_err(defect)?;
                    let existing = transaction.find_and_lock_customer(&customer_number).await?;
                    if existing.is_some() {
                        return Ok(Outcome::Rollback(false));
                    }
                    let customer = sample.to_customer(&app)?;
                    let actor = Actor::demo();
                    let locked = transaction
                        .insert_customer(customer, &app.pseudonyms(&customer_number), 1)
                        .await?;
                    let kind = EventKind::CustomerCreated;
                    let event = app.event(&locked, &actor, kind, None, &["contact_data"])?;
                    transaction.insert_audit_event(&event).await?;
                    for contact in sample.contacts {
                        // Each contact and its event take a sequence number of their own.
                        let locked = transaction.lock_customer(&customer_number).await?;
                        let contact =
                            contact.to_contact(&app, &customer_number, locked.sequence_number)?;
                        transaction.insert_contact(&contact).await?;
                        app.apply_email_transition(transaction, None, &contact)
                            .await?;
                        let kind = EventKind::ContactCreated;
                        let fields = ["types", "display_name"];
                        let event = app.event(&locked, &actor, kind, Some(contact.id), &fields)?;
                        transaction.insert_audit_event(&event).await?;
                    }
                    Ok(Outcome::Commit(true))
                })
            })
            .await
    }
}

impl SampleCustomer {
    fn to_customer(&self, app: &App) -> Result<Customer> {
        let customer_number = CustomerNumber::parse(self.number).map_err(defect)?;
        let mut customer = Customer::new(customer_number, app.now());
        customer.contact_data = ContactData {
            email: optional(self.email, EmailAddress::parse)?,
            phone_number: optional(self.phone_number, PhoneNumber::parse)?,
            ..ContactData::default()
        };
        customer.notification_settings = NotificationSettings {
            security_notices: self.security_notices,
            ..NotificationSettings::default()
        };
        Ok(customer)
    }
}

impl SampleContact {
    fn to_contact(
        &self,
        app: &App,
        customer_number: &CustomerNumber,
        position: i64,
    ) -> Result<Contact> {
        let now = app.now();
        let id = ContactId(app.random.uuid_v7(now)?);
        let types = self.types.iter().copied().collect();
        let confirmation_id = app.confirmation_id(now)?;
        Ok(Contact {
            position,
            locale: self.locale,
            email: optional(self.email, EmailAddress::parse)?,
            pending_email: optional(self.pending_email, EmailAddress::parse)?
                .map(|email| PendingEmail::new(confirmation_id, email, now)),
            phone_numbers: optional(self.phone_number, PhoneNumber::parse)?
                .into_iter()
                .collect(),
            invoice_email_enabled: self.invoice_email,
            restrictions: Restrictions {
                note: self.note.to_owned(),
                denied_order_types: optional(self.denied_order_type, OrderTypeCode::parse)?
                    .into_iter()
                    .collect(),
                ..Restrictions::default()
            },
            ..Contact::new(
                customer_number.clone(),
                id,
                types,
                self.name.to_owned(),
                now,
            )
        })
    }
}

/// Parses a text unless it is empty.
fn optional<T>(
    text: &str,
    parse: fn(&str) -> std::result::Result<T, Violation>,
) -> Result<Option<T>> {
    let text = Some(text).filter(|text| !text.is_empty());
    text.map(|text| parse(text).map_err(defect)).transpose()
}

fn defect(violation: Violation) -> Error {
    Error::internal(format!("a sample value {violation}"))
}
