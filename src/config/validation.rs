//! Validates single settings, and combinations of them.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use tracing_subscriber::filter::{Directive, LevelFilter};

use super::error::ConfigError;
use crate::{
    api::auth::KeySource,
    crypto::keyring::VersionedKeys,
    error::{Invalid, file_cause},
    mail::{HeloName, PublicUrl, Sender, SmtpUrl},
    server::TlsFiles,
    storage::DatabaseUrl,
};

/// Name of the embedded database in `DATA_DIR`.
const DATABASE_FILE: &str = "contacts.db";
pub(super) const DEFAULT_ISSUER: &str = "contact-service-dev";
const DEFAULT_MAIL_FROM: &str = "Contact service <contact-service@localhost>";
const MAX_LEEWAY_SECONDS: i64 = 120;
/// Issuers or audiences in a list; more are probably a mistake.
const MAX_LISTED: usize = 20;
const MAX_CLAIM_CHARS: usize = 255;
/// A hundred years.
const MAX_RETENTION_DAYS: u16 = 36_500;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Returns `default` for an empty variable.
pub(super) fn directory_or(folder: OsString, default: &str) -> PathBuf {
    if folder.is_empty() {
        default.into()
    } else {
        folder.into()
    }
}

/// Returns true if an identity provider issues the tokens.
pub(super) fn uses_identity_provider(jwks: Option<&str>, issuer: &str) -> bool {
    let issuer = issuer.trim();
    jwks.is_some_and(|jwks| !jwks.trim().is_empty())
        || (!issuer.is_empty() && issuer != DEFAULT_ISSUER)
}

pub(super) fn smtp_url(
    url: Option<String>,
    file: Option<OsString>,
) -> Result<Option<SmtpUrl>, ConfigError> {
    let text = value_or_file("SMTP_URL", url, ("SMTP_URL_FILE", file))?;
    text.map(|text| validate("SMTP_URL", SmtpUrl::parse(&text)))
        .transpose()
}

/// Returns the database of the setting, or the embedded one. With an identity provider the setting is
/// required, so that production never starts on the embedded database by mistake.
pub(super) fn database_url(
    url: Option<String>,
    uses_identity_provider: bool,
    data_dir: &Path,
) -> Result<Result<DatabaseUrl, ConfigError>, ConfigError> {
    if let Some(text) = url {
        return validate("DATABASE_URL", DatabaseUrl::parse(&text)).map(Ok);
    }
    if uses_identity_provider {
        let why = "must be set where JWT_JWKS or JWT_ISSUER is, such as \
                   postgres://user:password@host/name; for an embedded database say so: \
                   sqlite://path?mode=rwc";
        return Ok(Err(ConfigError::new("DATABASE_URL", why)));
    }
    validate(
        "DATA_DIR",
        DatabaseUrl::from_path(&data_dir.join(DATABASE_FILE)),
    )
    .map(Ok)
}

pub(super) fn replica_url(
    primary: Result<&DatabaseUrl, &ConfigError>,
    replica: Option<&str>,
) -> Result<Option<DatabaseUrl>, ConfigError> {
    let Some(text) = replica else {
        return Ok(None);
    };
    let setting = "DATABASE_REPLICA_URL";
    let replica = validate(setting, DatabaseUrl::parse(text))?;
    if primary.is_ok_and(DatabaseUrl::is_sqlite) || replica.is_sqlite() {
        let why = "only PostgreSQL has replicas: it and DATABASE_URL must be postgres://…";
        return Err(ConfigError::new(setting, why));
    }
    Ok(Some(replica))
}

pub(super) fn public_url(
    url: Option<String>,
    http_addr: Option<SocketAddr>,
) -> Result<Option<PublicUrl>, ConfigError> {
    let url = non_empty(url);
    let is_reachable = |address: SocketAddr| !address.ip().is_unspecified();
    if url.is_none() && !http_addr.is_some_and(is_reachable) {
        let why =
            "must be set where HTTP_ADDR names no single address: the links of mails lead there";
        return Err(ConfigError::new("PUBLIC_URL", why));
    }
    url.map(|url| validate("PUBLIC_URL", PublicUrl::parse(&url)))
        .transpose()
}

pub(super) fn tls_files(
    cert: Option<OsString>,
    key: Option<OsString>,
    client_ca: Option<OsString>,
) -> Result<Option<TlsFiles>, ConfigError> {
    let [cert, key, client_ca] = [cert, key, client_ca].map(non_empty_path);
    match (cert, key, client_ca) {
        (Some(cert), Some(key), client_ca) => Ok(Some(TlsFiles {
            cert,
            key,
            client_ca,
        })),
        (None, None, None) => Ok(None),
        (Some(_), None, _) => {
            let why = "must be set where TLS_CERT is: the private key of the certificate";
            Err(ConfigError::new("TLS_KEY", why))
        }
        (None, ..) => {
            let why =
                "must be set where TLS_KEY or TLS_CLIENT_CA is: the certificate to serve with";
            Err(ConfigError::new("TLS_CERT", why))
        }
    }
}

