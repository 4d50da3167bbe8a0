//! Every cause of `TOKEN_INVALID` with its metadata, and the limits of token size.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contact_service::error::TokenFault;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{AUDIENCE, Backend, ISSUER, TestServer, rejected_fields},
    raw::{call, call_with_headers},
};

/// A token and the expected rejection.
struct Case {
    name: &'static str,
    token: String,
    cause: &'static str,
    claim: Option<&'static str>,
}

struct Issuer<'a> {
    server: &'a TestServer,
    header: Value,
    claims: Value,
}

impl<'a> Issuer<'a> {
    fn for_server(server: &'a TestServer) -> Self {
        let now = server.now().timestamp();
        Self {
            server,
            header: json!({ "alg": "EdDSA", "kid": server.keys.kid() }),
            claims: json!({
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": "bff",
                "iat": now,
                "exp": now + 600,
                "scope": "order_types.read",
            }),
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (header.to_string(), claims.to_string());
        let signed = self.server.keys.sign(header.as_bytes(), claims.as_bytes());
        signed.unwrap()
    }

    /// A token with one header member replaced.
    fn with_header(&self, member: &str, value: impl Into<Value>) -> String {
        let mut header = self.header.clone();
        header[member] = value.into();
        self.sign(&header, &self.claims)
    }

    /// A token with one claim replaced.
    fn with_claim(&self, claim: &str, value: impl Into<Value>) -> String {
        let mut claims = self.claims.clone();
        claims[claim] = value.into();
        self.sign(&self.header, &claims)
    }

    fn without_claim(&self, claim: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(claim).unwrap();
        self.sign(&self.header, &claims)
    }

    /// The longest token with at most this many bytes.
    fn of_size(&self, bytes: usize) -> String {
        let padded = |padding| self.with_claim("groups", "x".repeat(padding));
        let least = padded(0).len();
        let mut padding = (bytes - least) * 3 / 4 + 2;
        while padded(padding).len() > bytes {
            padding -= 1;
        }
        padded(padding)
    }
}

fn case(
    name: &'static str,
    cause: &'static str,
    claim: Option<&'static str>,
    token: impl Into<String>,
) -> Case {
    Case {
        name,
        token: token.into(),
        cause,
        claim,
    }
}

fn malformed(issuer: &Issuer<'_>) -> Vec<Case> {
    let cause = "MALFORMED";
    let of_claim = [
        ("iss a number", "iss", json!(1)),
        ("aud an object", "aud", json!({ AUDIENCE: true })),
        ("exp a string", "exp", json!("2000000000")),
        ("nbf null", "nbf", Value::Null),
        ("sub a number", "sub", json!(1)),
        ("scope null", "scope", Value::Null),
        ("scope a list of numbers", "scope", json!([1])),
        (
            "scope of flags",
            "scope",
            json!({ "order_types.read": true }),
        ),
        ("customer null", "customer_number", Value::Null),
        ("customer empty", "customer_number", json!("")),
        ("customer a list", "customer_number", json!(["K-1"])),
    ];
    let of_claim = of_claim.map(|(name, claim, value)| {
        case(name, cause, Some(claim), issuer.with_claim(claim, value))
    });
    let mut cases = Vec::from(of_claim);
    cases.push(case("opaque", cause, None, "ya29.opaque"));
    let array = issuer.sign(&issuer.header, &json!([]));
    cases.push(case("payload an array", cause, None, array));
    cases.push(case(
        "typ",
        cause,
        None,
        issuer.with_header("typ", "logout+jwt"),
    ));
    cases
}

fn keys_and_signatures(issuer: &Issuer<'_>) -> Vec<Case> {
    let header = json!({ "alg": "none" }).to_string();
    let unsigned = [header, issuer.claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let unsigned = format!("{}.", unsigned.join("."));
    let signed = issuer.sign(&issuer.header, &issuer.claims);
    let (message, _) = signed.rsplit_once('.').unwrap();
    let other = issuer.with_claim("sub", "other");
    let (_, signature) = other.rsplit_once('.').unwrap();
    let swapped = format!("{message}.{signature}");
    let cut = &signed[..signed.len() - 1];
    vec![
        case("kid", "UNKNOWN_KEY", None, issuer.with_header("kid", "x")),
        case("signature of another token", "BAD_SIGNATURE", None, swapped),
        case("no signature", "BAD_SIGNATURE", None, format!("{message}.")),
        case("cut signature", "BAD_SIGNATURE", None, cut),
        case("unsigned", "ALGORITHM", None, unsigned),
        case(
            "HMAC",
            "ALGORITHM",
            None,
            issuer.with_header("alg", "HS256"),
        ),
        case(
            "not known",
            "ALGORITHM",
            None,
            issuer.with_header("alg", "ES512"),
        ),
        case(
            "not of the key",
            "ALGORITHM",
            None,
            issuer.with_header("alg", "RS256"),
        ),
    ]
}

fn invalid_claims(issuer: &Issuer<'_>) -> Vec<Case> {
    let now = issuer.server.now().timestamp();
    let (later, year) = (now + 31, now + 365 * 86_400);
    let missing = [
        ("no iss", "iss"),
        ("no aud", "aud"),
        ("no exp", "exp"),
        ("no sub", "sub"),
    ];
    let missing = missing.map(|(name, claim)| {
        case(
            name,
            "CLAIM_MISSING",
            Some(claim),
            issuer.without_claim(claim),
        )
    });
    let wrong = [
        ("iss", "ISSUER", "iss", json!("https://x.example")),
        ("aud", "AUDIENCE", "aud", json!(["x", "y"])),
        ("aud empty", "AUDIENCE", "aud", json!([])),
        ("nbf", "NOT_YET_VALID", "nbf", json!(later)),
        ("iat", "NOT_YET_VALID", "iat", json!(later)),
        ("exp", "LIFETIME", "exp", json!(year + 31)),
        ("sub", "SUBJECT", "sub", json!("command-line")),
    ];
    let wrong = wrong.map(|(name, cause, claim, value)| {
        case(name, cause, Some(claim), issuer.with_claim(claim, value))
    });
    missing.into_iter().chain(wrong).collect()
}

fn cases(issuer: &Issuer<'_>) -> Vec<Case> {
    let mut all = malformed(issuer);
    all.extend(keys_and_signatures(issuer));
    all.extend(invalid_claims(issuer));
    all.push(case("large", "TOO_LARGE", None, issuer.of_size(12_500)));
    all
}

async fn request_with(server: &TestServer, token: &str) -> Result<(), Status> {
    let response = call(server, Some(token), "ListOrderTypes", Vec::new()).await;
    response.map(|_| ())
}

fn metadata(status: &Status) -> Vec<(String, String)> {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (Code::Unauthenticated, "TOKEN_INVALID")
    );
    let mut metadata = info.metadata;
    assert!(metadata.remove("trace_id").is_some());
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort();
    metadata
}

#[rstest]
#[tokio::test]
async fn rejection_has_cause_and_claim(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let issuer = Issuer::for_server(&server);
    let cases = cases(&issuer);
    for Case {
        name,
        token,
        cause,
        claim,
    } in &cases
    {
        let status = request_with(&server, token).await.unwrap_err();
        let mut expected = vec![("cause".to_owned(), (*cause).to_owned())];
        expected.extend(claim.map(|claim| ("claim".to_owned(), claim.to_owned())));
        assert_eq!(metadata(&status), expected, "{name}");
        let text = status.message();
        assert!(text.starts_with("authorization: "), "{name}: {text}");
        assert!(!text.contains("bff") && !text.contains("https"), "{text}");
    }
    let all: BTreeSet<_> = TokenFault::ALL.map(TokenFault::as_str).into();
    assert_eq!(
        cases.iter().map(|case| case.cause).collect::<BTreeSet<_>>(),
        all
    );
    let accepted = issuer.sign(&issuer.header, &issuer.claims);
    request_with(&server, &accepted).await.unwrap();
}

/// All over one connection, which must stay usable.
#[rstest]
#[tokio::test]
async fn token_over_12_kib_is_rejected_with_its_cause(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let issuer = Issuer::for_server(&server);
    for size in [8 * 1024, 12_185, 12 * 1024] {
        let token = issuer.of_size(size);
        assert!(token.len() > size - 4, "{}", token.len());
        request_with(&server, &token).await.unwrap();
    }
    let too_large = [("cause".to_owned(), "TOO_LARGE".to_owned())];
    for size in [12 * 1024 + 4, 12_390, 16 * 1024, 40 * 1024] {
        let token = issuer.of_size(size);
        let status = request_with(&server, &token).await.unwrap_err();
        assert_eq!(metadata(&status), too_large, "{size}");
    }
    let token = issuer.of_size(40 * 1024);
    for _ in 0..200 {
        let status = request_with(&server, &token).await.unwrap_err();
        assert_eq!(metadata(&status), too_large);
    }
    request_with(&server, &issuer.of_size(12 * 1024))
        .await
        .unwrap();
}

#[rstest]
#[tokio::test]
async fn other_metadata_is_limited_to_16_kib(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let token = Issuer::for_server(&server).of_size(12 * 1024);
    for (bytes, is_accepted) in [(15 * 1024, true), (16 * 1024, false), (30 * 1024, false)] {
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("x-baggage", "x".repeat(bytes)),
        ];
        let response =
            call_with_headers(&server, &headers, "ListOrderTypes", vec![Vec::new()]).await;
        if is_accepted {
            response.unwrap();
        } else {
            assert_eq!(rejected_fields(response), ["metadata"]);
        }
    }
}
