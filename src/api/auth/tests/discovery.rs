//! OpenID discovery, and keys of several issuers.

use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use super::*;

const CONFIGURATION: &str = "/.well-known/openid-configuration";

/// An identity provider with its key.
struct Provider {
    server: MockServer,
    key: TestKey,
}

impl Provider {
    /// Starts a provider with a configuration and keys.
    async fn start() -> Self {
        let provider = Self::silent().await;
        provider
            .configure(&provider.issuer(), &provider.keys_url())
            .await;
        provider
            .answer("/keys", body(&key_set(&[provider.key.jwk()])))
            .await;
        provider
    }

    async fn silent() -> Self {
        Self {
            server: MockServer::start().await,
            key: TestKey::new("a", Algorithm::EdDSA),
        }
    }

    async fn configure(&self, issuer: &str, jwks_uri: &str) {
        let document = json!({ "issuer": issuer, "jwks_uri": jwks_uri, "x": [] });
        self.answer(CONFIGURATION, body(&document.to_string()))
            .await;
    }

    async fn answer(&self, at: &str, answer: ResponseTemplate) {
        let mock = Mock::given(method("GET")).and(path(at));
        mock.respond_with(answer)
            .with_priority(1)
            .mount(&self.server)
            .await;
    }

    fn issuer(&self) -> String {
        self.server.uri()
    }

    fn keys_url(&self) -> String {
        format!("{}/keys", self.server.uri())
    }

    fn token(&self) -> String {
        self.key.sign_claims(&with(&claims(), "iss", self.issuer()))
    }
}

fn body(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(text)
}

async fn discover(issuers: &[String], clock: &Clock) -> std::result::Result<Authenticator, String> {
    let settings = AuthSettings {
        issuers: issuers.to_vec(),
        ..settings()
    };
    let source = KeySource::for_issuers(issuers).unwrap().unwrap();
    Authenticator::new(settings, source, clock.clone()).await
}

async fn discovery_error(issuer: &str) -> String {
    let discovered = discover(&[issuer.to_owned()], &Clock::manual(now())).await;
    let why = discovered.err().unwrap();
    assert!(!why.contains('\n'), "{why}");
    why
}

#[tokio::test]
async fn keys_of_an_issuer_are_discovered_and_refreshed() {
    let mut provider = Provider::start().await;
    let clock = Clock::manual(now());
    let authenticator = discover(&[provider.issuer()], &clock).await.unwrap();
    assert_eq!(verify(&authenticator, &provider.token()).await, Ok(()));

    provider.server.reset().await;
    provider.key = TestKey::new("b", Algorithm::EdDSA);
    let moved = format!("{}/moved", provider.issuer());
    provider.configure(&provider.issuer(), &moved).await;
    provider
        .answer("/moved", body(&key_set(&[provider.key.jwk()])))
        .await;
    assert_eq!(verify(&authenticator, &provider.token()).await, Ok(()));
}

#[tokio::test]
async fn issuer_with_a_trailing_slash_is_discovered() {
    let provider = Provider::start().await;
    let issuer = format!("{}/", provider.issuer());
    let why = discovery_error(&issuer).await;
    assert!(why.contains("JWT_ISSUER must be the same"), "{why}");
    provider.server.reset().await;
    provider.configure(&issuer, &provider.keys_url()).await;
    provider
        .answer("/keys", body(&key_set(&[provider.key.jwk()])))
        .await;
    let authenticator = discover(std::slice::from_ref(&issuer), &Clock::manual(now())).await;
    let token = provider.key.sign_claims(&with(&claims(), "iss", issuer));
    assert_eq!(verify(&authenticator.unwrap(), &token).await, Ok(()));
}

