//! The cursor of the change feed: the position of a reader, encrypted and authenticated under a
//! service key, so that clients can neither read nor forge it.
//!
//! AES-256-GCM-SIV remains secure with a constant nonce, which reveals only whether two cursors
//! are equal (RFC 8452).

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac;
use uuid::Uuid;

use crate::{
    crypto::keyring::VersionedKeys,
    error::{Error, Result},
    storage::FeedBounds,
};

const PURPOSE: &str = "feed-cursor";
const VERSION_BYTES: usize = 4;
const UUID_BYTES: usize = 16;

/// The position of a reader in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeedCursor {
    /// The epoch of the feed that issued it.
    pub(super) epoch: Uuid,
    /// The position of the last event received.
    pub(super) position: i64,
    /// The id of that event; nil at the start of the feed.
    pub(super) event_id: Uuid,
}

impl FeedCursor {
    /// Returns the cursor before the oldest retained event.
    pub(super) const fn start(bounds: FeedBounds) -> Self {
        Self {
            epoch: bounds.epoch,
            position: bounds.low_watermark,
            event_id: Uuid::nil(),
        }
    }

    /// Returns true if the cursor was issued for the feed with these bounds, and no event after it
    /// is missing. `stored` is the id of the event that now has the cursor's position.
    ///
    /// A restored database whose epoch was not renewed is detected by the event id: the position
    /// of a lost event is assigned to another one.
    pub(super) fn is_honored(&self, bounds: FeedBounds, stored: Option<Uuid>) -> bool {
        let is_same_event = match stored {
            Some(id) => id == self.event_id,
            // The retention deleted the event, and none after it yet.
            None => self.position == bounds.low_watermark,
        };
        self.epoch == bounds.epoch && self.position >= bounds.low_watermark && is_same_event
    }

    /// Encrypts the cursor under the newest key, as URL-safe Base64.
    ///
    /// # Errors
    /// [`Error::Internal`] if no service key is configured.
    pub(super) fn seal(&self, keys: &VersionedKeys) -> Result<String> {
        let failed = || Error::internal("a feed cursor cannot be encrypted");
        let version = keys.newest()?;
        let key = key(keys, version).ok_or_else(failed)?;
        let version = version.to_be_bytes();
        let mut plaintext = [
            &self.epoch.as_bytes()[..],
            &self.position.to_be_bytes(),
            self.event_id.as_bytes(),
        ]
        .concat();
        key.seal_in_place_append_tag(nonce(), Aad::from(version), &mut plaintext)
            .map_err(|_| failed())?;
        Ok(URL_SAFE_NO_PAD.encode([&version[..], &plaintext].concat()))
    }

    /// Decrypts a cursor. `None` if the text is no cursor, or its key is not configured.
    pub(super) fn open(keys: &VersionedKeys, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, sealed) = bytes.split_first_chunk::<VERSION_BYTES>()?;
        let key = key(keys, u32::from_be_bytes(*version))?;
        let mut sealed = sealed.to_vec();
        let opened = key.open_in_place(nonce(), Aad::from(*version), &mut sealed);
        let (epoch, rest) = opened.ok()?.split_first_chunk::<UUID_BYTES>()?;
        let (position, event_id) = rest.split_first_chunk()?;
        Some(Self {
            epoch: Uuid::from_bytes(*epoch),
            position: i64::from_be_bytes(*position),
            event_id: Uuid::from_slice(event_id).ok()?,
        })
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn key(keys: &VersionedKeys, version: u32) -> Option<LessSafeKey> {
    let key = keys.mac(version, PURPOSE)?.finalize().into_bytes();
    UnboundKey::new(&AES_256_GCM_SIV, &key)
        .ok()
        .map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const EPOCH: Uuid = Uuid::from_u128(1);
    const EVENT: Uuid = Uuid::from_u128(42);
    const CURSOR: FeedCursor = FeedCursor {
        epoch: EPOCH,
        position: 10,
        event_id: EVENT,
    };
    const BOUNDS: FeedBounds = FeedBounds {
        last: 20,
        low_watermark: 5,
        epoch: EPOCH,
    };

    fn keys(versions: &[u8]) -> VersionedKeys {
        let key = |version: &u8| format!("{version}:{}", STANDARD.encode([*version; 32]));
        let keys: Vec<_> = versions.iter().map(key).collect();
        VersionedKeys::parse(&keys.join(",")).unwrap()
    }

    #[test]
    fn cursor_is_opened_while_its_key_is_configured() {
        let sealed = CURSOR.seal(&keys(&[1])).unwrap();
        for known in [&[1][..], &[2, 1], &[1, 2]] {
            assert_eq!(FeedCursor::open(&keys(known), &sealed), Some(CURSOR));
        }
        assert_eq!(FeedCursor::open(&keys(&[2]), &sealed), None);
    }

    #[test]
    fn altered_or_truncated_cursor_is_rejected() {
        let keys = keys(&[1]);
        let sealed = URL_SAFE_NO_PAD.decode(CURSOR.seal(&keys).unwrap()).unwrap();
        for nth in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[nth] ^= 1;
            for invalid in [&altered[..], &sealed[..nth]] {
                let invalid = URL_SAFE_NO_PAD.encode(invalid);
                assert_eq!(FeedCursor::open(&keys, &invalid), None, "byte {nth}");
            }
        }
        for invalid in ["x", "0", "äöü", "AAAA", " "] {
            assert_eq!(FeedCursor::open(&keys, invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn cursor_hides_its_position() {
        let keys = keys(&[1]);
        let next = FeedCursor {
            position: 11,
            ..CURSOR
        };
        let [first, second] =
            [CURSOR, next].map(|c| URL_SAFE_NO_PAD.decode(c.seal(&keys).unwrap()).unwrap());
        assert_eq!(first.len(), second.len());
        let bytes = first.iter().zip(&second).skip(VERSION_BYTES);
        // A few bytes are equal by chance.
        let equal = bytes.filter(|(first, second)| first == second).count();
        assert!(equal < 8, "{equal}");
    }

    #[test]
    fn cursor_is_honored_by_the_feed_that_issued_it() {
        let at = |position| FeedCursor { position, ..CURSOR };
        assert!(CURSOR.is_honored(BOUNDS, Some(EVENT)));
        // Its event was deleted, but no later one.
        assert!(at(5).is_honored(BOUNDS, None));
        assert!(FeedCursor::start(BOUNDS).is_honored(BOUNDS, None));

        let other_epoch = FeedCursor {
            epoch: Uuid::from_u128(2),
            ..CURSOR
        };
        let cases = [
            ("other epoch", other_epoch, Some(EVENT)),
            ("other event", CURSOR, Some(Uuid::from_u128(43))),
            ("no event", CURSOR, None),
            ("before the oldest retained event", at(4), None),
            ("after the last event", at(21), None),
        ];
        for (name, cursor, stored) in cases {
            assert!(!cursor.is_honored(BOUNDS, stored), "{name}");
        }
    }
}
