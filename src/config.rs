//! Settings: flags, or the environment variable of the same name.
//!
//! Owns reading and judging them. A wrong one is told in one line that says which
//! and why, and never repeats a value that may be secret.

mod validation;
use std::{ffi::OsString, fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf};

use chrono::TimeDelta;
use clap::Args;

pub use crate::config::validation::parse_duration;
use crate::config::validation::{
    claim, database_url, folder_or, given, has_real_keys, helo_name, judge, key_source, list,
    parse_address, parse_address_or_none, parse_days, parse_leeway, parse_lifetime,
    parse_log_filter, parse_log_format, parse_max_stale, parse_rate_or_none, parse_trace_endpoint,
    public_url, replica_of, secret, sender, smtp_url, tls_files, versioned_keys,
};
use crate::{
    api::auth::{AuthSettings, KeySource},
    crypto::{keyring::VersionedKeys, password_hasher::HashCost},
    mail::{HeloName, PublicUrl, Sender, SmtpUrl},
    server::TlsFiles,
    storage::DatabaseUrl,
};

/// Name of the embedded database in `DATA_DIR`.
const DATABASE_FILE: &str = "contacts.db";
/// Name of the folder in `DATA_DIR` for mails that no SMTP server takes.
const MAIL_FOLDER: &str = "mail";
const DEFAULT_DATA_DIR: &str = "data";
const DEFAULT_ISSUER: &str = "contact-service-dev";
const DEFAULT_LOG_FILTER: &str = "info";
const DEFAULT_MAIL_FROM: &str = "Contact service <contact-service@localhost>";

