//! Keys that come and go while the service runs.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{sleep, timeout};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use super::*;

/// An issuer whose answer can be changed.
struct Issuer(MockServer);

impl Issuer {
    async fn with_keys(keys: &[&TestKey]) -> Self {
        let issuer = Self(MockServer::start().await);
        issuer.answers_with_keys(keys).await;
        issuer
    }

    async fn answers(&self, answer: ResponseTemplate) {
        let seen = self.0.received_requests().await.unwrap().len();
        assert!(seen < 100);
        self.0.reset().await;
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&self.0)
            .await;
    }

    async fn answers_with_keys(&self, keys: &[&TestKey]) {
        self.answers(ok(keys)).await;
    }

    /// Requests since the answer was last changed.
    async fn requests(&self) -> usize {
        self.0.received_requests().await.unwrap().len()
    }

    async fn authenticator(&self, clock: &Clock) -> Authenticator {
        read(&self.0.uri(), clock).await.unwrap()
    }
}

fn ok(keys: &[&TestKey]) -> ResponseTemplate {
    let jwks: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    ResponseTemplate::new(200).set_body_string(key_set(&jwks))
}

const KEYS_UNAVAILABLE: Error = Error::TokenKeysUnavailable {
    retry_after: Duration::from_mins(1),
};

/// A token of an hour that is issued now.
fn token_at(key: &TestKey, clock: &Clock) -> String {
    let now = clock.now().timestamp();
    let claims = with(&without(&claims(), "nbf"), "iat", now);
    key.sign_claims(&with(&claims, "exp", now + 3_600))
}

fn two_keys() -> [TestKey; 2] {
    ["a", "b"].map(|kid| TestKey::new(kid, Algorithm::EdDSA))
}

