//! Page tokens (AIP-158): signed cursors, which are valid for the list and filters that issued them only.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::{
    crypto::keyring::VersionedKeys,
    domain::audit::EventSortKey,
    error::{Error, Result},
};

const TAG_BYTES: usize = 16;

/// The list that a token belongs to.
#[derive(Clone, Copy, Debug)]
pub struct PageContext<'a> {
    /// The name of the RPC.
    pub rpc: &'static str,
    /// The number of the customer.
    pub customer_number: &'a str,
    /// The filters, in any encoding.
    pub filter: &'a [u8],
}

/// A position in a list, encoded into page tokens.
pub trait Cursor: Sized {
    /// Encodes the cursor in a fixed number of bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// Decodes a cursor; `None` for other bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Cursor for i64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Cursor for Uuid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl Cursor for EventSortKey {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.sequence.to_be_bytes()[..], self.id.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sequence, id) = bytes.split_first_chunk()?;
        Some(Self {
            sequence: i64::from_be_bytes(*sequence),
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

impl VersionedKeys {
    /// Creates a token for the page at `position`.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no key.
    pub fn page_token(&self, context: PageContext<'_>, position: &impl Cursor) -> Result<String> {
        let version = self.newest()?;
        let position = position.to_bytes();
        let tag = mac(self, version, context, &position)
            .ok_or_else(|| Error::internal("there is no service key"))?
            .finalize()
            .into_bytes();
        let mut token = version.to_be_bytes().to_vec();
        token.extend(position);
        token.extend(tag.iter().take(TAG_BYTES));
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Verifies a token and returns its cursor.
    ///
    /// # Errors
    /// [`Error::InvalidPageToken`] for a token of another list, or one that this service did not issue.
    pub fn cursor<C: Cursor>(&self, context: PageContext<'_>, token: &str) -> Result<C> {
        self.verified(context, token).ok_or(Error::InvalidPageToken)
    }

    fn verified<C: Cursor>(&self, context: PageContext<'_>, token: &str) -> Option<C> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = bytes.split_first_chunk()?;
        let (position, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let version = u32::from_be_bytes(*version);
        mac(self, version, context, position)?
            .verify_truncated_left(tag)
            .ok()?;
        C::from_bytes(position)
    }
}

/// The parts are separated by zero bytes, which none of them contains.
fn mac(
    keys: &VersionedKeys,
    version: u32,
    context: PageContext<'_>,
    position: &[u8],
) -> Option<Hmac<Sha256>> {
    let mut mac = keys.mac(version, "page-token")?;
    for part in [context.rpc, context.customer_number] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    // Their length separates them from the position.
    let length = u64::try_from(context.filter.len()).unwrap_or(u64::MAX);
    mac.update(&length.to_be_bytes());
    mac.update(context.filter);
    mac.update(position);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn keys(versions: &[(u32, u8)]) -> VersionedKeys {
        let parts: Vec<_> = versions
            .iter()
            .map(|(version, byte)| format!("{version}:{}", STANDARD.encode([*byte; 32])))
            .collect();
        VersionedKeys::parse(&parts.join(",")).unwrap()
    }

    const CONTEXT: PageContext<'_> = PageContext {
        rpc: "ListContacts",
        customer_number: "K-1",
        filter: &[3],
    };

    #[test]
    fn token_yields_its_cursor_after_a_key_rotation() {
        let token = keys(&[(1, 1)]).page_token(CONTEXT, &42_i64).unwrap();
        assert_eq!(keys(&[(1, 1)]).cursor(CONTEXT, &token), Ok(42_i64));
        assert_eq!(keys(&[(2, 2), (1, 1)]).cursor(CONTEXT, &token), Ok(42_i64));
        assert_eq!(
            keys(&[(2, 2)]).cursor::<i64>(CONTEXT, &token),
            Err(Error::InvalidPageToken)
        );
    }

    #[test]
    fn foreign_or_altered_token_is_rejected() {
        let keys = keys(&[(1, 1)]);
        let token = keys.page_token(CONTEXT, &42_i64).unwrap();
        for other in [
            PageContext {
                rpc: "ListAuditEvents",
                ..CONTEXT
            },
            PageContext {
                customer_number: "K-2",
                ..CONTEXT
            },
            PageContext {
                filter: &[2],
                ..CONTEXT
            },
        ] {
            assert_eq!(
                keys.cursor::<i64>(other, &token),
                Err(Error::InvalidPageToken)
            );
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
                keys.cursor::<i64>(CONTEXT, bad),
                Err(Error::InvalidPageToken),
                "{bad}"
            );
        }
    }

    #[test]
    fn cursor_of_the_audit_log_is_a_sequence_and_an_id() {
        let keys = keys(&[(1, 1)]);
        let key = EventSortKey {
            sequence: 42,
            id: Uuid::from_u128(7),
        };
        let token = keys.page_token(CONTEXT, &key).unwrap();
        assert_eq!(keys.cursor(CONTEXT, &token), Ok(key));
        assert_eq!(
            keys.cursor::<i64>(CONTEXT, &token),
            Err(Error::InvalidPageToken)
        );
    }
}