/// The settings as given.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Folder of development keys, the embedded database and mails, as far as they are used
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = DEFAULT_DATA_DIR
    )]
    data_dir: OsString,
    /// `sqlite://path?mode=rwc`, or `postgres://user:password@host/name`; none: contacts.db in `DATA_DIR`, without `JWT_JWKS` and `JWT_ISSUER` only
    #[arg(long, env, global = true, hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds `DATABASE_URL`
    #[arg(long, env, global = true, hide_env_values = true)]
    database_url_file: Option<OsString>,
    /// `postgres://…` of a replica, for reads that may be a moment old
    #[arg(long, env, global = true, hide_env_values = true)]
    database_replica_url: Option<String>,
    /// A file that holds `DATABASE_REPLICA_URL`
    #[arg(long, env, global = true, hide_env_values = true)]
    database_replica_url_file: Option<OsString>,
    /// Address and port of gRPC
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "127.0.0.1:50051"
    )]
    listen_addr: String,
    /// Address and port of the confirmation page, for the public; `none`: no page
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "127.0.0.1:8080"
    )]
    http_addr: String,
    /// Address and port of metrics and probes, not for the public; `none`: neither
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "127.0.0.1:9090"
    )]
    metrics_addr: String,
    /// PEM file of the certificate chain that gRPC is served with; none: without TLS
    #[arg(long, env, global = true, hide_env_values = true)]
    tls_cert: Option<OsString>,
    /// PEM file of the private key of `TLS_CERT`
    #[arg(long, env, global = true, hide_env_values = true)]
    tls_key: Option<OsString>,
    /// PEM file of the authorities that certificates of callers come from; none: callers need none
    #[arg(long, env, global = true, hide_env_values = true)]
    tls_client_ca: Option<OsString>,
    /// The base of mailed links; none: the address of the page
    #[arg(long, env, global = true, hide_env_values = true)]
    public_url: Option<String>,
    /// File or https URL of the public keys of tokens; none: discovered by an https `JWT_ISSUER`, else a development key in `DATA_DIR`
    #[arg(long, env, global = true, hide_env_values = true)]
    jwt_jwks: Option<String>,
    /// The `iss` of tokens; several: with commas between. Of an https URL the keys are discovered
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = DEFAULT_ISSUER
    )]
    jwt_issuer: String,
    /// The `aud` of tokens; several: with commas between
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "contact-service"
    )]
    jwt_audience: String,
    /// Name or path of the claim with the scopes; none: the first of scope, scp, permissions
    #[arg(long, env, global = true, hide_env_values = true)]
    jwt_scope_claim: Option<String>,
    /// Name or path of the claim that confines a token to one customer
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = AuthSettings::DEFAULT_CUSTOMER_CLAIM
    )]
    jwt_customer_claim: String,
    /// How far the clocks of issuers may be off, in seconds: 0 to 120
    #[arg(long, env, global = true, hide_env_values = true, default_value = "30")]
    jwt_leeway_seconds: String,
    /// How long a token may be valid, from its `iat` on: a number with s, m, h or d
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "24h"
    )]
    jwt_max_lifetime: String,
    /// How long keys of tokens are used whose source cannot be read: a number with s, m, h or d
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "24h"
    )]
    jwt_jwks_max_stale: String,
    /// Keys that sign page tokens and grants, `version:base64`, newest first; none: a development key in `DATA_DIR`
    #[arg(long, env, global = true, hide_env_values = true)]
    service_keys: Option<String>,
    /// A file that holds `SERVICE_KEYS`
    #[arg(long, env, global = true, hide_env_values = true)]
    service_keys_file: Option<OsString>,
    /// Peppers of phone passwords, `version:base64`, newest first; none: a development one in `DATA_DIR`
    #[arg(long, env, global = true, hide_env_values = true)]
    phone_pepper: Option<String>,
    /// A file that holds `PHONE_PEPPER`
    #[arg(long, env, global = true, hide_env_values = true)]
    phone_pepper_file: Option<OsString>,
    /// Cost of a hash of a phone password: KiB (8192 to 1048576), passes, lanes of argon2id
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "m=65536,t=3,p=1"
    )]
    phone_password_cost: String,
    /// `VerifyContactChannel` requests within a minute, of each agent and each customer; `none`: unlimited
    #[arg(long, env, global = true, hide_env_values = true, default_value = "60")]
    channel_checks_per_minute: String,
    /// `smtp[s]://user:password@host:port`, optionally with `?tls=required` or `?tls=none`; none: mails are written to mail/ in `DATA_DIR`
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_url: Option<String>,
    /// A file that holds `SMTP_URL`
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_url_file: Option<OsString>,
    /// The name by which the mail server is greeted, such as `contact.example.com`; none: the host's name
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_helo_name: Option<String>,
    /// Whom mails come from, such as `Name <contact@example.com>`
    #[arg(long, env, global = true, hide_env_values = true)]
    mail_from: Option<String>,
    /// A folder with templates in place of the built-in ones
    #[arg(long, env, global = true, hide_env_values = true)]
    mail_templates: Option<OsString>,
    /// For how many days the trail is kept
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "365"
    )]
    audit_retention_days: String,
    /// `text` or `json`
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "text"
    )]
    log_format: String,
    /// Where traces go by OTLP over gRPC, such as `http://collector:4317`; none: nowhere
    #[arg(long, env, global = true, hide_env_values = true)]
    otel_exporter_otlp_endpoint: Option<String>,
    /// What is logged, such as `info` or `contact_service=debug`
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = DEFAULT_LOG_FILTER
    )]
    rust_log: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

