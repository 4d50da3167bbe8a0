//! Grants (rule 18): signed proofs that a contact gave the correct phone password or one-time code to
//! one agent in one phone call. A grant is a JWT with HMAC-SHA256 under a service key.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::Mac;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::{
    crypto::keyring::VersionedKeys,
    domain::{audit::Actor, authentication::AuthenticationMethod, ids::ContactRef},
    error::{Error, Result},
};

const LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// A token type and a derived key of their own, so that no other token is accepted as a grant.
const TOKEN_TYPE: &str = "phone-grant+jwt";
const KEY_PURPOSE: &str = "phone-grant";
const ISSUER: &str = "contact-service";

/// The binding of a grant.
#[derive(Clone, Debug)]
pub(super) struct GrantScope<'g> {
    /// The contact that gave its phone password or code.
    pub(super) contact: &'g ContactRef,
    /// The agent that checked it.
    pub(super) agent: &'g Actor,
    /// The phone call in which it was checked.
    pub(super) call_id: &'g str,
}

/// A signed grant.
#[derive(Clone)]
pub struct Grant {
    /// The JWT in compact serialization. It is a secret.
    pub token: String,
    /// The instant from which the grant is rejected.
    pub expire_time: DateTime<Utc>,
}

/// Hides the token, which authorizes orders, from log lines that print `{:?}`.
impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grant(…)")
    }
}

/// The proof on which a grant is based.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrantProof {
    /// The way in which the caller was authenticated.
    pub(super) method: AuthenticationMethod,
    /// The version of the phone password: the microsecond at which it was set. `None`: a code.
    set_time: Option<i64>,
}

impl GrantProof {
    /// The proof by the phone password that was set at this time.
    pub(super) const fn password(set_time: DateTime<Utc>) -> Self {
        Self {
            method: AuthenticationMethod::PhonePassword,
            set_time: Some(set_time.timestamp_micros()),
        }
    }

    /// The proof by a one-time code.
    pub(super) const fn code(method: AuthenticationMethod) -> Self {
        Self {
            method,
            set_time: None,
        }
    }

    /// Returns true if the password, if it was one, is still that of `set_time`.
    pub(super) fn is_current(self, set_time: Option<DateTime<Utc>>) -> bool {
        self.set_time
            .is_none_or(|version| set_time.is_some_and(|time| time.timestamp_micros() == version))
    }
}

#[derive(Serialize, Deserialize)]
struct GrantClaims {
    iss: String,
    sub: String,
    customer_number: String,
    contact_id: String,
    call_id: String,
    /// The stored name of the authentication method.
    method: String,
    /// The version of the password, in microseconds since the Unix epoch.
    set_time: Option<i64>,
    iat: i64,
    exp: i64,
}

/// Signs a grant.
///
/// # Errors
/// [`Error::Internal`] if no service key is configured.
pub(super) fn sign(
    keys: &VersionedKeys,
    scope: &GrantScope<'_>,
    proof: GrantProof,
    now: DateTime<Utc>,
) -> Result<Grant> {
    let version = keys.newest()?;
    // JWT times have whole seconds; the returned time has to equal the signed one.
    let expire_time = DateTime::from_timestamp((now + LIFETIME).timestamp(), 0).unwrap_or(now);
    let claims = GrantClaims {
        iss: ISSUER.to_owned(),
        sub: scope.agent.0.clone(),
        customer_number: scope.contact.customer_number.as_str().to_owned(),
        contact_id: scope.contact.contact_id.0.to_string(),
        call_id: scope.call_id.to_owned(),
        method: proof.method.as_str().to_owned(),
        set_time: proof.set_time,
        iat: now.timestamp(),
        exp: expire_time.timestamp(),
    };
    let header = Header {
        typ: Some(TOKEN_TYPE.to_owned()),
        kid: Some(version.to_string()),
        ..Header::new(Algorithm::HS256)
    };
    let failed = || Error::internal("a grant cannot be signed");
    let key = key(keys, version).ok_or_else(failed)?;
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&key))
        .map_err(|_| failed())?;
    Ok(Grant { token, expire_time })
}

/// Verifies that a token is an unexpired grant of this scope.
///
/// # Errors
/// [`Error::GrantInvalid`].
pub(super) fn verify(
    keys: &VersionedKeys,
    token: &str,
    scope: &GrantScope<'_>,
    now: DateTime<Utc>,
) -> Result<GrantProof> {
    let claims = decode(keys, token).ok_or(Error::GrantInvalid)?;
    let is_in_scope = claims.iss == ISSUER
        && claims.sub == scope.agent.0
        && claims.customer_number == scope.contact.customer_number.as_str()
        && claims.contact_id == scope.contact.contact_id.0.to_string()
        && claims.call_id == scope.call_id;
    if !is_in_scope || now.timestamp() >= claims.exp {
        return Err(Error::GrantInvalid);
    }
    let method = AuthenticationMethod::find(&claims.method);
    Ok(GrantProof {
        method: method.ok_or(Error::GrantInvalid)?,
        set_time: claims.set_time,
    })
}

