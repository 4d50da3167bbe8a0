//! A wrong setting stops the start with one line that names it and says why, and
//! gives away nothing that may be secret.

use std::{fs, net::TcpListener};

use rstest::rstest;

use crate::process::{Backend, Place, fresh_schema};

/// Stands in every value that may be secret, as it is or in base64.
const SECRETS: [&str; 2] = ["hunter2", "aHVudGVyM"];
const KEY: &str = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnRlcjI=";

/// A place with files of which each is wrong.
fn place() -> Place {
    let place = Place::new().with("LISTEN_ADDR", "127.0.0.1:0");
    for (name, content) in [
        ("empty", " \n".to_owned()),
        ("rubbish", "hunter2: this is no setting".to_owned()),
        ("no-keys", r#"{"keys": []}"#.to_owned()),
        ("one-key", format!("1:{KEY}")),
    ] {
        fs::write(place.path().join(name), content).unwrap();
    }
    place
}

fn assert_refused(place: &Place, arguments: &[&str], setting: &str, why: &str) {
    let complaint = place.run(arguments).complaint();
    let named = complaint
        .strip_prefix(setting)
        .and_then(|rest| rest.strip_prefix(": "));
    assert!(named.is_some_and(|said| said.contains(why)), "{complaint}");
    for secret in SECRETS {
        assert!(!complaint.contains(secret), "{complaint}");
    }
}

#[rstest]
#[case("DATABASE_URL", "hunter2", "must be sqlite://")]
#[case("DATABASE_URL", "mysql://u:hunter2@localhost/db", "must be sqlite://")]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@localhost:port/db",
    "or postgres://"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@localhost/db?sslmode=maybe",
    "or postgres://"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@127.0.0.1:1/db",
    "does not answer"
)]
#[case("DATABASE_URL", "sqlite::memory:", "must be sqlite://")]
#[case("DATABASE_URL", "sqlite://:memory:", "must name a file")]
#[case("DATABASE_URL", "sqlite://hunter2?mode=memory", "must name a file")]
#[case("DATABASE_URL", "sqlite://rubbish/x.db?mode=rwc", "cannot be made")]
#[case("DATABASE_URL", "sqlite://missing.db", "cannot be opened")]
#[case("DATABASE_URL_FILE", "missing", "missing cannot be read")]
#[case("DATABASE_URL_FILE", "empty", "empty holds no DATABASE_URL")]
#[case("LISTEN_ADDR", "here", "is no address with a port")]
#[case("LISTEN_ADDR", "127.0.0.1", "is no address with a port")]
#[case("LISTEN_ADDR", "127.0.0.1:99999", "is no address with a port")]
#[case("LISTEN_ADDR", "0.0.0.0:0", "must be a loopback address")]
#[case("LISTEN_ADDR", "[::]:0", "must be a loopback address")]
#[case("LISTEN_ADDR", "192.0.2.1:50051", "must be a loopback address")]
#[case("HTTP_ADDR", "here", "is no address with a port")]
#[case("HTTP_ADDR", "0.0.0.0:0", "must be a loopback address")]
#[case("METRICS_ADDR", "here", "is no address with a port")]
#[case("METRICS_ADDR", "0.0.0.0:0", "must be a loopback address")]
#[case(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "https://u:hunter2@collector.example:4317",
    "must be an http URL"
)]
#[case("PUBLIC_URL", "contact.example", "must be an http or https URL")]
#[case(
    "PUBLIC_URL",
    "https://u:hunter2@contact.example",
    "must be an http or https URL"
)]
#[case("SMTP_URL", "mail.example", "must be smtp[s]://")]
#[case(
    "SMTP_URL",
    "smtp://u:hunter2@mail.example/hunter2",
    "must be smtp[s]://"
)]
#[case("SMTP_URL", "smtp://u:hunter2@mail.example?tls=none", "without TLS")]
#[case("SMTP_URL_FILE", "missing", "missing cannot be read")]
#[case("MAIL_FROM", "nobody", "must be an address")]
#[case("MAIL_FROM", "Hoster, Inc. <a@b.example>", "into double quotes")]
#[case("SMTP_HELO_NAME", "a_b.example", "must be a domain name")]
#[case("SMTP_HELO_NAME", "192.0.2.1", "an address in brackets")]
#[case("MAIL_TEMPLATES", "missing", "missing cannot be read")]
#[case("MAIL_TEMPLATES", ".", "replaces no template")]
#[case("JWT_JWKS", "missing", "missing")]
#[case("JWT_JWKS", "rubbish", "is not a JWK Set")]
#[case("JWT_JWKS", "no-keys", "no-keys")]
#[case(
    "JWT_JWKS",
    "http://u:hunter2@idp.example/keys?k=hunter2",
    "must be https"
)]
#[case(
    "JWT_JWKS",
    "http://u:hunter2@127.0.0.1:1/keys?k=hunter2",
    "http://127.0.0.1:1/keys"
)]
#[case("JWT_ISSUER", "", "must not be empty")]
#[case("JWT_ISSUER", "one,,two", "no element of a list may be")]
#[case("JWT_ISSUER", "http://idp.example", "must be an https URL")]
#[case("JWT_ISSUER", "https://u:hunter2@idp.example", "must be an https URL")]
#[case(
    "JWT_ISSUER",
    "https://idp.example,contact-service-dev",
    "https URLs only"
)]
#[case(
    "JWT_ISSUER",
    "http://127.0.0.1:1/realms/x/",
    "http://127.0.0.1:1/realms/x/.well-known/openid-configuration: the connection was refused"
)]
#[case("JWT_AUDIENCE", " ", "must not be empty")]
#[case("JWT_LEEWAY_SECONDS", "121", "must be 0 to 120")]
#[case("JWT_LEEWAY_SECONDS", "-1", "must be 0 to 120")]
#[case("JWT_LEEWAY_SECONDS", "", "must be 0 to 120")]
#[case("JWT_SCOPE_CLAIM", "scope\nhunter2", "must be a name")]
#[case("JWT_CUSTOMER_CLAIM", "customer\tnumber", "must be a name")]
#[case("SERVICE_KEYS", "hunter2", "must be version:base64")]
#[case("SERVICE_KEYS", "1:hunter2!", "must be version:base64")]
#[case("SERVICE_KEYS", "1:aHVudGVyMg==", "at least 32 bytes")]
#[case("SERVICE_KEYS", &format!("1:{KEY},1:{KEY}"), "must not name a version twice")]
#[case("SERVICE_KEYS_FILE", "missing", "missing cannot be read")]
#[case("SERVICE_KEYS_FILE", "empty", "empty holds no SERVICE_KEYS")]
#[case("LOG_FORMAT", "xml", "is neither \"text\" nor \"json\"")]
#[case("RUST_LOG", "=,=", "must be a level")]
#[case("RUST_LOG", "", "must not be empty")]
fn a_wrong_setting_is_told_in_one_line_without_secrets(
    #[case] setting: &'static str,
    #[case] value: &str,
    #[case] why: &str,
) {
    assert_refused(&place().with(setting, value), &[], setting, why);
}

