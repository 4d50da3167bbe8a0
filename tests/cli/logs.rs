//! What the process writes, at the finest level: nothing of what clients send.

use std::future::poll_fn;

use contact_service::api::proto::{self, ContactType, FILE_DESCRIPTOR_SET};
use http_body_util::Full;
use prost::{Message, bytes::Bytes};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use rstest::rstest;
use tonic::{body::Body, transport::Channel};
use tower::Service;

use crate::process::{Backend, Client, Place, Running, channel, client};

const ALL_SCOPES: &str = "customers.read customers.write contacts.read contacts.write \
    email.confirm channels.verify phone_password.check phone_password.unlock \
    phone_orders.authorize order_types.read order_types.write recipients.resolve audit.read \
    changes.watch privacy.export privacy.erase";
const NUMBER: &str = "KANARIENVOGEL";
const EMAIL: &str = "kanarienvogel@kanarienvogel.example";
const PHONE: &str = "+4972155512345";
/// What must not appear, in small letters.
const CANARIES: [&str; 2] = ["kanarienvogel", "55512345"];

/// Puts a customer and a contact on file that are made of canaries.
async fn create(client: &mut Client) -> String {
    let customer = proto::Customer {
        customer_number: NUMBER.into(),
        contact_data: Some(proto::ContactData {
            email: EMAIL.into(),
            phone_number: PHONE.into(),
        }),
        ..proto::Customer::default()
    };
    let request = proto::UpdateCustomerRequest {
        customer: Some(customer),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    client.update_customer(request).await.unwrap();
    let request = proto::UpdateOrderTypeRequest {
        order_type: Some(proto::OrderType {
            code: "kanarienvogel".into(),
            display_name: "Kanarienvogel".into(),
            ..proto::OrderType::default()
        }),
        allow_missing: true,
    };
    client.update_order_type(request).await.unwrap();
    let contact = proto::Contact {
        display_name: "Kanarienvogel".into(),
        types: vec![ContactType::Standard.into()],
        phone_numbers: vec![PHONE.into()],
        restrictions: Some(proto::Restrictions {
            note: "Kanarienvogel".into(),
            allowed_order_types: vec!["kanarienvogel".into()],
            denied_order_types: vec![],
        }),
        ..proto::Contact::default()
    };
    let request = proto::CreateContactRequest {
        customer_number: NUMBER.into(),
        contact: Some(contact),
        email: EMAIL.into(),
        phone_password: "Kanarienvogel 77 Dachse".into(),
        ..proto::CreateContactRequest::default()
    };
    let created = client.create_contact(request).await.unwrap();
    created.into_inner().contact.unwrap().contact_id
}

/// A message with a value in every field that can hold text.
fn filled(message: &MessageDescriptor, text: &dyn Fn(&str) -> String) -> DynamicMessage {
    let mut filled_message = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let value = match field.kind() {
            Kind::String => Value::String(text(field.name())),
            Kind::Enum(_) => Value::EnumNumber(1),
            Kind::Message(inner) if inner.package_name() == "contact.v1" => {
                Value::Message(filled(&inner, text))
            }
            _ => continue,
        };
        let value = if field.is_list() {
            Value::List(vec![value])
        } else {
            value
        };
        filled_message.set_field(&field, value);
    }
    filled_message
}

/// Calls every RPC of the contract, whatever it answers.
async fn call_all(mut channel: Channel, token: &str, text: &dyn Fn(&str) -> String) {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let service = pool
        .get_service_by_name("contact.v1.ContactService")
        .unwrap();
    for method in service.methods() {
        let message = filled(&method.input(), text).encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, &message].concat();
        let request = http::Request::post(format!("/contact.v1.ContactService/{}", method.name()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(Body::new(Full::new(Bytes::from(body))))
            .unwrap();
        poll_fn(|context| channel.poll_ready(context))
            .await
            .unwrap();
        channel.call(request).await.unwrap();
    }
}

/// The value of a field that is likely to be taken.
fn fitting(field: &str, contact_id: &str) -> String {
    match field {
        "customer_number" | "customer_numbers" | "confirm_customer_number" => NUMBER,
        "contact_id" => contact_id,
        "email" | "ordered_by_email" => EMAIL,
        "phone_number" | "phone_numbers" => PHONE,
        "locale" => "de",
        "etag" | "request_id" | "page_token" => "",
        _ => "kanarienvogel",
    }
    .to_owned()
}

/// Makes calls of every kind, stops the server, and gives all that it wrote.
async fn written_under_trace(place: &Place) -> String {
    place.run(&["migrate", "up"]).printed();
    let mint = |sub| {
        let arguments = ["token", "--sub", sub, "--scope", ALL_SCOPES];
        place.run(&arguments).printed()
    };
    let (token, confined) = (mint("kanarienvogel"), mint("someone"));
    let (server, address): (Running, String) = place.serve(&[]);
    let contact_id = create(&mut client(&address, &token)).await;
    call_all(channel(&address), &token, &|field| {
        fitting(field, &contact_id)
    })
    .await;
    call_all(channel(&address), &confined, &|_| {
        "Kanarienvogel 55512345".into()
    })
    .await;
    call_all(channel(&address), "kanarienvogel", &|_| {
        "kanarienvogel".into()
    })
    .await;
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stdout + &ended.stderr
}

fn assert_free_of_canaries(written: &str) {
    let wrong = |line: &&str| {
        CANARIES
            .iter()
            .any(|canary| line.to_lowercase().contains(canary))
    };
    let wrong: Vec<_> = written.lines().filter(wrong).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_holds_anything_that_a_client_sent(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend).await.with("LISTEN_ADDR", "127.0.0.1:0");
    let written = written_under_trace(&place.with("RUST_LOG", "trace")).await;
    for seen in [
        "CreateContact",
        "TOKEN_INVALID",
        "INVALID_FIELD",
        "code=\"Ok\"",
    ] {
        assert!(written.contains(seen), "no {seen} in\n{written}");
    }
    assert!(
        !written.contains('\u{1b}'),
        "colours, though this is no terminal"
    );
    assert_free_of_canaries(&written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_logs_are_one_object_a_line() {
    let place = Place::new()
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("LOG_FORMAT", "json")
        .with("RUST_LOG", "trace");
    let written = written_under_trace(&place).await;
    assert!(written.lines().count() > 20, "{written}");
    for line in written.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        for key in ["timestamp", "level", "message", "target"] {
            assert!(
                object.get(key).is_some_and(serde_json::Value::is_string),
                "{line}"
            );
        }
    }
    assert_free_of_canaries(&written);
}
