//! `DATABASE_URL`: its forms, its parameters, and the parts that may be logged.

use std::{
    fs::File,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use url::Url;

use crate::error::{Invalid, file_cause};

const FORM: &str = "must be sqlite://path?mode=rwc or postgres://user:password@host:port/name, with \
                    special characters of user and password percent-encoded";
/// The parameter of a URL of `PgBouncer` in transaction mode.
const PGBOUNCER: &str = "pgbouncer";
/// Parameters of the driver, in addition to `options[…]`.
const DRIVER_PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
/// Parameters that name a file.
const FILE_PARAMETERS: [&str; 7] = [
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslrootcert",
];
const MAX_NAME_BYTES: usize = 32;
const SQLITE: &str = "sqlite://";
/// The characters to encode in a path: the library takes the text before the first slash for a
/// host.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-');

/// The address of the database. It may hold a password, so it is never logged.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    url: SecretString,
    uses_pgbouncer: bool,
    ignored: Vec<String>,
}

impl DatabaseUrl {
    /// Parses `sqlite://path?mode=rwc` or `postgres://user:password@host/name`, the latter
    /// optionally with `?pgbouncer=true`. Parameters of other drivers are ignored.
    ///
    /// # Errors
    /// [`Invalid`] for anything else; its text does not repeat the value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.starts_with(SQLITE) {
            Self::parse_sqlite(text)
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::parse_postgres(text)
        } else {
            Err(Invalid::new(FORM))
        }
    }

    /// Creates the URL of a database file that is created if missing.
    ///
    /// # Errors
    /// [`Invalid`] for a path that is not UTF-8.
    pub fn from_path(path: &Path) -> Result<Self, Invalid> {
        let path = path
            .to_str()
            .ok_or_else(|| Invalid::new("must be a path in UTF-8"))?;
        let encoded = utf8_percent_encode(path, ENCODED);
        Self::parse_sqlite(&format!("{SQLITE}{encoded}?mode=rwc"))
    }

    fn parse_sqlite(text: &str) -> Result<Self, Invalid> {
        if Url::parse(text).is_ok_and(|url| url.query_pairs().any(|(name, _)| name == PGBOUNCER)) {
            return Err(invalid_pgbouncer());
        }
        SqliteConnectOptions::from_str(text).map_err(|_| Invalid::new(FORM))?;
        if text.contains("mode=ro") || text.contains("immutable=") {
            return Err(Invalid::new(
                "must not be read-only: every disclosure is written to the audit log",
            ));
        }
        if text.contains(":memory:") || text.contains("mode=memory") {
            return Err(Invalid::new(
                "must name a file: every connection would have a memory of its own",
            ));
        }
        let (path, parameters) = match text.split_once('?') {
            Some((path, parameters)) => (path, format!("?{parameters}")),
            None => (text, String::new()),
        };
        let path = path.strip_prefix(SQLITE).unwrap_or(path);
        let path = percent_decode_str(path).decode_utf8();
        let path = path.map_err(|_| Invalid::new(FORM))?;
        let path = utf8_percent_encode(&path, ENCODED);
        Ok(Self {
            url: SecretString::from(format!("{SQLITE}{path}{parameters}")),
            uses_pgbouncer: false,
            ignored: Vec::new(),
        })
    }

    fn parse_postgres(text: &str) -> Result<Self, Invalid> {
        let mut url = Url::parse(text).map_err(|_| Invalid::new(FORM))?;
        let has_path = |mark: char| url.path().trim_start_matches('/').contains(mark);
        // Probably a password that is not encoded: a part of it would be taken for the host.
        if url.fragment().is_some() || has_path('@') || has_path('/') {
            return Err(Invalid::new(FORM));
        }
        let (known, ignored) = known_parameters(&url)?;
        let (pgbouncer, known): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(name, _)| name == PGBOUNCER);
        if pgbouncer.iter().any(|(_, value)| value != "true") {
            return Err(invalid_pgbouncer());
        }
        let has_options = known.iter().any(|(name, _)| name.starts_with("options"));
        if !pgbouncer.is_empty() && has_options {
            return Err(Invalid::new(
                "takes no options with pgbouncer=true: PgBouncer does not forward them",
            ));
        }
        if !pgbouncer.is_empty() || !ignored.is_empty() {
            url.set_query(None);
            if !known.is_empty() {
                url.query_pairs_mut().extend_pairs(known);
            }
        }
        PgConnectOptions::from_str(url.as_str()).map_err(|_| Invalid::new(FORM))?;
        Ok(Self {
            url: SecretString::from(String::from(url)),
            uses_pgbouncer: !pgbouncer.is_empty(),
            ignored,
        })
    }

    /// Returns true for an embedded database.
    pub fn is_sqlite(&self) -> bool {
        self.url.expose_secret().starts_with(SQLITE)
    }

    /// Returns the path of the database file if it does not exist yet.
    pub fn missing_file(&self) -> Option<PathBuf> {
        let file = self.file()?;
        matches!(file.try_exists(), Ok(false)).then_some(file)
    }

    /// Returns the kind and the address of the database, which may be logged.
    pub fn describe(&self) -> String {
        let kind = if self.is_sqlite() {
            "sqlite"
        } else {
            "postgres"
        };
        format!("{kind} {}", self.address())
    }

    /// Returns the file, the socket, or host and port.
    pub(super) fn address(&self) -> String {
        if let Some(file) = self.file() {
            return file.display().to_string();
        }
        let Some(options) = self.postgres() else {
            return String::new();
        };
        let (host, port) = (options.get_host(), options.get_port());
        match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None if host.starts_with('/') => host.to_owned(),
            None => format!("{host}:{port}"),
        }
    }

    pub(super) fn file(&self) -> Option<PathBuf> {
        let is_sqlite = self.is_sqlite();
        let options = is_sqlite.then(|| SqliteConnectOptions::from_str(self.as_str()).ok());
        Some(options??.get_filename().to_owned())
    }

    /// Returns the options of the driver, with IPv6 addresses as it accepts them: without brackets.
    pub(super) fn postgres(&self) -> Option<PgConnectOptions> {
        let options = PgConnectOptions::from_str(self.as_str()).ok()?;
        Some(without_brackets(options))
    }

    /// Returns true if the file is to be created if missing.
    pub(super) fn creates_file(&self) -> bool {
        self.as_str().contains("mode=rwc")
    }

    pub(super) const fn uses_pgbouncer(&self) -> bool {
        self.uses_pgbouncer
    }

    /// Returns the names of the ignored parameters.
    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Returns the first certificate or key file that cannot be read, with the cause.
    pub(super) fn unreadable_file(&self) -> Option<String> {
        let url = Url::parse(self.as_str()).ok()?;
        let mut files = url.query_pairs().filter_map(|(name, value)| {
            let is_path = FILE_PARAMETERS.contains(&name.as_ref()) && !value.contains("-----BEGIN");
            is_path.then(|| (name.into_owned(), value.into_owned()))
        });
        files.find_map(|(name, path)| {
            let why = file_cause(&why_unreadable(Path::new(&path))?);
            Some(format!("{name}: {path} cannot be read: {why}"))
        })
    }

    /// Returns the whole URL, for the driver only.
    pub(super) fn as_str(&self) -> &str {
        self.url.expose_secret()
    }
}

