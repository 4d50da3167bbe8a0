//! Tests of generated files, their permissions, concurrent starts, and minted tokens.

use std::sync::Barrier;

use secrecy::ExposeSecret;

use super::*;

const FILES: [&str; 3] = [JWT_KEY_FILE, SERVICE_KEY_FILE, PEPPER_FILE];

fn key_files(dir: &Path) -> [String; 3] {
    FILES.map(|name| fs::read_to_string(dir.join(name)).unwrap())
}

#[test]
fn keys_are_generated_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("created/if/missing");
    let first = DevelopmentKeys::load_or_create(&dir, &Random::system()).unwrap();
    let files = key_files(&dir);
    let second = DevelopmentKeys::load_or_create(&dir, &Random::system()).unwrap();
    assert_eq!(first.jwks(), second.jwks());
    assert_eq!(
        first.service_keys().expose_secret(),
        second.service_keys().expose_secret()
    );
    assert_eq!(key_files(&dir), files);
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        FILES.len(),
        "no other files"
    );
}

#[test]
fn concurrent_starts_load_the_same_keys() {
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(4);
        let load = || {
            barrier.wait();
            let keys = DevelopmentKeys::load_or_create(folder.path(), &Random::system());
            let keys = keys.unwrap();
            (keys.jwks(), keys.service_keys().expose_secret().to_owned())
        };
        let loaded: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(loaded.iter().all(|keys| *keys == loaded[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), FILES.len());
    }
}

#[cfg(unix)]
#[test]
fn files_are_accessible_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    DevelopmentKeys::load_or_create(folder.path(), &Random::system()).unwrap();
    for name in FILES {
        let path = folder.path().join(name);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        for mode in [0o640, 0o604, 0o622] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = DevelopmentKeys::load_or_create(folder.path(), &Random::system());
            let error = error.unwrap_err();
            assert!(
                error.contains(name) && error.contains("other than its owner"),
                "{error}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn invalid_file_is_named_and_not_replaced() {
    for (name, contents) in [
        (
            JWT_KEY_FILE,
            &[
                "",
                "x",
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            ][..],
        ),
        (
            SERVICE_KEY_FILE,
            &[
                "",
                "1:",
                "1:AAAA",
                "2:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        DevelopmentKeys::load_or_create(folder.path(), &Random::system()).unwrap();
        for content in contents {
            fs::write(folder.path().join(name), content).unwrap();
            let error = DevelopmentKeys::load_or_create(folder.path(), &Random::system());
            let error = error.unwrap_err();
            assert!(
                error.contains(name) && error.contains("is invalid"),
                "{error}"
            );
            assert!(!error.contains('\n'));
            assert_eq!(
                fs::read_to_string(folder.path().join(name)).unwrap(),
                *content
            );
        }
    }
}

#[test]
fn folder_that_cannot_be_created_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = DevelopmentKeys::load_or_create(file.path(), &Random::system()).unwrap_err();
    assert!(error.starts_with(file.path().to_str().unwrap()), "{error}");
}

#[test]
fn debug_output_contains_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = DevelopmentKeys::load_or_create(folder.path(), &Random::system()).unwrap();
    let printed = format!("{keys:?}");
    assert_eq!(
        printed,
        format!("DevelopmentKeys {{ kid: {:?}, .. }}", keys.kid())
    );
}

#[test]
fn minted_token_has_the_requested_claims() {
    let folder = tempfile::tempdir().unwrap();
    let keys = DevelopmentKeys::load_or_create(folder.path(), &Random::system()).unwrap();
    let now = DateTime::from_timestamp(1_700_000_000, 5).unwrap();
    let customer = CustomerNumber::parse("K-1").unwrap();
    let ttl = TimeDelta::minutes(15);
    let mint = |customer| keys.mint("i", "a", "s", "x y", customer, ttl, now).unwrap();
    let part = |token: &str, index| -> serde_json::Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let token = mint(Some(&customer));
    assert_eq!(
        part(&token, 0),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": keys.kid() })
    );
    let claims = json!({
        "iss": "i", "aud": "a", "sub": "s", "scope": "x y", "customer_number": "K-1",
        "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_000_900,
    });
    assert_eq!(part(&token, 1), claims);
    assert_eq!(part(&mint(None), 1).get("customer_number"), None);
    let keys = keys.with_claims("roles", "ext.customer");
    let token = keys.mint("i", "a", "s", "x y", Some(&customer), ttl, now);
    let claims = part(&token.unwrap(), 1);
    assert_eq!(claims.get("roles"), Some(&json!("x y")));
    assert_eq!(claims.get("ext.customer"), Some(&json!("K-1")));
    assert_eq!(claims.as_object().unwrap().len(), 8);
    let endless = keys.mint("i", "a", "s", "", None, TimeDelta::MAX, now);
    assert!(endless.is_err());
}
