//! A server with a database of its own for every test.

use std::{num::NonZeroU32, path::PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::{
    api::{
        auth::{Authenticator, JwksLocation, KeySource},
        proto::{self, contact_service_client::ContactServiceClient},
    },
    app::{App, AppParts},
    clock::Clock,
    crypto::{
        development_keys::DevelopmentKeys, keyring::VersionedKeys, password_hasher::PhoneHasher,
        random::Random,
    },
    domain::ids::CustomerNumber,
    mail::{MailFolder, Outbox, OutboxParts, PublicUrl, Sender, Templates, Transport},
    server::{self, Parts},
    storage::{Database, DatabaseUrl},
};
use secrecy::ExposeSecret;
use sqlx::{Connection, Executor};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

pub use crate::options::Options;
use crate::{
    citus,
    mailbox::{ReadMails, brand},
    service_role,
};

pub const ISSUER: &str = "contact-service-dev";
pub const AUDIENCE: &str = "contact-service";
pub const PUBLIC_URL: &str = "https://contact.example/kis";
pub const ALL_SCOPES: &str = "customers.read customers.write contact_data.write contacts.read \
    contacts.write email.confirm channels.verify customers.find phone_password.check \
    phone_password.unlock phone_orders.authorize phone_orders.read order_types.read order_types.write recipients.resolve \
    recipients.resolve_all deliveries.report audit.read \
    changes.watch privacy.export privacy.erase";

/// The databases that every test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// A running server. Dropped servers run until the process ends.
pub struct TestServer {
    pub address: String,
    pub channel: Channel,
    pub clock: Clock,
    pub keys: DevelopmentKeys,
    pub database: Database,
    pub database_url: String,
    pub app: App,
    pub hasher: PhoneHasher,
    /// Sends when a test triggers it; the server itself has no worker.
    pub outbox: Outbox,
    /// The address of the confirmation page.
    pub page_address: String,
    pub read_mails: ReadMails,
    pub folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<Result<(), String>>>,
}

/// Adds a token to every request.
#[derive(Clone)]
pub struct Bearer(String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value: MetadataValue<_> = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

pub type Client = ContactServiceClient<InterceptedService<Channel, Bearer>>;

impl TestServer {
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, Options::default()).await
    }

    pub async fn start_with(backend: Backend, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = fresh_database(backend, folder.path().join("contacts.db")).await;
        Self::start_on(&database_url, folder, options).await
    }

    /// Starts on an existing database.
    pub async fn start_on(database_url: &str, folder: TempDir, options: Options) -> Self {
        let clock = Clock::manual(start_time());
        let random = Random::system();
        let keys = DevelopmentKeys::load_or_create(folder.path(), &random).unwrap();
        let database = connect_all(database_url, &options).await;
        let service_keys = VersionedKeys::parse(keys.service_keys().expose_secret()).unwrap();
        let peppers = VersionedKeys::parse(keys.phone_pepper().expose_secret()).unwrap();
        let hasher = PhoneHasher::new(peppers, options.hash_cost).unwrap();
        let app = App::new(AppParts {
            database: database.clone(),
            clock: clock.clone(),
            random,
            service_keys: service_keys.clone(),
            hasher: hasher.clone(),
            channel_checks_per_minute: NonZeroU32::new(options.channel_checks_per_minute),
            code_answer_time: options.code_answer_time,
            mail_folder: Some(MailFolder::new(folder.path().join("mail"))),
        });
        let outbox = outbox_to_files(&database, &clock, &folder, service_keys.clone());
        let page = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page_address = page.local_addr().unwrap().to_string();
        let source = key_source(options.jwks.as_deref(), &keys);
        let settings = options.auth_settings();
        let authenticator = Authenticator::new(settings, source, clock.clone()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let parts = Parts {
            database: database.clone(),
            app: app.clone(),
            authenticator: authenticator.unwrap(),
            service_keys,
            limits: options.limits,
            serves_http_json: options.serves_http_json,
            outbox: None,
            page: Some((page, format!("http://{page_address}"))),
            brand: brand(),
            tls: None,
            monitoring: None,
            events_kept_for: TimeDelta::days(365),
            reminds_of_reviews: false,
            testing: None,
            drain: options.drain,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server::serve(listener, parts, async move {
            let _ = stopped.await;
        }));
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        Self {
            address,
            channel,
            clock,
            keys,
            database,
            database_url: database_url.to_owned(),
            app,
            hasher,
            outbox,
            page_address,
            read_mails: ReadMails::default(),
            folder,
            stop: Some(stop),
            server: Some(server),
        }
    }

    /// Starts another instance with the same database and keys and its own clock.
    pub async fn start_peer(&self, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        Self::start_on(&self.database_url, folder, options).await
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn token(&self, scope: &str, customer: Option<&str>) -> String {
        let customer = customer.map(|number| CustomerNumber::parse(number).unwrap());
        let ttl = TimeDelta::days(365);
        self.keys
            .mint(
                ISSUER,
                AUDIENCE,
                "tester",
                scope,
                customer.as_ref(),
                ttl,
                self.now(),
            )
            .unwrap()
    }

    /// A client with all scopes.
    pub fn client(&self) -> Client {
        self.client_with(self.token(ALL_SCOPES, None))
    }

    pub fn client_with(&self, token: String) -> Client {
        ContactServiceClient::with_interceptor(self.channel.clone(), Bearer(token))
    }

    /// Starts the shutdown and waits for its end.
    pub async fn stop(&mut self) -> Result<(), String> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.server.take().unwrap().await.unwrap()
    }

    /// Creates a contact; a non-empty `email` is pending afterwards.
    pub async fn create_contact(
        &self,
        number: &str,
        name: &str,
        types: &[proto::ContactType],
        email: &str,
    ) -> proto::Contact {
        let request = proto::CreateContactRequest {
            customer_number: number.into(),
            contact: Some(new_contact(name, types)),
            email: email.into(),
            ..proto::CreateContactRequest::default()
        };
        let response = self.client().create_contact(request).await.unwrap();
        response.into_inner().contact.unwrap()
    }

    pub fn mail_folder(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// All events of a customer, newest first, with this page size.
    pub async fn paged_events(&self, number: &str, page_size: i32) -> Vec<proto::AuditEvent> {
        let (mut events, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = proto::ListAuditEventsRequest {
                customer_number: number.into(),
                page_size,
                page_token,
                ..proto::ListAuditEventsRequest::default()
            };
            let page = self.client().list_audit_events(request).await.unwrap();
            let page = page.into_inner();
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return events;
            }
        }
    }

    /// All events of a customer, newest first.
    pub async fn events(&self, number: &str) -> Vec<proto::AuditEvent> {
        let request = proto::ListAuditEventsRequest {
            customer_number: number.into(),
            page_size: 1000,
            ..proto::ListAuditEventsRequest::default()
        };
        let response = self.client().list_audit_events(request).await.unwrap();
        response.into_inner().events
    }
}

fn key_source(jwks: Option<&str>, keys: &DevelopmentKeys) -> KeySource {
    match jwks {
        Some(location) => KeySource::Jwks(JwksLocation::parse(location).unwrap()),
        None => KeySource::Development(keys.jwks()),
    }
}

fn outbox_to_files(
    database: &Database,
    clock: &Clock,
    folder: &TempDir,
    service_keys: VersionedKeys,
) -> Outbox {
    Outbox::new(OutboxParts {
        database: database.clone(),
        clock: clock.clone(),
        random: Random::system(),
        templates: Templates::load(None, &brand()).unwrap(),
        transport: Transport::Folder(MailFolder::new(folder.path().join("mail"))),
        sender: Sender::parse("Kontakt <contact@provider.example>").unwrap(),
        public_url: PublicUrl::parse(PUBLIC_URL).unwrap(),
        service_keys,
    })
}

/// A contact as a request contains it.
pub fn new_contact(name: &str, types: &[proto::ContactType]) -> proto::Contact {
    proto::Contact {
        display_name: name.into(),
        types: types
            .iter()
            .map(|&contact_type| contact_type.into())
            .collect(),
        ..proto::Contact::default()
    }
}

pub fn start_time() -> DateTime<Utc> {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

pub async fn connect(database_url: &str) -> Database {
    let url = DatabaseUrl::parse(database_url).unwrap();
    Database::connect(&url).await.unwrap()
}

async fn connect_all(database_url: &str, options: &Options) -> Database {
    let mut database = connect(database_url).await;
    if options.migrates {
        citus::migrate(&database).await.unwrap();
    }
    if options.migrates && service_role::is_used_on(database_url) {
        database.close().await;
        database = connect(&service_role::grant(database_url).await).await;
    }
    match options.replica.as_deref() {
        Some(replica) => {
            let url = DatabaseUrl::parse(replica).unwrap();
            database.with_replica(&url).await.unwrap()
        }
        None => database,
    }
}

/// The URL of an empty database: a file, or a schema of the tests' PostgreSQL.
pub async fn fresh_database(backend: Backend, file: PathBuf) -> String {
    match backend {
        Backend::Sqlite => format!("sqlite://{}?mode=rwc", file.display()),
        Backend::Postgres => {
            let server = postgres_url();
            let schema = unique_name();
            if !citus::workers().is_empty() {
                return citus::create_database(&schema).await;
            }
            execute(&server, &format!("CREATE SCHEMA {schema}")).await;
            format!("{server}?options[search_path]={schema}")
        }
    }
}

/// The PostgreSQL that `scripts/test` started. A run without it fails.
pub fn postgres_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL is not set: run ./scripts/test, which starts a PostgreSQL, \
         or set it to postgres://user@host:port/database of one (apt install postgresql)",
    )
}

