//! Keys for development, generated at the first start and stored in a folder.
//!
//! Owns the files, the public key set and the tokens signed with them. The caller decides whether
//! development keys may be used: on loopback only, and never together with production keys.

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
/// The maximum size of a file, far above the size of a key.
const MAX_FILE_BYTES: u64 = 4096;

/// An Ed25519 key pair for tokens, a service key, and a pepper for phone passwords.
pub struct DevelopmentKeys {
    jwt_key: Ed25519KeyPair,
    kid: String,
    service_keys: SecretString,
    phone_pepper: SecretString,
    scope_claim: String,
    customer_claim: String,
}

impl DevelopmentKeys {
    /// Loads the keys in `dir`, and creates the folder and missing keys.
    ///
    /// Processes that start at the same time load the same keys: files are created atomically, and
    /// never replaced.
    ///
    /// # Errors
    /// One line that names the file that cannot be created or read, is invalid, or is readable by
    /// users other than its owner.
    pub fn load_or_create(dir: &Path, random: &Random) -> std::result::Result<Self, String> {
        create_folder(dir).map_err(|error| {
            let reason = if error.kind() == io::ErrorKind::AlreadyExists {
                "it is not a folder".to_owned()
            } else {
                error.kind().to_string()
            };
            format!("{} cannot be created: {reason}", dir.display())
        })?;
        create_if_missing(dir, JWT_KEY_FILE, || new_jwt_key(random), random)?;
        for name in [SERVICE_KEY_FILE, PEPPER_FILE] {
            create_if_missing(dir, name, || new_service_key(random), random)?;
        }
        // Another process may have created them first, so the files are read in either case.
        Self::read(dir)
    }

    /// Loads the keys in `dir`. `None` if no server has created keys there.
    ///
    /// # Errors
    /// Those of [`Self::load_or_create`].
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

    /// Sets the names of the scope and customer claims of minted tokens. They have to be those that
    /// the server reads: with another customer claim, a tenant-scoped token would access all
    /// customers.
    #[must_use]
    pub fn with_claims(mut self, scope_claim: &str, customer_claim: &str) -> Self {
        scope_claim.clone_into(&mut self.scope_claim);
        customer_claim.clone_into(&mut self.customer_claim);
        self
    }

    /// Returns the key id of the token key: its thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the public key of the tokens as a JWK Set (RFC 7517), for `KeySource::Development` or
    /// for other services that accept the same tokens.
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

    /// Returns the service key in the form of the setting `SERVICE_KEYS`: `1:<base64 of 32 bytes>`.
    pub fn service_keys(&self) -> &SecretString {
        &self.service_keys
    }

    /// Returns the pepper in the form of the setting `PHONE_PEPPER`: `1:<base64 of 32 bytes>`.
    pub fn phone_pepper(&self) -> &SecretString {
        &self.phone_pepper
    }

    /// Mints a token that is valid from `now` on for `ttl`, in whole seconds. Scopes are separated by
    /// spaces. With `customer` the token is tenant-scoped.
    ///
    /// # Errors
    /// [`Error::Internal`] if the expiry is out of range or signing fails.
    #[allow(clippy::too_many_arguments, reason = "one for each claim of the token")]
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
            .ok_or_else(|| Error::internal("the expiry of the token is out of range"))?;
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

    /// Signs any header and payload (JWS compact serialization), for tools that test which tokens the
    /// service rejects. The signature is always `EdDSA`, whatever the header contains.
    ///
    /// # Errors
    /// [`Error::Internal`] if signing fails.
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> Result<String> {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self
            .jwt_key
            .try_sign(message.as_bytes())
            .map_err(|_| Error::internal("signing with the development key failed"))?;
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
    // RFC 7638 requires exactly these members, in this order, without whitespace.
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
        .ok_or("no key can be derived from the random bytes")?;
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

/// Creates the file `name` in `dir` unless it exists.
fn create_if_missing(
    dir: &Path,
    name: &str,
    generate: impl FnOnce() -> std::result::Result<String, String>,
    random: &Random,
) -> std::result::Result<(), String> {
    let path = dir.join(name);
    let failed =
        |reason: &dyn fmt::Display| format!("{} cannot be created: {reason}", path.display());
    if !path.try_exists().map_err(|error| failed(&error.kind()))? {
        let content = generate().map_err(|error| failed(&error))?;
        create(dir, &path, &content, random).map_err(|error| failed(&error.kind()))?;
    }
    Ok(())
}

/// Reads and parses the file `name` in `dir`.
fn load<T>(
    dir: &Path,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> std::result::Result<T, String> {
    let path = dir.join(name);
    let in_file = |reason: &dyn fmt::Display| format!("{}: {reason}", path.display());
    let file = File::open(&path).map_err(|error| in_file(&unreadable(&error)))?;
    if is_accessible_to_others(&file).map_err(|error| in_file(&error))? {
        return Err(in_file(
            &"is readable by users other than its owner; set its mode to 0600, or delete it to generate a new one",
        ));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| in_file(&unreadable(&error)))?;
    parse(&text).ok_or_else(|| in_file(&"is invalid; delete it to generate a new one"))
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {}", file_cause(error))
}

/// Creates the file `path` with `content` atomically, unless it exists.
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
fn is_accessible_to_others(file: &File) -> io::Result<bool> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
    Ok(mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_accessible_to_others(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests;
