//! Sends any RPC by name, with messages built from the descriptor or with arbitrary bytes.

use std::{sync::LazyLock, time::Duration};

use contact_service::api::proto::FILE_DESCRIPTOR_SET;
use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ReflectMessage, ServiceDescriptor, Value,
};
use prost_types::method_options::IdempotencyLevel;
use tokio::time::timeout;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::harness::TestServer;

const SERVICE: &str = "contact.v1.ContactService";
const WATCHED: Duration = Duration::from_millis(100);
const FIELD_MASK: &str = "google.protobuf.FieldMask";

static CONTRACT: LazyLock<ServiceDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    pool.get_service_by_name(SERVICE).unwrap()
});

/// All RPCs of the contract.
pub(crate) fn methods() -> impl Iterator<Item = MethodDescriptor> {
    CONTRACT.methods()
}

fn method(rpc: &str) -> MethodDescriptor {
    let method = methods().find(|method| method.name() == rpc);
    method.unwrap_or_else(|| panic!("the contract has no {rpc}"))
}

/// An option of an RPC that the contract defines, such as `required_scope`.
pub(crate) fn option(rpc: &str, name: &str) -> Option<Value> {
    let method = method(rpc);
    let pool = method.parent_pool();
    let extension = pool.get_extension_by_name(&format!("contact.v1.{name}"))?;
    let options = method.options();
    let value = options.get_extension(&extension).into_owned();
    options.has_extension(&extension).then_some(value)
}

/// The idempotency level that the contract gives an RPC.
pub(crate) fn idempotency_level(rpc: &str) -> IdempotencyLevel {
    let method = method(rpc);
    let options = method.method_descriptor_proto().options.clone();
    options.unwrap_or_default().idempotency_level()
}

/// The request message of an RPC.
pub(crate) fn request_type(rpc: &str) -> MessageDescriptor {
    method(rpc).input()
}

/// The response message of an RPC.
pub(crate) fn response_type(rpc: &str) -> MessageDescriptor {
    method(rpc).output()
}

/// An empty request of an RPC.
pub(crate) fn empty_request(rpc: &str) -> DynamicMessage {
    DynamicMessage::new(request_type(rpc))
}

/// Converts a request of a generated type.
pub(crate) fn to_dynamic<M: Message>(rpc: &str, request: &M) -> DynamicMessage {
    DynamicMessage::decode(request_type(rpc), request.encode_to_vec().as_slice()).unwrap()
}

/// The path of an RPC.
pub(crate) fn path(rpc: &str) -> String {
    format!("/{SERVICE}/{rpc}")
}

/// Sends one message and returns the whole response: one message, or those of a stream.
pub(crate) async fn call(
    server: &TestServer,
    token: Option<&str>,
    rpc: &str,
    body: Vec<u8>,
) -> Result<Vec<Vec<u8>>, Status> {
    call_with(server, token, rpc, vec![body]).await
}

