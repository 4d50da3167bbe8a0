//! The settings of a server for tests of consumers.

use std::path::Path;

use super::Settings;
use crate::config::validation::DEFAULT_ISSUER;

const FREE_PORT: &str = "127.0.0.1:0";

impl Settings {
    /// Returns the settings of a server for tests of consumers, whose data is in `folder`. Settings of
    /// addresses, the database, keys, TLS and the mail server are not used: they belong to the tested
    /// application, or to a server in production.
    #[must_use]
    pub fn for_testing(self, folder: &Path) -> Self {
        Self {
            data_dir: folder.into(),
            listen_addr: FREE_PORT.to_owned(),
            http_addr: FREE_PORT.to_owned(),
            metrics_addr: FREE_PORT.to_owned(),
            database_url: None,
            database_url_file: None,
            database_replica_url: None,
            database_replica_url_file: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            public_url: None,
            jwt_jwks: None,
            jwt_issuer: DEFAULT_ISSUER.to_owned(),
            service_keys: None,
            service_keys_file: None,
            phone_pepper: None,
            phone_pepper_file: None,
            smtp_url: None,
            smtp_url_file: None,
            ..self
        }
    }
}
