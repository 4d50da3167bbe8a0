//! Parses the settings of e-mail.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use secrecy::SecretString;
use url::{Host, Url};

use super::domain_name::{is_address_literal, to_ascii_domain};
use crate::error::Invalid;

/// The base URL of mailed links, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Parses an http or https URL without user, query and fragment.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || {
            Invalid::new(
                "must be an http or https URL such as https://contact.example, without user, query and fragment",
            )
        };
        let url = Url::parse(text.trim()).map_err(|_| form())?;
        let is_plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_plain || !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(form());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// Returns the origin of the page, as browsers send it.
    pub fn origin(&self) -> String {
        Url::parse(&self.0).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }

    /// Returns true if the links work only on this machine.
    pub fn is_for_this_machine(&self) -> bool {
        let host = Url::parse(&self.0).ok();
        let host = host.as_ref().and_then(Url::host_str);
        host.is_none_or(|host| is_loopback(host) || host == "0.0.0.0" || host == "[::]")
    }

    /// Creates the link with `token`. As a fragment, the token reaches neither the log of a server
    /// nor a referrer.
    pub fn confirmation_link(&self, token: &str) -> String {
        format!("{}/confirm#{token}", self.0)
    }
}

/// The name of the service in EHLO or HELO (RFC 5321, 4.1.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeloName(Option<String>);

impl HeloName {
    /// Parses a domain name such as `contact.example.com`, or an address literal such as
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`. The default is the name of the host.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let name = if is_address_literal(text) {
            Some(text.to_owned())
        } else {
            to_ascii_domain(text).filter(|name| name.parse::<Ipv4Addr>().is_err())
        };
        let form = "must be a domain name such as contact.example.com, or an address in brackets \
                    such as [192.0.2.1] or [IPv6:2001:db8::1]";
        name.map(|name| Self(Some(name)))
            .ok_or_else(|| Invalid::new(form))
    }

    /// Returns the name for a connection from `address`: the setting, or the name of the host, or an
    /// address literal (RFC 5321, 4.1.3).
    pub(super) fn for_connection(&self, address: Option<SocketAddr>) -> String {
        let host_name = || {
            let name = hostname::get().ok()?.into_string().ok()?;
            to_ascii_domain(&name)
        };
        self.0.clone().or_else(host_name).unwrap_or_else(|| {
            match address.map(|address| address.ip().to_canonical()) {
                Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
                Some(IpAddr::V4(address)) => format!("[{address}]"),
                None => format!("[{}]", Ipv4Addr::LOCALHOST),
            }
        })
    }
}

/// The encryption of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Never.
    None,
    /// By STARTTLS if the server offers it.
    Offered,
    /// By STARTTLS; nothing is sent without it.
    Required,
    /// By TLS from the first byte.
    Wrapped,
}

/// The address of the mail server. It may hold a password, so it is never logged.
#[derive(Clone)]
pub struct SmtpUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<(String, SecretString)>,
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmtpUrl(…)")
    }
}

impl SmtpUrl {
    /// Returns host and port, which may be logged.
    pub fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// Parses `smtp[s]://user:password@host:port`. With `smtp`, STARTTLS is used if the server offers
    /// it; `?tls=required` requires it, `?tls=none` disables it. A password is sent to another
    /// machine only under TLS.
    ///
    /// # Errors
    /// [`Invalid`] for any other text; it does not repeat the value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || {
            Invalid::new(
                "must be smtp[s]://user:password@host:port, optionally with ?tls=required or ?tls=none",
            )
        };
        let url = Url::parse(text.trim()).map_err(|_| form())?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(form)?.to_owned();
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(form());
        }
        let credentials = credentials(&url).map_err(|()| form())?;
        let is_local = is_loopback(&host);
        let encryption = match (url.scheme(), url.query()) {
            ("smtps", None) => Encryption::Wrapped,
            ("smtp", Some("tls=required")) => Encryption::Required,
            ("smtp", Some("tls=none")) if credentials.is_some() && !is_local => {
                let why = "must not send a password to another machine without TLS";
                return Err(Invalid::new(why));
            }
            ("smtp", Some("tls=none")) => Encryption::None,
            ("smtp", None) if credentials.is_some() && !is_local => Encryption::Required,
            ("smtp", None) => Encryption::Offered,
            _ => return Err(form()),
        };
        let port = url.port().unwrap_or(match encryption {
            Encryption::Wrapped => 465,
            Encryption::Required => 587,
            Encryption::Offered | Encryption::None => 25,
        });
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            encryption,
            credentials,
        })
    }
}

