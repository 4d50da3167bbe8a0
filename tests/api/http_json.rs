//! JSON over HTTP (the unary form of the Connect protocol) and gRPC-Web on the gRPC port.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use contact_service::api::{
    admission::Limits,
    proto::{GetCustomerRequest, GetCustomerResponse},
};
use http::{StatusCode, header};
use prost::Message;
use prost_reflect::DynamicMessage;
use reqwest::Response;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    deadline::in_time,
    harness::{ALL_SCOPES, Backend, Options, TestServer},
    raw::{self, methods},
    rpcs::{RPCS, prepare, valid_request},
};

const JSON: &str = "application/json";

async fn post(server: &TestServer, rpc: &str, token: &str, body: impl Into<String>) -> Response {
    let url = format!("http://{}{}", server.address, raw::path(rpc));
    let request = reqwest::Client::new().post(url).bearer_auth(token);
    let request = request.header(header::CONTENT_TYPE, JSON).body(body.into());
    request.send().await.unwrap()
}

/// Returns the HTTP status, the code and the reason of a failed request.
async fn failure(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body = json_of(response).await;
    let code = body["code"].as_str().unwrap().to_owned();
    let info = detail(&body, "google.rpc.ErrorInfo");
    (status, code, info["reason"].as_str().unwrap().to_owned())
}

async fn json_of(response: Response) -> Value {
    assert_eq!(response.headers()[header::CONTENT_TYPE], JSON);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

fn detail<'a>(body: &'a Value, name: &str) -> &'a Value {
    let details = body["details"].as_array().unwrap();
    let detail = details.iter().find(|detail| detail["type"] == name);
    &detail.unwrap()["debug"]
}

/// The fields that a failed request names, with their descriptions.
async fn violations(response: Response) -> Vec<(String, String)> {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body = json_of(response).await;
    let violations = detail(&body, "google.rpc.BadRequest")["fieldViolations"].as_array();
    let text = |violation: &Value, name: &str| violation[name].as_str().unwrap().to_owned();
    let pair = |violation| (text(violation, "field"), text(violation, "description"));
    violations.unwrap().iter().map(pair).collect()
}

fn is_streaming(rpc: &str) -> bool {
    let method = methods().find(|method| method.name() == rpc).unwrap();
    method.is_client_streaming() || method.is_server_streaming()
}

#[rstest]
#[tokio::test]
async fn every_unary_rpc_is_served_in_json(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let token = server.token(ALL_SCOPES, None);
    for (index, rpc) in RPCS.iter().enumerate() {
        if is_streaming(rpc.name) {
            continue;
        }
        let number = format!("K-{index}");
        let prepared = prepare(&server, &number).await;
        let request = valid_request(rpc.name, &prepared);
        let body = serde_json::to_string(&request).unwrap();
        let response = post(&server, rpc.name, &token, body).await;
        let status = response.status();
        let json = json_of(response).await;
        assert_eq!(status, StatusCode::OK, "{}: {json}", rpc.name);
        let message = DynamicMessage::deserialize(raw::response_type(rpc.name), json);
        assert!(message.is_ok(), "{}: {message:?}", rpc.name);
    }
}

#[rstest]
#[tokio::test]
async fn every_rpc_fails_in_json_as_over_grpc(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for scopes in ["", ALL_SCOPES] {
        let token = server.token(scopes, None);
        for rpc in RPCS {
            let response = post(&server, rpc.name, &token, "{}").await;
            if is_streaming(rpc.name) {
                let failed = (501, "unimplemented".to_owned(), "UNIMPLEMENTED".to_owned());
                assert_eq!(failure(response).await, failed, "{}", rpc.name);
                continue;
            }
            let grpc = raw::call(&server, Some(&token), rpc.name, Vec::new()).await;
            let Err(status) = grpc else {
                assert_eq!(response.status(), StatusCode::OK, "{}", rpc.name);
                continue;
            };
            let reason = status.get_details_error_info().unwrap().reason;
            let (http, code, in_json) = failure(response).await;
            assert_eq!(in_json, reason, "{}", rpc.name);
            let expected = match status.code() {
                Code::InvalidArgument => (400, "invalid_argument"),
                Code::PermissionDenied => (403, "permission_denied"),
                Code::NotFound => (404, "not_found"),
                Code::FailedPrecondition => (400, "failed_precondition"),
                code => panic!("{}: {code:?}", rpc.name),
            };
            assert_eq!((http, code.as_str()), expected, "{}", rpc.name);
        }
    }
}