/// Sends any number of messages. Every RPC is a stream on the wire, so a unary one can receive
/// none or two.
pub(crate) async fn call_with(
    server: &TestServer,
    token: Option<&str>,
    rpc: &str,
    bodies: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Status> {
    let bearer = token.map(|token| ("authorization", format!("Bearer {token}")));
    call_with_headers(server, bearer.as_slice(), rpc, bodies).await
}

/// Sends the headers unchanged; names may repeat.
pub(crate) async fn call_with_headers(
    server: &TestServer,
    headers: &[(&'static str, String)],
    rpc: &str,
    bodies: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Status> {
    let mut request = Request::new(tokio_stream::iter(bodies));
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    let mut client = Grpc::new(server.channel.clone());
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let path = path(rpc).parse().unwrap();
    let responses = client.streaming(request, path, BytesCodec).await?;
    let mut responses = responses.into_inner();
    let mut messages = Vec::new();
    // A watch never ends: its response is everything received within a moment.
    let patience = if rpc == "WatchChanges" {
        WATCHED
    } else {
        Duration::MAX
    };
    loop {
        match timeout(patience, responses.message()).await {
            Ok(Ok(Some(message))) => messages.push(message),
            Ok(Ok(None)) | Err(_) => return Ok(messages),
            Ok(Err(status)) => return Err(status),
        }
    }
}

/// Passes bytes through.
#[derive(Clone, Copy, Debug, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length).to_vec()))
    }
}

/// A scalar field of a request, with the path of the messages that contain it. Of a list of messages it is
/// the field of the first one.
#[derive(Clone, Debug)]
pub(crate) struct Leaf(Vec<FieldDescriptor>);

impl Leaf {
    /// All such fields of a message and its nested messages.
    pub(crate) fn all_of(message: &MessageDescriptor) -> Vec<Self> {
        let mut leaves = Vec::new();
        for field in message.fields() {
            let Kind::Message(inner) = field.kind() else {
                leaves.push(Self(vec![field]));
                continue;
            };
            if field.is_map() {
                // Names by language: tests of their own.
                continue;
            }
            for Self(rest) in Self::all_of(&inner) {
                leaves.push(Self([vec![field.clone()], rest].concat()));
            }
        }
        leaves
    }

    fn split(&self) -> (&FieldDescriptor, &[FieldDescriptor]) {
        self.0.split_last().unwrap()
    }

    /// The descriptor of the field.
    pub(crate) fn field(&self) -> &FieldDescriptor {
        self.split().0
    }

    /// The path as a violation names it, such as `contact.restrictions.note`. A mask is reported
    /// as a whole.
    pub(crate) fn name(&self) -> String {
        let (last, parents) = self.split();
        let name = |parent: &FieldDescriptor| {
            let index = if parent.is_list() { "[0]" } else { "" };
            format!("{}{index}", parent.name())
        };
        let mut names: Vec<_> = parents.iter().map(name).collect();
        if last.parent_message().full_name() != FIELD_MASK {
            names.push(last.name().to_owned());
        }
        names.join(".")
    }

    /// The value in `message`.
    pub(crate) fn get(&self, message: &DynamicMessage) -> Value {
        let (last, parents) = self.split();
        let mut message = message.clone();
        for parent in parents {
            let inner = message.get_field(parent).into_owned();
            let first = inner.as_list().and_then(<[Value]>::first);
            message = match first.unwrap_or(&inner) {
                Value::Message(inner) => inner.clone(),
                _ => DynamicMessage::new(message_of(parent)),
            };
        }
        message.get_field(last).into_owned()
    }

    /// Sets the value; creates the messages that contain it.
    pub(crate) fn set(&self, message: &mut DynamicMessage, value: Value) {
        let (last, parents) = self.split();
        let mut holder = message;
        for parent in parents {
            let inner = holder.get_field_mut(parent);
            if let Some(entries) = inner.as_list_mut()
                && entries.is_empty()
            {
                entries.push(Value::Message(DynamicMessage::new(message_of(parent))));
            }
            holder = match inner {
                Value::List(entries) => entries[0].as_message_mut().unwrap(),
                inner => inner.as_message_mut().unwrap(),
            };
        }
        assert!(
            value.is_valid_for_field(last),
            "{} is not {value:?}",
            self.name()
        );
        holder.set_field(last, value);
    }
}

fn message_of(field: &FieldDescriptor) -> MessageDescriptor {
    field.kind().as_message().unwrap().clone()
}

/// Sets a top-level field if the request has it.
pub(crate) fn set_if_present(request: &mut DynamicMessage, field: &str, value: Value) -> bool {
    let field = request.descriptor().get_field_by_name(field);
    if let Some(field) = &field {
        request.set_field(field, value);
    }
    field.is_some()
}

/// A request in which every field that can be invalid is invalid; lists hold `count` values.
pub(crate) fn wrong_request(rpc: &str, text: &str, count: usize) -> DynamicMessage {
    let mut request = empty_request(rpc);
    for leaf in Leaf::all_of(&request_type(rpc)) {
        let kind = leaf.field().kind();
        let wrong = if kind == Kind::String {
            Value::String(text.to_owned())
        } else if kind == Kind::Int32 {
            Value::I32(-1)
        } else if matches!(kind, Kind::Enum(_)) {
            Value::EnumNumber(-1)
        } else {
            continue;
        };
        let is_list = leaf.field().is_list();
        let wrong = if is_list {
            Value::List(vec![wrong; count])
        } else {
            wrong
        };
        leaf.set(&mut request, wrong);
    }
    request
}
