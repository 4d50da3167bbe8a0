//! The settings: flags or environment variables of the same names, and the configuration that
//! they make.

mod testing;

use std::{ffi::OsString, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use clap::Args;

use super::{
    brand::BrandSettings,
    error::ConfigError,
    telemetry::{Collector, collector},
    validation::{
        DEFAULT_ISSUER, LogFormat, claim, database_url, directory_or, helo_name, key_source, list,
        non_empty, non_empty_path, parse_address, parse_address_or_none, parse_days, parse_leeway,
        parse_lifetime, parse_log_filter, parse_log_format, parse_max_stale, parse_on_or_off,
        parse_rate_or_none, public_url, replica_url, sender, smtp_url, tls_files,
        uses_identity_provider, validate, value_or_file, versioned_keys,
    },
};
use crate::{
    api::auth::{AuthSettings, KeySource},
    brand::Brand,
    crypto::{keyring::VersionedKeys, password_hasher::HashCost},
    mail::{HeloName, PublicUrl, Sender, SmtpUrl},
    server::TlsFiles,
    storage::DatabaseUrl,
};

/// Name of the directory in `DATA_DIR` for e-mails without an SMTP server.
const MAIL_DIRECTORY: &str = "mail";
const DEFAULT_DATA_DIR: &str = "data";
const DEFAULT_LOG_FILTER: &str = "info";

/// The settings as text.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Directory of development keys, the embedded database and mail files, if they are used
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = DEFAULT_DATA_DIR
    )]
    data_dir: OsString,
    /// `sqlite://path?mode=rwc`, or `postgres://user:password@host/name`; none: contacts.db in `DATA_DIR`, if neither `JWT_JWKS` nor `JWT_ISSUER` is set
    #[arg(long, env, global = true, hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds `DATABASE_URL`
    #[arg(long, env, global = true, hide_env_values = true)]
    database_url_file: Option<OsString>,
    /// `postgres://…` of a read replica, for reads that tolerate replication lag
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
    /// Public address and port of the confirmation page; `none`: no page
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "127.0.0.1:8080"
    )]
    http_addr: String,
    /// Address and port of metrics and probes, not public; `none`: neither
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "127.0.0.1:9090"
    )]
    metrics_addr: String,
    /// Serve JSON over HTTP and gRPC-Web on the gRPC port: on or off; none: on if `LISTEN_ADDR` is a loopback address
    #[arg(long, env, global = true, hide_env_values = true)]
    http_json: Option<String>,
    /// PEM file of the certificate chain of the gRPC server; none: without TLS
    #[arg(long, env, global = true, hide_env_values = true)]
    tls_cert: Option<OsString>,
    /// PEM file of the private key of `TLS_CERT`
    #[arg(long, env, global = true, hide_env_values = true)]
    tls_key: Option<OsString>,
    /// PEM file of the certificate authorities of clients; none: no client certificates
    #[arg(long, env, global = true, hide_env_values = true)]
    tls_client_ca: Option<OsString>,
    /// Base URL of mailed links; none: the address of the page
    #[arg(long, env, global = true, hide_env_values = true)]
    public_url: Option<String>,
    /// File or https URL of the public keys of tokens; none: discovered by an https `JWT_ISSUER`, else a development key in `DATA_DIR`
    #[arg(long, env, global = true, hide_env_values = true)]
    jwt_jwks: Option<String>,
    /// `iss` of tokens, comma-separated; keys of an https URL are discovered
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = DEFAULT_ISSUER
    )]
    jwt_issuer: String,
    /// `aud` of tokens, comma-separated
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
    /// Name or path of the claim that scopes a token to one customer (tenant)
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = AuthSettings::DEFAULT_CUSTOMER_CLAIM
    )]
    jwt_customer_claim: String,
    /// Tolerated clock skew of issuers in seconds, 0 to 120
    #[arg(long, env, global = true, hide_env_values = true, default_value = "30")]
    jwt_leeway_seconds: String,
    /// Maximum lifetime of a token after its `iat`: a number with s, m, h or d
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "24h"
    )]
    jwt_max_lifetime: String,
    /// How long cached keys of tokens are used while their source is unavailable: a number with s, m, h or d
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
    /// argon2id cost of phone passwords: memory in KiB (8192 to 1048576), passes, lanes
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "m=65536,t=3,p=1"
    )]
    phone_password_cost: String,
    /// `VerifyContactChannel` requests per minute, for each agent and each customer, and `FindCustomers`
    /// requests for each agent; `none`: unlimited
    #[arg(long, env, global = true, hide_env_values = true, default_value = "60")]
    channel_checks_per_minute: String,
    /// `on` asks each customer once a year by e-mail to review its contacts; `off`: never
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "off"
    )]
    review_reminder: String,
    /// `smtp[s]://user:password@host:port`, optionally with `?tls=required` or `?tls=none`; none: e-mails are written to mail/ in `DATA_DIR`
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_url: Option<String>,
    /// A file that holds `SMTP_URL`
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_url_file: Option<OsString>,
    /// Name in EHLO, such as `contact.example.com`; none: the name of the host
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_helo_name: Option<String>,
    /// Sender of e-mails, such as `Name <contact@example.com>`; required when `SMTP_URL` is set
    #[arg(long, env, global = true, hide_env_values = true)]
    mail_from: Option<String>,
    /// Directory of templates that replace the built-in ones
    #[arg(long, env, global = true, hide_env_values = true)]
    mail_templates: Option<OsString>,
    #[command(flatten)]
    brand: BrandSettings,
    /// Retention of the audit log in days
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
    /// Milliseconds after which a request is logged as slow, or `none`
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "1000"
    )]
    slow_request_millis: String,
    /// Filter of log lines, such as `info` or `contact_service=debug`
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = DEFAULT_LOG_FILTER
    )]
    rust_log: String,
}

