//! An invalid setting aborts startup with a one-line error, which contains no secrets.

use std::{fs, net::TcpListener};

use rstest::rstest;

use crate::process::{Backend, Sandbox, fresh_schema};

/// Part of every value that may be secret, as text or in base64.
const SECRETS: [&str; 2] = ["hunter2", "aHVudGVyM"];
const KEY: &str = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnRlcjI=";

/// Returns a sandbox with invalid files, and with a database, which real keys require.
/// A folder with files that settings may name, most of them unusable.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new()
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("DATABASE_URL", "sqlite://contacts.db?mode=rwc");
    for (name, content) in [
        ("empty", " \n".to_owned()),
        ("rubbish", "hunter2: this is no setting".to_owned()),
        ("no-keys", r#"{"keys": []}"#.to_owned()),
        ("one-key", format!("1:{KEY}")),
    ] {
        fs::write(sandbox.path().join(name), content).unwrap();
    }
    // The encoding of PowerShell.
    let utf_16: Vec<_> = "\u{feff}1:"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(sandbox.path().join("utf-16"), utf_16).unwrap();
    sandbox
}

/// Asserts that the start ends with one line that names the setting and the cause.
pub(crate) fn assert_rejected(sandbox: &Sandbox, arguments: &[&str], setting: &str, why: &str) {
    let error_line = sandbox.run(arguments).error_line();
    let named = error_line
        .strip_prefix(setting)
        .and_then(|rest| rest.strip_prefix(": "));
    assert!(
        named.is_some_and(|message| message.contains(why)),
        "{error_line}"
    );
    for secret in SECRETS {
        assert!(!error_line.contains(secret), "{error_line}");
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
    "127.0.0.1:1 cannot be reached: connection refused"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@no-such-host.invalid/db",
    "no-such-host.invalid:5432 cannot be reached: its name cannot be resolved: "
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@[::1]:1/db",
    "[::1]:1 cannot be reached: connection refused"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@%2Fno-such-folder/db",
    "/no-such-folder cannot be reached: there is no socket"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:p#hunter2@localhost/db",
    "percent-encoded"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:p@hunter2/x@localhost/db",
    "percent-encoded"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:p@x?hunter2@localhost/db",
    "percent-encoded"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@h1:5432,h2:5432/db",
    "must be sqlite://"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=missing",
    "sslrootcert: missing cannot be read: there is no such file"
)]
#[case(
    "DATABASE_URL",
    "postgres://u:hunter2@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=.",
    "sslrootcert: . cannot be read: is a directory"
)]
#[case("DATABASE_URL", "sqlite::memory:", "must be sqlite://")]
#[case("DATABASE_URL", "sqlite://:memory:", "must name a file")]
#[case("DATABASE_URL", "sqlite://hunter2?mode=memory", "must name a file")]
#[case("DATABASE_URL", "sqlite://rubbish/x.db?mode=rwc", "failed to create")]
#[case("DATABASE_URL", "sqlite://missing.db", "no such file")]
#[case("DATABASE_URL", "sqlite://.?mode=rwc", "is a directory")]
#[case("DATABASE_URL", "sqlite://.", "is a directory")]
#[case("DATABASE_URL", "sqlite://rubbish", "rubbish is no SQLite database")]
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
#[case("OTEL_TRACES_SAMPLER", "hunter2", "must be one of")]
#[case("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "must be a list such")]
#[case("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://hunter2", "must be an http")]
#[case("SLOW_REQUEST_MILLIS", "0", "must be a number of at least 1")]
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
#[case("MAIL_FROM", "somewhere", "must be an address")]
#[case("MAIL_FROM", "Hoster, Inc. <a@b.example>", "in double quotes")]
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
#[case(
    "CHANNEL_CHECKS_PER_MINUTE",
    "0",
    "must be a number of at least 1, or none"
)]
#[case(
    "CHANNEL_CHECKS_PER_MINUTE",
    "many",
    "must be a number of at least 1, or none"
)]
#[case("SERVICE_KEYS", "hunter2", "must be version:base64")]
#[case("SERVICE_KEYS", "1:hunter2!", "must be version:base64")]
#[case("SERVICE_KEYS", "1:aHVudGVyMg==", "at least 32 bytes")]
#[case("SERVICE_KEYS", &format!("1:{KEY},1:{KEY}"), "must not name a version twice")]
#[case("SERVICE_KEYS_FILE", "missing", "missing cannot be read")]
#[case("SERVICE_KEYS_FILE", "empty", "empty holds no SERVICE_KEYS")]
#[case("HTTP_JSON", "true", "must be on or off")]
#[case("REVIEW_REMINDER", "yes", "must be on or off")]
#[case("LOG_FORMAT", "xml", "is neither \"text\" nor \"json\"")]
#[case(
    "SERVICE_KEYS_FILE",
    "utf-16",
    "utf-16 cannot be read: it is no text in UTF-8"
)]
#[case("SERVICE_KEYS_FILE", ".", "cannot be read: is a directory")]
#[case("RUST_LOG", "=,=", "must be a level")]
#[case("RUST_LOG", ",", "must be a level")]
#[case("RUST_LOG", "=debug", "must be a level")]
#[case("RUST_LOG", "contact_service=verbose", "must be a level")]
#[case("RUST_LOG", "info,contact_service=verbose", "must be a level")]
#[case("RUST_LOG", "contact_service=debug=info", "must be a level")]
#[case("RUST_LOG", "contact_service[", "must be a level")]
#[case("RUST_LOG", "verbose", "must be a level")]
#[case("RUST_LOG", "warning", "must be a level")]
#[case("RUST_LOG", "info debug", "must be a level")]
#[case("RUST_LOG", "warn contact_service=debug", "must be a level")]
#[case("RUST_LOG", "contact-service=debug", "must be a level")]
#[case("RUST_LOG", "contact_service = debug", "must be a level")]
#[case("RUST_LOG", "info=", "must be a level")]
#[case("RUST_LOG", "contact_service[transaction]=", "must be a level")]
#[case("RUST_LOG", "inof,contact_service=debug", "must be a level")]
#[case("RUST_LOG", "info,hyper", "must be a level")]
#[case("PHONE_PASSWORD_COST", "much", "must be m=KiB,t=passes,p=lanes")]
#[case(
    "PHONE_PASSWORD_COST",
    "m=8191,t=1,p=1",
    "m must be 8192 to 1048576 KiB"
)]
#[case(
    "PHONE_PASSWORD_COST",
    "m=99999999,t=1,p=1",
    "m must be 8192 to 1048576 KiB"
)]
#[case("PHONE_PASSWORD_COST", "m=65536,t=0,p=1", "t must be 1 to 16")]
#[case("PHONE_PASSWORD_COST", "m=65536,t=3,p=99", "p must be 1 to 16")]
#[case("DATABASE_URL", "sqlite://x.db?mode=ro", "must not be read-only")]
#[case(
    "DATABASE_URL",
    "sqlite://x.db?immutable=true",
    "must not be read-only"
)]
#[case("DATA_DIR", "rubbish", "rubbish cannot be created: it is not a folder")]
fn invalid_setting_is_reported_in_one_line_without_secrets(
    #[case] setting: &'static str,
    #[case] value: &str,
    #[case] why: &str,
) {
    assert_rejected(&sandbox().with(setting, value), &[], setting, why);
}

