//! Conversion of the messages of a unary RPC between HTTP bodies and gRPC.

use std::{collections::HashMap, sync::LazyLock};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status, body::Body};

use crate::{
    api::{contract, json, wire::PREFIX_BYTES},
    error::{Error, Result},
};

/// A message in JSON may be this many times as long as in Protobuf.
const JSON_EXPANSION: usize = 2;

/// The RPCs of the contract, and those of test servers, by their paths.
static RPCS: LazyLock<HashMap<String, MethodDescriptor>> = LazyLock::new(|| {
    let rpcs = contract::rpcs().into_iter();
    let rpcs = rpcs.chain(contract::testing_rpcs());
    rpcs.map(|rpc| (contract::path(&rpc), rpc)).collect()
});

/// Returns the RPC at a path, such as `/contact.v1.ContactService/GetContact`.
pub(super) fn rpc_at(path: &str) -> Option<&'static MethodDescriptor> {
    RPCS.get(path)
}

#[derive(Clone, Copy, Debug)]
enum Codec {
    Json,
    Protobuf,
}

/// A unary RPC that was called over plain HTTP. It is an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct UnaryCall {
    rpc: &'static MethodDescriptor,
    codec: Codec,
}

impl UnaryCall {
    /// Returns `None` for a media type that the protocol does not have.
    pub(super) fn new(rpc: &'static MethodDescriptor, media_type: &str) -> Option<Self> {
        let codec = if media_type.eq_ignore_ascii_case("application/json") {
            Codec::Json
        } else if media_type.eq_ignore_ascii_case("application/proto") {
            Codec::Protobuf
        } else {
            return None;
        };
        Some(Self { rpc, codec })
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.rpc.is_client_streaming() || self.rpc.is_server_streaming()
    }

    pub(super) fn rpc_name(&self) -> &str {
        self.rpc.name()
    }

    /// Returns the maximum size of the body for messages of up to `max` bytes.
    pub(crate) fn max_body_bytes(&self, max: usize) -> usize {
        match self.codec {
            Codec::Json => max * JSON_EXPANSION,
            Codec::Protobuf => max,
        }
    }

    /// Converts the body of the request to a gRPC message with its prefix.
    ///
    /// # Errors
    /// See [`json::to_protobuf`].
    pub(crate) fn request_message(&self, body: &[u8]) -> Result<Bytes> {
        let message = match self.codec {
            Codec::Json => json::to_protobuf(self.rpc.input(), body)?,
            Codec::Protobuf => body.to_vec(),
        };
        let length = u32::try_from(message.len());
        let length = length.map_err(|_| Error::internal("the request is too large"))?;
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        framed.put_u8(0);
        framed.put_u32(length);
        framed.put_slice(&message);
        Ok(framed.freeze())
    }

    /// Converts the response of gRPC. A failure remains one of gRPC, with its status as an extension.
    pub(crate) async fn response(&self, response: Response<Body>) -> Response<Body> {
        if response.extensions().get::<Status>().is_some() {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(body) => body,
            Err(status) => return status.into_http(),
        };
        let status = body.trailers().and_then(Status::from_header_map);
        if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
            return status.into_http();
        }
        let framed = body.to_bytes();
        let message = framed.get(PREFIX_BYTES..).unwrap_or_default();
        let (converted, content_type) = match self.codec {
            Codec::Json => (
                json::from_protobuf(self.rpc.output(), message, false).map(String::into_bytes),
                HeaderValue::from_static("application/json"),
            ),
            Codec::Protobuf => (
                Ok(message.to_vec()),
                HeaderValue::from_static("application/proto"),
            ),
        };
        match converted {
            Ok(converted) => {
                head.headers.insert(CONTENT_TYPE, content_type);
                Response::from_parts(head, Body::new(Full::from(converted)))
            }
            Err(error) => Status::from(error).into_http(),
        }
    }
}
