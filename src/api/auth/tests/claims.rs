//! Claims: names, paths, forms and settings.

use super::*;
use crate::api::auth::Scope;

/// Authenticates a token whose claims have these members added, or removed (null).
async fn caller(settings: AuthSettings, changes: Value) -> Result<Caller> {
    let mut claims = claims();
    for name in ["scope", "customer_number"] {
        claims = without(&claims, name);
    }
    for (name, value) in changes.as_object().unwrap() {
        claims = if value.is_null() {
            without(&claims, name)
        } else {
            with(&claims, name, value.clone())
        };
    }
    let key = TestKey::new("a", Algorithm::EdDSA);
    let authenticator = with_settings(settings, &[key.jwk()]).await;
    let bearer = format!("Bearer {}", key.sign_claims(&claims));
    let value = HeaderValue::from_str(&bearer).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    authenticator.authenticate(&headers).await
}

fn by_scope_claim(name: &str) -> AuthSettings {
    AuthSettings {
        scope_claim: Some(name.to_owned()),
        ..settings()
    }
}

fn by_customer_claim(name: &str) -> AuthSettings {
    AuthSettings {
        customer_claim: name.to_owned(),
        ..settings()
    }
}

fn may_read(caller: &Caller) -> bool {
    caller.require(Scope::ContactsRead).is_ok()
}

#[rstest]
#[case::sub_first(json!({ "sub": "s", "client_id": "c" }), "s")]
#[case::client_id(json!({ "sub": null, "client_id": "c", "azp": "z" }), "c")]
#[case::azp(json!({ "sub": null, "azp": "z", "appid": "i" }), "z")]
#[case::appid(json!({ "sub": null, "appid": "i" }), "i")]
#[tokio::test]
async fn first_subject_claim_names_the_caller(#[case] changes: Value, #[case] expected: &str) {
    let caller = caller(settings(), changes).await.unwrap();
    assert_eq!(caller.actor().0, expected);
}

#[rstest]
#[case::empty(json!({ "sub": "", "client_id": "c" }), "sub")]
#[case::of_a_client(json!({ "sub": null, "client_id": 1, "azp": "z" }), "client_id")]
#[tokio::test]
async fn unusable_subject_claim_is_rejected(#[case] changes: Value, #[case] claim: &str) {
    let expected = Error::token_claim(TokenFault::Malformed, claim);
    assert_eq!(caller(settings(), changes).await.unwrap_err(), expected);
}

#[rstest]
#[case::text(json!({ "scope": "x contacts.read" }), true)]
#[case::list(json!({ "scope": ["x", "contacts.read"] }), true)]
#[case::scp_text(json!({ "scp": "contacts.read" }), true)]
#[case::scp_list(json!({ "scp": ["contacts.read"] }), true)]
#[case::permissions(json!({ "permissions": ["contacts.read"] }), true)]
#[case::roles_of_organizations(json!({ "scp": { "contacts.read": { "1": "a.example" } } }), true)]
#[case::the_first_alone(json!({ "scope": "", "scp": ["contacts.read"] }), false)]
#[case::the_second_alone(json!({ "scp": [], "permissions": ["contacts.read"] }), false)]
#[case::no_such_claim(json!({ "roles": ["contacts.read"] }), false)]
#[case::a_list_element_is_one_name(json!({ "scope": ["x contacts.read"] }), false)]
#[case::a_role_is_one_name(json!({ "scope": { "x contacts.read": { "1": "a" } } }), false)]
#[tokio::test]
async fn scopes_are_read_from_the_first_claim_in_each_form(
    #[case] changes: Value,
    #[case] expected: bool,
) {
    let caller = caller(settings(), changes).await.unwrap();
    assert_eq!(may_read(&caller), expected);
}

