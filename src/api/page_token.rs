//! Page tokens (AIP-158): where a listing goes on, signed, so that a token of
//! another listing or of nobody is told from one of ours.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::error::{Error, Invalid, Result};

const MIN_KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// The service's own signing keys, newest first: the first signs, all verify.
#[derive(Clone)]
pub struct ServiceKeys(Vec<(u32, SecretSlice<u8>)>);

impl fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKeys(…)")
    }
}

impl ServiceKeys {
    /// Reads `version:base64`, several with commas between; keys of 32 bytes or more.
    ///
    /// # Errors
    /// [`Invalid`] with what is wrong; the text does not repeat the value.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        let form = || Invalid::new("must be version:base64, several with commas between");
        let mut keys: Vec<(u32, SecretSlice<u8>)> = Vec::new();
        for part in text.trim().split(',') {
            let (version, key) = part.trim().split_once(':').ok_or_else(form)?;
            let version = version.parse().map_err(|_| form())?;
            let key = STANDARD.decode(key).map_err(|_| form())?;
            if key.len() < MIN_KEY_BYTES {
                return Err(Invalid::new(format!(
                    "must have keys of at least {MIN_KEY_BYTES} bytes"
                )));
            }
            if keys.iter().any(|(known, _)| *known == version) {
                return Err(Invalid::new("must not name a version twice"));
            }
            keys.push((version, key.into()));
        }
        Ok(Self(keys))
    }
}

/// Which listing a token belongs to: the RPC, the customer, and the filter.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Name of the RPC.
    pub rpc: &'static str,
    /// The customer listed.
    pub customer_number: &'a str,
    /// The filter, as a number.
    pub filter: i16,
}

impl ServiceKeys {
    /// A token with which `listing` goes on at `position`.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no key.
    pub fn page_token(&self, listing: Listing<'_>, position: i64) -> Result<String> {
        let no_key = || Error::internal("there is no service key");
        let (version, key) = self.0.first().ok_or_else(no_key)?;
        let tag = mac(key, listing, position)
            .ok_or_else(no_key)?
            .finalize()
            .into_bytes();
        let mut token = version.to_be_bytes().to_vec();
        token.extend(position.to_be_bytes());
        token.extend(tag.iter().take(TAG_BYTES));
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// The position at which `listing` goes on.
    ///
    /// # Errors
    /// [`Error::InvalidPageToken`] for a token of another listing or of nobody.
    pub fn position(&self, listing: Listing<'_>, token: &str) -> Result<i64> {
        self.verified(listing, token).ok_or(Error::InvalidPageToken)
    }

    fn verified(&self, listing: Listing<'_>, token: &str) -> Option<i64> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = bytes.split_first_chunk()?;
        let (position, tag) = rest.split_first_chunk()?;
        let version = u32::from_be_bytes(*version);
        let position = i64::from_be_bytes(*position);
        let (_, key) = self.0.iter().find(|(known, _)| *known == version)?;
        if tag.len() != TAG_BYTES {
            return None;
        }
        mac(key, listing, position)?
            .verify_truncated_left(tag)
            .ok()?;
        Some(position)
    }
}

/// No part holds a zero byte, so that it can stand between them.
fn mac(key: &SecretSlice<u8>, listing: Listing<'_>, position: i64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
    for part in ["page-token", listing.rpc, listing.customer_number] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    mac.update(&listing.filter.to_be_bytes());
    mac.update(&position.to_be_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(versions: &[(u32, u8)]) -> ServiceKeys {
        let parts: Vec<_> = versions
            .iter()
            .map(|(version, byte)| format!("{version}:{}", STANDARD.encode([*byte; 32])))
            .collect();
        ServiceKeys::parse(&parts.join(",")).unwrap()
    }

    const LISTING: Listing<'_> = Listing {
        rpc: "ListContacts",
        customer_number: "K-1",
        filter: 3,
    };

    #[test]
    fn a_token_leads_back_to_its_position_also_after_a_rotation() {
        let token = keys(&[(1, 1)]).page_token(LISTING, 42).unwrap();
        assert_eq!(keys(&[(1, 1)]).position(LISTING, &token), Ok(42));
        assert_eq!(keys(&[(2, 2), (1, 1)]).position(LISTING, &token), Ok(42));
        assert_eq!(
            keys(&[(2, 2)]).position(LISTING, &token),
            Err(Error::InvalidPageToken)
        );
    }

    #[test]
    fn a_token_of_another_listing_or_of_nobody_is_refused() {
        let keys = keys(&[(1, 1)]);
        let token = keys.page_token(LISTING, 42).unwrap();
        for other in [
            Listing {
                rpc: "ListAuditEvents",
                ..LISTING
            },
            Listing {
                customer_number: "K-2",
                ..LISTING
            },
            Listing {
                filter: 2,
                ..LISTING
            },
        ] {
            assert_eq!(keys.position(other, &token), Err(Error::InvalidPageToken));
        }
        let mut altered = URL_SAFE_NO_PAD.decode(&token).unwrap();
        altered[11] ^= 1;
        let altered = URL_SAFE_NO_PAD.encode(altered);
        let shorter = &token[..token.len() - 4];
        for bad in [
            "x",
            "AAAA",
            "äöü",
            altered.as_str(),
            shorter,
            &format!("{token}AAAA"),
        ] {
            assert_eq!(
                keys.position(LISTING, bad),
                Err(Error::InvalidPageToken),
                "{bad}"
            );
        }
    }

    #[test]
    fn keys_are_versioned_and_long_enough() {
        let key = STANDARD.encode([7; 32]);
        let short = STANDARD.encode([7; 31]);
        assert!(ServiceKeys::parse(&format!(" 2:{key}, 1:{key}\n")).is_ok());
        for bad in [
            String::new(),
            key.clone(),
            format!("1:{short}"),
            format!("x:{key}"),
            format!("1:{key},1:{key}"),
            "1:***".into(),
        ] {
            assert!(ServiceKeys::parse(&bad).is_err(), "{bad}");
        }
    }
}