pub(super) fn parse_days(text: &str) -> Result<TimeDelta, Invalid> {
    let days: Option<u16> = text.trim().parse().ok();
    days.filter(|days| (1..=MAX_RETENTION_DAYS).contains(days))
        .map(|days| TimeDelta::days(days.into()))
        .ok_or_else(|| Invalid(format!("must be 1 to {MAX_RETENTION_DAYS}")))
}

pub(super) fn parse_leeway(text: &str) -> Result<TimeDelta, Invalid> {
    let seconds: Option<u8> = text.trim().parse().ok();
    seconds
        .map(i64::from)
        .filter(|seconds| *seconds <= MAX_LEEWAY_SECONDS)
        .map(TimeDelta::seconds)
        .ok_or_else(|| Invalid(format!("must be 0 to {MAX_LEEWAY_SECONDS}")))
}

/// Parses a whole number with `s`, `m`, `h` or `d`, such as `15m`.
///
/// # Errors
/// [`Invalid`] for anything else.
pub fn parse_duration(text: &str) -> Result<TimeDelta, Invalid> {
    let text = text.trim();
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let amount: Option<u32> = digits.parse().ok();
    let amount = amount.map(i64::from);
    let duration = match text.strip_prefix(digits) {
        Some("s") => amount.and_then(TimeDelta::try_seconds),
        Some("m") => amount.and_then(TimeDelta::try_minutes),
        Some("h") => amount.and_then(TimeDelta::try_hours),
        Some("d") => amount.and_then(TimeDelta::try_days),
        Some(_) | None => None,
    };
    duration.ok_or_else(|| Invalid::new("must be a number with s, m, h or d, such as 15m"))
}

pub(super) fn parse_lifetime(text: &str) -> Result<TimeDelta, Invalid> {
    within(text, "1m to 366d", TimeDelta::minutes(1))
}

/// The minimum is the interval at which keys are read.
pub(super) fn parse_max_stale(text: &str) -> Result<TimeDelta, Invalid> {
    within(text, "10m to 366d", TimeDelta::minutes(10))
}

fn within(text: &str, range: &str, shortest: TimeDelta) -> Result<TimeDelta, Invalid> {
    let is_within = |duration: &TimeDelta| (shortest..=TimeDelta::days(366)).contains(duration);
    parse_duration(text)
        .ok()
        .filter(is_within)
        .ok_or_else(|| Invalid(format!("must be {range}, a number with s, m, h or d")))
}

/// Splits a comma-separated list.
pub(super) fn list(setting: &'static str, text: &str) -> Result<Vec<String>, ConfigError> {
    let values: Vec<_> = text.split(',').map(str::trim).map(str::to_owned).collect();
    if values.iter().any(String::is_empty) {
        let why = "must not be empty, and no element of a list may be";
        return Err(ConfigError::new(setting, why));
    }
    if values.len() > MAX_LISTED {
        let why = format!("must list at most {MAX_LISTED}");
        return Err(ConfigError::new(setting, why));
    }
    Ok(values)
}

/// Validates the name or path of a claim; `None` if it is empty.
pub(super) fn claim(
    setting: &'static str,
    name: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    let is_invalid =
        |name: &str| name.contains(char::is_control) || name.chars().count() > MAX_CLAIM_CHARS;
    if name.is_some_and(is_invalid) {
        let why = format!("must be a name of at most {MAX_CLAIM_CHARS} characters");
        return Err(ConfigError::new(setting, why));
    }
    Ok(name.map(str::to_owned))
}

/// Returns the source of the keys of tokens; `None` for the development key.
pub(super) fn key_source(
    jwks: Option<String>,
    issuers: &[String],
) -> Result<Option<KeySource>, ConfigError> {
    match non_empty(jwks) {
        Some(text) => validate("JWT_JWKS", KeySource::jwks(&text)).map(Some),
        None => validate("JWT_ISSUER", KeySource::for_issuers(issuers)),
    }
}

pub(super) fn sender(sender: Option<String>, has_smtp: bool) -> Result<Sender, ConfigError> {
    let sender = match non_empty(sender) {
        Some(sender) => sender,
        None if has_smtp => {
            let why = "required when SMTP_URL is set";
            return Err(ConfigError::new("MAIL_FROM", why));
        }
        None => DEFAULT_MAIL_FROM.to_owned(),
    };
    validate("MAIL_FROM", Sender::parse(&sender))
}

pub(super) fn helo_name(name: Option<String>) -> Result<HeloName, ConfigError> {
    let name = non_empty(name).map(|text| validate("SMTP_HELO_NAME", HeloName::parse(&text)));
    Ok(name.transpose()?.unwrap_or_default())
}

