//! The sources of public keys: a JWK Set at a URL or in a file, OpenID discovery, or the development
//! key.

use std::{fmt, path::PathBuf};

use serde::Deserialize;
use url::{Host, Url};

use super::{
    fetch::{DocumentClient, read_file, redacted},
    set::KeySet,
};
use crate::error::Invalid;

/// Appended to the issuer (OpenID Connect Discovery 1.0, 4).
const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

/// The source of the issuers' public keys.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A JWK Set for the tokens of all issuers.
    Jwks(JwksLocation),
    /// The JWK Set that the OpenID configuration of each issuer names.
    Discovery,
    /// The JWK Set of `DevelopmentKeys::jwks`, which never changes.
    Development(String),
}

impl KeySource {
    /// Returns the source for a location in the form of [`JwksLocation::parse`].
    ///
    /// # Errors
    /// Those of [`JwksLocation::parse`].
    pub fn jwks(location: &str) -> Result<Self, Invalid> {
        JwksLocation::parse(location).map(Self::Jwks)
    }

    /// Returns the source for issuers without a configured JWK Set: discovery for URLs, or `None` for
    /// names, whose tokens only the development key can sign.
    ///
    /// # Errors
    /// [`Invalid`] for a URL that is unsafe for key discovery, and for a mix of names and URLs.
    pub fn for_issuers(issuers: &[String]) -> Result<Option<Self>, Invalid> {
        let is_url = |issuer: &&String| issuer.contains("://");
        match issuers.iter().filter(is_url).count() {
            0 => Ok(None),
            urls if urls == issuers.len() => {
                for issuer in issuers {
                    configuration_url(issuer)?;
                }
                Ok(Some(Self::Discovery))
            }
            _ => Err(Invalid::new(
                "must list https URLs only, by which keys are discovered, or else JWT_JWKS must be set",
            )),
        }
    }
}

fn configuration_url(issuer: &str) -> Result<Url, Invalid> {
    let unfit = || {
        Invalid::new(
            "must be an https URL without user, query and fragment, or else JWT_JWKS must be set; \
             http is accepted on loopback only",
        )
    };
    let url = Url::parse(issuer).map_err(|_| unfit())?;
    let has_more = url.query().is_some() || url.fragment().is_some();
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_more || has_user || !(url.scheme() == "https" || is_loopback_http(&url)) {
        return Err(unfit());
    }
    let issuer = issuer.trim_end_matches('/');
    Url::parse(&format!("{issuer}{CONFIGURATION_PATH}")).map_err(|_| unfit())
}

/// The location of a JWK Set: a URL or a file.
///
/// Printed without user, password and query of a URL, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksLocation(Location);

#[derive(Clone, PartialEq, Eq)]
enum Location {
    File(PathBuf),
    Url(Url),
}

