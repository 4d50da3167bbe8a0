//! Keys: usable keys of a set, and the selection of the key of a token.

use aws_lc_rs::{rand::SystemRandom, signature::ECDSA_P256_SHA256_ASN1_SIGNING};

use super::*;

#[rstest]
#[case(Algorithm::RS256)]
#[case(Algorithm::RS384)]
#[case(Algorithm::RS512)]
#[case(Algorithm::PS256)]
#[case(Algorithm::PS384)]
#[case(Algorithm::PS512)]
#[case(Algorithm::ES256)]
#[case(Algorithm::ES384)]
#[case(Algorithm::EdDSA)]
#[tokio::test]
async fn asymmetric_algorithm_is_accepted_with_its_key(#[case] algorithm: Algorithm) {
    let key = TestKey::new("a", algorithm);
    for jwk in [key.jwk(), without(&key.jwk(), "alg")] {
        let authenticator = with_keys(&[jwk]).await;
        assert_eq!(verify(&authenticator, &key.token()).await, Ok(()));
    }
}

#[tokio::test]
async fn algorithm_of_another_key_type_is_rejected() {
    let keys = [
        TestKey::new("rsa", Algorithm::RS256),
        TestKey::new("p256", Algorithm::ES256),
        TestKey::new("p384", Algorithm::ES384),
        TestKey::new("ed", Algorithm::EdDSA),
    ];
    let authenticator = with_keys(&keys.each_ref().map(TestKey::jwk)).await;
    for signer in &keys {
        for named in &keys {
            let token = signer.sign(signer.algorithm, Some(named.kid));
            let expected = if signer.kid == named.kid {
                Ok(())
            } else {
                Err(ALGORITHM)
            };
            let answer = verify(&authenticator, &token).await;
            assert_eq!(answer, expected, "{} as {}", signer.kid, named.kid);
        }
    }
}

#[tokio::test]
async fn key_with_alg_is_used_with_that_algorithm_only() {
    let key = TestKey::new("a", Algorithm::RS256);
    let other = key.sign(Algorithm::PS256, Some("a"));
    let bound = with_keys(&[key.jwk()]).await;
    assert_eq!(verify(&bound, &other).await, Err(ALGORITHM));
    let free = with_keys(&[without(&key.jwk(), "alg")]).await;
    assert_eq!(verify(&free, &other).await, Ok(()));
}

#[tokio::test]
async fn rsa_key_is_not_used_as_hmac_secret() {
    let key = TestKey::new("a", Algorithm::RS256);
    let authenticator = with_keys(&[without(&key.jwk(), "alg")]).await;
    let modulus = key.jwk()["n"].as_str().unwrap().to_owned();
    for secret in [
        URL_SAFE_NO_PAD.decode(&modulus).unwrap(),
        modulus.into_bytes(),
    ] {
        let forger = TestKey {
            kid: "a",
            algorithm: Algorithm::HS256,
            private: EncodingKey::from_secret(&secret),
        };
        let answer = verify(&authenticator, &forger.token()).await;
        assert_eq!(answer, Err(ALGORITHM));
    }
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "aws-lc signs with its own generator only"
)]
async fn ecdsa_signature_must_have_the_fixed_length_form() {
    let system = SystemRandom::new();
    let key = TestKey::new("a", Algorithm::ES256);
    let authenticator = with_keys(&[key.jwk()]).await;
    let message = message(&json!({ "alg": "ES256", "kid": "a" }), &claims());
    let der_key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.private.as_bytes());
    let der = der_key.unwrap().sign(&system, message.as_bytes()).unwrap();
    for signature in [der.as_ref(), &[0; 64]] {
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(verify(&authenticator, &token).await, Err(BAD_SIGNATURE));
    }
    assert_eq!(verify(&authenticator, &key.token()).await, Ok(()));
}

#[tokio::test]
async fn private_key_in_the_set_is_used_as_public_key() {
    let key = TestKey::new("a", Algorithm::EdDSA);
    let authenticator = with_keys(&[with(&key.jwk(), "d", "AAAA")]).await;
    assert_eq!(verify(&authenticator, &key.token()).await, Ok(()));
}

#[tokio::test]
async fn first_usable_key_of_a_kid_is_selected() {
    let [ed, other_ed] = ["a", "a"].map(|kid| TestKey::new(kid, Algorithm::EdDSA));
    let ec = TestKey::new("a", Algorithm::ES256);
    let unusable = with(&other_ed.jwk(), "use", "enc");
    let authenticator = with_keys(&[unusable, ed.jwk(), ec.jwk(), other_ed.jwk()]).await;
    assert_eq!(verify(&authenticator, &ed.token()).await, Ok(()));
    assert_eq!(verify(&authenticator, &ec.token()).await, Ok(()));
    assert_eq!(
        verify(&authenticator, &other_ed.token()).await,
        Err(BAD_SIGNATURE)
    );
}

