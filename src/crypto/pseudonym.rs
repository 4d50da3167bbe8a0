//! The pseudonym under which the audit log of an erased customer is kept, and the encrypted number
//! for as long as the change feed needs it. Both require a service key, so that the database alone
//! does not reveal the number.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::Mac;

use crate::{
    crypto::keyring::VersionedKeys,
    domain::ids::CustomerNumber,
    error::{Error, Result},
};

/// The nonce of a sealed number; random for each.
pub(crate) type SealNonce = [u8; NONCE_LEN];

const PSEUDONYM_PURPOSE: &str = "erased-customer-pseudonym";
const SEAL_PURPOSE: &str = "erased-customer-seal";
/// 104 bits of the tag.
const PSEUDONYM_BYTES: usize = 13;
const VERSION_BYTES: usize = 4;

/// Returns the pseudonyms of a customer under all keys, newest key first.
pub(crate) fn pseudonyms(
    keys: &VersionedKeys,
    customer_number: &CustomerNumber,
) -> Vec<CustomerNumber> {
    let pseudonym = |version| {
        let mut mac = keys.mac(version, PSEUDONYM_PURPOSE)?;
        mac.update(customer_number.as_str().as_bytes());
        let tag = mac.finalize().into_bytes();
        CustomerNumber::pseudonym(tag.get(..PSEUDONYM_BYTES)?)
    };
    keys.versions().filter_map(pseudonym).collect()
}

/// Encrypts a number with AES-256-GCM under the newest key.
///
/// # Errors
/// [`Error::Internal`] if no service key is configured.
pub(crate) fn seal(
    keys: &VersionedKeys,
    customer_number: &CustomerNumber,
    nonce: SealNonce,
) -> Result<Vec<u8>> {
    let failed = || Error::internal("a customer number cannot be encrypted");
    let version = keys.newest()?;
    let key = seal_key(keys, version).ok_or_else(failed)?;
    let version = version.to_be_bytes();
    let mut plaintext = customer_number.as_str().as_bytes().to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(version),
        &mut plaintext,
    )
    .map_err(|_| failed())?;
    Ok([&version[..], &nonce, &plaintext].concat())
}

/// Decrypts a sealed number. `None` if its key is not configured, or the bytes were altered.
pub(crate) fn open(keys: &VersionedKeys, sealed: &[u8]) -> Option<CustomerNumber> {
    let (version, rest) = sealed.split_first_chunk::<VERSION_BYTES>()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    let key = seal_key(keys, u32::from_be_bytes(*version))?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let number = key.open_in_place(nonce, Aad::from(*version), &mut text);
    let number = std::str::from_utf8(number.ok()?).ok()?;
    CustomerNumber::parse(number).ok()
}

fn seal_key(keys: &VersionedKeys, version: u32) -> Option<LessSafeKey> {
    let key = keys.mac(version, SEAL_PURPOSE)?.finalize().into_bytes();
    UnboundKey::new(&AES_256_GCM, &key)
        .ok()
        .map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    fn keys(versions: &[u8]) -> VersionedKeys {
        let key = |version: &u8| format!("{version}:{}", STANDARD.encode([*version; 32]));
        let keys: Vec<_> = versions.iter().map(key).collect();
        VersionedKeys::parse(&keys.join(",")).unwrap()
    }

    fn number(text: &str) -> CustomerNumber {
        CustomerNumber::parse(text).unwrap()
    }

    #[test]
    fn pseudonyms_differ_by_customer_and_key() {
        let both = pseudonyms(&keys(&[2, 1]), &number("K-1001"));
        assert_eq!(both, pseudonyms(&keys(&[2, 1]), &number("K-1001")));
        assert_eq!(both[1..], pseudonyms(&keys(&[1]), &number("K-1001")));
        let other = pseudonyms(&keys(&[2, 1]), &number("K-1002"));
        let all: HashSet<_> = both.iter().chain(&other).collect();
        assert_eq!(all.len(), 4);
        for pseudonym in all {
            let text = pseudonym.as_str();
            assert_eq!(CustomerNumber::parse(text).as_ref(), Ok(pseudonym));
            assert!(text.starts_with("erased-") && pseudonym.is_pseudonym());
            assert!(!text.contains("100"), "{text}");
        }
        assert!(!number("K-1001").is_pseudonym());
        assert!(!number("erased-K-1001").is_pseudonym());
    }

    #[test]
    fn sealed_number_opens_with_its_own_key_only() {
        let sealed = seal(&keys(&[2, 1]), &number("K-1001"), [7; NONCE_LEN]).unwrap();
        let again = seal(&keys(&[2, 1]), &number("K-1001"), [8; NONCE_LEN]).unwrap();
        assert_ne!(sealed[16..], again[16..]);
        assert!(!sealed.windows(4).any(|part| part == b"1001"));
        for known in [&[2, 1][..], &[3, 2], &[2]] {
            assert_eq!(open(&keys(known), &sealed), Some(number("K-1001")));
        }
        assert_eq!(open(&keys(&[1]), &sealed), None);
        for nth in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[nth] ^= 1;
            assert_eq!(open(&keys(&[2, 1]), &altered), None, "byte {nth}");
            assert_eq!(open(&keys(&[2, 1]), &sealed[..nth]), None, "byte {nth}");
        }
    }
}
