//! Retrieval of a key document from a URL or file: limited in size and time, with errors that an
//! operator can act on.

use std::{
    error::Error as StdError,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, redirect};
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 5;

/// Fetches documents by URL.
pub(crate) struct DocumentClient(Client);

impl DocumentClient {
    /// Creates a client that follows redirects to https.
    pub(crate) fn following_https() -> Result<Self, String> {
        Self::new(redirect::Policy::custom(follow))
    }

    /// Creates a client that rejects redirects.
    pub(crate) fn without_redirects() -> Result<Self, String> {
        Self::new(redirect::Policy::none())
    }

    fn new(policy: redirect::Policy) -> Result<Self, String> {
        let client = Client::builder().redirect(policy).build();
        client.map(Self).map_err(cause)
    }

    /// Fetches a document within 5 seconds.
    ///
    /// # Errors
    /// One line with the cause, without the URL.
    pub(crate) async fn fetch(&self, url: &Url) -> Result<Vec<u8>, String> {
        within_timeout(self.fetch_all(url)).await
    }

    async fn fetch_all(&self, url: &Url) -> Result<Vec<u8>, String> {
        let mut response = self.0.get(url.clone()).send().await.map_err(cause)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(format!("it answers {}, a redirect", status.as_u16()));
        }
        if !status.is_success() {
            return Err(format!("it answers {}", status.as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(cause)? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(too_large());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

/// Reads a file within 5 seconds.
pub(crate) async fn read_file(path: PathBuf) -> Result<Vec<u8>, String> {
    let reading = tokio::task::spawn_blocking(move || read_file_blocking(&path));
    within_timeout(async {
        reading
            .await
            .unwrap_or_else(|_| Err("reading it failed".to_owned()))
    })
    .await
}

/// Returns a URL without user, password and query, which may be secret.
pub(crate) fn redacted(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.url().scheme() != "https" {
        attempt.error("it redirects to a URL that is not https")
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("it redirects too often")
    } else {
        attempt.follow()
    }
}

async fn within_timeout(
    reading: impl Future<Output = Result<Vec<u8>, String>>,
) -> Result<Vec<u8>, String> {
    tokio::time::timeout(TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| Err(format!("it does not answer within {} s", TIMEOUT.as_secs())))
}

fn read_file_blocking(path: &Path) -> Result<Vec<u8>, String> {
    let mut document = Vec::new();
    let limit = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut document))
        .map_err(|error| error.to_string())?;
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(too_large());
    }
    Ok(document)
}

fn too_large() -> String {
    format!("it is larger than {MAX_DOCUMENT_BYTES} bytes")
}

/// Returns the cause of an error in one line, without the URL.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let is_connecting = error.is_connect();
    let mut texts = Vec::new();
    let mut next: Option<&dyn StdError> = Some(&error);
    while let Some(error) = next {
        if let Some(known) = known_cause(error).filter(|_| is_connecting) {
            return known;
        }
        texts.push(error.to_string());
        next = error.source();
    }
    texts.join(": ")
}

/// Describes the most frequent causes of connection failures; `None` for others.
fn known_cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let text = error.to_string();
    if text.starts_with("dns error") {
        let why = error.source().map(|why| format!(": {why}"));
        let why = why.unwrap_or_default();
        return Some(format!("its host name cannot be resolved (DNS){why}"));
    }
    let error: &io::Error = error.downcast_ref()?;
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        return Some("the connection was refused".to_owned());
    }
    // rustls reports failed handshakes as invalid data.
    let tls = error
        .get_ref()
        .filter(|_| kind == io::ErrorKind::InvalidData)?;
    Some(format!("TLS failed: {tls}"))
}