#[tokio::test]
async fn kid_is_optional_if_one_key_is_usable() {
    let [first, second] = ["a", "b"].map(|kid| TestKey::new(kid, Algorithm::EdDSA));
    let nameless = first.sign(Algorithm::EdDSA, None);
    let unusable = with(&second.jwk(), "use", "enc");
    let one = with_keys(&[first.jwk(), unusable]).await;
    assert_eq!(verify(&one, &nameless).await, Ok(()));
    let two = with_keys(&[first.jwk(), second.jwk()]).await;
    assert_eq!(verify(&two, &nameless).await, Err(UNKNOWN_KEY));
    let [ec, rsa] = [Algorithm::ES256, Algorithm::RS256].map(|other| TestKey::new("c", other));
    let mixed = with_keys(&[ec.jwk(), first.jwk(), rsa.jwk()]).await;
    assert_eq!(verify(&mixed, &nameless).await, Ok(()));
    let forged = second.sign(Algorithm::EdDSA, None);
    assert_eq!(verify(&mixed, &forged).await, Err(BAD_SIGNATURE));
    let none_fits = with_keys(&[ec.jwk(), rsa.jwk()]).await;
    assert_eq!(verify(&none_fits, &nameless).await, Err(ALGORITHM));
    let unnamed = with_keys(&[without(&first.jwk(), "kid")]).await;
    assert_eq!(verify(&unnamed, &nameless).await, Ok(()));
    assert_eq!(verify(&unnamed, &first.token()).await, Err(UNKNOWN_KEY));
}

/// Encodes a point of its first byte, thirty equal bytes, and its last byte.
fn point(first: &str, middle: &str, last: &str) -> String {
    let byte = |text| u8::from_str_radix(text, 16).unwrap();
    let mut point = [byte(middle); 32];
    (point[0], point[31]) = (byte(first), byte(last));
    URL_SAFE_NO_PAD.encode(point)
}

#[rstest]
#[case::for_encryption(Algorithm::EdDSA, "use", json!("enc"))]
#[case::for_an_unknown_use(Algorithm::EdDSA, "use", json!("tls"))]
#[case::for_signing_only(Algorithm::EdDSA, "key_ops", json!(["sign"]))]
#[case::for_no_operation(Algorithm::EdDSA, "key_ops", json!([]))]
#[case::symmetric(Algorithm::HS256, "use", json!("sig"))]
#[case::of_unknown_type(Algorithm::EdDSA, "kty", json!("AKP"))]
#[case::of_an_agreement_curve(Algorithm::EdDSA, "crv", json!("X25519"))]
#[case::of_a_curve_of_another_type(Algorithm::ES256, "crv", json!("Ed25519"))]
#[case::of_curve_p_521(Algorithm::ES256, "crv", json!("P-521"))]
#[case::of_curve_secp256k1(Algorithm::ES256, "crv", json!("secp256k1"))]
#[case::without_a_curve(Algorithm::ES256, "crv", Value::Null)]
#[case::off_its_curve(Algorithm::ES256, "y", json!(URL_SAFE_NO_PAD.encode([1; 32])))]
#[case::with_a_short_coordinate(Algorithm::ES256, "x", json!(URL_SAFE_NO_PAD.encode([1; 31])))]
#[case::with_a_short_point(Algorithm::EdDSA, "x", json!(URL_SAFE_NO_PAD.encode([1; 31])))]
#[case::of_order_1(Algorithm::EdDSA, "x", json!(point("01", "00", "00")))]
#[case::of_order_2(Algorithm::EdDSA, "x", json!(point("ec", "ff", "7f")))]
#[case::of_order_4(Algorithm::EdDSA, "x", json!(point("00", "00", "00")))]
#[case::of_order_4_with_sign(Algorithm::EdDSA, "x", json!(point("00", "00", "80")))]
#[case::of_order_8(Algorithm::EdDSA, "x", json!("xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o"))]
#[case::of_small_order_not_canonical(Algorithm::EdDSA, "x", json!(point("ee", "ff", "7f")))]
#[case::not_canonical(Algorithm::EdDSA, "x", json!(point("f0", "ff", "7f")))]
#[case::off_the_edwards_curve(Algorithm::EdDSA, "x", json!(point("02", "00", "00")))]
#[case::with_padded_base64(Algorithm::EdDSA, "x", json!("AAAA="))]
#[case::with_a_number_for_a_text(Algorithm::EdDSA, "x", json!(1))]
#[case::with_exponent_1(Algorithm::RS256, "e", json!("AQ"))]
#[case::with_an_even_exponent(Algorithm::RS256, "e", json!("BA"))]
#[case::with_a_huge_exponent(Algorithm::RS256, "e", json!(URL_SAFE_NO_PAD.encode([255; 9])))]
#[case::without_an_exponent(Algorithm::RS256, "e", json!(""))]
#[case::with_an_empty_modulus(Algorithm::RS256, "n", json!(""))]
#[case::for_another_algorithm(Algorithm::RS256, "alg", json!("RSA-OAEP"))]
#[case::for_an_algorithm_of_another_type(Algorithm::RS256, "alg", json!("ES256"))]
#[case::for_hmac(Algorithm::RS256, "alg", json!("HS256"))]
fn unusable_key_is_skipped(
    #[case] algorithm: Algorithm,
    #[case] member: &str,
    #[case] value: Value,
) {
    let broken = with(&TestKey::new("a", algorithm).jwk(), member, value);
    let alone = KeySet::parse(key_set(std::slice::from_ref(&broken)).as_bytes());
    assert!(alone.unwrap().is_empty());
    let good = TestKey::new("b", Algorithm::EdDSA);
    let set = KeySet::parse(key_set(&[json!("x"), broken, good.jwk()]).as_bytes()).unwrap();
    assert!(set.find(Some("b"), Algorithm::EdDSA).is_ok());
    assert!(set.find(Some("a"), algorithm).is_err());
}