#[tokio::test]
async fn failure_has_the_details_of_grpc_and_headers_of_http() {
    let server = TestServer::start(Backend::Sqlite).await;
    let url = format!("http://{}{}", server.address, raw::path("GetCustomer"));
    let request = reqwest::Client::new().post(url);
    let request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    let request = request.header(header::ACCEPT_LANGUAGE, "de");
    let response = request.body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let grpc_headers = |name: &http::HeaderName| name.as_str().starts_with("grpc-");
    assert!(!response.headers().keys().any(grpc_headers));
    let body = json_of(response).await;
    assert_eq!(body["code"], "unauthenticated");
    let details = body["details"].as_array().unwrap();
    assert_eq!(details[0]["type"], "google.rpc.ErrorInfo");
    let value = STANDARD_NO_PAD.decode(details[0]["value"].as_str().unwrap());
    let info = tonic_types::pb::ErrorInfo::decode(value.unwrap().as_slice()).unwrap();
    assert_eq!(info.reason, "TOKEN_MISSING");
    assert_eq!(details[1]["debug"]["locale"], "de");
}

#[tokio::test]
async fn retry_delay_is_a_header_too() {
    let limits = Limits {
        requests: 0,
        ..Limits::default()
    };
    let server = TestServer::start_with(Backend::Sqlite, Options::with_limits(limits)).await;
    let token = server.token(ALL_SCOPES, None);
    let body = r#"{"customer_number":"K-1"}"#;
    let response = post(&server, "GetCustomer", &token, body).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let failed = (503, "unavailable".to_owned(), "OVERLOADED".to_owned());
    assert_eq!(failure(response).await, failed);
}

#[rstest]
#[case::unknown_field(
    r#"{"customer_numbr":"K-1"}"#,
    "customer_numbr",
    "is not a field of this message"
)]
#[case::nested(
    r#"{"contact":{"display":"A"}}"#,
    "contact.display",
    "is not a field of this message"
)]
#[case::type_of_value(
    r#"{"validate_only":"yes"}"#,
    "validate_only",
    "is not a value of this field in JSON"
)]
#[case::value_of_enum(
    r#"{"contact":{"types":["CONTACT_TYPE_STANDARD","STANDARD"]}}"#,
    "contact.types[1]",
    "is not a value of this field in JSON"
)]
#[case::name_at_the_end_of_the_path(
    r#"{"contact":{"act":1}}"#,
    "contact.act",
    "is not a field of this message"
)]
#[case::two_values(
    r#"{"validate_only":true,"validate_only":false}"#,
    "validate_only",
    "has two values"
)]
#[case::two_values_in_both_spellings(
    r#"{"contact":{"display_name":"A","displayName":null}}"#,
    "contact.displayName",
    "has two values"
)]
#[case::of_the_message("[]", "request", "is not a value of this field in JSON")]
#[case::end("{\"contact\":\n", "request", "is not valid JSON at line 2, column 0")]
#[case::empty("", "request", "is not valid JSON at line 1, column 0")]
#[case::more("{}{}", "request", "is not valid JSON at line 1, column 3")]
#[case::name_that_is_a_value(
    r#"{"anna@example.com":1}"#,
    "request",
    "is not a field of this message"
)]
#[tokio::test]
async fn invalid_json_names_the_field(
    #[case] body: &str,
    #[case] field: &str,
    #[case] description: &str,
) {
    let server = TestServer::start(Backend::Sqlite).await;
    let token = server.token(ALL_SCOPES, None);
    let response = post(&server, "CreateContact", &token, body).await;
    let expected = vec![(field.to_owned(), description.to_owned())];
    assert_eq!(violations(response).await, expected);
}