pub(super) fn without_brackets(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let address: Option<IpAddr> = inside.and_then(|inside| inside.parse().ok());
    match address {
        Some(address) => options.host(&address.to_string()),
        None => options,
    }
}

fn why_unreadable(path: &Path) -> Option<io::Error> {
    let opened = File::open(path).and_then(|file| file.metadata());
    match opened {
        Ok(metadata) if metadata.is_dir() => Some(io::ErrorKind::IsADirectory.into()),
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

fn invalid_pgbouncer() -> Invalid {
    Invalid::new("accepts only pgbouncer=true, and only with postgres://")
}

/// The known parameters, and the names of the others.
type Parameters = (Vec<(String, String)>, Vec<String>);

fn known_parameters(url: &Url) -> Result<Parameters, Invalid> {
    let is_known = |name: &str| {
        name == PGBOUNCER || name.starts_with("options[") || DRIVER_PARAMETERS.contains(&name)
    };
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        name.len() <= MAX_NAME_BYTES && name.bytes().all(is_part)
    };
    let all = url.query_pairs().into_owned();
    let (known, others): (Vec<_>, Vec<_>) = all.partition(|(name, _)| is_known(name));
    let names: Vec<_> = others.into_iter().map(|(name, _)| name).collect();
    // As above: probably the rest of a password after its ?.
    if names.iter().any(|name| !is_name(name)) {
        return Err(Invalid::new(FORM));
    }
    Ok((known, names))
}