#[rstest]
#[case::with_a_number_out_of_range(r#"{"kty":"RSA","kid":"a","x":1e999}"#)]
#[case::with_half_a_surrogate(r#"{"kty":"OKP","kid":"a","crv":"\ud800"}"#)]
#[case::with_a_member_twice(r#"{"kty":"OKP","kty":"RSA","kid":"a"}"#)]
#[case::that_is_null("null")]
#[case::that_is_a_list("[]")]
fn unreadable_entry_does_not_affect_other_keys(#[case] entry: &str) {
    let good = TestKey::new("b", Algorithm::EdDSA).jwk();
    let set = format!("\u{feff}{{\"keys\":[{entry},{good}]}}");
    let set = KeySet::parse(set.as_bytes()).unwrap();
    assert!(set.find(Some("b"), Algorithm::EdDSA).is_ok());
    assert!(set.find(Some("a"), Algorithm::RS256).is_err());
}

#[tokio::test]
async fn ed25519_is_an_alias_of_eddsa() {
    let key = TestKey::new("a", Algorithm::EdDSA);
    for alg in ["EdDSA", "Ed25519"] {
        let authenticator = with_keys(&[with(&key.jwk(), "alg", alg)]).await;
        for named in ["EdDSA", "Ed25519"] {
            let header = json!({ "alg": named, "kid": "a" });
            let token = key.sign_message(&header, &claims(), Algorithm::EdDSA);
            assert_eq!(
                verify(&authenticator, &token).await,
                Ok(()),
                "{named} by {alg}"
            );
        }
    }
}

#[test]
fn rsa_key_with_less_than_2048_bits_is_skipped() {
    let jwk = TestKey::new("a", Algorithm::RS256).jwk();
    let mut modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let mut parse = |top: u8, zeros: usize| {
        modulus[0] = top;
        let n = [vec![0; zeros], modulus.clone()].concat();
        KeySet::parse(key_set(&[with(&jwk, "n", URL_SAFE_NO_PAD.encode(n))]).as_bytes())
            .is_ok_and(|set| !set.is_empty())
    };
    assert!(parse(0x80, 0));
    assert!(parse(0x80, 1), "leading zeros do not count");
    assert!(!parse(0x7f, 0));
    assert!(!parse(0x7f, 1));
}

#[rstest]
#[case("")]
#[case("null")]
#[case("[]")]
#[case("{}")]
#[case(r#"{"keys":{}}"#)]
#[case(r#"{"keys":[],"keys":[]}"#)]
#[case("<html></html>")]
fn document_that_is_not_a_key_set_is_rejected(#[case] document: &str) {
    let rejected = KeySet::parse(document.as_bytes()).err();
    assert_eq!(rejected, Some("it is not a JWK Set"));
}
