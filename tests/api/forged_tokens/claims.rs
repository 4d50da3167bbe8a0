//! Malformed payloads and invalid claims, all signed with the service's key.

use std::iter;

use serde_json::{Value, json};

use super::{
    Forgery,
    forger::{Forger, expiry, invalid, with, with_stray_bits, without},
};

impl Forger<'_> {
    pub(super) fn payload_text(&self) -> Vec<Forgery> {
        let (header, claims) = (self.header.to_string(), self.claims.to_string());
        let sign = |header: &[u8], claims: &[u8]| self.keys.sign(header, claims).unwrap();
        let mut not_utf8 = claims.replace("forger", "for?er").into_bytes();
        not_utf8
            .iter_mut()
            .filter(|byte| **byte == b'?')
            .for_each(|byte| *byte = 0xff);
        let in_order = json!([
            self.issuer,
            self.audience,
            "forger",
            self.claims.get("exp"),
            self.claims.get("nbf"),
            self.claims.get("iat"),
            "contacts.read",
            "K-1"
        ]);
        let bom = format!("\u{feff}{claims}");
        let as_text = Value::from(claims.clone()).to_string();
        [
            ("header is not JSON", sign(b"header", claims.as_bytes())),
            ("header is empty", sign(b"{}", claims.as_bytes())),
            (
                "header is an array",
                sign(format!("[{header}]").as_bytes(), claims.as_bytes()),
            ),
            (
                "header is not UTF-8",
                sign(b"{\"alg\":\"EdDSA\",\"kid\":\"\xff\"}", claims.as_bytes()),
            ),
            (
                "text after the header",
                sign(format!("{header}x").as_bytes(), claims.as_bytes()),
            ),
            ("payload is not JSON", sign(header.as_bytes(), b"payload")),
            ("payload is empty", sign(header.as_bytes(), b"{}")),
            ("payload is not UTF-8", sign(header.as_bytes(), &not_utf8)),
            (
                "payload is an array of claims",
                sign(header.as_bytes(), in_order.to_string().as_bytes()),
            ),
            (
                "payload is a JSON string",
                sign(header.as_bytes(), as_text.as_bytes()),
            ),
            (
                "payload after a byte-order mark",
                sign(header.as_bytes(), bom.as_bytes()),
            ),
            (
                "two payloads",
                sign(header.as_bytes(), format!("{claims}{claims}").as_bytes()),
            ),
        ]
        .map(|(name, token)| invalid(name, token))
        .into()
    }

    pub(super) fn claims(&self) -> Vec<Forgery> {
        let missing = [
            ("iss missing", "iss"),
            ("aud missing", "aud"),
            ("sub missing", "sub"),
            ("exp missing", "exp"),
        ]
        .map(|(name, claim)| invalid(name, self.sign(&self.header, &without(&self.claims, claim))));
        let wrong = [
            ("iss null", "iss", Value::Null),
            (
                "iss of another issuer",
                "iss",
                json!("https://attacker.example"),
            ),
            (
                "iss with a trailing slash",
                "iss",
                json!(format!("{}/", self.issuer)),
            ),
            ("iss in capitals", "iss", json!(self.issuer.to_uppercase())),
            (
                "iss an array that contains ours",
                "iss",
                json!([self.issuer]),
            ),
            ("aud null", "aud", Value::Null),
            ("aud of another service", "aud", json!("another-service")),
            (
                "aud with ours as a prefix",
                "aud",
                json!(format!("{}-2", self.audience)),
            ),
            (
                "aud with others after a space",
                "aud",
                json!(format!("{} x", self.audience)),
            ),
            ("aud array without ours", "aud", json!(["another-service"])),
            ("aud array empty", "aud", json!([])),
            ("aud array with a number", "aud", json!([self.audience, 1])),
            ("aud array in an array", "aud", json!([[self.audience]])),
            ("aud an object", "aud", json!({ self.audience: true })),
            ("scope an array with a number", "scope", json!(["x", 1])),
            ("scope an array in an array", "scope", json!([["x"]])),
            ("scope null", "scope", Value::Null),
            ("scope an object", "scope", json!({ "contacts.read": true })),
            ("scope a number", "scope", json!(1)),
        ];
        missing.into_iter().chain(self.with_claims(wrong)).collect()
    }

    pub(super) fn subjects_and_customers(&self) -> Vec<Forgery> {
        self.with_claims([
            ("sub null", "sub", Value::Null),
            ("sub a number", "sub", json!(1)),
            ("sub empty", "sub", json!("")),
            ("sub with NUL", "sub", json!("a\0b")),
            ("sub with a line break", "sub", json!("a\nb")),
            ("sub with DEL", "sub", json!("a\u{7f}b")),
            ("sub with a C1 control", "sub", json!("a\u{85}b")),
            ("sub of 256 characters", "sub", json!("x".repeat(256))),
            ("customer_number null", "customer_number", Value::Null),
            ("customer_number a number", "customer_number", json!(1001)),
            ("customer_number empty", "customer_number", json!("")),
            ("customer_number a space", "customer_number", json!(" ")),
            (
                "customer_number with a wildcard",
                "customer_number",
                json!("*"),
            ),
            (
                "customer_number with a space",
                "customer_number",
                json!("K 1"),
            ),
            (
                "customer_number with a line break",
                "customer_number",
                json!("K-1\n"),
            ),
            (
                "customer_number of 33 characters",
                "customer_number",
                json!("1".repeat(33)),
            ),
            ("customer_number false", "customer_number", json!(false)),
            (
                "customer_number an array",
                "customer_number",
                json!(["K-1"]),
            ),
            ("customer_number an object", "customer_number", json!({})),
        ])
        .collect()
    }

    pub(super) fn times(&self) -> Vec<Forgery> {
        let expired = |offset| self.at(&[("exp", offset)]);
        let token = self.sign(&self.header, &expired(-60.0));
        let issued_elsewhere = with(&expired(-60.0), "iss", "https://attacker.example");
        let mut all = vec![
            expiry(
                "expired at the end of the leeway",
                self.sign(&self.header, &expired(-30.0)),
            ),
            expiry("expired a minute ago", token.clone()),
            expiry(
                "exp 0",
                self.sign(&self.header, &with(&self.claims, "exp", 0)),
            ),
            invalid("expired and tampered with", with_stray_bits(&token)),
            invalid(
                "expired and from another issuer",
                self.sign(&self.header, &issued_elsewhere),
            ),
            invalid(
                "nbf in the future",
                self.sign(&self.header, &self.at(&[("nbf", 31.0)])),
            ),
            invalid(
                "iat in the future",
                self.sign(&self.header, &self.at(&[("iat", 31.0)])),
            ),
        ];
        let exp = self.claims.get("exp").unwrap().to_string();
        all.extend(self.with_claims([
            ("exp a string", "exp", json!(exp)),
            ("exp null", "exp", Value::Null),
            ("exp true", "exp", json!(true)),
            ("exp an array", "exp", json!([2_000_000_000])),
            ("exp negative", "exp", json!(-1)),
            ("exp negative fraction", "exp", json!(-0.5)),
            ("nbf a string", "nbf", json!("0")),
            ("nbf null", "nbf", Value::Null),
            ("nbf false", "nbf", json!(false)),
            ("nbf negative", "nbf", json!(-1)),
            ("iat negative", "iat", json!(-1)),
            ("iat a string", "iat", json!("0")),
            ("iat null", "iat", Value::Null),
            ("iat an object", "iat", json!({})),
        ]));
        let claims = self.claims.to_string();
        for (name, number) in [
            ("exp infinite", "1e400"),
            ("exp NaN", "NaN"),
            ("exp hexadecimal", "0xffffffff"),
        ] {
            let claims = claims.replace(&format!("\"exp\":{exp}"), &format!("\"exp\":{number}"));
            let header = self.header.to_string();
            all.push(invalid(
                name,
                self.keys
                    .sign(header.as_bytes(), claims.as_bytes())
                    .unwrap(),
            ));
        }
        all
    }

    pub(super) fn duplicates(&self) -> Vec<Forgery> {
        let (header, claims) = (self.header.to_string(), self.claims.to_string());
        let twice = |object: &str, member: &str| object.replacen('{', &format!("{{{member},"), 1);
        let tenant_scoped = with(&self.claims, "customer_number", "K-1").to_string();
        let exp = self.claims.get("exp").unwrap();
        let in_header = [
            ("alg twice", r#""alg":"none""#),
            ("kid twice", r#""kid":"x""#),
            ("typ twice", r#""typ":"JWT""#),
        ]
        .map(|(name, member)| (name, twice(&header, member), claims.clone()));
        let in_claims = [
            ("iss twice", r#""iss":"x""#.to_owned()),
            ("aud twice", r#""aud":"x""#.to_owned()),
            ("sub twice", r#""sub":"admin""#.to_owned()),
            (
                "sub twice, once escaped",
                r#""\u0073ub":"admin""#.to_owned(),
            ),
            ("exp twice", format!(r#""exp":{exp}"#)),
            ("nbf twice", r#""nbf":0"#.to_owned()),
            ("iat twice", r#""iat":0"#.to_owned()),
            ("scope twice", r#""scope":"privacy.erase""#.to_owned()),
            ("an unknown claim twice", r#""x":{"y":1,"y":2}"#.to_owned()),
        ]
        .map(|(name, member)| (name, header.clone(), twice(&claims, &member)));
        let customer = (
            "customer_number twice",
            header.clone(),
            twice(&tenant_scoped, r#""customer_number":"K-2""#),
        );
        in_header
            .into_iter()
            .chain(in_claims)
            .chain(iter::once(customer))
            .map(|(name, header, claims)| {
                invalid(
                    name,
                    self.keys
                        .sign(header.as_bytes(), claims.as_bytes())
                        .unwrap(),
                )
            })
            .collect()
    }
}
