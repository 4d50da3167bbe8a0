//! Arbitrary bytes as a request.

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::Index,
    strategy::BoxedStrategy,
};
use prost::Message;
use prost_reflect::DynamicMessage;
use rstest::rstest;
use tonic::{Code, Status};

use super::{repeatable, run};
use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejected_fields, rejection},
    raw::{call, call_with, request_type},
    rpcs::{Prepared, RPCS, Rpc, prepare},
};

const CASES: u32 = 100;
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
const MAX_STREAM_MESSAGE_BYTES: usize = 256 * 1024;

/// Bytes that no message type accepts: an incomplete tag, a length without its bytes, an unclosed
/// group, the field number 0.
const MALFORMED: &[&[u8]] = &[
    &[0xff],
    &[0x0a, 0x05, b'a'],
    &[0x0b],
    &[0x02, 0x00],
    &[0x0f],
];

fn some_message(rpc: &Rpc, on: &Prepared) -> Vec<u8> {
    // The first field of most requests: a text of three bytes.
    let some = vec![0x0a, 3, b'K', b'-', b'1'];
    let valid = repeatable(rpc.name, on).encode_to_vec();
    if valid.is_empty() { some } else { valid }
}

fn any_bytes(message: Vec<u8>) -> BoxedStrategy<Vec<u8>> {
    let length = message.len();
    let flipped = message.clone();
    prop_oneof![
        2 => vec(any::<u8>(), 0..200),
        1 => (0..length).prop_map(move |end| message[..end].to_vec()),
        3 => vec((any::<Index>(), any::<u8>()), 1..4).prop_map(move |flips| {
            let mut bytes = flipped.clone();
            for (at, byte) in flips {
                bytes[at.index(length)] ^= byte;
            }
            bytes
        }),
        // Fields with small numbers and any wire type, followed by arbitrary bytes.
        2 => vec((1_u8..16, 0_u8..8, vec(any::<u8>(), 0..12)), 1..5).prop_map(|fields| {
            let encode = |(number, wire_type, rest): (u8, u8, Vec<u8>)| {
                let length = u8::try_from(rest.len()).unwrap();
                [vec![number << 3 | wire_type, length], rest].concat()
            };
            fields.into_iter().flat_map(encode).collect()
        }),
    ]
    .boxed()
}

fn check_status(
    rpc: &Rpc,
    bytes: &[u8],
    response: Result<Vec<Vec<u8>>, Status>,
) -> Result<(), String> {
    let is_message = DynamicMessage::decode(request_type(rpc.name), bytes).is_ok();
    let code = response.as_ref().err().map(Status::code);
    let is_answered = matches!(
        code,
        None | Some(
            Code::InvalidArgument
                | Code::NotFound
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::ResourceExhausted
                | Code::Unimplemented,
        )
    );
    if is_message && is_answered {
        return Ok(());
    }
    if code != Some(Code::InvalidArgument) {
        return Err(format!("{response:?}"));
    }
    let (fields, reason) = (rejected_fields(response.clone()), rejection(response).1);
    if reason == "INVALID_FIELD" && fields == ["request"] {
        Ok(())
    } else {
        Err(format!("{reason} {fields:?}"))
    }
}

#[rstest]
#[tokio::test]
async fn any_bytes_get_a_response_and_malformed_ones_an_error(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let token = server.token(ALL_SCOPES, None);
    let on = prepare(&server, "K-1").await;
    for rpc in &RPCS {
        for bytes in MALFORMED {
            let response = call(&server, Some(&token), rpc.name, bytes.to_vec()).await;
            assert_eq!(
                rejected_fields(response),
                ["request"],
                "{} {bytes:?}",
                rpc.name
            );
        }
        let strategy = any_bytes(some_message(rpc, &on));
        run(rpc.name, CASES, strategy, async |bytes| {
            let response = call(&server, Some(&token), rpc.name, bytes.clone()).await;
            check_status(rpc, &bytes, response)
        })
        .await;
    }
}

#[rstest]
#[tokio::test]
async fn every_rpc_rejects_messages_that_are_too_long(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let token = server.token(ALL_SCOPES, None);
    for rpc in &RPCS {
        let limit = if ["StreamRecipients", "ReportDeliveries"].contains(&rpc.name) {
            MAX_STREAM_MESSAGE_BYTES
        } else {
            MAX_MESSAGE_BYTES
        };
        let longest = call(&server, Some(&token), rpc.name, unknown_field(limit)).await;
        if let Err(status) = longest {
            let is_too_long = status.message().contains("longer");
            assert!(!is_too_long, "{} {status:?}", rpc.name);
        }
        for length in [limit + 1, 4 * limit] {
            let response = call(&server, Some(&token), rpc.name, unknown_field(length)).await;
            assert_eq!(
                rejected_fields(response),
                ["request"],
                "{} {length}",
                rpc.name
            );
        }
    }
}

/// A message of this size with a field that no request defines and every decoder skips.
fn unknown_field(length: usize) -> Vec<u8> {
    const NUMBER: u32 = 1_000;
    let mut content = length;
    loop {
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(NUMBER, &vec![b'x'; content], &mut bytes);
        if bytes.len() == length {
            return bytes;
        }
        content -= bytes.len() - length;
    }
}

#[rstest]
#[tokio::test]
async fn unary_request_without_a_message_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let token = server.token(ALL_SCOPES, None);
    for rpc in RPCS.iter().filter(|rpc| rpc.name != "StreamRecipients") {
        let response = call_with(&server, Some(&token), rpc.name, Vec::new()).await;
        assert_eq!(rejected_fields(response), ["request"], "{}", rpc.name);
    }
}
