//! Malformed authorization headers, token forms and JOSE headers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    Forgery,
    forger::{Forger, INVALID, MISSING, authorization, forgery, invalid, with, with_stray_bits},
};

impl Forger<'_> {
    pub(super) fn credentials(&self) -> Vec<Forgery> {
        let token = self.token();
        let two = [format!("Bearer {token}"), format!("Bearer {token}")];
        vec![
            forgery("no authorization header", MISSING, vec![]),
            forgery(
                "empty authorization header",
                MISSING,
                authorization(String::new()),
            ),
            forgery(
                "scheme without a token",
                INVALID,
                authorization("Bearer".to_owned()),
            ),
            forgery(
                "token without a scheme",
                INVALID,
                authorization(token.clone()),
            ),
            forgery(
                "scheme Basic",
                INVALID,
                authorization(format!("Basic {token}")),
            ),
            forgery("scheme JWT", INVALID, authorization(format!("JWT {token}"))),
            forgery(
                "scheme with a colon",
                INVALID,
                authorization(format!("Bearer: {token}")),
            ),
            forgery(
                "no space after the scheme",
                INVALID,
                authorization(format!("Bearer{token}")),
            ),
            forgery(
                "scheme twice",
                INVALID,
                authorization(format!("Bearer Bearer {token}")),
            ),
            forgery(
                "two tokens",
                INVALID,
                authorization(format!("Bearer {token} {token}")),
            ),
            forgery(
                "two tokens and a comma",
                INVALID,
                authorization(two.join(", ")),
            ),
            forgery(
                "two headers",
                INVALID,
                two.map(|value| ("authorization", value)).to_vec(),
            ),
            forgery(
                "token in quotes",
                INVALID,
                authorization(format!("Bearer \"{token}\"")),
            ),
        ]
    }

    pub(super) fn form(&self) -> Vec<Forgery> {
        let token = self.token();
        let [header, payload, signature]: [&str; 3] =
            token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let other_claims = with(&self.claims, "sub", "someone else");
        let other = self.sign(&self.header, &other_claims);
        let other_signature = other.rsplit('.').next().unwrap();
        let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
        *flipped.first_mut().unwrap() ^= 1;
        let long_claims = with(&self.claims, "x", "x".repeat(12 * 1024));
        let spaced_header = URL_SAFE_NO_PAD.encode(format!("{} ", self.header));
        let other_payload = URL_SAFE_NO_PAD.encode(other_claims.to_string());
        vec![
            invalid("no dots", "token".to_owned()),
            invalid("dots only", "..".to_owned()),
            invalid("two parts", format!("{header}.{payload}")),
            invalid("four parts", format!("{token}.{signature}")),
            invalid(
                "five parts, as in encrypted tokens",
                format!("{token}.{signature}.{signature}"),
            ),
            invalid("empty first part", format!(".{token}")),
            invalid("empty header", format!(".{payload}.{signature}")),
            invalid("empty payload", format!("{header}..{signature}")),
            invalid("empty signature", format!("{header}.{payload}.")),
            invalid("padded signature", format!("{token}==")),
            invalid("padded header", format!("{header}=.{payload}.{signature}")),
            invalid(
                "signature in the other base64 alphabet",
                format!("{header}.{payload}.{}", "+/".repeat(43)),
            ),
            invalid(
                "signature truncated",
                token.get(..token.len() - 4).unwrap().to_owned(),
            ),
            invalid("signature extended", format!("{token}AAAA")),
            invalid("signature with stray last bits", with_stray_bits(&token)),
            invalid(
                "signature tampered with",
                format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(flipped)),
            ),
            invalid(
                "signature all zero",
                format!("{header}.{payload}.{}", "A".repeat(86)),
            ),
            invalid(
                "signature of another token",
                format!("{header}.{payload}.{other_signature}"),
            ),
            invalid(
                "payload tampered with",
                format!("{header}.{other_payload}.{signature}"),
            ),
            invalid(
                "header tampered with",
                format!("{spaced_header}.{payload}.{signature}"),
            ),
            invalid("longer than 12 KiB", self.sign(&self.header, &long_claims)),
        ]
    }

    pub(super) fn jose_headers(&self) -> Vec<Forgery> {
        let upper_kid = self.keys.kid().to_ascii_uppercase();
        [
            ("kid unknown", "kid", json!("unknown")),
            ("kid empty", "kid", json!("")),
            ("kid null", "kid", Value::Null),
            ("kid a number", "kid", json!(1)),
            ("kid in capitals", "kid", json!(upper_kid)),
            (
                "kid with a trailing space",
                "kid",
                json!(format!("{} ", self.keys.kid())),
            ),
            ("kid a path", "kid", json!("../../../../dev/null")),
            ("kid SQL", "kid", json!("' UNION SELECT 'key' --")),
            ("typ of another token", "typ", json!("secevent+jwt")),
            ("typ JOSE", "typ", json!("JOSE")),
            ("typ empty", "typ", json!("")),
            ("typ null", "typ", Value::Null),
            ("typ an array", "typ", json!(["JWT"])),
            ("crit", "crit", json!(["exp"])),
            ("crit with b64", "crit", json!(["b64"])),
            ("crit empty", "crit", json!([])),
            ("crit null", "crit", Value::Null),
            ("jwk null", "jwk", Value::Null),
            ("jku", "jku", json!("https://attacker.example/keys")),
            ("jku null", "jku", Value::Null),
            ("x5u", "x5u", json!("https://attacker.example/certificate")),
            ("x5c", "x5c", json!(["MIIB"])),
            ("x5c empty", "x5c", json!([])),
        ]
        .map(|(name, member, value)| {
            invalid(
                name,
                self.sign(&with(&self.header, member, value), &self.claims),
            )
        })
        .into()
    }
}
