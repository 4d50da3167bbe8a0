//! Judging single settings, and what two of them mean together.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use tracing_subscriber::filter::{Directive, LevelFilter};

use super::{DATABASE_FILE, DEFAULT_ISSUER, DEFAULT_MAIL_FROM, LogFormat, WrongSetting};
use crate::{
    api::auth::KeySource,
    crypto::keyring::VersionedKeys,
    error::{Invalid, file_cause},
    mail::{HeloName, PublicUrl, Sender, SmtpUrl},
    server::TlsFiles,
    storage::DatabaseUrl,
};

const MAX_LEEWAY_SECONDS: i64 = 120;
/// An issuer or audience more is a mistake.
const MAX_LISTED: usize = 20;
const MAX_CLAIM_CHARS: usize = 255;
/// A hundred years.
const LONGEST_RETENTION_DAYS: u16 = 36_500;

/// Returns `default` for an empty variable.
pub(super) fn folder_or(given_folder: OsString, default: &str) -> PathBuf {
    if given_folder.is_empty() {
        default.into()
    } else {
        given_folder.into()
    }
}

/// Returns true where an identity provider issues the tokens.
pub(super) fn has_real_keys(jwks: Option<&str>, issuer: &str) -> bool {
    let issuer = issuer.trim();
    jwks.is_some_and(|jwks| !jwks.trim().is_empty())
        || (!issuer.is_empty() && issuer != DEFAULT_ISSUER)
}

pub(super) fn smtp_url(
    url: Option<String>,
    file: Option<OsString>,
) -> Result<Option<SmtpUrl>, WrongSetting> {
    let text = secret("SMTP_URL", url, ("SMTP_URL_FILE", file))?;
    text.map(|text| judge("SMTP_URL", SmtpUrl::parse(&text)))
        .transpose()
}

/// The database as given, else the embedded one: in production an omission must not start on it.
pub(super) fn database_url(
    given_url: Option<String>,
    has_real_keys: bool,
    data_dir: &Path,
) -> Result<Result<DatabaseUrl, WrongSetting>, WrongSetting> {
    if let Some(text) = given_url {
        return judge("DATABASE_URL", DatabaseUrl::parse(&text)).map(Ok);
    }
    if has_real_keys {
        let why = "must be set where JWT_JWKS or JWT_ISSUER is, such as \
                   postgres://user:password@host/name; for an embedded database say so: \
                   sqlite://path?mode=rwc";
        return Ok(Err(WrongSetting::new("DATABASE_URL", why)));
    }
    judge(
        "DATA_DIR",
        DatabaseUrl::of_file(&data_dir.join(DATABASE_FILE)),
    )
    .map(Ok)
}

pub(super) fn replica_of(
    primary: Result<&DatabaseUrl, &WrongSetting>,
    replica: Option<&str>,
) -> Result<Option<DatabaseUrl>, WrongSetting> {
    let Some(text) = replica else {
        return Ok(None);
    };
    let setting = "DATABASE_REPLICA_URL";
    let replica = judge(setting, DatabaseUrl::parse(text))?;
    if primary.is_ok_and(DatabaseUrl::is_sqlite) || replica.is_sqlite() {
        let why = "only PostgreSQL has replicas: it and DATABASE_URL must be postgres://…";
        return Err(WrongSetting::new(setting, why));
    }
    Ok(Some(replica))
}

pub(super) fn public_url(
    given_url: Option<String>,
    http_addr: Option<SocketAddr>,
) -> Result<Option<PublicUrl>, WrongSetting> {
    let url = given(given_url);
    let is_reachable = |address: SocketAddr| !address.ip().is_unspecified();
    if url.is_none() && !http_addr.is_some_and(is_reachable) {
        let why =
            "must be set where HTTP_ADDR names no single address: the links of mails lead there";
        return Err(WrongSetting::new("PUBLIC_URL", why));
    }
    url.map(|url| judge("PUBLIC_URL", PublicUrl::parse(&url)))
        .transpose()
}