/// Of both types of client: HTTP/1.0 has no chunked responses.
#[rstest]
#[case::larger_than_a_head("HTTP/1.1", JSON)]
#[case::other_spelling("HTTP/1.1", "Application/JSON; charset=utf-8")]
#[case::old("HTTP/1.0", JSON)]
#[tokio::test]
async fn response_has_its_length(#[case] version: &str, #[case] content_type: &str) {
    let server = TestServer::start(Backend::Sqlite).await;
    server.create_customer("K-1").await;
    let body = format!(r#"{{"customer_number":"K-1"{}}}"#, " ".repeat(100_000));
    let head = format!(
        "POST {} {version}\r\ncontent-type: {content_type}\r\nauthorization: Bearer {}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        raw::path("GetCustomer"),
        server.token(ALL_SCOPES, None),
        body.len()
    );
    let mut client = TcpStream::connect(&server.address).await.unwrap();
    client.write_all((head + &body).as_bytes()).await.unwrap();
    let mut response = String::new();
    in_time(client.read_to_string(&mut response)).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("{version} 200 ")), "{head}");
    let length = format!("\r\ncontent-length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
}

#[tokio::test]
async fn fields_are_accepted_in_both_spellings() {
    let server = TestServer::start(Backend::Sqlite).await;
    server.app.load_samples().await.unwrap();
    let token = server.token(ALL_SCOPES, None);
    for body in [
        r#"{"customer_number":"K-1001"}"#,
        r#"{"customerNumber":"K-1001"}"#,
    ] {
        let answer = json_of(post(&server, "GetCustomer", &token, body).await).await;
        assert_eq!(answer["customer"]["customerNumber"], "K-1001");
    }
}

#[tokio::test]
async fn body_is_limited() {
    let server = TestServer::start(Backend::Sqlite).await;
    let token = server.token(ALL_SCOPES, None);
    let body = json!({"customer_number": "x".repeat(200_000)}).to_string();
    let response = post(&server, "GetCustomer", &token, body).await;
    let expected = vec![(
        "request".to_owned(),
        "is longer than this RPC allows".to_owned(),
    )];
    assert_eq!(violations(response).await, expected);
}

#[rstest]
#[case::unknown_rpc("POST", "/contact.v1.ContactService/Nonsense", JSON, 404)]
#[case::root("GET", "/", "", 404)]
#[case::get("GET", "/contact.v1.ContactService/GetCustomer", "", 405)]
#[case::form(
    "POST",
    "/contact.v1.ContactService/GetCustomer",
    "application/x-www-form-urlencoded",
    415
)]
#[case::grpc_over_http_1(
    "POST",
    "/contact.v1.ContactService/GetCustomer",
    "application/grpc",
    505
)]
#[tokio::test]
async fn request_that_is_no_rpc_gets_an_explanation(
    #[case] method: &str,
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] status: u16,
) {
    let server = TestServer::start(Backend::Sqlite).await;
    let url = format!("http://{}{path}", server.address);
    let request = reqwest::Client::new().request(method.parse().unwrap(), url);
    let response = request
        .header(header::CONTENT_TYPE, content_type)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), status);
    let text = response.text().await.unwrap();
    assert!(
        text.contains("POST /contact.v1.ContactService/METHOD"),
        "{text}"
    );
}

