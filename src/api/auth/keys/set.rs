//! The usable public keys of a JWK Set (RFC 7517), and the selection of the key of a token.

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use curve25519_dalek::edwards::CompressedEdwardsY;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::auth::algorithm::parse_algorithm;

const RSA_ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The largest exponent that aws-lc verifies with.
const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

/// The reason for which a key set has no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// No key has the `kid` of the token.
    UnknownKid,
    /// The key is not usable with the algorithm of the token.
    WrongAlgorithm,
    /// The token has no `kid`, and several keys are usable with its algorithm.
    KidMissing,
}

/// A public key and the algorithms it may be used with.
pub(crate) struct VerifyingKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding_key: DecodingKey,
    /// The bytes of the decoding key, which cannot be compared itself.
    material: Vec<u8>,
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, &self.algorithms, &self.material)
            == (&other.kid, &other.algorithms, &other.material)
    }
}

impl VerifyingKey {
    pub(crate) fn decoding_key(&self) -> &DecodingKey {
        &self.decoding_key
    }
}

/// The usable keys of a document; may be empty.
pub(crate) struct KeySet(Vec<Arc<VerifyingKey>>);

impl KeySet {
    /// Parses a JWK Set and skips unusable keys.
    ///
    /// # Errors
    /// A fixed text if `document` is not a JWK Set.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, &'static str> {
        // RFC 8259, 8.1: a parser may ignore a byte order mark.
        let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
        let document: Document<'_> =
            serde_json::from_slice(document).map_err(|_| "it is not a JWK Set")?;
        let keys = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok()?.into_key());
        Ok(Self(keys.map(Arc::new).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the set contains this key or an equal one, as it does after a refresh.
    pub(crate) fn contains(&self, key: &Arc<VerifyingKey>) -> bool {
        self.0.iter().any(|own| Arc::ptr_eq(own, key) || own == key)
    }

    /// Returns the key for a token's `kid` and `alg`. Without a `kid`, which is optional (RFC 7515,
    /// 4.1.4), it is the only key for the algorithm.
    pub(crate) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<VerifyingKey>, NoKey> {
        let is_named = |key: &&Arc<VerifyingKey>| kid.is_none() || key.kid.as_deref() == kid;
        if !self.0.iter().any(|key| is_named(&key)) {
            return Err(NoKey::UnknownKid);
        }
        let mut fitting = self
            .0
            .iter()
            .filter(|key| is_named(key) && key.algorithms.contains(&algorithm));
        let key = fitting.next().ok_or(NoKey::WrongAlgorithm)?;
        if kid.is_none() && fitting.next().is_some() {
            return Err(NoKey::KidMissing);
        }
        Ok(Arc::clone(key))
    }
}

/// Keys are kept as text, so that an unreadable key does not invalidate the others.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members that are read. Private ones, such as `d`, are ignored.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn into_key(self) -> Option<VerifyingKey> {
        let is_for_signatures = self
            .public_key_use
            .as_deref()
            .is_none_or(|used| used == "sig")
            && self
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures {
            return None;
        }
        let (fitting, (decoding_key, material)) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (RSA_ALGORITHMS, self.rsa_key()?),
            ("EC", Some("P-256")) => (
                &[Algorithm::ES256][..],
                self.ec_key::<32>(&ECDSA_P256_SHA256_FIXED)?,
            ),
            ("EC", Some("P-384")) => (
                &[Algorithm::ES384][..],
                self.ec_key::<48>(&ECDSA_P384_SHA384_FIXED)?,
            ),
            ("OKP", Some("Ed25519")) => (&[Algorithm::EdDSA][..], self.ed_key()?),
            _ => return None,
        };
        let algorithms: Vec<_> = match &self.alg {
            None => fitting.to_vec(),
            Some(own) => {
                let own = parse_algorithm(own)?;
                fitting.iter().copied().filter(|fit| *fit == own).collect()
            }
        };
        (!algorithms.is_empty()).then_some(VerifyingKey {
            kid: self.kid,
            algorithms,
            decoding_key,
            material,
        })
    }

    fn rsa_key(&self) -> Option<(DecodingKey, Vec<u8>)> {
        let n = unsigned(self.n.as_deref()?)?;
        let e = unsigned(self.e.as_deref()?)?;
        let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
        if !RSA_BITS.contains(&bits) || e.len() > size_of::<u64>() {
            return None;
        }
        let exponent = e
            .iter()
            .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        if !(3..=MAX_RSA_EXPONENT).contains(&exponent) || exponent % 2 == 0 || n.last()? % 2 == 0 {
            return None;
        }
        RsaPublicKeyComponents { n: &n, e: &e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .ok()?;
        let decoding_key = DecodingKey::from_rsa_raw_components(&n, &e);
        Some((decoding_key, [n, e].concat()))
    }

    fn ec_key<const BYTES: usize>(
        &self,
        curve: &'static dyn VerificationAlgorithm,
    ) -> Option<(DecodingKey, Vec<u8>)> {
        // SEC 1, 2.3.3: an uncompressed point.
        let mut point = vec![4];
        for coordinate in [&self.x, &self.y] {
            let bytes: [u8; BYTES] = decode(coordinate.as_deref()?)?.try_into().ok()?;
            point.extend(bytes);
        }
        UnparsedPublicKey::new(curve, &point).parse().ok()?;
        Some((DecodingKey::from_ec_der(&point), point))
    }

    /// Decodes an Ed25519 key (RFC 8032, 5.1.3), stricter than aws-lc: signatures by a key of small order
    /// can be forged, and a key must not have two encodings.
    fn ed_key(&self) -> Option<(DecodingKey, Vec<u8>)> {
        let key: [u8; 32] = decode(self.x.as_deref()?)?.try_into().ok()?;
        let point = CompressedEdwardsY(key).decompress()?;
        if point.is_small_order() || point.compress().to_bytes() != key {
            return None;
        }
        Some((DecodingKey::from_ed_der(&key), key.to_vec()))
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes a number without its leading zeros, which some issuers write and aws-lc rejects.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    Some(
        decode(text)?
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect(),
    )
}
