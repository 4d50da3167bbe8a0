//! Where the public keys come from, and one attempt to get them.

use std::{fmt, path::PathBuf};

use serde::Deserialize;
use url::{Host, Url};

use super::fetch::{Documents, read_file, shown};
use crate::api::auth::keys::set::KeySet;
use crate::error::Invalid;

/// OpenID Connect Discovery 1.0, 4: appended to the issuer.
const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

/// Where the issuers' public keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A JWK Set, for the tokens of every issuer.
    Jwks(JwksLocation),
    /// For every issuer the JWK Set that its OpenID configuration names.
    Discovery,
    /// The JWK Set of `DevelopmentKeys::jwks`, which never changes.
    Development(String),
}

impl KeySource {
    /// The JWK Set at a location in the form of [`JwksLocation::parse`].
    ///
    /// # Errors
    /// [`Invalid`] as there.
    pub fn jwks(location: &str) -> Result<Self, Invalid> {
        JwksLocation::parse(location).map(Self::Jwks)
    }

    /// The source for these issuers without a JWK Set of their own: discovery for URLs, or `None`
    /// for names, whose tokens only the development key can sign.
    ///
    /// # Errors
    /// [`Invalid`] for a URL that is unsafe for key discovery, and for a mix of names and URLs.
    pub fn of_issuers(issuers: &[String]) -> Result<Option<Self>, Invalid> {
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
                if !is_loopback_http(&url) {
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
            Location::Url(url) => formatter.write_str(&shown(url)),
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

/// Plain http is for identity providers on this machine only: anybody on a longer way could answer.
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

/// A source of keys with what it takes to read it.
pub(in crate::api::auth) struct JwksReader {
    source: Source,
    documents: Documents,
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
    /// Reads keys from a file or URL.
    pub(in crate::api::auth) fn new(location: JwksLocation) -> Result<Self, String> {
        let documents =
            Documents::following_https().map_err(|error| format!("{location}: {error}"))?;
        Ok(Self {
            source: Source::Location(location),
            documents,
        })
    }

    /// Reads the keys that an issuer's OpenID configuration names. Redirects are not followed: they
    /// would let another host speak for the issuer.
    pub(in crate::api::auth) fn discovery(issuer: &str) -> Result<Self, String> {
        let configuration = configuration_url(issuer).map_err(|Invalid(why)| why)?;
        let documents = Documents::without_redirects()
            .map_err(|error| format!("{}: {error}", shown(&configuration)))?;
        Ok(Self {
            source: Source::Discovery {
                issuer: issuer.to_owned(),
                configuration,
            },
            documents,
        })
    }

    /// The place that is read first, without what may be secret.
    pub(in crate::api::auth) fn place(&self) -> String {
        match &self.source {
            Source::Location(location) => location.to_string(),
            Source::Discovery { configuration, .. } => shown(configuration),
        }
    }

    /// Reads the keys once.
    ///
    /// # Errors
    /// One line that names the place and says why; it repeats nothing of the content but an
    /// issuer.
    pub(in crate::api::auth) async fn read(&self) -> Result<KeySet, String> {
        let (place, document) = match &self.source {
            Source::Location(JwksLocation(Location::File(path))) => {
                (path.display().to_string(), read_file(path.clone()).await)
            }
            Source::Location(JwksLocation(Location::Url(url))) => {
                (shown(url), self.documents.fetch(url).await)
            }
            Source::Discovery {
                issuer,
                configuration,
            } => {
                let url = self.discover(issuer, configuration).await;
                let url = url.map_err(|why| format!("{}: {why}", shown(configuration)))?;
                (shown(&url), self.documents.fetch(&url).await)
            }
        };
        document
            .and_then(|document| KeySet::parse(&document).map_err(str::to_owned))
            .map_err(|why| format!("{place}: {why}"))
    }

    /// The URL of an issuer's keys.
    async fn discover(&self, issuer: &str, configuration: &Url) -> Result<Url, String> {
        let document = self.documents.fetch(configuration).await?;
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

    fn of_issuers(issuers: &[&str]) -> Result<bool, Invalid> {
        let issuers: Vec<_> = issuers.iter().copied().map(str::to_owned).collect();
        KeySource::of_issuers(&issuers).map(|source| source.is_some())
    }

    #[test]
    fn keys_of_url_issuers_are_discovered_unless_it_is_unsafe() {
        assert_eq!(of_issuers(&["contact-service-dev", "other"]), Ok(false));
        for issuer in [
            "https://idp.example",
            "https://idp.example/",
            "https://idp.example/realms/hoster",
            "http://127.0.0.1:8080/realms/hoster",
            "http://localhost:8080",
        ] {
            assert_eq!(of_issuers(&[issuer]), Ok(true), "{issuer}");
            assert!(of_issuers(&[issuer, "contact-service-dev"]).is_err());
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
            assert!(of_issuers(&[issuer]).is_err(), "{issuer}");
        }
    }

    #[test]
    fn the_configuration_is_below_the_issuer_with_or_without_a_slash() {
        for issuer in ["https://idp.example/a", "https://idp.example/a/"] {
            let url = configuration_url(issuer).unwrap();
            let expected = "https://idp.example/a/.well-known/openid-configuration";
            assert_eq!(url.as_str(), expected);
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