impl JwksLocation {
    /// Parses `https://…`, `http://…` (on loopback only), `file://…`, or a path.
    ///
    /// # Errors
    /// [`Invalid`] for an empty text, a malformed URL, or plain http to another host.
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
                if !is_loopback_http(&url) {
                    return Err(Invalid::new(
                        "must be https; http is accepted on loopback only",
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
            Location::Url(url) => formatter.write_str(&redacted(url)),
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

/// Returns true for plain http to this machine. On the network anybody could forge the response.
fn is_loopback_http(url: &Url) -> bool {
    if url.scheme() != "http" {
        return false;
    }
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Reads the keys of a source.
pub(crate) struct JwksReader {
    source: Source,
    client: DocumentClient,
}

enum Source {
    Location(JwksLocation),
    Discovery { issuer: String, configuration: Url },
}

/// The members of an OpenID configuration that are read.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl JwksReader {
    /// Creates a reader of a file or URL.
    pub(crate) fn new(location: JwksLocation) -> Result<Self, String> {
        let client =
            DocumentClient::following_https().map_err(|error| format!("{location}: {error}"))?;
        Ok(Self {
            source: Source::Location(location),
            client,
        })
    }

    /// Creates a reader of the keys that the OpenID configuration of an issuer names. Redirects are
    /// rejected: they would let another host act as the issuer.
    pub(crate) fn discovery(issuer: &str) -> Result<Self, String> {
        let configuration = configuration_url(issuer).map_err(|Invalid(error)| error)?;
        let client = DocumentClient::without_redirects()
            .map_err(|error| format!("{}: {error}", redacted(&configuration)))?;
        Ok(Self {
            source: Source::Discovery {
                issuer: issuer.to_owned(),
                configuration,
            },
            client,
        })
    }

    /// Returns the URL or path that is read first, without secrets.
    pub(crate) fn location(&self) -> String {
        match &self.source {
            Source::Location(location) => location.to_string(),
            Source::Discovery { configuration, .. } => redacted(configuration),
        }
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// One line with the location and the cause, without content except for an issuer.
    pub(crate) async fn read(&self) -> Result<KeySet, String> {
        let (location, document) = match &self.source {
            Source::Location(JwksLocation(Location::File(path))) => {
                (path.display().to_string(), read_file(path.clone()).await)
            }
            Source::Location(JwksLocation(Location::Url(url))) => {
                (redacted(url), self.client.fetch(url).await)
            }
            Source::Discovery {
                issuer,
                configuration,
            } => {
                let url = self.discover(issuer, configuration).await;
                let url = url.map_err(|error| format!("{}: {error}", redacted(configuration)))?;
                (redacted(&url), self.client.fetch(&url).await)
            }
        };
        document
            .and_then(|document| KeySet::parse(&document).map_err(str::to_owned))
            .map_err(|error| format!("{location}: {error}"))
    }

    /// Returns the URL of an issuer's keys.
    async fn discover(&self, issuer: &str, configuration: &Url) -> Result<Url, String> {
        let document = self.client.fetch(configuration).await?;
        let found: Configuration = serde_json::from_slice(&document)
            .map_err(|_| "it is not an OpenID configuration with issuer and jwks_uri")?;
        if found.issuer != issuer {
            let other: String = found.issuer.chars().take(128).collect();
            return Err(format!(
                "its issuer is {other:?}; JWT_ISSUER must be the same, to the slash at the end"
            ));
        }
        let url = Url::parse(&found.jwks_uri).map_err(|_| "its jwks_uri is not a URL")?;
        let is_local = is_loopback_http(&url) && is_loopback_http(configuration);
        if url.scheme() != "https" && !is_local {
            return Err("its jwks_uri is not https".to_owned());
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_is_a_url_or_a_file() {
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
    fn location_that_anybody_could_forge_is_rejected() {
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

    fn is_discovered(issuers: &[&str]) -> Result<bool, Invalid> {
        let issuers: Vec<_> = issuers.iter().copied().map(str::to_owned).collect();
        KeySource::for_issuers(&issuers).map(|source| source.is_some())
    }

    #[test]
    fn keys_are_discovered_for_issuers_with_a_safe_url() {
        assert_eq!(is_discovered(&["contact-service-dev", "other"]), Ok(false));
        for issuer in [
            "https://idp.example",
            "https://idp.example/",
            "https://idp.example/realms/hoster",
            "http://127.0.0.1:8080/realms/hoster",
            "http://localhost:8080",
        ] {
            assert_eq!(is_discovered(&[issuer]), Ok(true), "{issuer}");
            assert!(is_discovered(&[issuer, "contact-service-dev"]).is_err());
        }
        for issuer in [
            "http://idp.example",
            "http://127.0.0.1.example",
            "ftp://idp.example",
            "https://",
            "https://u:p@idp.example",
            "https://idp.example?x=1",
            "https://idp.example#x",
        ] {
            assert!(is_discovered(&[issuer]).is_err(), "{issuer}");
        }
    }

    #[test]
    fn trailing_slash_of_the_issuer_is_ignored_in_the_url() {
        for issuer in ["https://idp.example/a", "https://idp.example/a/"] {
            let url = configuration_url(issuer).unwrap();
            let expected = "https://idp.example/a/.well-known/openid-configuration";
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn printed_location_has_no_secret() {
        let location =
            JwksLocation::parse("https://user:hunter2@idp.example/keys?key=hunter2").unwrap();
        assert_eq!(location.to_string(), "https://idp.example/keys");
        assert!(!format!("{location:?}").contains("hunter2"));
    }
}