#[rstest]
#[case::number("scope", json!({ "scope": 1 }))]
#[case::flags("scp", json!({ "scp": { "contacts.read": true } }))]
#[case::no_organization("scp", json!({ "scp": { "contacts.read": {} } }))]
#[case::one_of_two("scope", json!({ "scope": { "a": { "1": "a" }, "contacts.read": false } }))]
#[case::mixed_list("permissions", json!({ "permissions": ["contacts.read", {}] }))]
#[case::first_of_several("scope", json!({ "scope": false, "scp": "contacts.read" }))]
#[tokio::test]
async fn scope_claim_of_another_type_is_rejected(#[case] claim: &str, #[case] changes: Value) {
    let expected = Error::token_claim(TokenFault::Malformed, claim);
    assert_eq!(caller(settings(), changes).await.unwrap_err(), expected);
}

#[rstest]
#[case::name("roles", json!({ "roles": ["contacts.read"] }), true)]
#[case::path("realm.x.roles", json!({ "realm": { "x": { "roles": "contacts.read" } } }), true)]
#[case::url("https://h.example/s", json!({ "https://h.example/s": "contacts.read" }), true)]
#[case::no_other_claim("roles", json!({ "scope": "contacts.read" }), false)]
#[tokio::test]
async fn only_the_configured_scope_claim_is_read(
    #[case] name: &str,
    #[case] changes: Value,
    #[case] expected: bool,
) {
    let caller = caller(by_scope_claim(name), changes).await.unwrap();
    assert_eq!(may_read(&caller), expected);
}

#[rstest]
#[case::name("customer", json!({ "customer": "K-1" }))]
#[case::path("ext.customer", json!({ "ext": { "customer": "K-1" } }))]
#[case::url("https://h.example/c", json!({ "https://h.example/c": "K-1" }))]
#[case::dotted("extn.c", json!({ "extn.c": "K-1", "extn": { "c": "K-2" } }))]
#[tokio::test]
async fn customer_claim_is_found_by_name_or_path(#[case] name: &str, #[case] changes: Value) {
    let caller = caller(by_customer_claim(name), changes).await.unwrap();
    assert_eq!(caller.customer().unwrap().as_str(), "K-1");
}

#[rstest]
#[case("ext.customer", json!({}))]
#[case("ext.customer", json!({ "ext": {} }))]
#[case("ext.customer", json!({ "customer": "K-1" }))]
#[tokio::test]
async fn token_without_customer_claim_has_no_tenant(#[case] name: &str, #[case] changes: Value) {
    let caller = caller(by_customer_claim(name), changes).await.unwrap();
    assert_eq!(caller.customer(), None);
}

#[rstest]
#[case(json!({ "ext": "K-1" }))]
#[case(json!({ "ext": ["K-1"] }))]
#[case(json!({ "ext": [{ "customer": "K-1" }] }))]
#[case(json!({ "ext": { "customer": Value::Null } }))]
#[case(json!({ "ext": { "customer": "" } }))]
#[case(json!({ "ext": { "customer": 1 } }))]
#[case(json!({ "ext": { "customer": ["K-1"] } }))]
#[case(json!({ "ext": { "customer": { "K-1": true } } }))]
#[case(json!({ "ext": { "customer": "K 1" } }))]
#[case(json!({ "ext": { "customer": "K-1 " } }))]
#[case(json!({ "ext.customer": 1, "ext": { "customer": "K-1" } }))]
#[tokio::test]
async fn unusable_customer_claim_is_rejected(#[case] changes: Value) {
    let settings = by_customer_claim("ext.customer");
    let expected = Error::token_claim(TokenFault::Malformed, "ext.customer");
    assert_eq!(caller(settings, changes).await.unwrap_err(), expected);
}

#[rstest]
#[case::first(json!("contact-service"), true)]
#[case::second(json!("api://contact"), true)]
#[case::among_others(json!(["x", "api://contact"]), true)]
#[case::neither(json!("contact-service,api://contact"), false)]
#[tokio::test]
async fn one_audience_of_the_list_must_match(#[case] aud: Value, #[case] is_accepted: bool) {
    let settings = AuthSettings {
        audiences: ["contact-service", "api://contact"]
            .map(str::to_owned)
            .into(),
        ..settings()
    };
    let caller = caller(settings, json!({ "aud": aud })).await;
    let expected = Error::token_claim(TokenFault::Audience, "aud");
    assert_eq!(caller.err(), (!is_accepted).then_some(expected));
}

