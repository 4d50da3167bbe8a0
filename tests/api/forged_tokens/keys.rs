//! Tokens signed with no key, with the public key, or with an attacker's keys.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{
    Forgery,
    forger::{Forger, invalid, message, with, without},
};

/// The DER prefix of an Ed25519 public key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

impl Forger<'_> {
    pub(super) fn invalid_algorithms(&self) -> Vec<Forgery> {
        let unsigned = |alg: &str| {
            let message = message(&with(&self.header, "alg", alg), &self.claims);
            format!("{message}.")
        };
        let named = |alg: Value| self.sign(&with(&self.header, "alg", alg), &self.claims);
        let nameless = self.sign(&without(&self.header, "alg"), &self.claims);
        [
            ("alg none", unsigned("none")),
            ("alg None", unsigned("None")),
            ("alg NONE", unsigned("NONE")),
            ("alg nOnE", unsigned("nOnE")),
            ("alg empty without a signature", unsigned("")),
            ("alg none with a signature", named(json!("none"))),
            ("alg missing", nameless),
            ("alg null", named(Value::Null)),
            ("alg a number", named(json!(1))),
            ("alg an array", named(json!(["EdDSA"]))),
            ("alg in lower case", named(json!("eddsa"))),
            ("alg Ed448", named(json!("Ed448"))),
            ("alg ed25519", named(json!("ed25519"))),
            ("alg HS256 over our signature", named(json!("HS256"))),
            ("alg RS256 over our signature", named(json!("RS256"))),
            ("alg ES256 over our signature", named(json!("ES256"))),
        ]
        .map(|(name, token)| invalid(name, token))
        .into()
    }

    pub(super) fn public_key_as_secret(&self) -> Vec<Forgery> {
        let jwks = self.keys.jwks();
        let set: Value = serde_json::from_str(&jwks).unwrap();
        let jwk = set.pointer("/keys/0").unwrap();
        let x = jwk.get("x").unwrap().as_str().unwrap();
        let raw = URL_SAFE_NO_PAD.decode(x).unwrap();
        let der = [&SPKI_PREFIX[..], &raw].concat();
        let base64 = STANDARD.encode(&der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
        let hs256 = Algorithm::HS256;
        [
            ("HS256 with the raw public key", hs256, raw.as_slice()),
            ("HS384 with the raw public key", Algorithm::HS384, &raw),
            ("HS512 with the raw public key", Algorithm::HS512, &raw),
            ("HS256 with the public key in DER", hs256, &der),
            ("HS256 with the key in PEM", hs256, pem.as_bytes()),
            ("HS256 with trimmed PEM", hs256, pem.trim().as_bytes()),
            ("HS256 with the key in base64", hs256, x.as_bytes()),
            ("HS256 with the JWK", hs256, jwk.to_string().as_bytes()),
            ("HS256 with the JWK Set", hs256, jwks.as_bytes()),
            ("HS256 with an empty secret", hs256, b""),
        ]
        .map(|(name, algorithm, secret)| {
            let secret = EncodingKey::from_secret(secret);
            invalid(name, self.sign_by(&self.header, &secret, algorithm))
        })
        .into()
    }

    pub(super) fn foreign_keys(&self) -> Vec<Forgery> {
        let ed = Ed25519KeyPair::generate().unwrap();
        let ed = EncodingKey::from_ed_der(ed.to_pkcs8v1().unwrap().as_ref());
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ec = EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref());
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let rsa = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        let rsa = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(rsa.as_ref())
        );
        let rsa = EncodingKey::from_rsa_pem(rsa.as_bytes()).unwrap();
        let own = jsonwebtoken::jwk::Jwk::from_encoding_key(&ed, Algorithm::EdDSA).unwrap();
        let own = with(&self.header, "jwk", serde_json::to_value(own).unwrap());
        let nameless = without(&self.header, "kid");
        [
            (
                "another Ed25519 key with our kid",
                self.sign_by(&self.header, &ed, Algorithm::EdDSA),
            ),
            (
                "another Ed25519 key without a kid",
                self.sign_by(&nameless, &ed, Algorithm::EdDSA),
            ),
            (
                "an EC key with our kid",
                self.sign_by(&self.header, &ec, Algorithm::ES256),
            ),
            (
                "an RSA key with our kid",
                self.sign_by(&self.header, &rsa, Algorithm::RS256),
            ),
            (
                "an RSA key with our kid and PSS",
                self.sign_by(&self.header, &rsa, Algorithm::PS256),
            ),
            (
                "another key embedded in the header",
                self.sign_by(&own, &ed, Algorithm::EdDSA),
            ),
            (
                "our signature over a header with an embedded key",
                self.sign(&own, &self.claims),
            ),
        ]
        .map(|(name, token)| invalid(name, token))
        .into()
    }
}
