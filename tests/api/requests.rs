//! Requests that several test modules send, and their values.

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto;
use tonic::Status;

use crate::harness::{ALL_SCOPES, AUDIENCE, Client, ISSUER, TestServer};

impl TestServer {
    /// A client with all scopes under another subject than [`client`](Self::client).
    pub fn client_of(&self, subject: &str) -> Client {
        let ttl = TimeDelta::days(365);
        let token = self
            .keys
            .mint(ISSUER, AUDIENCE, subject, ALL_SCOPES, None, ttl, self.now())
            .unwrap();
        self.client_with(token)
    }

    /// Creates a customer with a contact-data address.
    pub async fn create_customer(&self, number: &str) -> proto::Customer {
        let request = proto::UpdateCustomerRequest {
            customer: Some(proto::Customer {
                customer_number: number.into(),
                contact_data: Some(proto::ContactData {
                    email: format!("info@{}.example", number.to_lowercase()),
                    phone_number: "+49721913740".into(),
                    ..proto::ContactData::default()
                }),
                // They would be among the mails of most tests.
                notification_settings: Some(proto::NotificationSettings {
                    contact_changes: Some(false),
                    ..proto::NotificationSettings::default()
                }),
                ..proto::Customer::default()
            }),
            allow_missing: true,
            ..proto::UpdateCustomerRequest::default()
        };
        let response = self.client().update_customer(request).await.unwrap();
        response.into_inner().customer.unwrap()
    }

    /// Creates a customer with one STANDARD contact without an e-mail address.
    pub async fn create_customer_with_contact(&self, number: &str) -> proto::Contact {
        self.create_customer(number).await;
        self.create_contact(number, "Anna Schmidt", &[proto::ContactType::Standard], "")
            .await
    }

    pub async fn customer(&self, number: &str) -> proto::Customer {
        let request = proto::GetCustomerRequest {
            customer_number: number.into(),
        };
        let response = self.client().get_customer(request).await.unwrap();
        response.into_inner().customer.unwrap()
    }

    /// The current state of the contact.
    pub async fn contact(&self, contact: &proto::Contact) -> proto::Contact {
        let request = proto::GetContactRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
        };
        let response = self.client().get_contact(request).await.unwrap();
        response.into_inner().contact.unwrap()
    }

    /// All contacts of a customer in the order of creation.
    pub async fn contacts(&self, number: &str) -> Vec<proto::Contact> {
        let request = proto::ListContactsRequest {
            customer_number: number.into(),
            page_size: 1000,
            ..proto::ListContactsRequest::default()
        };
        let response = self.client().list_contacts(request).await.unwrap();
        response.into_inner().contacts
    }

    /// All data that the service returns about a customer, to assert that nothing changed.
    pub async fn state(
        &self,
        number: &str,
    ) -> (proto::Customer, Vec<proto::Contact>, Vec<proto::AuditEvent>) {
        (
            self.customer(number).await,
            self.contacts(number).await,
            self.events(number).await,
        )
    }

    pub async fn update_contact(
        &self,
        contact: proto::Contact,
        paths: &[&str],
    ) -> Result<proto::Contact, Status> {
        let request = proto::UpdateContactRequest {
            contact: Some(contact),
            update_mask: mask(paths),
            ..proto::UpdateContactRequest::default()
        };
        let response = self.client().update_contact(request).await?;
        Ok(response.into_inner().contact.unwrap())
    }

    pub async fn delete_contact(&self, contact: &proto::Contact) -> Result<(), Status> {
        let request = proto::DeleteContactRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            ..proto::DeleteContactRequest::default()
        };
        self.client().delete_contact(request).await.map(|_| ())
    }

    pub async fn change_email(
        &self,
        contact: &proto::Contact,
        email: &str,
    ) -> Result<proto::Contact, Status> {
        let request = proto::ChangeEmailRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            email: email.into(),
            ..proto::ChangeEmailRequest::default()
        };
        let response = self.client().change_email(request).await?;
        Ok(response.into_inner().contact.unwrap())
    }

    /// Resolves recipients with the default maximum length of an attention line.
    pub async fn resolve(&self, number: &str, purpose: proto::Purpose) -> proto::Resolution {
        let request = proto::ResolveRecipientsRequest {
            customer_number: number.into(),
            purpose: purpose.into(),
            ..proto::ResolveRecipientsRequest::default()
        };
        let response = self.client().resolve_recipients(request).await.unwrap();
        response.into_inner().resolution.unwrap()
    }
}

/// An update mask; no paths mean no mask.
pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    (!paths.is_empty()).then(|| prost_types::FieldMask {
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
    })
}

/// The contact reduced to its resource names, for updates of single fields.
pub fn only_id(contact: &proto::Contact) -> proto::Contact {
    proto::Contact {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        ..proto::Contact::default()
    }
}

pub fn timestamp(time: DateTime<Utc>) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap(),
    })
}