#[rstest]
#[case(0)]
#[case(120)]
#[tokio::test]
async fn leeway_is_configurable(#[case] leeway: i64) {
    let settings = AuthSettings {
        leeway: chrono::TimeDelta::seconds(leeway),
        ..settings()
    };
    let now = now().timestamp();
    for (changes, expected) in [
        (json!({ "nbf": now + leeway }), None),
        (
            json!({ "nbf": now + leeway + 1 }),
            Some(Error::token_claim(TokenFault::NotYetValid, "nbf")),
        ),
        (
            json!({ "nbf": null, "iat": now + leeway + 1 }),
            Some(Error::token_claim(TokenFault::NotYetValid, "iat")),
        ),
        (json!({ "exp": now - leeway + 1 }), None),
        (json!({ "exp": now - leeway }), Some(Error::TokenExpired)),
    ] {
        let caller = caller(settings.clone(), changes.clone()).await;
        assert_eq!(caller.err(), expected, "{changes}");
    }
}

/// The test token has no `iat`, and is valid for a day.
#[rstest]
#[case::day(json!({ "iat": now().timestamp() }), true)]
#[case::day_and_leeway(json!({ "iat": now().timestamp() - 30 }), true)]
#[case::too_long(json!({ "iat": now().timestamp() - 31 }), false)]
#[case::too_long_by_a_fraction(json!({ "exp": 1_772_366_400.0 + 86_430.5 }), false)]
#[case::without_iat(json!({ "exp": now().timestamp() + 86_430 }), true)]
#[case::too_long_without_iat(json!({ "exp": now().timestamp() + 86_431 }), false)]
#[case::ten_years(json!({ "exp": now().timestamp() + 315_360_000 }), false)]
#[case::ten_years_issued_long_ago(json!({ "iat": 1, "exp": now().timestamp() + 1 }), false)]
#[case::beyond_any_calendar(json!({ "exp": 1e300 }), false)]
#[tokio::test]
async fn lifetime_of_a_token_is_limited_to_a_day(
    #[case] changes: Value,
    #[case] is_accepted: bool,
) {
    let caller = caller(settings(), changes).await;
    let expected = Error::token_claim(TokenFault::Lifetime, "exp");
    assert_eq!(caller.err(), (!is_accepted).then_some(expected));
}

#[tokio::test]
async fn token_issued_in_the_future_is_not_yet_valid() {
    let now = now().timestamp();
    let changes = json!({ "nbf": null, "iat": now + 86_400, "exp": now + 90_000 });
    let expected = Error::token_claim(TokenFault::NotYetValid, "iat");
    assert_eq!(caller(settings(), changes).await.err(), Some(expected));
}

#[rstest]
#[case::sub("sub", json!({ "sub": "contact-service" }))]
#[case::page("sub", json!({ "sub": "confirmation-page" }))]
#[case::command_line("sub", json!({ "sub": "command-line" }))]
#[case::import("sub", json!({ "sub": "import" }))]
#[case::demo("sub", json!({ "sub": "demo" }))]
#[case::client_id("client_id", json!({ "sub": null, "client_id": "contact-service" }))]
#[case::azp("azp", json!({ "sub": null, "azp": "contact-service" }))]
#[case::appid("appid", json!({ "sub": null, "appid": "contact-service" }))]
#[case::other_case_and_blank("sub", json!({ "sub": " Command-Line" }))]
#[tokio::test]
async fn reserved_subject_is_rejected(#[case] claim: &str, #[case] changes: Value) {
    let expected = Error::token_claim(TokenFault::Subject, claim);
    assert_eq!(caller(settings(), changes).await.err(), Some(expected));
}

#[rstest]
#[case(json!({ "sub": "contact-service-bff" }))]
#[case(json!({ "sub": "anna", "client_id": "contact-service" }))]
#[tokio::test]
async fn subject_similar_to_a_reserved_one_is_accepted(#[case] changes: Value) {
    assert!(caller(settings(), changes).await.is_ok());
}
