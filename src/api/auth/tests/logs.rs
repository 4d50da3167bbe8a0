//! Log lines of rejected tokens: the cause, `kid` and issuer, and no other part of the token.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Collects the log lines of this thread, from INFO.
pub(super) fn collect() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    (log, guard)
}

#[tokio::test]
async fn rejection_is_logged_with_cause_claim_kid_and_issuer() {
    let (log, _guard) = collect();
    let [ours, other] = ["a", "a"].map(|kid| TestKey::new(kid, Algorithm::EdDSA));
    let strange = TestKey::new("strange-kid", Algorithm::EdDSA);
    let authenticator = with_keys(&[ours.jwk()]).await;
    for (token, expected) in [
        (other.token(), BAD_SIGNATURE),
        (strange.token(), UNKNOWN_KEY),
    ] {
        assert_eq!(verify(&authenticator, &token).await, Err(expected));
        for part in token.split('.') {
            assert!(!log.text().contains(part));
        }
    }
    let late = ours.sign_claims(&with(&claims(), "nbf", now().timestamp() + 31));
    verify(&authenticator, &late).await.unwrap_err();
    assert_eq!(verify(&authenticator, &ours.token()).await, Ok(()));
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, fields) in lines.iter().zip([
        r#"token rejected cause="BAD_SIGNATURE" kid="a" issuer="issuer" suppressed=0"#,
        r#"token rejected cause="UNKNOWN_KEY" kid="strange-kid" issuer="issuer" suppressed=0"#,
        r#"token rejected cause="NOT_YET_VALID" claim="nbf" kid="a" issuer="issuer" suppressed=0"#,
    ]) {
        assert!(line.contains(" INFO ") && line.contains(fields), "{line}");
    }
    for secret in ["anna", "K-1001", "contacts.read"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn rejections_are_logged_once_a_second_per_cause() {
    let (log, _guard) = collect();
    let key = TestKey::new("a", Algorithm::EdDSA);
    let clock = Clock::manual(now());
    let source = KeySource::Development(key_set(&[key.jwk()]));
    let authenticator = Authenticator::new(settings(), source, clock.clone()).await;
    let authenticator = authenticator.unwrap();
    for _ in 0..50 {
        verify(&authenticator, "x").await.unwrap_err();
    }
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
    clock.advance(chrono::TimeDelta::seconds(1));
    verify(&authenticator, "x").await.unwrap_err();
    let text = log.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("suppressed=49"), "{text}");
}

#[tokio::test]
async fn token_cannot_inject_log_lines() {
    let (log, _guard) = collect();
    let key = TestKey::new("a", Algorithm::EdDSA);
    let authenticator = with_keys(&[key.jwk()]).await;
    let forged = "x\n2026-03-01T12:00:00Z  INFO forged \u{1b}[2K\u{202e}";
    let header = json!({ "alg": "EdDSA", "kid": format!("{forged}{}", "k".repeat(8_000)) });
    let claims = with(&claims(), "iss", forged);
    let [header, payload] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    verify(&authenticator, &format!("{header}.{payload}.AAAA"))
        .await
        .unwrap_err();
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 400 && text.contains("ISSUER"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
}