/// The validated settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of development keys, the embedded database and mail files.
    pub data_dir: PathBuf,
    database_url: Result<DatabaseUrl, ConfigError>,
    /// The read replica, for reads that tolerate replication lag.
    pub database_replica_url: Option<DatabaseUrl>,
    /// The address and port of gRPC.
    pub listen_addr: SocketAddr,
    /// True if the gRPC port also serves JSON over HTTP and gRPC-Web.
    pub serves_http_json: bool,
    /// The source of the public keys of tokens; `None` for the development key.
    pub jwks: Option<KeySource>,
    /// The rules for tokens and their claims.
    pub auth: AuthSettings,
    /// The keys that sign page tokens and grants; `None` for the development key.
    pub service_keys: Option<VersionedKeys>,
    /// The peppers of phone passwords; `None` for the development one.
    pub phone_pepper: Option<VersionedKeys>,
    /// The cost of hashing a phone password.
    pub phone_password_cost: HashCost,
    /// The limit of channel checks per minute, for each agent and each customer, and of searches, for each
    /// agent; `None` for no limit.
    pub channel_checks_per_minute: Option<NonZeroU32>,
    /// The address and port of the confirmation page; `None` for no page.
    pub http_addr: Option<SocketAddr>,
    /// The address and port of metrics and probes; `None` for neither.
    pub metrics_addr: Option<SocketAddr>,
    /// The certificate files of the gRPC server; `None` for no TLS.
    pub tls: Option<TlsFiles>,
    /// The collector of traces; `None` for no traces.
    pub collector: Option<Collector>,
    /// The base URL of mailed links; `None` for the address of the page.
    pub public_url: Option<PublicUrl>,
    /// The mail server; `None` for mail files.
    pub smtp_url: Option<SmtpUrl>,
    /// The name in EHLO.
    pub smtp_helo_name: HeloName,
    /// The sender of e-mails.
    pub mail_from: Sender,
    /// The directory of custom templates.
    pub mail_templates: Option<PathBuf>,
    /// The appearance of the provider, without its logo.
    pub brand: Brand,
    /// The file of the logo; `None` for no logo.
    pub brand_logo: Option<PathBuf>,
    /// True if customers are asked once a year to review their contacts.
    pub reminds_of_reviews: bool,
    /// The retention of the audit log.
    pub events_kept_for: TimeDelta,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// The filter of log lines.
    pub log_filter: String,
    /// The time after which a request is logged as slow; `None` for never.
    pub slow_request: Option<Duration>,
}