#[rstest]
#[case("DATABASE_URL_FILE", "DATABASE_URL", "must be sqlite://")]
#[case("SERVICE_KEYS_FILE", "SERVICE_KEYS", "must be version:base64")]
fn invalid_setting_in_a_file_is_reported_without_secrets(
    #[case] file_setting: &'static str,
    #[case] setting: &str,
    #[case] why: &str,
) {
    let sandbox = sandbox()
        .with("DATABASE_URL", "")
        .with(file_setting, "rubbish");
    assert_rejected(&sandbox, &[], setting, why);
}

#[rstest]
#[case("missing", "missing cannot be read")]
#[case("empty", "empty holds no DATABASE_URL")]
fn file_without_a_database_url_is_reported(#[case] file: &str, #[case] why: &str) {
    let sandbox = sandbox()
        .with("DATABASE_URL", "")
        .with("DATABASE_URL_FILE", file);
    assert_rejected(&sandbox, &[], "DATABASE_URL_FILE", why);
}

/// Editors, shells and secret stores add them.
#[rstest]
#[case("\u{feff}1:", "")]
#[case("", "\n")]
#[case(" ", " \r\n")]
#[case("\r\n\u{feff}", "\n\n")]
fn marks_and_blanks_around_a_secret_are_ignored(#[case] before: &str, #[case] after: &str) {
    let before = before.trim_end_matches("1:");
    let keys = format!("{before}1:{KEY}{after}");
    let sandbox = sandbox()
        .with("LOG_FORMAT", "xml")
        .with("SERVICE_KEYS", &keys);
    assert_rejected(&sandbox, &[], "LOG_FORMAT", "\"xml\" is neither");
    fs::write(sandbox.path().join("keys"), keys).unwrap();
    let sandbox = sandbox
        .with("SERVICE_KEYS", "")
        .with("SERVICE_KEYS_FILE", "keys");
    assert_rejected(&sandbox, &[], "LOG_FORMAT", "\"xml\" is neither");
}

