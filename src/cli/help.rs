//! The layout of `--help`: the flags of the command first, then the settings that it reads, under
//! headings. `serve` lists all settings in full; the other commands list theirs with a line each.

/// Headings of the settings, by id.
const HEADINGS: [(&str, &[&str]); 8] = [
    (
        "Data and database",
        &[
            "data_dir",
            "database_url",
            "database_url_file",
            "database_replica_url",
            "database_replica_url_file",
        ],
    ),
    (
        "Network",
        &[
            "listen_addr",
            "http_json",
            "http_addr",
            "metrics_addr",
            "public_url",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
        ],
    ),
    (
        "Access tokens",
        &[
            "jwt_jwks",
            "jwt_issuer",
            "jwt_audience",
            "jwt_scope_claim",
            "jwt_customer_claim",
            "jwt_leeway_seconds",
            "jwt_max_lifetime",
            "jwt_jwks_max_stale",
        ],
    ),
    (
        "Keys and phone passwords",
        &[
            "service_keys",
            "service_keys_file",
            "phone_pepper",
            "phone_pepper_file",
            "phone_password_cost",
        ],
    ),
    (
        "E-mail",
        &[
            "smtp_url",
            "smtp_url_file",
            "smtp_helo_name",
            "mail_from",
            "mail_templates",
            "review_reminder",
        ],
    ),
    (
        "Brand, on the page and in e-mails",
        &[
            "brand_name",
            "brand_logo",
            "brand_color",
            "brand_contact",
            "time_zone",
        ],
    ),
    (
        "Limits and retention",
        &["channel_checks_per_minute", "audit_retention_days"],
    ),
    (
        "Logs and traces",
        &["log_format", "rust_log", "slow_request_millis"],
    ),
];

/// A setting in the help of a command that lists only some of them.
struct Brief {
    id: &'static str,
    value_name: &'static str,
    help: &'static str,
}

const fn brief(id: &'static str, value_name: &'static str, help: &'static str) -> Brief {
    Brief {
        id,
        value_name,
        help,
    }
}

/// The settings of the commands that open the database.
const OF_DATABASE_COMMANDS: &[Brief] = &[
    brief("data_dir", "FOLDER", "Folder of the embedded database"),
    brief("database_url", "URL", "Database; default: the embedded one"),
    brief("database_replica_url", "URL", "PostgreSQL read replica"),
    brief("log_format", "FORMAT", "text or json"),
    brief("rust_log", "FILTER", "Log level or filter"),
];

const OF_VERIFY_DATA: &[Brief] = &[
    brief("data_dir", "FOLDER", "Embedded database, development keys"),
    brief("database_url", "URL", "Database; default: the embedded one"),
    brief("database_replica_url", "URL", "PostgreSQL read replica"),
    brief("phone_pepper", "KEYS", "Peppers of phone passwords"),
    brief("log_format", "FORMAT", "text or json"),
    brief("rust_log", "FILTER", "Log level or filter"),
];

const OF_KEYS: &[Brief] = &[
    brief("data_dir", "FOLDER", "Embedded database, development keys"),
    brief("database_url", "URL", "Database; default: the embedded one"),
    brief("database_replica_url", "URL", "PostgreSQL read replica"),
    brief("tls_cert", "FILE", "Certificate chain of the gRPC server"),
    brief("tls_key", "FILE", "Private key of TLS_CERT"),
    brief("jwt_jwks", "SOURCE", "Public keys of tokens"),
    brief("jwt_issuer", "ISSUER", "Claim iss of tokens"),
    brief("service_keys", "KEYS", "Service keys"),
    brief("phone_pepper", "KEYS", "Peppers of phone passwords"),
    brief("log_format", "FORMAT", "text or json"),
    brief("rust_log", "FILTER", "Log level or filter"),
];

const OF_TOKEN: &[Brief] = &[
    brief("data_dir", "FOLDER", "Folder of the development key"),
    brief("jwt_jwks", "SOURCE", "Must not be set: a provider's keys"),
    brief("jwt_issuer", "ISSUER", "Claim iss; of several, the first"),
    brief(
        "jwt_audience",
        "AUDIENCE",
        "Claim aud; of several, the first",
    ),
    brief("jwt_scope_claim", "CLAIM", "Claim that holds the scopes"),
    brief(
        "jwt_customer_claim",
        "CLAIM",
        "Claim that holds the customer number",
    ),
    brief("jwt_max_lifetime", "DURATION", "Upper limit of --ttl"),
];

const OF_CALL: &[Brief] = &[
    brief("listen_addr", "ADDRESS", "Address of gRPC"),
    brief("data_dir", "FOLDER", "Folder of the development key"),
];

const OF_HEALTHCHECK: &[Brief] = &[
    brief("listen_addr", "ADDRESS", "Address of gRPC"),
    brief("metrics_addr", "ADDRESS", "Address of probes"),
    brief("tls_cert", "FILE", "If set, METRICS_ADDR is checked"),
    brief("tls_key", "FILE", "Required with TLS_CERT"),
];

const MORE_SETTINGS: &str = "Each setting is a flag or an environment variable (--data-dir, \
                             DATA_DIR);\nsecrets also as files (DATABASE_URL_FILE). All of them: \
                             contact-service --help";

const TRACES: &str = "Traces: set OTEL_EXPORTER_OTLP_ENDPOINT to a collector (OTLP over gRPC); the other \
                      variables of OpenTelemetry are read as well";

/// Groups the settings under headings, and hides those that a command does not read.
pub(crate) fn with_sections(mut command: clap::Command) -> clap::Command {
    // Settings are global arguments: building copies them into each command.
    command.build();
    let command = command.mut_args(under_heading).after_help(TRACES);
    command.mut_subcommands(|command| match brief_settings(command.get_name()) {
        Some(settings) => with_brief_settings(command, settings),
        None => command.mut_args(under_heading).after_help(TRACES),
    })
}

/// Returns the settings that a command lists; `None`: all of them.
fn brief_settings(command: &str) -> Option<&'static [Brief]> {
    match command {
        "migrate" | "resolve" | "report-bounces" | "export" | "import" | "backup" => {
            Some(OF_DATABASE_COMMANDS)
        }
        "keys" => Some(OF_KEYS),
        "verify-data" => Some(OF_VERIFY_DATA),
        "token" => Some(OF_TOKEN),
        "call" => Some(OF_CALL),
        "healthcheck" => Some(OF_HEALTHCHECK),
        _ => None,
    }
}

fn under_heading(arg: clap::Arg) -> clap::Arg {
    let id = arg.get_id().as_str();
    let heading = HEADINGS.iter().find(|(_, ids)| ids.contains(&id));
    match heading {
        Some((heading, _)) => arg.help_heading(*heading),
        None => arg,
    }
}

fn with_brief_settings(command: clap::Command, settings: &'static [Brief]) -> clap::Command {
    let command = command.mut_args(|arg| {
        if !arg.is_global_set() {
            return arg;
        }
        let setting = settings.iter().find(|setting| arg.get_id() == setting.id);
        match setting {
            Some(setting) => under_heading(arg)
                .value_name(setting.value_name)
                .help(setting.help)
                .hide_default_value(true)
                .hide_env(true),
            None => arg.hide(true),
        }
    });
    command
        // Without a width each argument has its help on the same line.
        .term_width(0)
        .after_help(MORE_SETTINGS)
        .mut_subcommands(|action| with_brief_settings(action, settings))
}