#[rstest]
#[case("DATABASE_URL_FILE", "DATABASE_URL", "must be sqlite://")]
#[case("SERVICE_KEYS_FILE", "SERVICE_KEYS", "must be version:base64")]
fn a_wrong_setting_in_a_file_is_told_without_secrets(
    #[case] file_setting: &'static str,
    #[case] setting: &str,
    #[case] why: &str,
) {
    assert_refused(&place().with(file_setting, "rubbish"), &[], setting, why);
}

#[test]
fn a_value_beside_its_file_is_refused_and_a_flag_goes_before_its_variable() {
    let place = place()
        .with("SERVICE_KEYS", "hunter2")
        .with("SERVICE_KEYS_FILE", "one-key")
        .with("LOG_FORMAT", "text");
    let flags = ["--log-format", "xml"];
    assert_refused(&place, &flags, "SERVICE_KEYS_FILE", "beside SERVICE_KEYS");
    let place = place.with("SERVICE_KEYS", "");
    assert_refused(&place, &flags, "LOG_FORMAT", "\"xml\" is neither");
    let url = ["--database-url", "sqlite://x.db?mode=rwc"];
    let place = place.with("DATABASE_URL_FILE", "rubbish");
    assert_refused(&place, &url, "DATABASE_URL_FILE", "beside DATABASE_URL");
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let mut place = place().with("LOG_FORMAT", "xml");
    for setting in [
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "JWT_JWKS",
        "JWT_SCOPE_CLAIM",
        "JWT_CUSTOMER_CLAIM",
        "SERVICE_KEYS",
        "SERVICE_KEYS_FILE",
        "PUBLIC_URL",
        "SMTP_URL",
        "SMTP_URL_FILE",
        "MAIL_FROM",
        "MAIL_TEMPLATES",
    ] {
        place = place.with(setting, "");
    }
    assert_refused(&place, &[], "LOG_FORMAT", "\"xml\" is neither");
}