fn credentials(url: &Url) -> Result<Option<(String, SecretString)>, ()> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(()),
        (user, Some(password)) => {
            let password = percent_decoded(password).ok_or(())?;
            let user = percent_decoded(user).ok_or(())?;
            Ok(Some((user, SecretString::from(password))))
        }
    }
}

/// Decodes a user or password, which `url` keeps encoded.
fn percent_decoded(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost",
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn link_has_the_token_as_its_fragment() {
        for (base, link) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/confirm#t"),
            ("https://a.example/", "https://a.example/confirm#t"),
            (
                " https://a.example/kis/ ",
                "https://a.example/kis/confirm#t",
            ),
        ] {
            assert_eq!(PublicUrl::parse(base).unwrap().confirmation_link("t"), link);
        }
        for bad in [
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://user:password@a.example",
            "javascript:alert(1)",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn scheme_and_parameter_select_encryption_and_port() {
        use Encryption::{None, Offered, Required, Wrapped};
        for (url, encryption, port) in [
            ("smtp://mail.example", Offered, 25),
            ("smtp://mail.example:2525", Offered, 2525),
            ("smtp://mail.example?tls=required", Required, 587),
            ("smtp://mail.example?tls=none", None, 25),
            ("smtps://mail.example", Wrapped, 465),
            ("smtp://u:p@mail.example", Required, 587),
            ("smtp://u:p@localhost:25", Offered, 25),
            ("smtp://u:p@[::1]:25?tls=none", None, 25),
        ] {
            let parsed = SmtpUrl::parse(url).unwrap();
            assert_eq!(
                (parsed.encryption, parsed.port),
                (encryption, port),
                "{url}"
            );
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_never_logged() {
        let url = SmtpUrl::parse("smtps://a%40b.example:p%3Aw%C3%A4@[::1]").unwrap();
        let (user, password) = url.credentials.as_ref().unwrap();
        assert_eq!(user, "a@b.example");
        assert_eq!(password.expose_secret(), "p:wä");
        assert_eq!(url.host, "::1");
        assert_eq!(format!("{url:?}"), "SmtpUrl(…)");
    }

    #[test]
    fn invalid_urls_are_rejected_without_repeating_them() {
        for bad in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://marker@mail.example",
            "smtp://:marker@mail.example",
            "smtp://mail.example/marker",
            "smtp://mail.example?tls=marker",
            "smtp://mail.example?marker",
            "smtps://mail.example?tls=none",
            "smtp://marker:marker@mail.example?tls=none",
            "smtp://mail.example:marker",
        ] {
            let Invalid(why) = SmtpUrl::parse(bad).unwrap_err();
            assert!(!why.contains("marker"), "{why}");
        }
    }

    #[test]
    fn helo_name_is_a_domain_or_an_address_literal() {
        for (text, name) in [
            ("contact.example.com", "contact.example.com"),
            (" Contact.Example.COM ", "contact.example.com"),
            ("kontakt.müller.example", "kontakt.xn--mller-kva.example"),
            ("web1", "web1"),
            ("contact.example.com.", "contact.example.com"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(HeloName::parse(text).unwrap().for_connection(None), name);
        }
        for bad in [
            "",
            "a_b.example",
            "a b.example",
            "-a.example",
            "a..example",
            "a.example..",
            "192.0.2.1.",
            "a.example\r\nMAIL FROM:<x@y.example>",
            "192.0.2.1",
            "2001:db8::1",
            "[2001:db8::1]",
            "[IPv6:192.0.2.1]",
            "[192.0.2]",
            "[a.example]",
            "contact@example.com",
        ] {
            assert!(HeloName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