fn decode(keys: &VersionedKeys, token: &str) -> Option<GrantClaims> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    if header.typ.as_deref() != Some(TOKEN_TYPE) {
        return None;
    }
    let version = header.kid?.parse().ok()?;
    let key = DecodingKey::from_secret(&key(keys, version)?);
    let mut validation = Validation::new(Algorithm::HS256);
    // The expiry is checked against the clock of the application.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<GrantClaims>(token, &key, &validation).ok()?;
    Some(decoded.claims)
}

fn key(keys: &VersionedKeys, version: u32) -> Option<Vec<u8>> {
    let mac = keys.mac(version, KEY_PURPOSE)?;
    Some(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{ContactId, CustomerNumber};

    fn keys(versions: &[u8]) -> VersionedKeys {
        let key = |version: &u8| format!("{version}:{}", STANDARD.encode([*version; 32]));
        let keys: Vec<_> = versions.iter().map(key).collect();
        VersionedKeys::parse(&keys.join(",")).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-03-01T09:00:00.5Z".parse().unwrap()
    }

    fn contact(number: &str, id: u128) -> ContactRef {
        ContactRef {
            customer_number: CustomerNumber::parse(number).unwrap(),
            contact_id: ContactId(Uuid::from_u128(id)),
        }
    }

    fn check(token: &str, contact: &ContactRef, agent: &str, call_id: &str, minutes: i64) -> bool {
        let agent = Actor(agent.into());
        let scope = GrantScope {
            contact,
            agent: &agent,
            call_id,
        };
        let now = now() + TimeDelta::minutes(minutes);
        verify(&keys(&[1]), token, &scope, now).is_ok()
    }

    fn grant(versions: &[u8]) -> Grant {
        let (contact, agent) = (contact("K-1", 1), Actor("agent".into()));
        let scope = GrantScope {
            contact: &contact,
            agent: &agent,
            call_id: "call",
        };
        sign(&keys(versions), &scope, GrantProof::password(now()), now()).unwrap()
    }

    #[test]
    fn rule_18_grant_is_bound_to_its_scope_for_15_minutes() {
        let Grant { token, expire_time } = grant(&[1]);
        assert_eq!(expire_time, now() - TimeDelta::milliseconds(500) + LIFETIME);
        let anna = contact("K-1", 1);
        assert!(check(&token, &anna, "agent", "call", 0));
        assert!(check(&token, &anna, "agent", "call", 14));
        assert!(!check(&token, &anna, "agent", "call", 15));
        assert!(!check(&token, &anna, "other", "call", 0));
        assert!(!check(&token, &anna, "agent", "other", 0));
        assert!(!check(&token, &contact("K-2", 1), "agent", "call", 0));
        assert!(!check(&token, &contact("K-1", 2), "agent", "call", 0));
    }

    #[test]
    fn grant_of_a_password_ends_with_it() {
        let password = GrantProof::password(now());
        assert!(password.is_current(Some(now())));
        assert!(!password.is_current(Some(now() + TimeDelta::microseconds(1))));
        assert!(!password.is_current(None));
        assert!(GrantProof::code(AuthenticationMethod::CodeByEmail).is_current(None));
    }

    #[test]
    fn grant_is_valid_while_its_key_is_configured() {
        let (anna, agent) = (contact("K-1", 1), Actor("agent".into()));
        let scope = GrantScope {
            contact: &anna,
            agent: &agent,
            call_id: "call",
        };
        let Grant { token, .. } = grant(&[1]);
        assert!(verify(&keys(&[2, 1]), &token, &scope, now()).is_ok());
        assert_eq!(
            verify(&keys(&[2]), &token, &scope, now()),
            Err(Error::GrantInvalid)
        );
    }

    #[test]
    fn altered_and_foreign_tokens_are_rejected() {
        let Grant { token, .. } = grant(&[1]);
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            panic!("{token}");
        };
        let with_header = |text: &str| {
            let header = URL_SAFE_NO_PAD.encode(text);
            format!("{header}.{claims}.{signature}")
        };
        let signed_under = |typ: &str, secret: &[u8]| {
            let header = Header {
                typ: Some(typ.into()),
                kid: Some("1".into()),
                ..Header::new(Algorithm::HS256)
            };
            let bytes = URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: GrantClaims = serde_json::from_slice(&bytes).unwrap();
            jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
        };
        let own_key = key(&keys(&[1]), 1).unwrap();
        let anna = contact("K-1", 1);
        assert!(check(
            &signed_under(TOKEN_TYPE, &own_key),
            &anna,
            "agent",
            "call",
            0
        ));
        for invalid in [
            String::new(),
            "x".into(),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{header}.{claims}x.{signature}"),
            format!("{token}x"),
            with_header(r#"{"alg":"none","typ":"phone-grant+jwt","kid":"1"}"#),
            with_header(r#"{"alg":"HS256","typ":"phone-grant+jwt","kid":"9"}"#),
            with_header(r#"{"alg":"HS256","typ":"phone-grant+jwt"}"#),
            // Another token type, and the service key without derivation.
            signed_under("JWT", &own_key),
            signed_under(TOKEN_TYPE, &[1; 32]),
            signed_under(TOKEN_TYPE, &key(&keys(&[2]), 2).unwrap()),
        ] {
            assert!(!check(&invalid, &anna, "agent", "call", 0), "{invalid}");
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        assert_eq!(format!("{:?}", grant(&[1])), "Grant(…)");
    }
}
