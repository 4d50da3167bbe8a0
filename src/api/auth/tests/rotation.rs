//! Key rotation: refresh of keys while the service runs.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{sleep, timeout};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use super::*;

/// An issuer whose response can be changed.
struct Issuer(MockServer);

impl Issuer {
    async fn with_keys(keys: &[&TestKey]) -> Self {
        let issuer = Self(MockServer::start().await);
        issuer.respond_with_keys(keys).await;
        issuer
    }

    async fn respond(&self, answer: ResponseTemplate) {
        let seen = self.0.received_requests().await.unwrap().len();
        assert!(seen < 100);
        self.0.reset().await;
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&self.0)
            .await;
    }

    async fn respond_with_keys(&self, keys: &[&TestKey]) {
        self.respond(ok(keys)).await;
    }

    /// Returns the number of requests since the response was last changed.
    async fn requests(&self) -> usize {
        self.0.received_requests().await.unwrap().len()
    }

    async fn authenticator(&self, clock: &Clock) -> Authenticator {
        load(&self.0.uri(), clock).await.unwrap()
    }
}

fn ok(keys: &[&TestKey]) -> ResponseTemplate {
    let jwks: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    ResponseTemplate::new(200).set_body_string(key_set(&jwks))
}

const KEYS_UNAVAILABLE: Error = Error::TokenKeysUnavailable {
    retry_after: Duration::from_mins(1),
};

/// Signs a token that is issued now and valid for an hour.
fn token_at(key: &TestKey, clock: &Clock) -> String {
    let now = clock.now().timestamp();
    let claims = with(&without(&claims(), "nbf"), "iat", now);
    key.sign_claims(&with(&claims, "exp", now + 3_600))
}

fn two_keys() -> [TestKey; 2] {
    ["a", "b"].map(|kid| TestKey::new(kid, Algorithm::EdDSA))
}

/// Waits until a refresh in the background makes the token invalid.
async fn becomes_invalid(authenticator: &Authenticator, token: &str) -> bool {
    let rejected = async {
        while verify(authenticator, token).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), rejected).await.is_ok()
}

