//! Access tokens as identity providers issue them by default, with invented values and a key set
//! with unrelated keys. docs/guides/identity-providers.md shows the same tokens.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use contact_service::api::{auth::AuthSettings, proto::GetCustomerRequest};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Backend, Options, TestServer, rejection};

const KID: &str = "kXm3PqZ1vT0wLr8yBd5s";

/// Shared, because generating RSA keys is slow.
static KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let base64 = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
});

/// The public key of [`KEY`] among unusable keys.
fn key_set() -> String {
    let jwk = Jwk::from_encoding_key(&KEY, Algorithm::RS256).unwrap();
    let mut good = serde_json::to_value(jwk).unwrap();
    good["kid"] = KID.into();
    good["use"] = "sig".into();
    good["alg"] = "RS256".into();
    let mut encrypts = good.clone();
    encrypts["use"] = "enc".into();
    encrypts["alg"] = "RSA-OAEP".into();
    let unknown = json!({ "kty": "AKP", "kid": "pq-1", "alg": "ML-DSA-44", "pub": "AAAA" });
    let broken = json!({ "kty": "RSA", "kid": "broken", "use": "sig", "n": 17, "e": "AQAB" });
    let unreadable = r#"{"kty":"EC","kid":"odd","crv":"P-256","x":1e999,"y":"\ud800"}"#;
    format!(r#"{{"keys":[{encrypts},{unknown},{broken},{unreadable},{good}]}}"#)
}

/// A provider's token, and the settings it requires in addition to issuer and audience.
struct Provider {
    issuer: &'static str,
    audience: &'static str,
    settings: &'static [(&'static str, &'static str)],
    typ: &'static str,
    /// Without the time claims, with the scope `customers.read`.
    claims: Value,
    has_nbf: bool,
    /// Additional claims in a customer's token.
    customer: Value,
}

fn keycloak() -> Provider {
    Provider {
        issuer: "https://sso.hoster.example/realms/hoster",
        audience: "contact-service",
        settings: &[],
        typ: "JWT",
        has_nbf: false,
        claims: json!({
            "jti": "trrtcc:5b1f0f3c-8c1f-4b0e-a2d8-0d7b9a2f4c11",
            "aud": ["contact-service", "account"],
            "sub": "9f0c3b52-7b0e-4c3a-9f52-1f1c2d3e4f50",
            "typ": "Bearer",
            "azp": "portal-bff",
            "sid": "3d2a1c4b-0000-4000-8000-5e6f7a8b9c0d",
            "acr": "1",
            "allowed-origins": ["https://portal.hoster.example"],
            "realm_access": { "roles": ["default-roles-hoster", "offline_access"] },
            "resource_access": { "account": { "roles": ["manage-account", "view-profile"] } },
            "scope": "email profile customers.read",
            "email_verified": true,
            "preferred_username": "anna",
        }),
        customer: json!({ "customer_number": "K-1" }),
    }
}

fn keycloak_with_client_roles() -> Provider {
    let mut provider = keycloak();
    provider.settings = &[("JWT_SCOPE_CLAIM", "resource_access.contact.service.roles")];
    provider.claims["scope"] = "email profile".into();
    provider.claims["resource_access"]["contact.service"] = json!({ "roles": ["customers.read"] });
    provider
}

fn auth0() -> Provider {
    Provider {
        issuer: "https://hoster.eu.auth0.example/",
        audience: "https://contact.hoster.example",
        settings: &[(
            "JWT_CUSTOMER_CLAIM",
            "https://hoster.example/customer_number",
        )],
        typ: "at+jwt",
        has_nbf: false,
        claims: json!({
            "sub": "qk2Wd8XbVYz0aUoS3nGt@clients",
            "aud": "https://contact.hoster.example",
            "azp": "qk2Wd8XbVYz0aUoS3nGt",
            "scope": "customers.read",
            "gty": "client-credentials",
        }),
        customer: json!({ "https://hoster.example/customer_number": "K-1" }),
    }
}

fn auth0_with_rbac() -> Provider {
    let mut provider = auth0();
    provider.settings = &[
        ("JWT_SCOPE_CLAIM", "permissions"),
        (
            "JWT_CUSTOMER_CLAIM",
            "https://hoster.example/customer_number",
        ),
    ];
    provider.claims["scope"] = "openid profile".into();
    provider.claims["permissions"] = json!(["customers.read"]);
    provider
}

fn okta() -> Provider {
    Provider {
        issuer: "https://hoster.okta.example/oauth2/default",
        audience: "api://default",
        settings: &[],
        typ: "JWT",
        has_nbf: false,
        claims: json!({
            "ver": 1,
            "jti": "AT.0mP4x1c2QkVYb8zWt3sL7nRj6hGf5dSa9oIuYtReWqE",
            "aud": "api://default",
            "cid": "0oa1b2c3d4e5f6g7h8i9",
            "uid": "00u1b2c3d4e5f6g7h8i9",
            "scp": ["openid", "customers.read"],
            "auth_time": 1_767_225_600,
            "sub": "anna@hoster.example",
        }),
        customer: json!({ "customer_number": "K-1" }),
    }
}

fn entra_v1() -> Provider {
    Provider {
        issuer: "https://sts.windows.example/8f3b6c1e-2d4a-4f5b-9c6d-7e8f9a0b1c2d/",
        audience: "api://contact-service",
        settings: &[("JWT_SCOPE_CLAIM", "roles")],
        typ: "JWT",
        has_nbf: true,
        claims: json!({
            "aud": "api://contact-service",
            "aio": "k2RgYPj5/v3kAw==",
            "appid": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
            "appidacr": "1",
            "idp": "https://sts.windows.example/8f3b6c1e-2d4a-4f5b-9c6d-7e8f9a0b1c2d/",
            "oid": "2d3e4f5a-6b7c-4d8e-9f0a-1b2c3d4e5f6a",
            "rh": "1.AXkA.",
            "roles": ["customers.read"],
            "sub": "2d3e4f5a-6b7c-4d8e-9f0a-1b2c3d4e5f6a",
            "tid": "8f3b6c1e-2d4a-4f5b-9c6d-7e8f9a0b1c2d",
            "uti": "Zb3kQe0x",
            "ver": "1.0",
        }),
        customer: json!({ "customer_number": "K-1" }),
    }
}

fn entra_v2() -> Provider {
    Provider {
        issuer: "https://login.microsoftonline.example/8f3b6c1e-2d4a-4f5b-9c6d-7e8f9a0b1c2d/v2.0",
        audience: "6b7c8d9e-0f1a-4b2c-8d3e-4f5a6b7c8d9e",
        settings: &[("JWT_CUSTOMER_CLAIM", "extn.customer_number")],
        typ: "JWT",
        has_nbf: true,
        claims: json!({
            "aud": "6b7c8d9e-0f1a-4b2c-8d3e-4f5a6b7c8d9e",
            "aio": "AWQAm/8ZAAAA",
            "azp": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
            "azpacr": "0",
            "name": "Anna Schmidt",
            "oid": "3e4f5a6b-7c8d-4e9f-8a1b-2c3d4e5f6a7b",
            "preferred_username": "anna@hoster.example",
            "rh": "1.AXkA.",
            "scp": "customers.read",
            "sub": "pXr7sT2uVw9yZa1bCd3eFg5hIj7kLm9nOp1qRs3tUv5",
            "tid": "8f3b6c1e-2d4a-4f5b-9c6d-7e8f9a0b1c2d",
            "uti": "aB1cD2eF",
            "ver": "2.0",
        }),
        customer: json!({ "extn.customer_number": "K-1" }),
    }
}

fn hydra() -> Provider {
    Provider {
        issuer: "https://auth.hoster.example",
        audience: "contact-service",
        settings: &[("JWT_CUSTOMER_CLAIM", "ext.customer_number")],
        typ: "JWT",
        has_nbf: true,
        claims: json!({
            "aud": ["contact-service"],
            "client_id": "4f5a6b7c-8d9e-4f0a-9b1c-2d3e4f5a6b7c",
            "ext": {},
            "jti": "5a6b7c8d-9e0f-4a1b-8c2d-3e4f5a6b7c8d",
            "scp": ["customers.read"],
            "sub": "4f5a6b7c-8d9e-4f0a-9b1c-2d3e4f5a6b7c",
        }),
        customer: json!({ "ext": { "customer_number": "K-1" } }),
    }
}

fn zitadel() -> Provider {
    Provider {
        issuer: "https://hoster-a1b2c3.zitadel.example",
        audience: "271828182845904523",
        settings: &[("JWT_SCOPE_CLAIM", "urn:zitadel:iam:org:project:roles")],
        typ: "JWT",
        has_nbf: true,
        claims: json!({
            "aud": ["314159265358979323@hoster", "271828182845904523"],
            "client_id": "314159265358979323@hoster",
            "jti": "V2_161803398874989484-at_161803398874989485",
            "sub": "141421356237309504",
            "urn:zitadel:iam:org:project:roles": {
                "customers.read": { "173205080756887729": "hoster.zitadel.example" },
            },
        }),
        customer: json!({ "customer_number": "K-1" }),
    }
}

/// Google's own access tokens are opaque; its Identity Platform issues JWTs with custom claims.
fn google() -> Provider {
    Provider {
        issuer: "https://securetoken.google.example/hoster-portal",
        audience: "hoster-portal",
        settings: &[("JWT_SCOPE_CLAIM", "contact_scopes")],
        typ: "JWT",
        has_nbf: false,
        claims: json!({
            "aud": "hoster-portal",
            "auth_time": 1_767_225_600,
            "user_id": "x7Kq2mVbT9PzLw4r",
            "sub": "x7Kq2mVbT9PzLw4r",
            "email": "anna@hoster.example",
            "email_verified": true,
            "firebase": { "identities": { "email": ["anna@hoster.example"] }, "sign_in_provider": "password" },
            "contact_scopes": ["customers.read"],
        }),
        customer: json!({ "customer_number": "K-1" }),
    }
}

impl Provider {
    fn auth_settings(&self) -> AuthSettings {
        let mut auth = AuthSettings::new(self.issuer, self.audience);
        assert!(self.settings.len() <= 2);
        for (name, value) in self.settings {
            match *name {
                "JWT_SCOPE_CLAIM" => auth.scope_claim = Some((*value).to_owned()),
                "JWT_CUSTOMER_CLAIM" => (*value).clone_into(&mut auth.customer_claim),
                other => panic!("{other}"),
            }
        }
        auth
    }

    fn token(&self, now: i64, of_customer: bool) -> String {
        let mut claims = self.claims.clone();
        let all = claims.as_object_mut().unwrap();
        all.insert("iss".to_owned(), self.issuer.into());
        all.insert("iat".to_owned(), now.into());
        all.insert("exp".to_owned(), (now + 300).into());
        if self.has_nbf {
            all.insert("nbf".to_owned(), now.into());
        }
        if of_customer {
            all.extend(self.customer.as_object().unwrap().clone());
        }
        let header = Header {
            typ: Some(self.typ.to_owned()),
            kid: Some(KID.to_owned()),
            x5t: Some(KID.to_owned()),
            ..Header::new(Algorithm::RS256)
        };
        jsonwebtoken::encode(&header, &claims, &KEY).unwrap()
    }
}

#[rstest]
#[case::keycloak(keycloak())]
#[case::keycloak_with_client_roles(keycloak_with_client_roles())]
#[case::auth0(auth0())]
#[case::auth0_with_rbac(auth0_with_rbac())]
#[case::okta(okta())]
#[case::entra_v1(entra_v1())]
#[case::entra_v2(entra_v2())]
#[case::hydra(hydra())]
#[case::zitadel(zitadel())]
#[case::google(google())]
#[tokio::test]
async fn tokens_of_common_providers_are_accepted(
    #[case] provider: Provider,
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    std::fs::write(&keys, key_set()).unwrap();
    let options = Options {
        jwks: Some(keys.to_str().unwrap().to_owned()),
        auth: Some(provider.auth_settings()),
        ..Options::default()
    };
    let server = TestServer::start_with(backend, options).await;
    let now = server.now().timestamp();
    let get = async |token: String, number: &str| {
        let request = GetCustomerRequest {
            customer_number: number.to_owned(),
        };
        rejection(server.client_with(token).get_customer(request).await)
    };
    let (not_found, own) = (
        (Code::NotFound, "CUSTOMER_NOT_FOUND".to_owned()),
        provider.token(now, true),
    );
    assert_eq!(get(provider.token(now, false), "K-2").await, not_found);
    assert_eq!(get(own.clone(), "K-1").await, not_found);
    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
    assert_eq!(get(own, "K-2").await, mismatch);
}
