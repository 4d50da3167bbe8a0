//! Requests of any RPC by its name, with messages built from the descriptor, and the output about
//! them.

use std::{fmt::Write as _, future::poll_fn, time::Duration};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use contact_service::api::proto::{self, FILE_DESCRIPTOR_SET};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use prost::{Message, bytes::Bytes};
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, MethodDescriptor, Value,
};
use tokio::time::timeout;
use tonic::{body::Body, transport::Channel};
use tower::Service;

const WATCHED: Duration = Duration::from_millis(200);
pub(super) const SERVICE: &str = "contact.v1.ContactService";

/// Returns all RPCs of the contract.
pub(super) fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    pool.get_service_by_name(SERVICE)
        .unwrap()
        .methods()
        .collect()
}

/// Returns the number of requests that use every member of the message's oneofs.
pub(super) fn variants(message: &MessageDescriptor) -> usize {
    let choices = message.oneofs().map(|choice| choice.fields().len());
    choices.max().unwrap_or(1)
}

/// The flags that are set.
const SET: [&str; 4] = [
    "allow_missing",
    "generate",
    "offered_by_phone",
    "suppressed",
];

const LEFT_OUT: [&str; 2] = ["google.protobuf.Timestamp", "contact.v1.AllCustomers"];

/// Builds a message with a value in every text field, and in other required fields.
pub(super) fn filled(
    message: &MessageDescriptor,
    variant: usize,
    text: &dyn Fn(&str) -> String,
) -> DynamicMessage {
    let mut filled_message = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let members: Vec<_> = field
            .containing_oneof()
            .map(|choice| choice.fields().collect())
            .unwrap_or_default();
        if members.get(variant).is_some_and(|chosen| *chosen != field) {
            continue;
        }
        if field.is_map() {
            let names = [(
                MapKey::String("de".into()),
                Value::String(text(field.name())),
            )];
            filled_message.set_field(&field, Value::Map(names.into()));
            continue;
        }
        let value = match field.kind() {
            Kind::String => Value::String(text(field.name())),
            Kind::Bytes => Value::Bytes(text(field.name()).into()),
            Kind::Enum(_) => Value::EnumNumber(1),
            Kind::Bool if SET.contains(&field.name()) => Value::Bool(true),
            // All customers are an alternative to their numbers.
            Kind::Message(inner) if !LEFT_OUT.contains(&inner.full_name()) => {
                Value::Message(filled(&inner, variant, text))
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

/// The response to a request.
pub(super) struct RpcResponse {
    pub(super) status: i32,
    pub(super) messages: Vec<Bytes>,
    /// Headers, trailers and the errors in the messages.
    pub(super) observed: String,
}

/// Decodes a binary header, with or without padding.
fn binary(value: &HeaderValue) -> Vec<u8> {
    let any_padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let base64 = GeneralPurpose::new(&STANDARD, any_padding);
    base64.decode(value.as_bytes()).unwrap()
}

impl RpcResponse {
    fn new(rpc: &str, headers: &HeaderMap, trailers: &HeaderMap, mut body: Bytes) -> Self {
        let mut observed = String::new();
        let mut status = None;
        for (name, value) in headers.iter().chain(trailers) {
            writeln!(observed, "{name}: {value:?}").unwrap();
            if name.as_str().ends_with("-bin") {
                observed += &String::from_utf8_lossy(&binary(value));
            }
            if name == "grpc-status" {
                status = value.to_str().ok().and_then(|text| text.parse().ok());
            }
        }
        let mut messages = Vec::new();
        while let Some(prefix) = body.get(1..5) {
            let length = u32::from_be_bytes(prefix.try_into().unwrap());
            let mut frame = body.split_to(5 + usize::try_from(length).unwrap());
            messages.push(frame.split_off(5));
        }
        if rpc == "StreamRecipients" {
            for message in &messages {
                observed += &errors_in(message);
            }
        }
        Self {
            status: status.unwrap_or_else(|| panic!("{rpc} has no status: {observed}")),
            messages,
            observed,
        }
    }
}

fn errors_in(message: &Bytes) -> String {
    let answers = proto::StreamRecipientsResponse::decode(message.as_ref()).unwrap();
    let outcomes = answers
        .results
        .into_iter()
        .filter_map(|result| result.outcome);
    let mut observed = String::new();
    for outcome in outcomes {
        if let proto::recipients_result::Outcome::Error(error) = outcome {
            observed += &String::from_utf8_lossy(&error.encode_to_vec());
        }
    }
    observed
}

/// Reads a response. An endless one is cut off after a moment, and successful until then.
async fn read(mut body: Body, is_endless: bool) -> (Bytes, HeaderMap) {
    let patience = if is_endless { WATCHED } else { Duration::MAX };
    let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
    loop {
        match timeout(patience, body.frame()).await {
            Ok(Some(frame)) => match frame.unwrap().into_data() {
                Ok(data) => bytes.extend(data),
                Err(frame) => trailers = frame.into_trailers().unwrap(),
            },
            Ok(None) => return (bytes.into(), trailers),
            Err(_) => {
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                return (bytes.into(), trailers);
            }
        }
    }
}

/// A client of a server, and the output that it collected.
pub(super) struct Caller {
    pub(super) channel: Channel,
    pub(super) token: String,
    /// The headers of every request.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// Output by the path of the RPC.
    pub(super) observed: Vec<(String, String)>,
}

impl Caller {
    /// Sends a request with these bytes as its message; `headers` replace the usual ones.
    pub(super) async fn call(
        &mut self,
        path: &str,
        headers: &[(&str, &[u8])],
        message: &[u8],
    ) -> RpcResponse {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        let mut request = Request::post(format!("/{path}"));
        let all = request.headers_mut().unwrap();
        let bearer = format!("Bearer {}", self.token);
        let usual = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", &bearer),
        ];
        for (name, value) in usual.iter().chain(self.headers) {
            all.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            all.insert(HeaderName::try_from(*name).unwrap(), value);
        }
        let request = request
            .body(Body::new(Full::new(Bytes::from(body))))
            .unwrap();
        poll_fn(|context| self.channel.poll_ready(context))
            .await
            .unwrap();
        let (head, body) = self.channel.call(request).await.unwrap().into_parts();
        let rpc = path.rsplit('/').next().unwrap();
        let (body, trailers) = read(body, rpc == "WatchChanges").await;
        let answer = RpcResponse::new(rpc, &head.headers, &trailers, body);
        self.observed
            .push((path.to_owned(), answer.observed.clone()));
        answer
    }

    pub(super) async fn call_rpc(
        &mut self,
        method: &MethodDescriptor,
        request: &DynamicMessage,
    ) -> RpcResponse {
        let path = format!("{SERVICE}/{}", method.name());
        self.call(&path, &[], &request.encode_to_vec()).await
    }
}
