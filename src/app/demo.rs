//! Sample customers for trying the service out. Their addresses count as
//! confirmed, which no RPC could do.

use crate::{
    app::{App, ContactRef},
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, ContactId, Locale, MAX_CONTACTS},
        contact_types::{ContactType, ContactTypes},
        customer::{ContactData, Customer, CustomerNumber, NotificationSettings},
        email_address::EmailAddress,
        email_confirmation::PendingEmail,
        phone_number::PhoneNumber,
        phone_order::OrderType,
        phone_password::FoldedPassword,
        restrictions::{OrderTypeCode, Restrictions},
    },
    error::{Error, Invalid, Result},
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

const NOBODY: SampleContact = SampleContact {
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

/// Code, name, system management, offered by phone.
const ORDER_TYPES: &[(&str, &str, bool, bool)] = &[
    ("server_reboot", "Neustart eines Servers", true, true),
    ("system_administration", "Systemverwaltung", true, true),
    ("web_hosting", "Webhosting-Paket", false, true),
    (
        "domain_registration",
        "Registrierung einer Domain",
        false,
        true,
    ),
    ("domain_transfer", "Umzug einer Domain", false, true),
    ("cancellation", "Kündigung", false, true),
    ("contract_takeover", "Vertragsübernahme", false, false),
];

/// A customer with a contact for everything, one whose invoices go by post, and
/// one with nothing but its contact data.
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
                ..NOBODY
            },
            SampleContact {
                name: "Bernd Maier",
                types: &[ContactType::Accounting],
                email: "buchhaltung@muster.example",
                phone_number: "+49 721 1234562",
                invoice_email: true,
                ..NOBODY
            },
            SampleContact {
                name: "Buchhaltung Filiale Süd",
                types: &[ContactType::Accounting],
                email: "Buchhaltung@muster.example",
                invoice_email: true,
                ..NOBODY
            },
            SampleContact {
                name: "Carla Weber",
                types: &[ContactType::Technical, ContactType::AuthorizedSignatory],
                locale: Locale::English,
                email: "carla.weber@muster.example",
                phone_number: "+49 171 1234563",
                denied_order_type: "cancellation",
                phone_password: "Roter Dachs 7",
                ..NOBODY
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
                ..NOBODY
            },
            SampleContact {
                name: "Emil Groß",
                types: &[ContactType::Accounting],
                pending_email: "emil.gross@beispiel.example",
                invoice_email: true,
                ..NOBODY
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

/// The customer numbers of the samples.
pub fn sample_numbers() -> impl Iterator<Item = &'static str> {
    SAMPLES.iter().map(|sample| sample.number)
}

impl App {
    /// Puts the sample customers on file that are not there yet.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn load_samples(&self) -> Result<()> {
        let known = self.list_order_types(true).await?;
        for (code, name, system_management, offered_by_phone) in ORDER_TYPES {
            let order_type = OrderType {
                code: OrderTypeCode::parse(code).map_err(defect)?,
                display_name: (*name).to_owned(),
                system_management: *system_management,
                offered_by_phone: *offered_by_phone,
                retired: false,
            };
            if !known.iter().any(|known| known.code == order_type.code) {
                self.update_order_type(&Actor::demo(), order_type, true)
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
        let number = CustomerNumber::parse(sample.number).map_err(defect)?;
        let all = ContactTypes::default();
        let page = self
            .list_contacts(&number, all, i64::MIN, MAX_CONTACTS)
            .await?;
        for (contact, sample) in page.contacts.iter().zip(sample.contacts) {
            let password = optional(sample.phone_password, FoldedPassword::parse)?;
            let contact = ContactRef {
                customer_number: number.clone(),
                contact_id: contact.id,
            };
            if let Some(password) = password {
                self.set_phone_password(&Actor::demo(), contact, password)
                    .await?;
            }
        }
        Ok(())
    }

    /// Gives whether the sample was not there yet.
    async fn load_sample(&self, sample: &'static SampleCustomer) -> Result<bool> {
        let app = self.clone();
        self.database
            .transaction(move |transaction| {
                let app = app.clone();
                Box::pin(async move {
                    let number = CustomerNumber::parse(sample.number).map_err(defect)?;
                    let known = transaction.find_and_lock_customer(&number).await?;
                    if known.is_some() {
                        return Ok(Outcome::Rollback(false));
                    }
                    let customer = sample.to_customer(&app)?;
                    let actor = Actor::demo();
                    let locked = transaction
                        .insert_customer(customer, &app.pseudonyms(&number))
                        .await?;
                    let kind = EventKind::CustomerCreated;
                    let event = app.event(&locked, &actor, kind, None, &["contact_data"])?;
                    transaction.insert_audit_event(&event).await?;
                    for contact in sample.contacts {
                        // Each contact and its event have a rank of their own.
                        let locked = transaction.lock_customer(&number).await?;
                        let contact = contact.to_contact(&app, &number, locked.rank)?;
                        transaction.insert_contact(&contact).await?;
                        app.follow_addresses(transaction, None, &contact, None)
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
        let number = CustomerNumber::parse(self.number).map_err(defect)?;
        let mut customer = Customer::new(number, app.now());
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
    fn to_contact(&self, app: &App, number: &CustomerNumber, position: i64) -> Result<Contact> {
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
            ..Contact::new(number.clone(), id, types, self.name.to_owned(), now)
        })
    }
}

/// An empty text is none.
fn optional<T>(
    text: &str,
    parse: fn(&str) -> std::result::Result<T, Invalid>,
) -> Result<Option<T>> {
    let given = Some(text).filter(|text| !text.is_empty());
    given.map(|text| parse(text).map_err(defect)).transpose()
}

fn defect(Invalid(why): Invalid) -> Error {
    Error::internal(format!("a sample {why}"))
}
