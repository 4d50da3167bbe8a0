//! A client of any RPC of the contract, by its descriptor and with messages in JSON.

use bytes::{Buf, BufMut};
use prost_reflect::MethodDescriptor;
use serde_json::{Deserializer, value::RawValue};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataValue,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{auth, contract, json, status};
use crate::error::{Error, Result, Violation};

/// One RPC of a server.
#[derive(Clone, Debug)]
pub struct RpcCall {
    rpc: MethodDescriptor,
    messages: Vec<Vec<u8>>,
}

impl RpcCall {
    /// Prepares a call of the RPC with this name, such as `GetContact`; `None` if there is none.
    /// `request` is a message in JSON; of a client stream, any number of messages.
    ///
    /// # Errors
    /// One line that names the field if the request is no message of this RPC.
    pub fn new(rpc: &str, request: &str) -> Option<std::result::Result<Self, String>> {
        let rpc = contract::rpc(rpc)?;
        let messages = messages(&rpc, request).map_err(|error| describe(&error.into()));
        Some(messages.map(|messages| Self { rpc, messages }))
    }

    /// Sends the request to the server at `url`, and passes each message of the response to
    /// `respond`, in JSON: those of a stream in one line each. The call ends when `respond` returns false.
    ///
    /// # Errors
    /// One line with the code, the reason and the message of the status, or the cause why the server
    /// cannot be called.
    pub async fn send(
        self,
        url: &str,
        token: &str,
        mut respond: impl FnMut(&str) -> bool,
    ) -> std::result::Result<(), String> {
        let is_pretty = !self.rpc.is_server_streaming();
        let mut grpc = Grpc::new(connect(url).await?).max_decoding_message_size(usize::MAX);
        let bearer = MetadataValue::try_from(format!("Bearer {token}"));
        let bearer = bearer.map_err(|_| "the token has characters that no token has")?;
        let mut request = Request::new(futures::stream::iter(self.messages));
        request.metadata_mut().insert("authorization", bearer);
        let path = contract::path(&self.rpc).parse();
        let path = path.map_err(|_| "the RPC has no path")?;
        let ready = grpc.ready().await;
        ready.map_err(|error| format!("{url} cannot be called: {error}"))?;
        let responses = grpc.streaming(request, path, BytesCodec).await;
        let mut responses = responses.map_err(|status| describe(&status))?.into_inner();
        while let Some(message) = responses
            .message()
            .await
            .map_err(|status| describe(&status))?
        {
            let json = json::from_protobuf(self.rpc.output(), &message, is_pretty);
            if !respond(&json.map_err(|error| error.to_string())?) {
                break;
            }
        }
        Ok(())
    }
}

/// Returns each RPC with its scope and the fields of its request.
pub fn list_rpcs() -> Vec<[String; 3]> {
    let rpcs = contract::rpcs().into_iter();
    rpcs.map(|rpc| {
        let scope = auth::Rpc::at(&contract::path(&rpc)).map(|rpc| rpc.scope);
        let fields: Vec<_> = rpc
            .input()
            .fields()
            .map(|field| field.name().to_owned())
            .collect();
        let scope = scope.map_or_else(String::new, |scope| scope.as_str().to_owned());
        [rpc.name().to_owned(), scope, fields.join(", ")]
    })
    .collect()
}

fn messages(rpc: &MethodDescriptor, request: &str) -> Result<Vec<Vec<u8>>> {
    if !rpc.is_client_streaming() {
        return Ok(vec![json::to_protobuf(rpc.input(), request.as_bytes())?]);
    }
    let messages = Deserializer::from_str(request).into_iter::<Box<RawValue>>();
    let convert = |message: std::result::Result<Box<RawValue>, serde_json::Error>| {
        let message = message.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::invalid_field("request", Violation::NotJson { line, column })
        })?;
        json::to_protobuf(rpc.input(), message.get().as_bytes())
    };
    messages.map(convert).collect()
}

async fn connect(url: &str) -> std::result::Result<Channel, String> {
    let unusable = |_| format!("{url} is not a URL such as http://127.0.0.1:50051");
    let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(unusable)?;
    if endpoint.uri().scheme_str() == Some("https") {
        let tls = ClientTlsConfig::new().with_native_roots();
        let encrypted = endpoint.tls_config(tls);
        endpoint = encrypted.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    }
    let channel = endpoint.connect().await;
    channel.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{url} cannot be reached: {}", cause.unwrap_or_default())
    })
}

fn describe(status: &Status) -> String {
    let code = status::code_name(status.code());
    match status::reason_of(status).as_str() {
        "" => format!("{code}: {}", status.message()),
        reason => format!("{code} ({reason}): {}", status.message()),
    }
}

/// Passes encoded messages through.
#[derive(Clone, Copy, Debug)]
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

    fn encode(
        &mut self,
        item: Vec<u8>,
        buffer: &mut EncodeBuf<'_>,
    ) -> std::result::Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(
        &mut self,
        buffer: &mut DecodeBuf<'_>,
    ) -> std::result::Result<Option<Vec<u8>>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length).to_vec()))
    }
}