/// Waits until the token is refused, as it is once a refresh in the background is done.
async fn is_refused_at_last(authenticator: &Authenticator, token: &str) -> bool {
    let refused = async {
        while judge(authenticator, token).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), refused).await.is_ok()
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_a_minute() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    assert_eq!(issuer.requests().await, 1);
    assert_eq!(judge(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(issuer.requests().await, 2);

    issuer.answers_with_keys(&[&old, &new]).await;
    clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(judge(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(issuer.requests().await, 0);
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(judge(&authenticator, &new.token()).await, Ok(()));
    assert_eq!(judge(&authenticator, &old.token()).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_end_the_refreshing() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now() + TimeDelta::hours(5));
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    assert!(judge(&authenticator, &new.token()).await.is_err());
    issuer.answers_with_keys(&[&new]).await;
    clock.advance(TimeDelta::hours(-4));
    assert_eq!(judge(&authenticator, &new.token()).await, Ok(()));
}

#[rstest]
#[case::error(ResponseTemplate::new(500))]
#[case::nothing(ResponseTemplate::new(404))]
#[case::rubbish(ResponseTemplate::new(200).set_body_string("<html>secret</html>"))]
#[case::redirect(ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"))]
#[case::endless_redirect(ResponseTemplate::new(302).insert_header("location", "/"))]
#[tokio::test]
async fn old_keys_serve_while_the_issuer_fails(#[case] failure: ResponseTemplate) {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer.answers(failure).await;
    for failed in 1..=3 {
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(judge(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
        assert_eq!(judge(&authenticator, &new.token()).await, Err(UNKNOWN_KEY));
        assert_eq!(judge(&authenticator, &old.token()).await, Ok(()));
        assert_eq!(issuer.requests().await, failed, "failed attempts count too");
    }
    let error = read(&issuer.0.uri(), &clock).await.err().unwrap();
    assert!(
        error.starts_with(&format!("{}/: ", issuer.0.uri())),
        "{error}"
    );
    assert!(
        !error.contains('\n') && !error.contains("secret"),
        "{error}"
    );
    issuer.answers_with_keys(&[&new]).await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(judge(&authenticator, &new.token()).await, Ok(()));
}

#[tokio::test]
async fn a_key_set_has_at_most_1_mib() {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let document = key_set(&[key.jwk()]);
    let largest = format!("{document}{}", " ".repeat(1024 * 1024 - document.len()));
    let body = |text: String| ResponseTemplate::new(200).set_body_string(text);
    issuer.answers(body(largest.clone())).await;
    assert!(read(&issuer.0.uri(), &clock).await.is_ok());
    issuer.answers(body(format!("{largest} "))).await;
    assert!(read(&issuer.0.uri(), &clock).await.is_err());
}

#[tokio::test]
async fn requests_read_keys_of_five_minutes_again_without_waiting() {
    let [removed, kept] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&removed, &kept]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .answers(ok(&[&kept]).set_delay(Duration::from_secs(1)))
        .await;
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(judge(&authenticator, &removed.token()).await, Ok(()));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(issuer.requests().await, 0);

    clock.advance(TimeDelta::microseconds(1));
    assert_eq!(judge(&authenticator, &removed.token()).await, Ok(()));
    assert!(is_refused_at_last(&authenticator, &removed.token()).await);
    assert_eq!(judge(&authenticator, &kept.token()).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

/// Row 5 of the attack: an idle replica.
#[rstest]
#[case::just_too_old(TimeDelta::minutes(10) + TimeDelta::microseconds(1))]
#[case::three_days(TimeDelta::days(3))]
#[tokio::test]
async fn idle_instance_rejects_a_removed_key_at_once(#[case] idle: TimeDelta) {
    let [removed, kept] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&removed, &kept]).await;
    let authenticator = issuer.authenticator(&clock).await;
    let known = removed.token();
    assert_eq!(judge(&authenticator, &known).await, Ok(()));
    issuer
        .answers(ok(&[&kept]).set_delay(Duration::from_millis(300)))
        .await;
    clock.advance(idle);
    let new = token_at(&removed, &clock);
    let requests = (0..20).map(|_| judge(&authenticator, &new));
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| *answer == Err(UNKNOWN_KEY)));
    assert_eq!(judge(&authenticator, &known).await, Err(UNKNOWN_KEY));
    let still_there = token_at(&kept, &clock);
    assert_eq!(judge(&authenticator, &still_there).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn requests_share_a_wait_of_two_seconds_for_a_source_that_hangs() {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .answers(ok(&[&key]).set_delay(Duration::from_mins(1)))
        .await;
    clock.advance(TimeDelta::minutes(11));
    let token = token_at(&key, &clock);
    // From here on time passes only where all wait for it.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let requests = (0..20).map(|_| judge(&authenticator, &token));
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let waited = begin.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(3)).contains(&waited),
        "{waited:?} of virtual time"
    );
    // The refresh still runs, and is not waited for again.
    assert_eq!(judge(&authenticator, &token).await, Ok(()));
    assert_eq!(begin.elapsed(), waited);
}

#[rstest]
#[case::no_keys(json!([]))]
#[case::keys_for_encryption(json!([with(&TestKey::new("a", Algorithm::EdDSA).jwk(), "use", "enc")]))]
#[case::keys_of_small_order(json!([{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "A".repeat(43) }]))]
#[tokio::test]
async fn empty_key_set_is_obeyed_at_once(#[case] keys: Value) {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    assert_eq!(judge(&authenticator, &key.token()).await, Ok(()));
    let emptied = json!({ "keys": keys }).to_string();
    issuer
        .answers(ResponseTemplate::new(200).set_body_string(emptied))
        .await;
    clock.advance(TimeDelta::minutes(11));
    let (log, _guard) = logs::collect();
    assert_eq!(judge(&authenticator, &key.token()).await, Err(UNKNOWN_KEY));
    let nameless = key.sign(Algorithm::EdDSA, None);
    assert_eq!(judge(&authenticator, &nameless).await, Err(UNKNOWN_KEY));
    assert_eq!(log.text().matches("no token keys left").count(), 1);
    // A start on it would be a mistake.
    let error = read(&issuer.0.uri(), &clock).await.err().unwrap();
    assert_eq!(
        error,
        format!("{}/: it contains no usable public key", issuer.0.uri())
    );

    issuer.answers_with_keys(&[&key]).await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(judge(&authenticator, &key.token()).await, Ok(()));
}

#[rstest]
#[case::error(ResponseTemplate::new(500))]
#[case::gone(ResponseTemplate::new(404))]
#[case::html(ResponseTemplate::new(200).set_body_string("<html></html>"))]
#[tokio::test]
async fn failing_source_serves_old_keys_for_a_day(#[case] failure: ResponseTemplate) {
    let [key, other] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    let known = judge_caller(&authenticator, &key.token()).await.unwrap();
    issuer.answers(failure).await;
    clock.advance(TimeDelta::hours(24));
    assert_eq!(judge(&authenticator, &token_at(&key, &clock)).await, Ok(()));
    assert_eq!(authenticator.recheck(&known), Ok(()));

    clock.advance(TimeDelta::seconds(1));
    let (log, _guard) = logs::collect();
    for token in [
        key.token(),
        token_at(&key, &clock),
        token_at(&other, &clock),
    ] {
        assert_eq!(judge(&authenticator, &token).await, Err(KEYS_UNAVAILABLE));
    }
    assert_eq!(authenticator.recheck(&known), Err(KEYS_UNAVAILABLE));
    let text = log.text();
    assert_eq!(text.matches(" ERROR ").count(), 1, "{text}");
    assert!(text.contains("JWT_JWKS_MAX_STALE"), "{text}");
    // What is no token of the issuer is rejected as ever.
    assert_eq!(judge(&authenticator, "x").await, Err(MALFORMED));

    issuer.answers_with_keys(&[&key]).await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(judge(&authenticator, &token_at(&key, &clock)).await, Ok(()));
}

/// No other request comes: the checks themselves have the keys read again.
#[tokio::test]
async fn recheck_fails_once_the_key_was_removed() {
    let [removed, kept] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&removed, &kept]).await;
    let authenticator = issuer.authenticator(&clock).await;
    let of_removed = judge_caller(&authenticator, &removed.token())
        .await
        .unwrap();
    let of_kept = judge_caller(&authenticator, &kept.token()).await.unwrap();
    issuer.answers_with_keys(&[&kept]).await;
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
async fn old_keys_are_asked_for_again_once_a_minute_while_the_issuer_fails() {
    let [key, _] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&key]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer.answers(ResponseTemplate::new(503)).await;
    clock.advance(TimeDelta::hours(1));
    for attempts in 1..=3 {
        for _ in 0..5 {
            assert_eq!(judge(&authenticator, &key.token()).await, Ok(()));
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(issuer.requests().await, attempts);
        clock.advance(TimeDelta::minutes(1));
    }
}

#[tokio::test]
async fn calls_share_one_refresh_and_known_keys_do_not_wait_for_it() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .answers(ok(&[&old, &new]).set_delay(Duration::from_secs(1)))
        .await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (authenticator, token) = (authenticator.clone(), new.token());
            tokio::spawn(async move { judge(&authenticator, &token).await })
        })
        .collect();
    sleep(Duration::from_millis(50)).await;
    let known = timeout(
        Duration::from_millis(500),
        judge(&authenticator, &old.token()),
    )
    .await;
    assert_eq!(known, Ok(Ok(())));
    for call in waiting {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_break_a_refresh_off() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let authenticator = issuer.authenticator(&clock).await;
    issuer
        .answers(ok(&[&new]).set_delay(Duration::from_secs(1)))
        .await;
    let hung_up = timeout(
        Duration::from_millis(200),
        judge(&authenticator, &new.token()),
    )
    .await;
    assert!(hung_up.is_err());
    assert_eq!(judge(&authenticator, &new.token()).await, Ok(()));
    assert_eq!(issuer.requests().await, 1);
}