impl Settings {
    /// Validates all settings and their combinations.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn validate(self) -> Result<Config, ConfigError> {
        let auth = self.auth_settings();
        let data_dir = directory_or(self.data_dir, DEFAULT_DATA_DIR);
        let url = value_or_file(
            "DATABASE_URL",
            self.database_url,
            ("DATABASE_URL_FILE", self.database_url_file),
        )?;
        let uses_identity_provider =
            uses_identity_provider(self.jwt_jwks.as_deref(), &self.jwt_issuer);
        let database_url = database_url(url, uses_identity_provider, &data_dir)?;
        let replica = value_or_file(
            "DATABASE_REPLICA_URL",
            self.database_replica_url,
            ("DATABASE_REPLICA_URL_FILE", self.database_replica_url_file),
        )?;
        let smtp_url = smtp_url(self.smtp_url, self.smtp_url_file)?;
        let mail_from = sender(self.mail_from, smtp_url.is_some())?;
        let http_addr = validate("HTTP_ADDR", parse_address_or_none(&self.http_addr))?;
        let listen_addr = validate("LISTEN_ADDR", parse_address(&self.listen_addr))?;
        let auth = auth?;
        let config = Config {
            database_replica_url: replica_url(database_url.as_ref(), replica.as_deref())?,
            database_url,
            data_dir,
            listen_addr,
            serves_http_json: serves_http_json(self.http_json, listen_addr)?,
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
            phone_password_cost: non_empty(Some(self.phone_password_cost))
                .map(|cost| validate("PHONE_PASSWORD_COST", HashCost::parse(&cost)))
                .transpose()?
                .unwrap_or_default(),
            channel_checks_per_minute: validate(
                "CHANNEL_CHECKS_PER_MINUTE",
                parse_rate_or_none(&self.channel_checks_per_minute),
            )?,
            http_addr,
            metrics_addr: validate("METRICS_ADDR", parse_address_or_none(&self.metrics_addr))?,
            tls: tls_files(self.tls_cert, self.tls_key, self.tls_client_ca)?,
            collector: collector(|name| std::env::var(name).ok())?,
            slow_request: slow_request(&self.slow_request_millis)?,
            public_url: None,
            brand_logo: self.brand.logo(),
            brand: self.brand.validate(&mail_from)?,
            mail_from,
            smtp_url,
            smtp_helo_name: helo_name(self.smtp_helo_name)?,
            mail_templates: non_empty_path(self.mail_templates),
            reminds_of_reviews: reminds_of_reviews(&self.review_reminder)?,
            events_kept_for: events_kept_for(&self.audit_retention_days)?,
            log_format: validate("LOG_FORMAT", parse_log_format(&self.log_format))?,
            log_filter: validate("RUST_LOG", parse_log_filter(&self.rust_log))?
                .unwrap_or_else(|| DEFAULT_LOG_FILTER.to_owned()),
        };
        config.check_development_keys()?;
        Ok(Config {
            public_url: public_url(self.public_url, http_addr)?,
            ..config
        })
    }
}

impl Settings {
    fn auth_settings(&self) -> Result<AuthSettings, ConfigError> {
        let customer_claim = claim("JWT_CUSTOMER_CLAIM", Some(&self.jwt_customer_claim))?;
        Ok(AuthSettings {
            issuers: list("JWT_ISSUER", &self.jwt_issuer)?,
            audiences: list("JWT_AUDIENCE", &self.jwt_audience)?,
            scope_claim: claim("JWT_SCOPE_CLAIM", self.jwt_scope_claim.as_deref())?,
            customer_claim: customer_claim
                .unwrap_or_else(|| AuthSettings::DEFAULT_CUSTOMER_CLAIM.to_owned()),
            leeway: validate("JWT_LEEWAY_SECONDS", parse_leeway(&self.jwt_leeway_seconds))?,
            max_lifetime: validate("JWT_MAX_LIFETIME", parse_lifetime(&self.jwt_max_lifetime))?,
            keys_max_stale: validate(
                "JWT_JWKS_MAX_STALE",
                parse_max_stale(&self.jwt_jwks_max_stale),
            )?,
        })
    }
}

impl Config {
    /// Returns the database URL.
    ///
    /// # Errors
    /// [`ConfigError`] if it is unset although an identity provider issues the tokens. Commands
    /// that use no database do not report this.
    pub fn database_url(&self) -> Result<&DatabaseUrl, ConfigError> {
        self.database_url.as_ref().map_err(ConfigError::clone)
    }

    /// Returns the directory of mail files.
    pub fn mail_dir(&self) -> PathBuf {
        self.data_dir.join(MAIL_DIRECTORY)
    }

    fn uses_development_keys(&self) -> bool {
        self.jwks.is_none() || self.service_keys.is_none() || self.phone_pepper.is_none()
    }

    fn check_development_keys(&self) -> Result<(), ConfigError> {
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
                return Err(ConfigError::new(setting, why));
            }
        }
        Ok(())
    }
}

fn events_kept_for(days: &str) -> Result<TimeDelta, ConfigError> {
    validate("AUDIT_RETENTION_DAYS", parse_days(days))
}

fn serves_http_json(setting: Option<String>, listen_addr: SocketAddr) -> Result<bool, ConfigError> {
    let setting = non_empty(setting).map(|setting| parse_on_or_off(&setting));
    let setting = validate("HTTP_JSON", setting.transpose())?;
    Ok(setting.unwrap_or(listen_addr.ip().is_loopback()))
}

fn slow_request(millis: &str) -> Result<Option<Duration>, ConfigError> {
    let millis = validate("SLOW_REQUEST_MILLIS", parse_rate_or_none(millis))?;
    Ok(millis.map(|millis| Duration::from_millis(millis.get().into())))
}

fn reminds_of_reviews(setting: &str) -> Result<bool, ConfigError> {
    validate("REVIEW_REMINDER", parse_on_or_off(setting))
}