/// Both keys have the same `kid`.
#[tokio::test]
async fn issuer_cannot_sign_for_another_issuer() {
    let [one, other] = [Provider::start().await, Provider::start().await];
    let issuers = [one.issuer(), other.issuer()];
    let authenticator = discover(&issuers, &Clock::manual(now())).await.unwrap();
    for provider in [&one, &other] {
        assert_eq!(verify(&authenticator, &provider.token()).await, Ok(()));
    }
    let posing = one.key.sign_claims(&with(&claims(), "iss", other.issuer()));
    assert_eq!(verify(&authenticator, &posing).await, Err(BAD_SIGNATURE));
    let strange = one.key.sign_claims(&with(&claims(), "iss", "issuer"));
    let expected = Error::token_claim(TokenFault::Issuer, "iss");
    assert_eq!(verify(&authenticator, &strange).await, Err(expected));
}

#[tokio::test]
async fn jwks_applies_to_all_issuers() {
    let key = TestKey::new("a", Algorithm::EdDSA);
    let issuers = ["issuer", "https://sts.example/"].map(str::to_owned);
    let settings = AuthSettings {
        issuers: issuers.to_vec(),
        ..settings()
    };
    let authenticator = with_settings(settings, &[key.jwk()]).await;
    for issuer in issuers {
        let token = key.sign_claims(&with(&claims(), "iss", issuer));
        assert_eq!(verify(&authenticator, &token).await, Ok(()));
    }
}

#[tokio::test]
async fn redirect_is_rejected_in_discovery() {
    let other = Provider::start().await;
    for at in [CONFIGURATION, "/keys"] {
        let provider = Provider::start().await;
        provider.server.reset().await;
        let location = format!("{}{at}", other.issuer());
        let redirect = ResponseTemplate::new(302).insert_header("location", location);
        provider.answer(at, redirect).await;
        if at == "/keys" {
            provider
                .configure(&provider.issuer(), &provider.keys_url())
                .await;
        }
        let why = discovery_error(&provider.issuer()).await;
        let place = format!("{}{at}: it answers 302", provider.issuer());
        assert!(why.starts_with(&place), "{why}");
    }
    assert!(other.server.received_requests().await.unwrap().is_empty());
}

#[rstest]
#[case::plain_http("http://idp.example/keys", "jwks_uri is not https")]
#[case::another_scheme("file:///etc/keys.json", "jwks_uri is not https")]
#[case::no_url("keys", "jwks_uri is not a URL")]
#[tokio::test]
async fn unsafe_jwks_uri_is_rejected(#[case] jwks_uri: &str, #[case] expected: &str) {
    let provider = Provider::silent().await;
    provider.configure(&provider.issuer(), jwks_uri).await;
    let why = discovery_error(&provider.issuer()).await;
    let place = format!("{}{CONFIGURATION}: its ", provider.issuer());
    assert!(why.starts_with(&place) && why.contains(expected), "{why}");
}

#[tokio::test]
async fn error_of_discovery_names_url_and_cause() {
    let provider = Provider::silent().await;
    let why = discovery_error(&provider.issuer()).await;
    let place = format!("{}{CONFIGURATION}: ", provider.issuer());
    assert_eq!(why, format!("{place}it answers 404"));
    provider
        .answer(CONFIGURATION, body("<html>secret</html>"))
        .await;
    let why = discovery_error(&provider.issuer()).await;
    assert!(
        why.contains("is not an OpenID configuration") && !why.contains("secret"),
        "{why}"
    );
    let secure = provider.issuer().replace("http:", "https:");
    let why = discovery_error(&secure).await;
    assert!(
        why.starts_with(&format!("{secure}{CONFIGURATION}: ")),
        "{why}"
    );
    let why = discovery_error("http://127.0.0.1:1").await;
    let expected = format!("http://127.0.0.1:1{CONFIGURATION}: the connection was refused");
    assert_eq!(why, expected);
    let unknown = "https://idp.invalid/realms/x";
    let why = discovery_error(unknown).await;
    let place = format!("{unknown}{CONFIGURATION}: ");
    assert!(
        why.starts_with(&place)
            && (why.contains("cannot be resolved") || why.contains("within 5 s")),
        "{why}"
    );
}
