//! Requests about phone passwords and phone orders that several test modules send.

use chrono::TimeDelta;
use contact_service::{
    api::proto::{
        self, find_customers_request::Channel as Searched, set_phone_password_request::Source,
        verify_contact_channel_request::Channel,
    },
    domain::ids::{ContactId, ContactRef, CustomerNumber},
};
use prost_reflect::DynamicMessage;
use tonic::Status;

use crate::{
    harness::{Client, TestServer, start_time},
    raw::to_dynamic,
    requests::timestamp,
    rpcs::{Prepared, address},
};

pub const CALL_ID: &str = "call-1";
pub const PASSWORD: &str = "Roter Dachs 7";

impl TestServer {
    pub async fn create_order_type(&self, code: &str, system_management: bool, by_phone: bool) {
        let request = proto::UpdateOrderTypeRequest {
            order_type: Some(proto::OrderType {
                code: code.into(),
                display_name: code.into(),
                system_management,
                offered_by_phone: by_phone,
                retired: false,
                ..proto::OrderType::default()
            }),
            allow_missing: true,
            ..proto::UpdateOrderTypeRequest::default()
        };
        self.client().update_order_type(request).await.unwrap();
    }

    pub async fn set_phone_password(
        &self,
        contact: &proto::Contact,
        password: &str,
    ) -> Result<proto::Contact, Status> {
        let request = proto::SetPhonePasswordRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            source: Some(Source::PhonePassword(password.into())),
            ..proto::SetPhonePasswordRequest::default()
        };
        let response = self.client().set_phone_password(request).await?;
        Ok(response.into_inner().contact.unwrap())
    }

    pub async fn check_password(
        &self,
        contact: &proto::Contact,
        candidate: &str,
        call_id: &str,
    ) -> Result<proto::CheckPhonePasswordResponse, Status> {
        let client = self.client();
        check_by(client, contact, candidate, call_id).await
    }

    pub async fn unlock(&self, contact: &proto::Contact) -> Result<proto::Contact, Status> {
        let request = proto::UnlockPhonePasswordRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            reason: "Rückruf unter der hinterlegten Nummer".into(),
            ..proto::UnlockPhonePasswordRequest::default()
        };
        let response = self.client().unlock_phone_password(request).await?;
        Ok(response.into_inner().contact.unwrap())
    }

    pub async fn authorize(
        &self,
        contact: &proto::Contact,
        grant: &str,
        order_type: &str,
        administers: bool,
    ) -> Result<proto::PhoneOrder, Status> {
        let decided = self.decide(contact, grant, order_type, administers).await?;
        Ok(decided.order.unwrap())
    }

    pub async fn decide(
        &self,
        contact: &proto::Contact,
        grant: &str,
        order_type: &str,
        administers: bool,
    ) -> Result<proto::AuthorizePhoneOrderResponse, Status> {
        let request = proto::AuthorizePhoneOrderRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            grant: grant.into(),
            call_id: CALL_ID.into(),
            order_type: order_type.into(),
            customer_administers_product: administers,
        };
        let response = self.client().authorize_phone_order(request).await?;
        Ok(response.into_inner())
    }
}

/// Creates a customer with a STANDARD contact whose phone password is [`PASSWORD`].
pub async fn create_contact_with_password(server: &TestServer, number: &str) -> proto::Contact {
    let contact = server.create_customer_with_contact(number).await;
    server.set_phone_password(&contact, PASSWORD).await.unwrap()
}

/// True if a phone number is on file for the contact's customer.
pub async fn verify_channel(server: &TestServer, contact: &proto::Contact) -> Result<(), Status> {
    let request = proto::VerifyContactChannelRequest {
        customer_number: contact.customer_number.clone(),
        channel: Some(Channel::PhoneNumber("0721 913740".into())),
        ..proto::VerifyContactChannelRequest::default()
    };
    let mut client = server.client();
    client.verify_contact_channel(request).await.map(|_| ())
}

/// Decides about an order of `marker.allowed` in this phone call.
pub async fn authorize_in(
    server: &TestServer,
    contact: &proto::Contact,
    grant: &str,
    call_id: &str,
) -> proto::PhoneOrder {
    let request = proto::AuthorizePhoneOrderRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        grant: grant.into(),
        call_id: call_id.into(),
        order_type: "marker.allowed".into(),
        customer_administers_product: false,
    };
    let decided = server.client().authorize_phone_order(request).await;
    decided.unwrap().into_inner().order.unwrap()
}

/// Creates a one-time code for the portal.
pub async fn create_code(server: &TestServer, contact: &proto::Contact) -> String {
    let request = proto::CreateOneTimeCodeRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        ..proto::CreateOneTimeCodeRequest::default()
    };
    let created = server.client().create_one_time_code(request).await;
    created.unwrap().into_inner().code
}

/// The phone call in which a prepared contact was authenticated.
pub fn call_id_of(number: &str) -> String {
    format!("{CALL_ID}-{number}")
}

pub async fn check_by(
    mut client: Client,
    contact: &proto::Contact,
    candidate: &str,
    call_id: &str,
) -> Result<proto::CheckPhonePasswordResponse, Status> {
    let request = proto::CheckPhonePasswordRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        phone_password: candidate.into(),
        call_id: call_id.into(),
    };
    Ok(client.check_phone_password(request).await?.into_inner())
}