#[tokio::test]
async fn a_file_is_read_again_like_a_url() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, key_set(&[old.jwk()])).unwrap();
    let url = url::Url::from_file_path(&path).unwrap();
    for location in [path.to_str().unwrap(), url.as_str()] {
        assert!(read(location, &clock).await.is_ok(), "{location}");
    }
    let authenticator = read(path.to_str().unwrap(), &clock).await.unwrap();
    std::fs::write(&path, key_set(&[new.jwk()])).unwrap();
    assert_eq!(judge(&authenticator, &old.token()).await, Ok(()));
    assert_eq!(judge(&authenticator, &new.token()).await, Ok(()));
    assert_eq!(judge(&authenticator, &old.token()).await, Err(UNKNOWN_KEY));

    std::fs::remove_file(&path).unwrap();
    clock.advance(TimeDelta::hours(1));
    assert_eq!(judge(&authenticator, &old.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(judge(&authenticator, &new.token()).await, Ok(()));
    std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
    let error = read(path.to_str().unwrap(), &clock).await.err().unwrap();
    assert!(
        error.ends_with("it is larger than 1048576 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn why_there_are_no_keys_is_told_without_secrets() {
    let clock = Clock::manual(now());
    let url = "http://user:hunter2@127.0.0.1:1/keys?key=hunter2";
    let error = read(url, &clock).await.err().unwrap();
    assert!(error.starts_with("http://127.0.0.1:1/keys: "), "{error}");
    assert!(error.contains("refused"), "{error}");
    assert!(
        !error.contains("hunter2") && !error.contains('\n'),
        "{error}"
    );
    let error = read("/nowhere/keys.json", &clock).await.err().unwrap();
    assert!(
        error.starts_with("/nowhere/keys.json: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_to_plain_http_is_not_followed() {
    let [old, new] = two_keys();
    let clock = Clock::manual(now());
    let issuer = Issuer::with_keys(&[&old]).await;
    let other = Issuer::with_keys(&[&new]).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", other.0.uri());
    issuer.answers(redirect).await;
    let error = read(&issuer.0.uri(), &clock).await.err().unwrap();
    assert!(error.contains("not https"), "{error}");
    assert_eq!(other.requests().await, 0);
}
