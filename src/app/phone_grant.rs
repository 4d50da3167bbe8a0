//! Grants (rule 18): the signed proof that a contact gave the right phone password, to
//! this agent, in this call.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::Mac;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::{
    app::ContactRef,
    crypto::keyring::VersionedKeys,
    domain::audit::Actor,
    error::{Error, Result},
};

const LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// Its own type and key: no other token of ours or of anybody else is a grant.
const TOKEN_TYPE: &str = "phone-grant+jwt";
const KEY_PURPOSE: &str = "phone-grant";
const ISSUER: &str = "contact-service";

/// What a grant is bound to.
#[derive(Clone, Debug)]
pub(super) struct GrantScope<'g> {
    /// Who proved it.
    pub(super) contact: &'g ContactRef,
    /// To whom.
    pub(super) agent: &'g Actor,
    /// In which call.
    pub(super) call_id: &'g str,
}

/// A grant and its end.
#[derive(Clone)]
pub struct Grant {
    /// The signed text.
    pub token: String,
    /// From this instant on it proves nothing.
    pub expire_time: DateTime<Utc>,
}

/// Whoever has it may order: it must not get into a log by way of `{:?}`.
impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grant(…)")
    }
}

/// Which phone password was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProvedPassword(i64);

impl ProvedPassword {
    /// Whether it is the one that was set then.
    pub(super) fn is_of(self, set_time: Option<DateTime<Utc>>) -> bool {
        set_time.is_some_and(|time| time.timestamp_micros() == self.0)
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    customer_number: String,
    contact_id: String,
    call_id: String,
    /// When the password was set that was said, in microseconds.
    set_time: i64,
    iat: i64,
    exp: i64,
}

/// Signs a grant.
///
/// # Errors
/// [`Error::Internal`] when it cannot be signed.
pub(super) fn sign(
    keys: &VersionedKeys,
    scope: &GrantScope<'_>,
    set_time: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Grant> {
    let version = keys.newest()?;
    // A token has whole seconds; what is shown must be what is signed.
    let expire_time = DateTime::from_timestamp((now + LIFETIME).timestamp(), 0).unwrap_or(now);
    let claims = Claims {
        iss: ISSUER.to_owned(),
        sub: scope.agent.0.clone(),
        customer_number: scope.contact.customer_number.as_str().to_owned(),
        contact_id: scope.contact.contact_id.0.to_string(),
        call_id: scope.call_id.to_owned(),
        set_time: set_time.timestamp_micros(),
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

/// Whether a text is a grant of this scope that has not expired.
///
/// # Errors
/// [`Error::GrantInvalid`] for any other text.
pub(super) fn verify(
    keys: &VersionedKeys,
    token: &str,
    scope: &GrantScope<'_>,
    now: DateTime<Utc>,
) -> Result<ProvedPassword> {
    let claims = decode(keys, token).ok_or(Error::GrantInvalid)?;
    let is_of_scope = claims.iss == ISSUER
        && claims.sub == scope.agent.0
        && claims.customer_number == scope.contact.customer_number.as_str()
        && claims.contact_id == scope.contact.contact_id.0.to_string()
        && claims.call_id == scope.call_id;
    if is_of_scope && now.timestamp() < claims.exp {
        Ok(ProvedPassword(claims.set_time))
    } else {
        Err(Error::GrantInvalid)
    }
}

fn decode(keys: &VersionedKeys, token: &str) -> Option<Claims> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    if header.typ.as_deref() != Some(TOKEN_TYPE) {
        return None;
    }
    let version = header.kid?.parse().ok()?;
    let key = DecodingKey::from_secret(&key(keys, version)?);
    let mut validation = Validation::new(Algorithm::HS256);
    // The times are judged by our own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()?;
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
    use crate::domain::{contact::ContactId, customer::CustomerNumber};

    fn keys(versions: &[u8]) -> VersionedKeys {
        let one = |version: &u8| format!("{version}:{}", STANDARD.encode([*version; 32]));
        let all: Vec<_> = versions.iter().map(one).collect();
        VersionedKeys::parse(&all.join(",")).unwrap()
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
        sign(&keys(versions), &scope, now(), now()).unwrap()
    }

    #[test]
    fn rule_18_a_grant_is_of_one_customer_contact_agent_and_call_for_15_minutes() {
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
    fn a_grant_outlives_a_rotation_as_long_as_its_key_is_there() {
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
    fn altered_and_foreign_tokens_are_no_grants() {
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
            let claims: Claims = serde_json::from_slice(&bytes).unwrap();
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
        for bad in [
            String::new(),
            "x".into(),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{header}.{claims}x.{signature}"),
            format!("{token}x"),
            with_header(r#"{"alg":"none","typ":"phone-grant+jwt","kid":"1"}"#),
            with_header(r#"{"alg":"HS256","typ":"phone-grant+jwt","kid":"9"}"#),
            with_header(r#"{"alg":"HS256","typ":"phone-grant+jwt"}"#),
            // Of another type, and with the service's key itself.
            signed_under("JWT", &own_key),
            signed_under(TOKEN_TYPE, &[1; 32]),
            signed_under(TOKEN_TYPE, &key(&keys(&[2]), 2).unwrap()),
        ] {
            assert!(!check(&bad, &anna, "agent", "call", 0), "{bad}");
        }
    }

    #[test]
    fn debug_does_not_show_a_grant() {
        assert_eq!(format!("{:?}", grant(&[1])), "Grant(…)");
    }
}
