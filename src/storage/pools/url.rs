//! `DATABASE_URL`: what it may say, and what of it may be shown.

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
/// The parameter that says that a URL leads to `PgBouncer`, in transaction mode.
const PGBOUNCER: &str = "pgbouncer";
/// Parameters that the driver knows, besides `options[…]`.
const OF_THE_DRIVER: [&str; 18] = [
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
/// Those that name a file.
const FILES: [&str; 7] = [
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslrootcert",
];
const LONGEST_NAME: usize = 32;
const SQLITE: &str = "sqlite://";
/// In the path of a file: the library takes what is before the first slash for a host.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-');

/// Where the database is. May hold a password, so it is never shown.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    url: SecretString,
    through_pgbouncer: bool,
    ignored: Vec<String>,
}

impl DatabaseUrl {
    /// Reads `sqlite://path?mode=rwc` or `postgres://user:password@host/name`, the latter
    /// optionally with `?pgbouncer=true`. Parameters that other drivers know are left out.
    ///
    /// # Errors
    /// [`Invalid`] for anything else; the text does not repeat the value.
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

    /// The URL of a database file that is made when it is missing.
    ///
    /// # Errors
    /// [`Invalid`] for a path that is not UTF-8.
    pub fn of_file(path: &Path) -> Result<Self, Invalid> {
        let path = path
            .to_str()
            .ok_or_else(|| Invalid::new("must be a path in UTF-8"))?;
        let encoded = utf8_percent_encode(path, ENCODED);
        Self::parse_sqlite(&format!("{SQLITE}{encoded}?mode=rwc"))
    }

    fn parse_sqlite(text: &str) -> Result<Self, Invalid> {
        if Url::parse(text).is_ok_and(|url| url.query_pairs().any(|(name, _)| name == PGBOUNCER)) {
            return Err(wrong_pgbouncer());
        }
        SqliteConnectOptions::from_str(text).map_err(|_| Invalid::new(FORM))?;
        if text.contains("mode=ro") || text.contains("immutable=") {
            return Err(Invalid::new(
                "must not be read-only: everything that is given out leaves an event",
            ));
        }
        if text.contains(":memory:") || text.contains("mode=memory") {
            return Err(Invalid::new(
                "must name a file: every connection would see a memory of its own",
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
            through_pgbouncer: false,
            ignored: Vec::new(),
        })
    }

    fn parse_postgres(text: &str) -> Result<Self, Invalid> {
        let mut url = Url::parse(text).map_err(|_| Invalid::new(FORM))?;
        let has_path = |mark: char| url.path().trim_start_matches('/').contains(mark);
        // Most likely a password that is not encoded: a part of it would be taken for the host.
        if url.fragment().is_some() || has_path('@') || has_path('/') {
            return Err(Invalid::new(FORM));
        }
        let (known, ignored) = known_parameters(&url)?;
        let (pgbouncer, known): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(name, _)| name == PGBOUNCER);
        if pgbouncer.iter().any(|(_, value)| value != "true") {
            return Err(wrong_pgbouncer());
        }
        let has_options = known.iter().any(|(name, _)| name.starts_with("options"));
        if !pgbouncer.is_empty() && has_options {
            return Err(Invalid::new(
                "takes no options beside pgbouncer=true: PgBouncer passes none on",
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
            through_pgbouncer: !pgbouncer.is_empty(),
            ignored,
        })
    }

    /// Returns true if it names a file of this machine.
    pub fn is_sqlite(&self) -> bool {
        self.url.expose_secret().starts_with(SQLITE)
    }

    /// The database file, where there is none yet.
    pub fn missing_file(&self) -> Option<PathBuf> {
        let file = self.file()?;
        matches!(file.try_exists(), Ok(false)).then_some(file)
    }

    /// Kind and place of the database: what of the URL may be shown.
    pub fn describe(&self) -> String {
        let kind = if self.is_sqlite() {
            "sqlite"
        } else {
            "postgres"
        };
        format!("{kind} {}", self.place())
    }

    /// The file, the socket, or host and port.
    pub(super) fn place(&self) -> String {
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

    /// The options of the driver, with an IPv6 address in the form it accepts: without brackets.
    pub(super) fn postgres(&self) -> Option<PgConnectOptions> {
        let options = PgConnectOptions::from_str(self.as_str()).ok()?;
        Some(without_brackets(options))
    }

    /// Returns true if it asks for the file to be created.
    pub(super) fn makes_file(&self) -> bool {
        self.as_str().contains("mode=rwc")
    }

    pub(super) const fn through_pgbouncer(&self) -> bool {
        self.through_pgbouncer
    }

    /// Names of parameters that are left out.
    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The first file of certificates or a key that cannot be read, and why.
    pub(super) fn unreadable_file(&self) -> Option<String> {
        let url = Url::parse(self.as_str()).ok()?;
        let mut files = url.query_pairs().filter_map(|(name, value)| {
            let is_path = FILES.contains(&name.as_ref()) && !value.contains("-----BEGIN");
            is_path.then(|| (name.into_owned(), value.into_owned()))
        });
        files.find_map(|(name, path)| {
            let why = file_cause(&why_unreadable(Path::new(&path))?);
            Some(format!("{name}: {path} cannot be read: {why}"))
        })
    }

    /// For the driver only.
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

fn wrong_pgbouncer() -> Invalid {
    Invalid::new("takes pgbouncer=true only, and that with postgres://")
}

/// The parameters that mean something here, and the names of the others.
type Parameters = (Vec<(String, String)>, Vec<String>);

fn known_parameters(url: &Url) -> Result<Parameters, Invalid> {
    let is_known = |name: &str| {
        name == PGBOUNCER || name.starts_with("options[") || OF_THE_DRIVER.contains(&name)
    };
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        name.len() <= LONGEST_NAME && name.bytes().all(is_part)
    };
    let all = url.query_pairs().into_owned();
    let (known, others): (Vec<_>, Vec<_>) = all.partition(|(name, _)| is_known(name));
    let names: Vec<_> = others.into_iter().map(|(name, _)| name).collect();
    // As above: what follows a ? in a password.
    if names.iter().any(|name| !is_name(name)) {
        return Err(Invalid::new(FORM));
    }
    Ok((known, names))
}