/// The settings, judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of development keys, the embedded database and mails.
    pub data_dir: PathBuf,
    database_url: Result<DatabaseUrl, WrongSetting>,
    /// A replica of it, for reads that may be a moment old.
    pub database_replica_url: Option<DatabaseUrl>,
    /// Address and port of gRPC.
    pub listen_addr: SocketAddr,
    /// Where the public keys of tokens come from; `None`: the development key.
    pub jwks: Option<KeySource>,
    /// The tokens that are accepted, and how they are read.
    pub auth: AuthSettings,
    /// What signs page tokens and grants; `None`: the development key.
    pub service_keys: Option<VersionedKeys>,
    /// Peppers of phone passwords; `None`: a development one.
    pub phone_pepper: Option<VersionedKeys>,
    /// What a hash of a phone password costs.
    pub phone_password_cost: HashCost,
    /// Checks of channels within a minute, of each agent and each customer; `None`: unlimited.
    pub channel_checks_per_minute: Option<NonZeroU32>,
    /// Address and port of the confirmation page; `None`: no page.
    pub http_addr: Option<SocketAddr>,
    /// Address and port of metrics and probes; `None`: neither.
    pub metrics_addr: Option<SocketAddr>,
    /// What gRPC is served with; `None`: without TLS.
    pub tls: Option<TlsFiles>,
    /// Where traces go; `None`: nowhere.
    pub trace_endpoint: Option<String>,
    /// The base of mailed links; `None`: where the page listens.
    pub public_url: Option<PublicUrl>,
    /// Where mail is handed over; `None`: it is written to files.
    pub smtp_url: Option<SmtpUrl>,
    /// The name by which the mail server is greeted.
    pub smtp_helo_name: HeloName,
    /// Whom mails come from.
    pub mail_from: Sender,
    /// Templates in place of the built-in ones.
    pub mail_templates: Option<PathBuf>,
    /// How long the trail is kept.
    pub events_kept_for: TimeDelta,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
}

/// A setting that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSetting {
    /// Name of the setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.why)
    }
}

impl WrongSetting {
    /// Names `setting` and says why it cannot be taken.
    pub fn new(setting: &'static str, why: impl Into<String>) -> Self {
        Self {
            setting,
            why: why.into(),
        }
    }
}

impl Settings {
    /// Reads and judges all settings, and what they mean together.
    ///
    /// # Errors
    /// The first [`WrongSetting`].
    pub fn judge(self) -> Result<Config, WrongSetting> {
        let auth = self.auth_settings();
        let data_dir = folder_or(self.data_dir, DEFAULT_DATA_DIR);
        let given_url = secret(
            "DATABASE_URL",
            self.database_url,
            ("DATABASE_URL_FILE", self.database_url_file),
        )?;
        let has_real_keys = has_real_keys(self.jwt_jwks.as_deref(), &self.jwt_issuer);
        let database_url = database_url(given_url, has_real_keys, &data_dir)?;
        let replica_url = secret(
            "DATABASE_REPLICA_URL",
            self.database_replica_url,
            ("DATABASE_REPLICA_URL_FILE", self.database_replica_url_file),
        )?;
        let smtp_url = smtp_url(self.smtp_url, self.smtp_url_file)?;
        let http_addr = judge("HTTP_ADDR", parse_address_or_none(&self.http_addr))?;
        let auth = auth?;
        let config = Config {
            database_replica_url: replica_of(database_url.as_ref(), replica_url.as_deref())?,
            database_url,
            data_dir,
            listen_addr: judge("LISTEN_ADDR", parse_address(&self.listen_addr))?,
            jwks: key_source(self.jwt_jwks, &auth.issuers)?,
            auth,
            service_keys: versioned_keys(
                "SERVICE_KEYS",
                self.service_keys,
                ("SERVICE_KEYS_FILE", self.service_keys_file),
            )?,
            phone_pepper: versioned_keys(
                "PHONE_PEPPER",
                self.phone_pepper,
                ("PHONE_PEPPER_FILE", self.phone_pepper_file),
            )?,
            phone_password_cost: given(Some(self.phone_password_cost))
                .map(|cost| judge("PHONE_PASSWORD_COST", HashCost::parse(&cost)))
                .transpose()?
                .unwrap_or_default(),
            channel_checks_per_minute: judge(
                "CHANNEL_CHECKS_PER_MINUTE",
                parse_rate_or_none(&self.channel_checks_per_minute),
            )?,
            http_addr,
            metrics_addr: judge("METRICS_ADDR", parse_address_or_none(&self.metrics_addr))?,
            tls: tls_files(self.tls_cert, self.tls_key, self.tls_client_ca)?,
            trace_endpoint: given(self.otel_exporter_otlp_endpoint)
                .map(|text| judge("OTEL_EXPORTER_OTLP_ENDPOINT", parse_trace_endpoint(&text)))
                .transpose()?,
            public_url: None,
            mail_from: sender(self.mail_from, smtp_url.is_some())?,
            smtp_url,
            smtp_helo_name: helo_name(self.smtp_helo_name)?,
            mail_templates: self
                .mail_templates
                .filter(|folder| !folder.is_empty())
                .map(PathBuf::from),
            events_kept_for: judge(
                "AUDIT_RETENTION_DAYS",
                parse_days(&self.audit_retention_days),
            )?,
            log_format: judge("LOG_FORMAT", parse_log_format(&self.log_format))?,
            log_filter: judge("RUST_LOG", parse_log_filter(&self.rust_log))?
                .unwrap_or_else(|| DEFAULT_LOG_FILTER.to_owned()),
        };
        config.refuse_development_keys_in_public()?;
        Ok(Config {
            public_url: public_url(self.public_url, http_addr)?,
            ..config
        })
    }
}

