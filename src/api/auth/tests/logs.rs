//! What the log says of tokens: a fixed word, and nothing that a token holds.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
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

#[tokio::test]
async fn a_refusal_is_logged_by_a_fixed_word_only() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let [ours, other] = ["a", "a"].map(|kid| TestKey::new(kid, Algorithm::EdDSA));
    let strange = TestKey::new("strange-kid", Algorithm::EdDSA);
    let authenticator = with_keys(&[ours.jwk()]).await;
    for token in [other.token(), strange.token()] {
        assert_eq!(
            judge(&authenticator, &token).await,
            Err(Error::TokenInvalid)
        );
        for part in token.split('.') {
            assert!(!log.text().contains(part));
        }
    }
    assert_eq!(judge(&authenticator, &ours.token()).await, Ok(()));
    let text = log.text();
    assert!(
        text.contains("wrong signature") && text.contains("unknown key"),
        "{text}"
    );
    for secret in ["anna", "K-1001", "strange-kid", "contacts.read"] {
        assert!(!text.contains(secret), "{text}");
    }
}