/// A valid request of each RPC about phone calls.
pub fn valid_request(rpc: &str, on: &Prepared) -> Option<DynamicMessage> {
    let customer_number = on.number.clone();
    let contact_id = on.berta.contact_id.clone();
    let request = match rpc {
        "VerifyContactChannel" => to_dynamic(
            rpc,
            &proto::VerifyContactChannelRequest {
                customer_number,
                channel: Some(Channel::PhoneNumber("0721 913740".into())),
                call_id: call_id_of(&on.number),
            },
        ),
        "SetPhonePassword" => to_dynamic(
            rpc,
            &proto::SetPhonePasswordRequest {
                customer_number,
                contact_id,
                source: Some(Source::PhonePassword("marker drei Worte".into())),
                ..proto::SetPhonePasswordRequest::default()
            },
        ),
        "CheckPhonePassword" => to_dynamic(
            rpc,
            &proto::CheckPhonePasswordRequest {
                customer_number,
                contact_id,
                phone_password: PASSWORD.into(),
                call_id: format!("check-{}", on.number),
            },
        ),
        "FindCustomers" => to_dynamic(
            rpc,
            &proto::FindCustomersRequest {
                channel: Some(Searched::Email(address("anna", &on.number))),
                call_id: call_id_of(&on.number),
            },
        ),
        "UnlockPhonePassword" => to_dynamic(
            rpc,
            &proto::UnlockPhonePasswordRequest {
                customer_number,
                contact_id,
                reason: "marker: rang back".into(),
                ..proto::UnlockPhonePasswordRequest::default()
            },
        ),
        _ => return code_request(rpc, on).or_else(|| order_request(rpc, on)),
    };
    Some(request)
}

fn code_request(rpc: &str, on: &Prepared) -> Option<DynamicMessage> {
    let customer_number = on.number.clone();
    let contact_id = on.berta.contact_id.clone();
    let request = match rpc {
        "SendOneTimeCode" => to_dynamic(
            rpc,
            &proto::SendOneTimeCodeRequest {
                customer_number,
                contact_id: on.anna.contact_id.clone(),
                call_id: call_id_of(&on.number),
                ..proto::SendOneTimeCodeRequest::default()
            },
        ),
        "CreateOneTimeCode" => to_dynamic(
            rpc,
            &proto::CreateOneTimeCodeRequest {
                customer_number,
                contact_id,
                ..proto::CreateOneTimeCodeRequest::default()
            },
        ),
        "CheckOneTimeCode" => to_dynamic(
            rpc,
            &proto::CheckOneTimeCodeRequest {
                customer_number,
                contact_id,
                code: on.code.clone(),
                call_id: format!("code-{}", on.number),
            },
        ),
        _ => return None,
    };
    Some(request)
}

fn order_request(rpc: &str, on: &Prepared) -> Option<DynamicMessage> {
    let customer_number = on.number.clone();
    let contact_id = on.berta.contact_id.clone();
    let request = match rpc {
        "RecordPhoneOrderOutcome" => to_dynamic(
            rpc,
            &proto::RecordPhoneOrderOutcomeRequest {
                customer_number,
                authorization_id: on.order.clone(),
                outcome: proto::PhoneOrderOutcome::Placed.into(),
                order_reference: "marker-4711".into(),
                ..proto::RecordPhoneOrderOutcomeRequest::default()
            },
        ),
        "GetPhoneOrder" => to_dynamic(
            rpc,
            &proto::GetPhoneOrderRequest {
                customer_number,
                authorization_id: on.order.clone(),
            },
        ),
        "ListPhoneOrders" => to_dynamic(
            rpc,
            &proto::ListPhoneOrdersRequest {
                customer_number,
                agent: "tester".into(),
                page_size: 10,
                start_time: timestamp(start_time()),
                end_time: timestamp(start_time() + TimeDelta::days(365)),
                ..proto::ListPhoneOrdersRequest::default()
            },
        ),
        "AuthorizePhoneOrder" => to_dynamic(
            rpc,
            &proto::AuthorizePhoneOrderRequest {
                customer_number,
                contact_id,
                grant: on.grant.clone(),
                call_id: call_id_of(&on.number),
                order_type: "marker.allowed".into(),
                customer_administers_product: true,
            },
        ),
        "ListOrderTypes" => to_dynamic(rpc, &proto::ListOrderTypesRequest::default()),
        "UpdateOrderType" => to_dynamic(
            rpc,
            &proto::UpdateOrderTypeRequest {
                order_type: Some(proto::OrderType {
                    code: "marker.allowed".into(),
                    display_name: "Marker order".into(),
                    system_management: false,
                    offered_by_phone: true,
                    requires_verified_channel: true,
                    display_names: [("de".to_owned(), "Marker-Bestellung".to_owned())].into(),
                    retired: false,
                }),
                allow_missing: true,
                ..proto::UpdateOrderTypeRequest::default()
            },
        ),
        _ => return None,
    };
    Some(request)
}

pub fn contact_ref(contact: &proto::Contact) -> ContactRef {
    ContactRef {
        customer_number: CustomerNumber::parse(&contact.customer_number).unwrap(),
        contact_id: ContactId::parse(&contact.contact_id).unwrap(),
    }
}