#[rstest]
#[case("info,,")]
#[case("warn, contact_service=debug")]
#[case("INFO")]
#[case("3")]
#[case("contact_service")]
#[case("contact_service::mail=trace,info")]
#[case("info,hyper=debug")]
#[case("")]
#[case(" ")]
#[case("[transaction]=debug")]
#[case("contact_service[transaction]=info")]
fn valid_log_filters_are_accepted(#[case] filter: &str) {
    let sandbox = sandbox().with("RUST_LOG", filter);
    let ended = sandbox.run(&["migrate", "status"]);
    assert!(ended.status.success(), "{}", ended.stderr);
}

/// Production must not start on an embedded database because of a missing setting.
#[rstest]
#[case("JWT_JWKS", "no-keys", &["serve"])]
#[case("JWT_ISSUER", "https://idp.example", &["serve"])]
#[case("JWT_ISSUER", "https://idp.example", &["migrate", "up"])]
#[case("JWT_ISSUER", "https://idp.example", &["migrate", "status"])]
#[case("JWT_ISSUER", "https://idp.example", &["import", "contacts.csv"])]
#[case("JWT_ISSUER", "https://idp.example", &["export", "K-1"])]
#[case("JWT_ISSUER", "https://idp.example", &["resolve", "contacts.csv", "--purpose", "general"])]
fn real_keys_require_database_url(
    #[case] setting: &'static str,
    #[case] value: &str,
    #[case] arguments: &[&str],
) {
    let sandbox = sandbox().with(setting, value).with("DATABASE_URL", "");
    fs::write(sandbox.path().join("contacts.csv"), "customer_number\n").unwrap();
    let before = fs::read_dir(sandbox.path()).unwrap().count();
    assert_rejected(
        &sandbox,
        arguments,
        "DATABASE_URL",
        "must be set where JWT_JWKS or JWT_ISSUER",
    );
    assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), before);
}

#[test]
fn hash_cost_beyond_the_memory_is_rejected() {
    let binary = env!("CARGO_BIN_EXE_contact-service");
    let sandbox = sandbox();
    let ended = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 1000000; exec \"$0\"", binary])
        .current_dir(sandbox.path())
        .env_clear()
        .env("PHONE_PASSWORD_COST", "m=1048576,t=1,p=1")
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let error_line = String::from_utf8(ended.stderr).unwrap();
    let why = "contact-service: PHONE_PASSWORD_COST: m=1048576 is too large: four hashes at once";
    assert!(error_line.starts_with(why), "{error_line}");
    assert_eq!(error_line.lines().count(), 1, "{error_line}");
    assert!(!sandbox.path().join("data").exists());
}

