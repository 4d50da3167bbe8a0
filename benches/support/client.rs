//! An ordinary gRPC client for tasks other than the load: sets phone passwords and explains
//! failures.

use contact_service::api::proto::{
    SetPhonePasswordRequest, contact_service_client::ContactServiceClient,
    set_phone_password_request::Source,
};
use http::uri::PathAndQuery;
use prost::bytes::{Buf, BufMut};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::requests::PASSWORD;

/// The server's address and the token.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Server {
    fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.unwrap().connect_lazy()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let bearer: MetadataValue<Ascii> = format!("Bearer {}", self.token).parse().unwrap();
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    /// Sets the phone password of these contacts, given by customer number and id.
    pub(crate) fn set_phone_passwords(&self, contacts: Vec<(String, String)>) {
        block_on(async {
            let mut client = ContactServiceClient::new(self.channel());
            for (customer_number, contact_id) in contacts {
                let request = self.request(SetPhonePasswordRequest {
                    customer_number,
                    contact_id,
                    source: Some(Source::PhonePassword(PASSWORD.into())),
                    ..SetPhonePasswordRequest::default()
                });
                client.set_phone_password(request).await.unwrap();
            }
        });
    }

    /// Explains a failed request: its code, and the server's error when the request is repeated.
    /// `body` has its prefix.
    pub(crate) fn explain(&self, path: &'static str, body: &[u8], code: Option<Code>) -> String {
        let code = code.map_or("unexpected response".to_owned(), |code| format!("{code:?}"));
        let message = body.get(5..).unwrap_or_default().to_vec();
        let repeated = block_on(async {
            let mut client = Grpc::new(self.channel());
            let answer = match client.ready().await {
                Ok(()) => {
                    let path = PathAndQuery::from_static(path);
                    client.unary(self.request(message), path, RawCodec).await
                }
                Err(error) => return error.to_string(),
            };
            match answer {
                Ok(_) => "no error".to_owned(),
                Err(status) => format!("{:?}: {}", status.code(), status.message()),
            }
        });
        format!("{code}; when repeated, {repeated}")
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Passes messages through.
#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
