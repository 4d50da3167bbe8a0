//! Keys for trying the service out, made at the first start and kept in a folder.
//!
//! Owns the files, the public key set that belongs to them and the tokens that
//! they sign. Whether development keys may be used at all (on loopback only, and never
//! beside real ones) is decided by whoever loads them.

use std::{
    fmt, fs,
    fs::{DirBuilder, File, OpenOptions},
    io,
    io::{Read, Write},
    path::Path,
};

use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    crypto::random::Random,
    domain::ids::CustomerNumber,
    error::{Error, Result, file_cause},
};

const JWT_KEY_FILE: &str = "development-jwt-key.pem";
const SERVICE_KEY_FILE: &str = "development-service-key";
const PEPPER_FILE: &str = "development-phone-pepper";
const SERVICE_KEY_VERSION: &str = "1:";
const SERVICE_KEY_BYTES: usize = 32;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// More than any of the files ever holds.
const MAX_FILE_BYTES: u64 = 4096;

/// An Ed25519 key pair for tokens, a key for page tokens and grants, and a pepper for phone
/// passwords, for development only.
pub struct DevelopmentKeys {
    jwt_key: Ed25519KeyPair,
    kid: String,
    service_keys: SecretString,
    phone_pepper: SecretString,
    scope_claim: String,
    customer_claim: String,
}

impl DevelopmentKeys {
    /// Reads the keys in `dir`, and makes the folder and whichever key is missing.
    ///
    /// Processes that start at once end with the same keys: a file appears whole under its
    /// name, and only if there was none.
    ///
    /// # Errors
    /// One line that names the file which cannot be made or read, is broken, or can be read by
    /// others than its owner.
    pub fn load_or_create(dir: &Path, random: &Random) -> std::result::Result<Self, String> {
        create_folder(dir).map_err(|error| {
            let why = if error.kind() == io::ErrorKind::AlreadyExists {
                "it is no folder".to_owned()
            } else {
                error.kind().to_string()
            };
            format!("{} cannot be made: {why}", dir.display())
        })?;
        make_if_missing(dir, JWT_KEY_FILE, || new_jwt_key(random), random)?;
        for name in [SERVICE_KEY_FILE, PEPPER_FILE] {
            make_if_missing(dir, name, || new_service_key(random), random)?;
        }
        // Another process may have made them first; the keys are read back either way.
        Self::read(dir)
    }

    /// Reads the keys in `dir` and makes none. `None`: no server has made its keys there.
    ///
    /// # Errors
    /// As [`Self::load_or_create`].
    pub fn load(dir: &Path) -> std::result::Result<Option<Self>, String> {
        let path = dir.join(JWT_KEY_FILE);
        match path.try_exists() {
            Ok(true) => Self::read(dir).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(format!("{} {}", path.display(), unreadable(&error))),
        }
    }

    fn read(dir: &Path) -> std::result::Result<Self, String> {
        let jwt_key = load(dir, JWT_KEY_FILE, read_jwt_key)?;
        Ok(Self {
            kid: thumbprint(&jwt_key),
            jwt_key,
            service_keys: load(dir, SERVICE_KEY_FILE, read_service_key)?,
            phone_pepper: load(dir, PEPPER_FILE, read_service_key)?,
            scope_claim: "scope".to_owned(),
            customer_claim: "customer_number".to_owned(),
        })
    }

    /// Mints with other names of these claims, those that the server reads: otherwise a token that
    /// is meant for one customer would open all of them.
    #[must_use]
    pub fn with_claims(mut self, scope_claim: &str, customer_claim: &str) -> Self {
        scope_claim.clone_into(&mut self.scope_claim);
        customer_claim.clone_into(&mut self.customer_claim);
        self
    }

    /// The name of the token key: its thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half of the token key as a JWK Set (RFC 7517), for `KeySource::Development`
    /// or for another service that should accept the same tokens.
    pub fn jwks(&self) -> String {
        json!({ "keys": [{
            "kty": "OKP",
            "crv": "Ed25519",
            "x": public_key(&self.jwt_key),
            "kid": self.kid,
            "alg": "EdDSA",
            "use": "sig",
        }] })
        .to_string()
    }

    /// The service keys in the form of the setting `SERVICE_KEYS`: `1:<base64 of 32 bytes>`.
    pub fn service_keys(&self) -> &SecretString {
        &self.service_keys
    }

    /// The pepper in the form of the setting `PHONE_PEPPER`: `1:<base64 of 32 bytes>`.
    pub fn phone_pepper(&self) -> &SecretString {
        &self.phone_pepper
    }