pub(super) fn tls_files(
    cert: Option<OsString>,
    key: Option<OsString>,
    client_ca: Option<OsString>,
) -> Result<Option<TlsFiles>, WrongSetting> {
    let file = |path: Option<OsString>| path.filter(|path| !path.is_empty()).map(PathBuf::from);
    match (file(cert), file(key), file(client_ca)) {
        (Some(cert), Some(key), client_ca) => Ok(Some(TlsFiles {
            cert,
            key,
            client_ca,
        })),
        (None, None, None) => Ok(None),
        (Some(_), None, _) => {
            let why = "must be set where TLS_CERT is: the private key of the certificate";
            Err(WrongSetting::new("TLS_KEY", why))
        }
        (None, ..) => {
            let why =
                "must be set where TLS_KEY or TLS_CLIENT_CA is: the certificate to serve with";
            Err(WrongSetting::new("TLS_CERT", why))
        }
    }
}

pub(super) fn parse_days(text: &str) -> Result<TimeDelta, Invalid> {
    let days: Option<u16> = text.trim().parse().ok();
    days.filter(|days| (1..=LONGEST_RETENTION_DAYS).contains(days))
        .map(|days| TimeDelta::days(days.into()))
        .ok_or_else(|| Invalid(format!("must be 1 to {LONGEST_RETENTION_DAYS}")))
}

pub(super) fn parse_leeway(text: &str) -> Result<TimeDelta, Invalid> {
    let seconds: Option<u8> = text.trim().parse().ok();
    seconds
        .map(i64::from)
        .filter(|seconds| *seconds <= MAX_LEEWAY_SECONDS)
        .map(TimeDelta::seconds)
        .ok_or_else(|| Invalid(format!("must be 0 to {MAX_LEEWAY_SECONDS}")))
}

/// Reads a whole number with `s`, `m`, `h` or `d`, such as `15m`.
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

/// Keys that are younger than the shortest are not read again.
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

/// The values of a list with commas between.
pub(super) fn list(setting: &'static str, text: &str) -> Result<Vec<String>, WrongSetting> {
    let values: Vec<_> = text.split(',').map(str::trim).map(str::to_owned).collect();
    if values.iter().any(String::is_empty) {
        let why = "must not be empty, and no element of a list may be";
        return Err(WrongSetting::new(setting, why));
    }
    if values.len() > MAX_LISTED {
        let why = format!("must list at most {MAX_LISTED}");
        return Err(WrongSetting::new(setting, why));
    }
    Ok(values)
}

/// The name or path of a claim; `None` for an empty one.
pub(super) fn claim(
    setting: &'static str,
    name: Option<&str>,
) -> Result<Option<String>, WrongSetting> {
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    let is_unfit =
        |name: &str| name.contains(char::is_control) || name.chars().count() > MAX_CLAIM_CHARS;
    if name.is_some_and(is_unfit) {
        let why = format!("must be a name of at most {MAX_CLAIM_CHARS} characters");
        return Err(WrongSetting::new(setting, why));
    }
    Ok(name.map(str::to_owned))
}

/// Where the keys of tokens come from; `None`: the development key.
pub(super) fn key_source(
    jwks: Option<String>,
    issuers: &[String],
) -> Result<Option<KeySource>, WrongSetting> {
    match given(jwks) {
        Some(text) => judge("JWT_JWKS", KeySource::jwks(&text)).map(Some),
        None => judge("JWT_ISSUER", KeySource::for_issuers(issuers)),
    }
}

pub(super) fn parse_trace_endpoint(text: &str) -> Result<String, Invalid> {
    let form = "must be an http URL, such as http://collector:4317";
    let url = url::Url::parse(text.trim()).map_err(|_| Invalid::new(form))?;
    if url.scheme() != "http" || !url.has_host() {
        return Err(Invalid::new(form));
    }
    Ok(url.into())
}