#[test]
fn what_a_setting_needs_beside_it_is_told() {
    let place = place();
    let mail = place.with("SMTP_URL", "smtp://mail.example");
    assert_refused(&mail, &[], "MAIL_FROM", "must be set where SMTP_URL is");
    let no_page = mail
        .with("MAIL_FROM", "contact@provider.example")
        .with("HTTP_ADDR", "none");
    assert_refused(
        &no_page,
        &[],
        "PUBLIC_URL",
        "must be set where HTTP_ADDR names no single address",
    );
}

#[test]
fn a_broken_template_stops_the_start_and_is_named() {
    let place = place().with("MAIL_TEMPLATES", "templates");
    let folder = place.path().join("templates/de");
    fs::create_dir_all(&folder).unwrap();
    for (content, why) in [
        (
            "{{ nme }}",
            "de/email_replaced.txt, line 1: undefined value",
        ),
        ("{% if %}", "de/email_replaced.txt, line 1: syntax error"),
        (" \n", "de/email_replaced.txt: must not be empty"),
    ] {
        fs::write(folder.join("email_replaced.txt"), content).unwrap();
        assert_refused(&place, &[], "MAIL_TEMPLATES", why);
    }
}

#[test]
fn an_unknown_flag_stops_the_start() {
    let ended = place().run(&["--listen-adr", "127.0.0.1:0"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("--listen-adr"), "{}", ended.stderr);
}

#[test]
fn development_keys_are_for_loopback_only_whichever_of_them_is_used() {
    let public = || place().with("LISTEN_ADDR", "0.0.0.0:0");
    for place in [
        public().with("SERVICE_KEYS_FILE", "one-key"),
        public().with("JWT_JWKS", "no-keys"),
    ] {
        assert_refused(&place, &[], "LISTEN_ADDR", "must be a loopback address");
    }
}

#[test]
fn a_port_in_use_is_told_before_anything_is_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = place().with("LISTEN_ADDR", address);
    assert_refused(&place, &[], "LISTEN_ADDR", "address in use");
    assert!(!place.path().join("data/contacts.db").exists());
}

#[tokio::test]
async fn a_shared_database_that_was_not_migrated_is_not_served() {
    let place = place().with("DATABASE_URL", fresh_schema().await);
    assert_refused(
        &place,
        &[],
        "DATABASE_URL",
        "run contact-service migrate up",
    );
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_told_without_the_password() {
    let unknown = std::env::var("TEST_POSTGRES_URL").unwrap() + "hunter2";
    let place = Place::on(Backend::Postgres)
        .await
        .with("DATABASE_URL", unknown);
    assert_refused(&place, &["migrate", "up"], "DATABASE_URL", "");
}

#[test]
fn the_demo_prints_no_token_where_real_keys_are_configured() {
    let place = place().with("JWT_JWKS", "no-keys");
    assert_refused(
        &place,
        &["serve", "--demo"],
        "--demo",
        "JWT_JWKS must not be set",
    );
}