/// A name for a schema or a database, with the process id: `scripts/distributed` drops those of ended
/// tests.
pub fn unique_name() -> String {
    let random = u128::from_be_bytes(Random::system().bytes().unwrap());
    format!("test_{}_{random:032x}", std::process::id())
}

/// Runs SQL directly on the database.
pub async fn execute(database_url: &str, sql: &str) {
    try_execute(database_url, sql).await.unwrap();
}

pub async fn try_execute(database_url: &str, sql: &str) -> Result<u64, sqlx::Error> {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    if database_url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(database_url).await?;
        Ok(connection
            .execute(sqlx::raw_sql(sql))
            .await?
            .rows_affected())
    } else {
        let mut connection = sqlx::PgConnection::connect(database_url).await?;
        Ok(connection
            .execute(sqlx::raw_sql(sql))
            .await?
            .rows_affected())
    }
}

/// Reads one number directly from the database.
pub async fn query_number(database_url: &str, sql: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(sql.to_owned());
    if database_url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(database_url).await.unwrap();
        let number = sqlx::query_scalar(query).fetch_one(&mut connection).await;
        number.unwrap()
    } else {
        let mut connection = sqlx::PgConnection::connect(database_url).await.unwrap();
        let number = sqlx::query_scalar(query).fetch_one(&mut connection).await;
        number.unwrap()
    }
}

/// Reads texts directly from the database.
pub async fn query_texts(database_url: &str, sql: &str) -> Vec<String> {
    let query = sqlx::AssertSqlSafe(sql.to_owned());
    if database_url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(database_url).await.unwrap();
        let texts = sqlx::query_scalar(query).fetch_all(&mut connection).await;
        texts.unwrap()
    } else {
        let mut connection = sqlx::PgConnection::connect(database_url).await.unwrap();
        let texts = sqlx::query_scalar(query).fetch_all(&mut connection).await;
        texts.unwrap()
    }
}

/// Code and reason of an error, after a check of the details that every error has.
pub fn rejection<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("the request should be rejected");
    let info = status
        .get_details_error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "contact.v1");
    (status.code(), info.reason)
}

/// The fields in the violations of an `INVALID_FIELD`.
pub fn rejected_fields<T: std::fmt::Debug>(result: Result<T, Status>) -> Vec<String> {
    let status = result.expect_err("the request should be rejected");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("no BadRequest");
    details
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}