impl Settings {
    fn auth_settings(&self) -> Result<AuthSettings, WrongSetting> {
        let customer_claim = claim("JWT_CUSTOMER_CLAIM", Some(&self.jwt_customer_claim))?;
        Ok(AuthSettings {
            issuers: list("JWT_ISSUER", &self.jwt_issuer)?,
            audiences: list("JWT_AUDIENCE", &self.jwt_audience)?,
            scope_claim: claim("JWT_SCOPE_CLAIM", self.jwt_scope_claim.as_deref())?,
            customer_claim: customer_claim
                .unwrap_or_else(|| AuthSettings::DEFAULT_CUSTOMER_CLAIM.to_owned()),
            leeway: judge("JWT_LEEWAY_SECONDS", parse_leeway(&self.jwt_leeway_seconds))?,
            max_lifetime: judge("JWT_MAX_LIFETIME", parse_lifetime(&self.jwt_max_lifetime))?,
            keys_max_stale: judge(
                "JWT_JWKS_MAX_STALE",
                parse_max_stale(&self.jwt_jwks_max_stale),
            )?,
        })
    }
}

impl Config {
    /// The database.
    ///
    /// # Errors
    /// [`WrongSetting`] if it is unset although an identity provider issues the tokens. Commands
    /// that use no database do not report this.
    pub fn database_url(&self) -> Result<&DatabaseUrl, WrongSetting> {
        self.database_url.as_ref().map_err(WrongSetting::clone)
    }

    /// Where mails are written that no SMTP server takes.
    pub fn mail_dir(&self) -> PathBuf {
        self.data_dir.join(MAIL_FOLDER)
    }

    fn uses_development_keys(&self) -> bool {
        self.jwks.is_none() || self.service_keys.is_none() || self.phone_pepper.is_none()
    }

    fn refuse_development_keys_in_public(&self) -> Result<(), WrongSetting> {
        if !self.uses_development_keys() {
            return Ok(());
        }
        for (setting, address, example) in [
            ("LISTEN_ADDR", Some(self.listen_addr), "127.0.0.1:50051"),
            ("HTTP_ADDR", self.http_addr, "127.0.0.1:8080, or none"),
            ("METRICS_ADDR", self.metrics_addr, "127.0.0.1:9090, or none"),
        ] {
            if address.is_some_and(|address| !address.ip().is_loopback()) {
                let why = format!(
                    "must be a loopback address, such as {example}, as long as JWT_JWKS, \
                     SERVICE_KEYS and PHONE_PEPPER are not all set: development keys are for \
                     this machine only"
                );
                return Err(WrongSetting::new(setting, why));
            }
        }
        Ok(())
    }
}