#[rstest]
#[case::encoding("content-encoding", "gzip", (501, "content-encoding: must be identity"))]
#[case::version("connect-protocol-version", "2", (501, "connect-protocol-version: must be 1"))]
#[case::timeout("connect-timeout-ms", "1s", (400, "connect-timeout-ms must be a number of milliseconds with at most 10 digits"))]
#[case::no_time("connect-timeout-ms", "0", (504, "the request took longer than its deadline"))]
#[case::long_time("connect-timeout-ms", "9999999999", (404, "there is no customer with this customer_number"))]
#[tokio::test]
async fn headers_of_the_protocol_are_read(
    #[case] name: &str,
    #[case] value: &str,
    #[case] expected: (u16, &str),
) {
    let server = TestServer::start(Backend::Sqlite).await;
    let url = format!("http://{}{}", server.address, raw::path("GetCustomer"));
    let request = reqwest::Client::new().post(url);
    let request = request
        .bearer_auth(server.token(ALL_SCOPES, None))
        .header(name, value);
    let request = request.header(header::CONTENT_TYPE, JSON);
    let response = request
        .body(r#"{"customer_number":"K-1"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), expected.0);
    let body = json_of(response).await;
    assert_eq!(body["message"], expected.1);
}

/// A request and its response in Protobuf, as clients of the protocol send by default.
#[tokio::test]
async fn messages_in_protobuf_are_served() {
    let server = TestServer::start(Backend::Sqlite).await;
    server.app.load_samples().await.unwrap();
    let url = format!("http://{}{}", server.address, raw::path("GetCustomer"));
    let request = GetCustomerRequest {
        customer_number: "K-1001".to_owned(),
    };
    let sent = reqwest::Client::new()
        .post(url)
        .bearer_auth(server.token(ALL_SCOPES, None))
        .header(header::CONTENT_TYPE, "application/proto")
        .body(request.encode_to_vec());
    let response = sent.send().await.unwrap();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/proto"
    );
    let body = response.bytes().await.unwrap();
    let customer = GetCustomerResponse::decode(body).unwrap().customer.unwrap();
    assert_eq!(customer.customer_number, "K-1001");
}

/// gRPC-Web ends its body with the trailers, as another frame.
#[rstest]
#[case::found("K-1001", "grpc-status:0")]
#[case::not_found("K-1", "grpc-status:5")]
#[tokio::test]
async fn grpc_web_is_served_over_http_1(#[case] number: &str, #[case] status: &str) {
    let server = TestServer::start(Backend::Sqlite).await;
    server.app.load_samples().await.unwrap();
    let url = format!("http://{}{}", server.address, raw::path("GetCustomer"));
    let message = GetCustomerRequest {
        customer_number: number.to_owned(),
    };
    let message = message.encode_to_vec();
    let length = u8::try_from(message.len()).unwrap();
    let body = [&[0, 0, 0, 0, length], message.as_slice()].concat();
    let request = reqwest::Client::new().post(url).body(body);
    let request = request.bearer_auth(server.token(ALL_SCOPES, None));
    let request = request.header(header::CONTENT_TYPE, "application/grpc-web+proto");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let in_headers = response.headers().get("grpc-status").cloned();
    let in_headers = in_headers.map(|code| format!("grpc-status:{}", code.to_str().unwrap()));
    let body = response.bytes().await.unwrap();
    let in_body = String::from_utf8_lossy(&body).contains(status);
    assert!(in_body || in_headers.as_deref() == Some(status), "{body:?}");
}

#[tokio::test]
async fn without_the_setting_http_1_is_closed_and_grpc_served() {
    let options = Options {
        serves_http_json: false,
        ..Options::default()
    };
    let server = TestServer::start_with(Backend::Sqlite, options).await;
    let mut client = TcpStream::connect(&server.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    let read = client.read_to_end(&mut response).await;
    assert!(read.is_err() || response.is_empty(), "{response:?}");
    let status = raw::call(&server, None, "GetCustomer", Vec::new()).await;
    assert_eq!(status.unwrap_err().code(), Code::Unauthenticated);
}