#[tokio::test]
async fn unknown_key_causes_a_refresh_once_a_minute() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    assert_eq!(issuer.requests().await, 1);
    assert_eq!(verify(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(issuer.requests().await, 2);

    issuer.respond_with_keys(&[&old, &new]).await;
    clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(verify(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(issuer.requests().await, 0);
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(verify(&authenticator, &new.token()).await, Ok(()));
    assert_eq!(verify(&authenticator, &old.token()).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn keys_are_refreshed_after_the_clock_was_set_back() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now() + TimeDelta::hours(5));
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    assert!(verify(&authenticator, &new.token()).await.is_err());
    issuer.respond_with_keys(&[&new]).await;
    clock.advance(TimeDelta::hours(-4));
    assert_eq!(verify(&authenticator, &new.token()).await, Ok(()));
}

#[rstest]
#[case::error(ResponseTemplate::new(500))]
#[case::nothing(ResponseTemplate::new(404))]
#[case::html(ResponseTemplate::new(200).set_body_string("<html>secret</html>"))]
#[case::redirect(ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"))]
#[case::endless_redirect(ResponseTemplate::new(302).insert_header("location", "/"))]
#[tokio::test]
async fn old_keys_are_used_while_the_issuer_fails(#[case] failure: ResponseTemplate) {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer.respond(failure).await;
    for failed in 1..=3 {
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(verify(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
        assert_eq!(verify(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
        assert_eq!(verify(&authenticator, &old.token()).await, Ok(()));
        assert_eq!(issuer.requests().await, failed, "failed attempts count too");
    }
    let error = load(&issuer.0.uri(), &clock).await.err().unwrap();
    assert!(
        error.starts_with(&format!("{}/: ", issuer.0.uri())),
        "{error}"
    );
    assert!(
        !error.contains('\n') && !error.contains("secret"),
        "{error}"
    );
    issuer.respond_with_keys(&[&new]).await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(verify(&authenticator, &new.token()).await, Ok(()));
}

#[tokio::test]
async fn key_set_of_more_than_1_mib_is_rejected() {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let document = key_set(&[key.jwk()]);
    let largest = format!("{document}{}", " ".repeat(1024 * 1024 - document.len()));
    let body = |text: String| ResponseTemplate::new(200).set_body_string(text);
    issuer.respond(body(largest.clone())).await;
    assert!(load(&issuer.0.uri(), &clock).await.is_ok());
    issuer.respond(body(format!("{largest} "))).await;
    assert!(load(&issuer.0.uri(), &clock).await.is_err());
}

#[tokio::test]
async fn keys_older_than_five_minutes_are_refreshed_in_background() {
    let [removed, kept] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&removed, &kept]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .respond(ok(&[&kept]).set_delay(Duration::from_secs(1)))
        .await;
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(verify(&authenticator, &removed.token()).await, Ok(()));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(issuer.requests().await, 0);

    clock.advance(TimeDelta::microseconds(1));
    assert_eq!(verify(&authenticator, &removed.token()).await, Ok(()));
    assert!(becomes_invalid(&authenticator, &removed.token()).await);
    assert_eq!(verify(&authenticator, &kept.token()).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

/// An idle instance must not accept a key that was removed days ago.
#[rstest]
#[case::just_too_old(TimeDelta::minutes(10) + TimeDelta::microseconds(1))]
#[case::three_days(TimeDelta::days(3))]
#[tokio::test]
async fn idle_instance_rejects_a_removed_key(#[case] idle: TimeDelta) {
    let [removed, kept] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&removed, &kept]).await;
    let authenticator = issuer.authenticator(&clock).await;
    let known = removed.token();
    assert_eq!(verify(&authenticator, &known).await, Ok(()));
    issuer
        .respond(ok(&[&kept]).set_delay(Duration::from_millis(300)))
        .await;
    clock.advance(idle);
    let new = token_at(&removed, &clock);
    let requests = (0..20).map(|_| verify(&authenticator, &new));
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| *answer == Err(UNKNOWN_KEY)));
    assert_eq!(verify(&authenticator, &known).await, Err(UNKNOWN_KEY));
    let still_there = token_at(&kept, &clock);
    assert_eq!(verify(&authenticator, &still_there).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn requests_wait_two_seconds_for_a_hanging_source() {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .respond(ok(&[&key]).set_delay(Duration::from_mins(1)))
        .await;
    clock.advance(TimeDelta::minutes(11));
    let token = token_at(&key, &clock);
    // From here on, time passes only while all tasks wait for it.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let requests = (0..20).map(|_| verify(&authenticator, &token));
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let waited = begin.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(3)).contains(&waited),
        "{waited:?} of virtual time"
    );
    // The refresh is still in progress, but no request waits for it again.
    assert_eq!(verify(&authenticator, &token).await, Ok(()));
    assert_eq!(begin.elapsed(), waited);
}

#[rstest]
#[case::no_keys(json!([]))]
#[case::keys_for_encryption(json!([with(&TestKey::new("a", Algorithm::EdDSA).jwk(), "use", "enc")]))]
#[case::keys_of_small_order(json!([{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "A".repeat(43) }]))]
#[tokio::test]
async fn empty_key_set_takes_effect_at_once(#[case] keys: Value) {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    assert_eq!(verify(&authenticator, &key.token()).await, Ok(()));
    let emptied = json!({ "keys": keys }).to_string();
    issuer
        .respond(ResponseTemplate::new(200).set_body_string(emptied))
        .await;
    clock.advance(TimeDelta::minutes(11));
    let (log, _guard) = logs::collect();
    assert_eq!(verify(&authenticator, &key.token()).await, Err(UNKNOWN_KEY));
    let nameless = key.sign(Algorithm::EdDSA, None);
    assert_eq!(verify(&authenticator, &nameless).await, Err(UNKNOWN_KEY));
    assert_eq!(log.text().matches("no token keys left").count(), 1);
    // Startup with an empty key set fails.
    let error = load(&issuer.0.uri(), &clock).await.err().unwrap();
    assert_eq!(
        error,
        format!("{}/: it contains no usable public key", issuer.0.uri())
    );

    issuer.respond_with_keys(&[&key]).await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(verify(&authenticator, &key.token()).await, Ok(()));
}

#[rstest]
#[case::error(ResponseTemplate::new(500))]
#[case::gone(ResponseTemplate::new(404))]
#[case::html(ResponseTemplate::new(200).set_body_string("<html></html>"))]
#[tokio::test]
async fn old_keys_are_used_for_a_day_while_the_source_fails(#[case] failure: ResponseTemplate) {
    let [key, other] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    let known = authenticate(&authenticator, &key.token()).await.unwrap();
    issuer.respond(failure).await;
    clock.advance(TimeDelta::hours(24));
    assert_eq!(
        verify(&authenticator, &token_at(&key, &clock)).await,
        Ok(())
    );
    assert_eq!(authenticator.recheck(&known), Ok(()));

    clock.advance(TimeDelta::seconds(1));
    let (log, _guard) = logs::collect();
    for token in [
        key.token(),
        token_at(&key, &clock),
        token_at(&other, &clock),
    ] {
        assert_eq!(verify(&authenticator, &token).await, Err(KEYS_UNAVAILABLE));
    }
    assert_eq!(authenticator.recheck(&known), Err(KEYS_UNAVAILABLE));
    let text = log.text();
    assert_eq!(text.matches(" ERROR ").count(), 1, "{text}");
    assert!(text.contains("JWT_JWKS_MAX_STALE"), "{text}");
    // A malformed token is rejected with its own error.
    assert_eq!(verify(&authenticator, "x").await, Err(MALFORMED));

    issuer.respond_with_keys(&[&key]).await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(
        verify(&authenticator, &token_at(&key, &clock)).await,
        Ok(())
    );
}

/// The checks themselves refresh the keys, without any request.
#[tokio::test]
async fn recheck_fails_once_the_key_was_removed() {
    let [removed, kept] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&removed, &kept]).await;
    let authenticator = issuer.authenticator(&clock).await;
    let of_removed = authenticate(&authenticator, &removed.token())
        .await
        .unwrap();
    let of_kept = authenticate(&authenticator, &kept.token()).await.unwrap();
    issuer.respond_with_keys(&[&kept]).await;
    assert_eq!(authenticator.recheck(&of_removed), Ok(()));
    clock.advance(TimeDelta::minutes(6));
    let rejected = async {
        while authenticator.recheck(&of_removed).is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), rejected).await.unwrap();
    assert_eq!(authenticator.recheck(&of_removed), Err(UNKNOWN_KEY));
    assert_eq!(authenticator.recheck(&of_kept), Ok(()));
    assert_eq!(issuer.requests().await, 1);
    clock.advance(TimeDelta::hours(24));
    assert_eq!(authenticator.recheck(&of_kept), Err(Error::TokenExpired));
}

#[tokio::test]
async fn failed_refresh_is_retried_once_a_minute() {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer.respond(ResponseTemplate::new(503)).await;
    clock.advance(TimeDelta::hours(1));
    for attempts in 1..=3 {
        for _ in 0..5 {
            assert_eq!(verify(&authenticator, &key.token()).await, Ok(()));
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(issuer.requests().await, attempts);
        clock.advance(TimeDelta::minutes(1));
    }
}

#[tokio::test]
async fn requests_share_a_refresh_and_known_keys_do_not_wait() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .respond(ok(&[&old, &new]).set_delay(Duration::from_secs(1)))
        .await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (authenticator, token) = (authenticator.clone(), new.token());
            tokio::spawn(async move { verify(&authenticator, &token).await })
        })
        .collect();
    sleep(Duration::from_millis(50)).await;
    let known = timeout(
        Duration::from_millis(500),
        verify(&authenticator, &old.token()),
    )
    .await;
    assert_eq!(known, Ok(Ok(())));
    for request in waiting {
        assert_eq!(request.await.unwrap(), Ok(()));
    }
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn canceled_request_does_not_abort_a_refresh() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .respond(ok(&[&new]).set_delay(Duration::from_secs(1)))
        .await;
    let canceled = timeout(
        Duration::from_millis(200),
        verify(&authenticator, &new.token()),
    )
    .await;
    assert!(canceled.is_err());
    assert_eq!(verify(&authenticator, &new.token()).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn keys_in_a_file_are_refreshed() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, key_set(&[old.jwk()])).unwrap();
    let url = url::Url::from_file_path(&path).unwrap();
    for location in [path.to_str().unwrap(), url.as_str()] {
        assert!(load(location, &clock).await.is_ok(), "{location}");
    }
    let authenticator = load(path.to_str().unwrap(), &clock).await.unwrap();
    std::fs::write(&path, key_set(&[new.jwk()])).unwrap();
    assert_eq!(verify(&authenticator, &old.token()).await, Ok(()));
    assert_eq!(verify(&authenticator, &new.token()).await, Ok(()));
    assert_eq!(verify(&authenticator, &old.token()).await, Err(UNKNOWN_KEY));

    std::fs::remove_file(&path).unwrap();
    clock.advance(TimeDelta::hours(1));
    assert_eq!(verify(&authenticator, &old.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(verify(&authenticator, &new.token()).await, Ok(()));
    std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
    let error = load(path.to_str().unwrap(), &clock).await.err().unwrap();
    assert!(
        error.ends_with("it is larger than 1048576 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn error_of_a_key_source_contains_no_secrets() {
    let clock = Clock::manual(now());
    let url = "http://user:hunter2@127.0.0.1:1/keys?key=hunter2";
    let error = load(url, &clock).await.err().unwrap();
    assert!(error.starts_with("http://127.0.0.1:1/keys: "), "{error}");
    assert!(error.contains("refused"), "{error}");
    assert!(
        !error.contains("hunter2") && !error.contains('\n'),
        "{error}"
    );
    let error = load("/nowhere/keys.json", &clock).await.err().unwrap();
    assert!(
        error.starts_with("/nowhere/keys.json: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn redirect_to_plain_http_is_rejected() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let other = Issuer::with_keys(&[&new]).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", other.0.uri());
    issuer.respond(redirect).await;
    let error = load(&issuer.0.uri(), &clock).await.err().unwrap();
    assert!(error.contains("not https"), "{error}");
    assert_eq!(other.requests().await, 0);
}
