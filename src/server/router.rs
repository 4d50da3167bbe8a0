//! The gRPC services of the server and the HTTP/2 limits they share.

use std::time::Duration;

use tonic::{
    codec::CompressionEncoding,
    transport::server::{Router, Server},
};
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};

use super::testing::TestControl;
use crate::api::{
    admission::{Admission, MessageBytes, OtherProtocolsLayer},
    proto::{
        FILE_DESCRIPTOR_SET, contact_service_server::ContactServiceServer,
        testing::testing_service_server::TestingServiceServer,
    },
    service::ContactApi,
};

/// Maximum sizes of request messages.
pub(super) const MESSAGE_BYTES: MessageBytes = MessageBytes {
    usual: 64 * 1024,
    long: 256 * 1024,
};
/// Bytes that a client may send ahead of the server on one stream: its longest message, and the start
/// of the next.
const STREAM_WINDOW_BYTES: u32 = 320 * 1024;
const MAX_STREAMS: u32 = 100;
/// A token of 40 KiB, with other metadata, still gets a response with a reason: clients learn this
/// limit from SETTINGS, and beyond it fail with a text of their own or a bare 431. Per connection h2
/// keeps at most one incomplete header block, of up to 6 frames of 16 KiB with this limit as with a
/// third of it. `api::admission` limits the metadata that requests in flight may keep.
const MAX_HEADER_BYTES: u32 = 48 * 1024;
/// Limits malformed streams, which would cost a client nothing: tonic lifts hyper's own limit.
const MAX_LOCAL_RESETS: usize = 1024;
/// Requests that are cancelled before they begin, more than one read of a connection can contain:
/// `connections` slows such a client down. To close the connection would make it open the next one.
const MAX_PENDING_RESETS: usize = 256;
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The router of all services.
pub(super) type ServiceRouter = Router<Stack<OtherProtocolsLayer, Identity>>;

/// Returns the router of the contact service, health and reflection, each subject to `admission`. With
/// `serves_http_json` it also serves JSON over HTTP and gRPC-Web.
pub(super) fn router<H: Health>(
    contact_api: ContactApi,
    admission: &Admission,
    health: HealthServer<H>,
    serves_http_json: bool,
) -> Result<ServiceRouter, String> {
    // The message limits below apply to decompressed messages.
    let contact_service = ContactServiceServer::new(contact_api)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let long_messages = contact_service
        .clone()
        .max_decoding_message_size(MESSAGE_BYTES.long);
    let usual = contact_service.max_decoding_message_size(MESSAGE_BYTES.usual);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error| format!("gRPC reflection: {error}");
    let reflection_v1 = reflection().build_v1().map_err(failed)?;
    let reflection_v1alpha = reflection().build_v1alpha().map_err(failed)?;
    Ok(Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .accept_http1(serves_http_json)
        .layer(OtherProtocolsLayer {
            is_enabled: serves_http_json,
        })
        .add_service(admission.authorized(usual, long_messages))
        .add_service(admission.open(health))
        .add_service(
            admission.open(
                reflection_v1
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(MESSAGE_BYTES.usual),
            ),
        )
        .add_service(
            admission.open(
                reflection_v1alpha
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(MESSAGE_BYTES.usual),
            ),
        ))
}

/// Adds the service of test servers, if this is one.
pub(super) fn with_testing(
    router: ServiceRouter,
    testing: Option<TestControl>,
    admission: &Admission,
) -> ServiceRouter {
    match testing {
        Some(testing) => router.add_service(admission.open(TestingServiceServer::new(testing))),
        None => router,
    }
}
