//! One-time codes (rule 29) under a service key: only an HMAC of a code is stored, and a mailed one is
//! derived from its e-mail whenever that is sent.

use hmac::Mac;
use uuid::Uuid;

use crate::{
    crypto::keyring::VersionedKeys,
    domain::{
        authentication::{CodeHash, OneTimeCode},
        ids::ContactRef,
    },
    error::{Error, Result},
};

const HASH_PURPOSE: &str = "one-time-code";
const MAIL_PURPOSE: &str = "one-time-code-mail";

/// Returns the code in an e-mail. `None` if there is no key of this version.
pub(crate) fn mailed_code(
    keys: &VersionedKeys,
    key_version: u32,
    contact: &ContactRef,
    mail_id: Uuid,
) -> Option<OneTimeCode> {
    let mut mac = keys.mac(key_version, MAIL_PURPOSE)?;
    update(&mut mac, contact, mail_id.as_bytes());
    Some(OneTimeCode::from_seed(&mac.finalize().into_bytes().into()))
}

/// Hashes a code under the newest key.
///
/// # Errors
/// [`Error::Internal`] if no service key is configured.
pub(crate) fn hash(
    keys: &VersionedKeys,
    contact: &ContactRef,
    code: &OneTimeCode,
) -> Result<CodeHash> {
    let key_version = keys.newest()?;
    let mac = keys.mac(key_version, HASH_PURPOSE);
    let mut mac = mac.ok_or_else(|| Error::internal("there is no service key"))?;
    update(&mut mac, contact, code.expose().as_bytes());
    Ok(CodeHash {
        key_version,
        mac: mac.finalize().into_bytes().into(),
    })
}

/// Returns true if the hash is that of this code, in constant time. A hash under a key that is not
/// configured matches none.
pub(crate) fn matches(
    keys: &VersionedKeys,
    contact: &ContactRef,
    code: &OneTimeCode,
    hash: &CodeHash,
) -> bool {
    let Some(mut mac) = keys.mac(hash.key_version, HASH_PURPOSE) else {
        return false;
    };
    update(&mut mac, contact, code.expose().as_bytes());
    mac.verify_slice(&hash.mac).is_ok()
}

fn update(mac: &mut impl Mac, contact: &ContactRef, of: &[u8]) {
    mac.update(contact.customer_number.as_str().as_bytes());
    mac.update(&[0]);
    mac.update(contact.contact_id.0.as_bytes());
    mac.update(of);
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::domain::ids::{ContactId, CustomerNumber};

    fn keys(versions: &[u8]) -> VersionedKeys {
        let key = |version: &u8| format!("{version}:{}", STANDARD.encode([*version; 32]));
        let keys: Vec<_> = versions.iter().map(key).collect();
        VersionedKeys::parse(&keys.join(",")).unwrap()
    }

    fn contact(number: &str, id: u128) -> ContactRef {
        ContactRef {
            customer_number: CustomerNumber::parse(number).unwrap(),
            contact_id: ContactId(Uuid::from_u128(id)),
        }
    }

    #[test]
    fn hash_matches_its_code_contact_and_key_only() {
        let (anna, code) = (contact("K-1", 1), OneTimeCode::parse("123456").unwrap());
        let stored = hash(&keys(&[1]), &anna, &code).unwrap();
        assert!(matches(&keys(&[2, 1]), &anna, &code, &stored));
        assert!(!matches(&keys(&[2]), &anna, &code, &stored));
        let other = OneTimeCode::parse("123457").unwrap();
        assert!(!matches(&keys(&[1]), &anna, &other, &stored));
        for foreign in [contact("K-1", 2), contact("K-2", 1)] {
            assert!(!matches(&keys(&[1]), &foreign, &code, &stored));
        }
    }

    #[test]
    fn mailed_code_is_the_same_for_each_attempt_to_send_it() {
        let (anna, id) = (contact("K-1", 1), Uuid::from_u128(7));
        let code = mailed_code(&keys(&[2, 1]), 1, &anna, id).unwrap();
        assert_eq!(mailed_code(&keys(&[1]), 1, &anna, id), Some(code.clone()));
        assert_eq!(mailed_code(&keys(&[2]), 1, &anna, id), None);
        let others = [
            mailed_code(&keys(&[2, 1]), 2, &anna, id),
            mailed_code(&keys(&[1]), 1, &contact("K-1", 2), id),
            mailed_code(&keys(&[1]), 1, &anna, Uuid::from_u128(8)),
        ];
        assert!(!others.contains(&Some(code)));
    }
}