#[test]
fn value_and_file_conflict_and_flags_take_precedence() {
    let sandbox = sandbox()
        .with("SERVICE_KEYS", "hunter2")
        .with("SERVICE_KEYS_FILE", "one-key")
        .with("LOG_FORMAT", "text");
    let flags = ["--log-format", "xml"];
    assert_rejected(&sandbox, &flags, "SERVICE_KEYS_FILE", "with SERVICE_KEYS");
    let sandbox = sandbox.with("SERVICE_KEYS", "");
    assert_rejected(&sandbox, &flags, "LOG_FORMAT", "\"xml\" is neither");
    let url = ["--database-url", "sqlite://x.db?mode=rwc"];
    let sandbox = sandbox
        .with("DATABASE_URL", "")
        .with("DATABASE_URL_FILE", "rubbish");
    assert_rejected(&sandbox, &url, "DATABASE_URL_FILE", "with DATABASE_URL");
}

#[test]
fn empty_variable_is_treated_as_unset() {
    let mut sandbox = sandbox().with("LOG_FORMAT", "xml");
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
        "PHONE_PASSWORD_COST",
        "RUST_LOG",
        "SMTP_HELO_NAME",
    ] {
        sandbox = sandbox.with(setting, "");
    }
    assert_rejected(&sandbox, &[], "LOG_FORMAT", "\"xml\" is neither");
}

#[test]
fn dependent_settings_are_reported() {
    let sandbox = sandbox();
    let mail = sandbox.with("SMTP_URL", "smtp://mail.example");
    assert_rejected(&mail, &[], "MAIL_FROM", "required when SMTP_URL is set");
    let no_page = mail
        .with("MAIL_FROM", "contact@provider.example")
        .with("HTTP_ADDR", "none");
    assert_rejected(
        &no_page,
        &[],
        "PUBLIC_URL",
        "must be set where HTTP_ADDR names no single address",
    );
}

#[test]
fn invalid_template_aborts_startup() {
    let sandbox = sandbox().with("MAIL_TEMPLATES", "templates");
    let folder = sandbox.path().join("templates/de");
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
        assert_rejected(&sandbox, &[], "MAIL_TEMPLATES", why);
    }
}

#[test]
fn unknown_flag_aborts_startup() {
    let ended = sandbox().run(&["--listen-adr", "127.0.0.1:0"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("--listen-adr"), "{}", ended.stderr);
}

#[test]
fn development_keys_require_loopback_addresses() {
    let public = || sandbox().with("LISTEN_ADDR", "0.0.0.0:0");
    for sandbox in [
        public().with("SERVICE_KEYS_FILE", "one-key"),
        public().with("JWT_JWKS", "no-keys"),
    ] {
        assert_rejected(&sandbox, &[], "LISTEN_ADDR", "must be a loopback address");
    }
}

#[test]
fn port_in_use_is_reported_before_files_are_created() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sandbox = sandbox().with("LISTEN_ADDR", address);
    assert_rejected(&sandbox, &[], "LISTEN_ADDR", "address in use");
    assert!(!sandbox.path().join("data/contacts.db").exists());
}

#[tokio::test]
async fn shared_database_without_schema_is_not_served() {
    let sandbox = sandbox().with("DATABASE_URL", fresh_schema().await);
    assert_rejected(
        &sandbox,
        &[],
        "DATABASE_URL",
        "run contact-service migrate up",
    );
}

#[tokio::test]
async fn missing_database_is_reported_without_the_password() {
    let unknown = std::env::var("TEST_POSTGRES_URL").unwrap() + "hunter2";
    let sandbox = Sandbox::on(Backend::Postgres)
        .await
        .with("DATABASE_URL", unknown);
    assert_rejected(&sandbox, &["migrate", "up"], "DATABASE_URL", "");
}

#[test]
fn demo_is_rejected_if_real_keys_are_configured() {
    let sandbox = sandbox().with("JWT_JWKS", "no-keys");
    assert_rejected(
        &sandbox,
        &["serve", "--demo"],
        "--demo",
        "JWT_JWKS must not be set",
    );
}
