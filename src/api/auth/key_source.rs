//! Where the public keys come from, and one attempt to get them.

use std::{
    error::Error as StdError,
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, redirect};
use url::{Host, Url};

use super::key_set::KeySet;
use crate::error::Invalid;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 5;

/// The place of a JWK Set: a URL or a file.
///
/// What is printed of a URL leaves out user, password and query, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksLocation(Location);

#[derive(Clone, PartialEq, Eq)]
enum Location {
    File(PathBuf),
    Url(Url),
}

impl JwksLocation {
    /// Reads `https://…`, `http://…` on loopback only, `file://…`, or else a path.
    ///
    /// # Errors
    /// [`Invalid`] for an empty text, a malformed URL, or one to which anybody on the way could
    /// answer.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::new("must not be empty"));
        }
        let scheme = text
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let location = match scheme.as_deref() {
            Some("https") => Location::Url(parse_url(text)?),
            Some("http") => {
                let url = parse_url(text)?;
                if !is_loopback(&url) {
                    return Err(Invalid::new(
                        "must be https; http is taken on loopback only",
                    ));
                }
                Location::Url(url)
            }
            Some("file") => Location::File(
                parse_url(text)?
                    .to_file_path()
                    .map_err(|()| Invalid::new("must be the URL of a file on this machine"))?,
            ),
            Some(_) | None => Location::File(PathBuf::from(text)),
        };
        Ok(Self(location))
    }
}

impl fmt::Display for JwksLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::File(path) => write!(formatter, "{}", path.display()),
            Location::Url(url) => {
                write!(
                    formatter,
                    "{}{}",
                    url.origin().ascii_serialization(),
                    url.path()
                )
            }
        }
    }
}

impl fmt::Debug for JwksLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JwksLocation({self})")
    }
}

fn parse_url(text: &str) -> Result<Url, Invalid> {
    Url::parse(text).map_err(|error| Invalid::new(format!("must be a URL: {error}")))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A location with what it takes to read it.
pub(super) struct JwksReader {
    location: JwksLocation,
    client: Option<Client>,
}

impl JwksReader {
    pub(super) fn new(location: JwksLocation) -> Result<Self, String> {
        let client = match &location.0 {
            Location::File(_) => None,
            Location::Url(_) => {
                let client = Client::builder()
                    .redirect(redirect::Policy::custom(follow))
                    .build();
                Some(client.map_err(|error| format!("{location}: {}", chain(error)))?)
            }
        };
        Ok(Self { location, client })
    }

    /// Reads the keys once.
    ///
    /// # Errors
    /// One line that names the place and says why; it repeats nothing of the content.
    pub(super) async fn read(&self) -> Result<KeySet, String> {
        let document = match (&self.location.0, &self.client) {
            (Location::File(path), _) => within_timeout(read_file(path.clone())).await,
            (Location::Url(url), Some(client)) => within_timeout(fetch(client, url)).await,
            (Location::Url(_), None) => Err("it has no client".to_owned()),
        };
        document
            .and_then(|document| KeySet::parse(&document).map_err(str::to_owned))
            .map_err(|why| format!("{}: {why}", self.location))
    }
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.url().scheme() != "https" {
        attempt.error("it redirects to a place that is not https")
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

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let mut response = client.get(url.clone()).send().await.map_err(chain)?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status().as_u16()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(chain)? {
        if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(too_large());
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, String> {
    tokio::task::spawn_blocking(move || read_file_blocking(&path))
        .await
        .unwrap_or_else(|_| Err("reading it was broken off".to_owned()))
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

/// An error with its causes in one line, without the URL that reqwest would print whole.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_url_or_a_file() {
        for (text, printed) in [
            ("https://idp.example/keys", "https://idp.example/keys"),
            ("HTTPS://idp.example", "https://idp.example/"),
            ("http://127.0.0.1:8000/k", "http://127.0.0.1:8000/k"),
            ("http://[::1]/k", "http://[::1]/k"),
            ("http://localhost/k", "http://localhost/k"),
            ("file:///etc/keys.json", "/etc/keys.json"),
            ("keys.json", "keys.json"),
            ("/etc/keys.json", "/etc/keys.json"),
        ] {
            assert_eq!(
                JwksLocation::parse(text).unwrap().to_string(),
                printed,
                "{text}"
            );
        }
    }

    #[test]
    fn a_location_that_anybody_on_the_way_could_answer_is_refused() {
        for text in [
            "",
            " ",
            "http://idp.example/keys",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://127.0.0.1@idp.example/",
            "http://10.0.0.1/",
            "http://[::2]/",
            "https://",
            "file://otherhost/keys",
        ] {
            assert!(JwksLocation::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_of_a_location_holds_no_secret() {
        let location =
            JwksLocation::parse("https://user:hunter2@idp.example/keys?key=hunter2").unwrap();
        assert_eq!(location.to_string(), "https://idp.example/keys");
        assert!(!format!("{location:?}").contains("hunter2"));
    }
}