    /// A token that is valid from `now` on for `ttl`, in whole seconds; `scope` has blanks
    /// between scopes, and `customer` confines the token to that one.
    ///
    /// # Errors
    /// [`Error::Internal`] when the time does not fit or signing fails.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are the claims of a token, and each is given at every call"
    )]
    pub fn mint(
        &self,
        issuer: &str,
        audience: &str,
        subject: &str,
        scope: &str,
        customer: Option<&CustomerNumber>,
        ttl: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<String> {
        let expiry = now
            .checked_add_signed(ttl)
            .ok_or_else(|| Error::internal("the token would expire beyond the calendar"))?;
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid });
        let mut claims = json!({
            "iss": issuer,
            "aud": audience,
            "sub": subject,
            "iat": now.timestamp(),
            "nbf": now.timestamp(),
            "exp": expiry.timestamp(),
            self.scope_claim.as_str(): scope,
        });
        if let (Some(customer), Some(claims)) = (customer, claims.as_object_mut()) {
            claims.insert(self.customer_claim.clone(), customer.as_str().into());
        }
        self.sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Signs any header and payload as they are (JWS compact serialisation), for tools that try
    /// out what the service refuses. The signature is always `EdDSA`, whatever the header says.
    ///
    /// # Errors
    /// [`Error::Internal`] when signing fails.
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> Result<String> {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self
            .jwt_key
            .try_sign(message.as_bytes())
            .map_err(|_| Error::internal("the development key does not sign"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for DevelopmentKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DevelopmentKeys")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

fn public_key(key: &Ed25519KeyPair) -> String {
    URL_SAFE_NO_PAD.encode(key.public_key())
}

fn thumbprint(key: &Ed25519KeyPair) -> String {
    // RFC 7638 fixes members, order and blanks.
    let jwk = format!(
        r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
        public_key(key)
    );
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, jwk.as_bytes()))
}

fn new_jwt_key(random: &Random) -> std::result::Result<String, String> {
    let seed = random.bytes::<32>().map_err(|error| error.to_string())?;
    let pkcs8 = Ed25519KeyPair::from_seed_unchecked(&seed)
        .ok()
        .and_then(|key| key.to_pkcs8v1().ok())
        .ok_or("no key can be made of the random bytes")?;
    Ok(format!(
        "{PEM_BEGIN}\n{}\n{PEM_END}\n",
        STANDARD.encode(pkcs8)
    ))
}

fn read_jwt_key(text: &str) -> Option<Ed25519KeyPair> {
    let body = text.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let base64: String = body.split_ascii_whitespace().collect();
    let key = Ed25519KeyPair::from_pkcs8(&STANDARD.decode(base64).ok()?).ok()?;
    Some(key)
}

fn new_service_key(random: &Random) -> std::result::Result<String, String> {
    let key = random
        .bytes::<SERVICE_KEY_BYTES>()
        .map_err(|error| error.to_string())?;
    Ok(format!("{SERVICE_KEY_VERSION}{}\n", STANDARD.encode(key)))
}

fn read_service_key(text: &str) -> Option<SecretString> {
    let text = text.trim();
    let key = STANDARD
        .decode(text.strip_prefix(SERVICE_KEY_VERSION)?)
        .ok()?;
    (key.len() == SERVICE_KEY_BYTES).then(|| SecretString::from(text))
}

/// Makes `name` in `dir`, unless it is there.
fn make_if_missing(
    dir: &Path,
    name: &str,
    make: impl FnOnce() -> std::result::Result<String, String>,
    random: &Random,
) -> std::result::Result<(), String> {
    let path = dir.join(name);
    let failed = |why: &dyn fmt::Display| format!("{} cannot be made: {why}", path.display());
    if !path.try_exists().map_err(|error| failed(&error.kind()))? {
        let content = make().map_err(|error| failed(&error))?;
        create(dir, &path, &content, random).map_err(|error| failed(&error.kind()))?;
    }
    Ok(())
}

/// Reads `name` in `dir`.
fn load<T>(
    dir: &Path,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> std::result::Result<T, String> {
    let path = dir.join(name);
    let in_file = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
    let file = File::open(&path).map_err(|error| in_file(&unreadable(&error)))?;
    if is_open_to_others(&file).map_err(|error| in_file(&error))? {
        return Err(in_file(
            &"can be read by others than its owner; set its mode to 0600, or delete it to have a new one made",
        ));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| in_file(&unreadable(&error)))?;
    parse(&text).ok_or_else(|| in_file(&"is broken; delete it to have a new one made"))
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {}", file_cause(error))
}

/// Puts `content` at `path` whole, unless something is there by then.
fn create(dir: &Path, path: &Path, content: &str, random: &Random) -> io::Result<()> {
    let suffix = random.bytes().map_err(io::Error::other)?;
    let temporary = dir.join(format!(".development-{:032x}", u128::from_be_bytes(suffix)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    let linked = file
        .write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn create_folder(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(unix)]
fn is_open_to_others(file: &File) -> io::Result<bool> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
    Ok(mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests;
