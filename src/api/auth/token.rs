//! Parsing of a token that is not verified yet: the `authorization` header, the JWS form and the JOSE
//! header.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

use super::{
    algorithm::parse_algorithm,
    keys::set::VerifyingKey,
    payload::{Object, parse_object},
};
use crate::error::{Error, Result, TokenFault};

/// Large enough for the group claims of large directories.
const MAX_TOKEN_BYTES: usize = 12 * 1024;

const MALFORMED: Error = Error::token_invalid(TokenFault::Malformed);

/// Returns the token of the single `authorization: Bearer <token>` header.
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Error::TokenMissing)?;
    if values.next().is_some() {
        return Err(MALFORMED);
    }
    let value = value.to_str().map_err(|_| MALFORMED)?.trim_matches(' ');
    if value.is_empty() {
        return Err(Error::TokenMissing);
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(token.trim_start_matches(' '))
        }
        Some(_) | None => Err(MALFORMED),
    }
}

/// Checks the size of an encoded token.
pub(super) fn check_size(token: &str) -> Result<()> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::token_invalid(TokenFault::TooLarge));
    }
    Ok(())
}

/// A token in JWS compact serialization, parsed but not verified.
pub(super) struct SignedToken<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// The signed text: header and payload.
    message: &'a str,
    signature: &'a str,
    payload: Object,
}

impl<'a> SignedToken<'a> {
    /// Parses `token` and checks its header.
    pub(super) fn parse(token: &'a str) -> Result<Self> {
        let (message, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = message.split_once('.').ok_or(MALFORMED)?;
        let header = decode(header)
            .and_then(|json| parse_object(&json))
            .ok_or(MALFORMED)?;
        let header: JoseHeader =
            serde_json::from_value(Value::Object(header)).map_err(|_| MALFORMED)?;
        let algorithm = header.check()?;
        if !signature.bytes().all(is_base64url) {
            return Err(MALFORMED);
        }
        Ok(Self {
            algorithm,
            kid: header.kid,
            message,
            signature,
            payload: decode(payload)
                .and_then(|json| parse_object(&json))
                .ok_or(MALFORMED)?,
        })
    }

    /// Returns the `iss`, which selects the key set; the signature check fails if it is forged.
    pub(super) fn unverified_issuer(&self) -> Result<&str> {
        match self.payload.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(Error::token_claim(TokenFault::Malformed, "iss")),
            None => Err(Error::token_claim(TokenFault::ClaimMissing, "iss")),
        }
    }

    /// Returns the payload if its signature by `key` is valid.
    pub(super) fn verify(self, key: &VerifyingKey) -> Result<Object> {
        let message = self.message.as_bytes();
        let verified = jsonwebtoken::crypto::verify(
            self.signature,
            message,
            key.decoding_key(),
            self.algorithm,
        );
        if !verified.unwrap_or(false) {
            return Err(Error::token_invalid(TokenFault::BadSignature));
        }
        Ok(self.payload)
    }
}

/// Returns `kid` and `iss` of any token for the log, as far as they can be read.
pub(super) fn unverified_names(token: &str) -> (Option<String>, Option<String>) {
    let mut parts = token
        .split('.')
        .map(|part| decode(part).and_then(|json| serde_json::from_slice::<Value>(&json).ok()));
    let mut string = |member: &str| Some(parts.next()??.get(member)?.as_str()?.to_owned());
    (string("kid"), string("iss"))
}

/// The members of a JOSE header (RFC 7515, 4.1) that are read.
///
/// Members that point to keys are read only to be rejected: a token must not select the key it is
/// verified with.
#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
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
    fn check(&self) -> Result<Algorithm> {
        let algorithm =
            parse_algorithm(&self.alg).ok_or(Error::token_invalid(TokenFault::Algorithm))?;
        let has_key = [&self.jwk, &self.jku, &self.x5u, &self.x5c]
            .into_iter()
            .any(Option::is_some);
        let is_token = self.typ.as_deref().is_none_or(is_token_type);
        if has_key || !is_token || self.crit.is_some() {
            return Err(MALFORMED);
        }
        Ok(algorithm)
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn is_token_type(typ: &str) -> bool {
    ["JWT", "application/jwt", "at+jwt", "application/at+jwt"]
        .into_iter()
        .any(|known| known.eq_ignore_ascii_case(typ))
}

/// Deserializes a member that is present; serde alone would treat `null` as absence.
fn present<'de, D, T>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