pub(super) fn validate<T>(
    setting: &'static str,
    parsed: Result<T, Invalid>,
) -> Result<T, ConfigError> {
    parsed.map_err(|Invalid(why)| ConfigError::new(setting, why))
}

/// Trims spaces, line ends and a byte order mark, which editors and shells leave. An empty value
/// counts as unset.
pub(super) fn non_empty(text: Option<String>) -> Option<String> {
    let text = text?;
    let text = text.trim().trim_start_matches('\u{feff}').trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the path of a file or folder; an empty value counts as unset.
pub(super) fn non_empty_path(path: Option<OsString>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Returns versioned keys from the value or the file.
pub(super) fn versioned_keys(
    setting: &'static str,
    value: Option<String>,
    file: (&'static str, Option<OsString>),
) -> Result<Option<VersionedKeys>, ConfigError> {
    value_or_file(setting, value, file)?
        .map(|text| validate(setting, VersionedKeys::parse(&text)))
        .transpose()
}

/// Returns the value, or the content of the file.
///
/// # Errors
/// [`ConfigError`] if both are set, or the file cannot be read.
pub(super) fn value_or_file(
    setting: &'static str,
    value: Option<String>,
    (file_setting, file): (&'static str, Option<OsString>),
) -> Result<Option<String>, ConfigError> {
    let Some(file) = non_empty_path(file) else {
        return Ok(non_empty(value));
    };
    if non_empty(value).is_some() {
        let why = format!("must not be set together with {setting}");
        return Err(ConfigError::new(file_setting, why));
    }
    let text = fs::read_to_string(&file).map_err(|error| {
        let why = format!("{} cannot be read: {}", file.display(), file_cause(&error));
        ConfigError::new(file_setting, why)
    })?;
    let text = non_empty(Some(text));
    let why = || {
        ConfigError::new(
            file_setting,
            format!("{} holds no {setting}", file.display()),
        )
    };
    text.map(Some).ok_or_else(why)
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, Invalid> {
    let text = text.trim();
    let numeric = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| {
        Invalid::new(format!(
            "{text:?} is no address with a port, such as 127.0.0.1:50051"
        ))
    })
}

pub(super) fn parse_address_or_none(text: &str) -> Result<Option<SocketAddr>, Invalid> {
    if text.trim() == "none" {
        return Ok(None);
    }
    parse_address(text).map(Some)
}

/// Parses a positive number, or `none`.
pub(super) fn parse_rate_or_none(text: &str) -> Result<Option<NonZeroU32>, Invalid> {
    let text = text.trim();
    if text == "none" {
        return Ok(None);
    }
    let why = || Invalid::new("must be a number of at least 1, or none");
    text.parse().map(Some).map_err(|_| why())
}

/// Parses `on` or `off`.
pub(super) fn parse_on_or_off(text: &str) -> Result<bool, Invalid> {
    match text.trim() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Invalid::new("must be on or off")),
    }
}

/// Parses a filter of log lines: levels, and targets with levels, separated by commas; `None` if it
/// is empty.
pub(super) fn parse_log_filter(text: &str) -> Result<Option<String>, Invalid> {
    let form = "must be a level (off, error, warn, info, debug, trace), or a list such as \
                warn,contact_service=debug,hyper=info";
    let Some(text) = non_empty(Some(text.to_owned())) else {
        return Ok(None);
    };
    // The parser takes a space for a part of the following name.
    let directives: Vec<_> = text.split(',').map(str::trim).collect();
    let mut named = directives.iter().filter(|directive| !directive.is_empty());
    if directives.concat().is_empty() || !named.all(|directive| is_directive(directive)) {
        return Err(Invalid::new(form));
    }
    Ok(Some(directives.join(",")))
}

/// Returns true for a level, or a target (and span) with a level. The parser accepts any text as a
/// target, which would match nothing and leave the log empty.
fn is_directive(text: &str) -> bool {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let (target, rest) = text.split_at(text.find(['[', '=']).unwrap_or(text.len()));
    let level = rest.rsplit_once(']').map_or(rest, |(_, level)| level);
    let is_in_target = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    // A single word is more likely a misspelt level than the name of a crate.
    let is_clear = !rest.is_empty() || target.contains(['_', ':']) || is_level(target);
    is_clear
        && target.chars().all(is_in_target)
        && (level.is_empty() || level.strip_prefix('=').is_some_and(is_level))
        && text.parse::<Directive>().is_ok()
}

pub(super) fn parse_log_format(text: &str) -> Result<LogFormat, Invalid> {
    match text.trim() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(Invalid::new(format!(
            "{other:?} is neither \"text\" nor \"json\""
        ))),
    }
}