pub(super) fn sender(given_sender: Option<String>, has_smtp: bool) -> Result<Sender, WrongSetting> {
    let sender = match given(given_sender) {
        Some(sender) => sender,
        None if has_smtp => {
            let why = "must be set where SMTP_URL is: whom do mails come from?";
            return Err(WrongSetting::new("MAIL_FROM", why));
        }
        None => DEFAULT_MAIL_FROM.to_owned(),
    };
    judge("MAIL_FROM", Sender::parse(&sender))
}

pub(super) fn helo_name(given_name: Option<String>) -> Result<HeloName, WrongSetting> {
    let name = given(given_name).map(|text| judge("SMTP_HELO_NAME", HeloName::parse(&text)));
    Ok(name.transpose()?.unwrap_or_default())
}

pub(super) fn judge<T>(
    setting: &'static str,
    parsed: Result<T, Invalid>,
) -> Result<T, WrongSetting> {
    parsed.map_err(|Invalid(why)| WrongSetting::new(setting, why))
}

/// The text without what editors and shells leave around it: blanks, line ends, and the byte
/// order mark. An empty variable counts as unset.
pub(super) fn given(text: Option<String>) -> Option<String> {
    let text = text?;
    let text = text.trim().trim_start_matches('\u{feff}').trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Keys by their versions, from the value itself or from a file.
pub(super) fn versioned_keys(
    setting: &'static str,
    value: Option<String>,
    file: (&'static str, Option<OsString>),
) -> Result<Option<VersionedKeys>, WrongSetting> {
    secret(setting, value, file)?
        .map(|text| judge(setting, VersionedKeys::parse(&text)))
        .transpose()
}

/// The value itself, or the content of the file that holds it; both are one too many.
pub(super) fn secret(
    setting: &'static str,
    value: Option<String>,
    (file_setting, file): (&'static str, Option<OsString>),
) -> Result<Option<String>, WrongSetting> {
    let Some(file) = file.filter(|file| !file.is_empty()).map(PathBuf::from) else {
        return Ok(given(value));
    };
    if given(value).is_some() {
        let why = format!("is set beside {setting}: which of the two counts?");
        return Err(WrongSetting::new(file_setting, why));
    }
    let text = fs::read_to_string(&file).map_err(|error| {
        let why = format!("{} cannot be read: {}", file.display(), file_cause(&error));
        WrongSetting::new(file_setting, why)
    })?;
    let text = given(Some(text));
    let why = || {
        WrongSetting::new(
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

/// A positive number, or `none`.
pub(super) fn parse_rate_or_none(text: &str) -> Result<Option<NonZeroU32>, Invalid> {
    let text = text.trim();
    if text == "none" {
        return Ok(None);
    }
    let why = || Invalid::new("must be a number of at least 1, or none");
    text.parse().map(Some).map_err(|_| why())
}

/// A filter of logs: levels, and targets with levels, between commas; `None` for an empty one.
pub(super) fn parse_log_filter(text: &str) -> Result<Option<String>, Invalid> {
    let form = "must be a level (off, error, warn, info, debug, trace), or a list such as \
                warn,contact_service=debug,hyper=info";
    let Some(text) = given(Some(text.to_owned())) else {
        return Ok(None);
    };
    // The parser takes a blank for a part of the name after it.
    let directives: Vec<_> = text.split(',').map(str::trim).collect();
    let mut named = directives.iter().filter(|directive| !directive.is_empty());
    if directives.concat().is_empty() || !named.all(|directive| is_directive(directive)) {
        return Err(Invalid::new(form));
    }
    Ok(Some(directives.join(",")))
}

/// Returns true for a level, or a target (and span) with a level. The parser takes any text for a
/// target, which then matches nothing: the log would stay empty.
fn is_directive(text: &str) -> bool {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let (target, rest) = text.split_at(text.find(['[', '=']).unwrap_or(text.len()));
    let level = rest.rsplit_once(']').map_or(rest, |(_, level)| level);
    let is_in_target = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    // A word alone is rather a level that is misspelt than the name of a crate.
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
