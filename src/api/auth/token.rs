//! The token before anything about it is believed: where it stands in the headers, its form,
//! and its JOSE header.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::error::Error;

const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a call is not let in. The words are fixed and go to the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Missing,
    Invalid(&'static str),
    Expired,
}

impl Refusal {
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::Missing => "no token",
            Self::Invalid(cause) => cause,
            Self::Expired => "expired",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::TokenMissing,
            Refusal::Invalid(_) => Self::TokenInvalid,
            Refusal::Expired => Self::TokenExpired,
        }
    }
}

/// The token of the one `authorization: Bearer <token>`.
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Invalid("several authorization headers"));
    }
    let value = value
        .to_str()
        .map_err(|_| Refusal::Invalid("authorization header is not ASCII"))?
        .trim_matches(' ');
    if value.is_empty() {
        return Err(Refusal::Missing);
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(token.trim_start_matches(' '))
        }
        Some(_) | None => Err(Refusal::Invalid("not a bearer token")),
    }
}

/// What this service reads of a JOSE header (RFC 7515, 4.1).
///
/// Members that point to keys are read only to refuse them: a token does not choose what it is
/// checked with.
#[derive(Deserialize)]
pub(super) struct JoseHeader {
    pub(super) alg: Algorithm,
    #[serde(default, deserialize_with = "present")]
    pub(super) kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    jwk: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    jku: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5u: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5c: Option<IgnoredAny>,
}

impl JoseHeader {
    /// Checks the form of `token` and reads its header.
    pub(super) fn parse(token: &str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Invalid("too long"));
        }
        let parts: Vec<&str> = token.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(Refusal::Invalid("not three parts"));
        };
        if ![header, payload, signature].into_iter().all(is_base64url) {
            return Err(Refusal::Invalid("a part is not base64url"));
        }
        let json = URL_SAFE_NO_PAD
            .decode(header)
            .map_err(|_| Refusal::Invalid("a part is not base64url"))?;
        let header: Self =
            serde_json::from_slice(&json).map_err(|_| Refusal::Invalid("unreadable header"))?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.alg.family() == AlgorithmFamily::Hmac {
            return Err(Refusal::Invalid("symmetric algorithm"));
        }
        if !self.typ.as_deref().is_none_or(is_token_type) {
            return Err(Refusal::Invalid("wrong type"));
        }
        if self.crit.is_some() {
            return Err(Refusal::Invalid("critical extension"));
        }
        if [&self.jwk, &self.jku, &self.x5u, &self.x5c]
            .into_iter()
            .any(Option::is_some)
        {
            return Err(Refusal::Invalid("the token brings its own key"));
        }
        Ok(())
    }
}

fn is_base64url(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_token_type(typ: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"]
        .into_iter()
        .any(|known| known.eq_ignore_ascii_case(typ))
}

/// Reads a member that is there; serde alone would take `null` for its absence.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
