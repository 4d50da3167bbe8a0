//! Starts the binary, and waits for it with a timeout.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use contact_service::{
    api::proto::contact_service_client::ContactServiceClient,
    crypto::{development_keys::DevelopmentKeys, random::Random},
};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// A test that waits this long has failed.
const TIMEOUT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The databases on which commands are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A folder in which the binary runs, and its environment.
pub(crate) struct Sandbox {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    /// The soft limit of file descriptors of a process.
    descriptors: Option<u32>,
}

/// The exit status and output of a process.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running process; killed when dropped.
pub(crate) struct Running {
    child: Child,
    output: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            // Tests run concurrently, so that each server needs free ports.
            settings: vec![
                ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
                ("METRICS_ADDR", "127.0.0.1:0".to_owned()),
            ],
            descriptors: None,
        }
    }

    /// Returns a sandbox with an empty database; that of SQLite is the default one.
    pub(crate) async fn on(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::new(),
            Backend::Postgres => Self::new().with("DATABASE_URL", fresh_schema().await),
        }
    }

    /// Creates a sandbox with an empty database of the current schema, whose server listens on a free port.
    pub(crate) async fn migrated_on(backend: Backend) -> Self {
        let sandbox = Self::on(backend).await.with("LISTEN_ADDR", "127.0.0.1:0");
        sandbox.run(&["migrate", "up"]).printed();
        sandbox
    }

    pub(crate) fn with(mut self, setting: &'static str, value: impl Into<String>) -> Self {
        self.settings.retain(|(name, _)| *name != setting);
        self.settings.push((setting, value.into()));
        self
    }

    /// Sets the soft limit of file descriptors.
    pub(crate) fn with_descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Creates the development keys of a server.
    pub(crate) fn with_keys(self) -> Self {
        let folder = self.path().join("data");
        DevelopmentKeys::load_or_create(&folder, &Random::system()).unwrap();
        self
    }

    /// Returns the URL of the database.
    pub(crate) fn database_url(&self) -> String {
        let given = self
            .settings
            .iter()
            .find(|(name, _)| *name == "DATABASE_URL");
        given.map_or_else(
            || {
                format!(
                    "sqlite://{}",
                    self.path().join("data/contacts.db").display()
                )
            },
            |(_, url)| url.clone(),
        )
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with_stderr(arguments, None)
    }

    /// Starts the binary with this standard error; `None`: a file that [`Running`] reads.
    pub(crate) fn start_with_stderr(&self, arguments: &[&str], stderr: Option<Stdio>) -> Running {
        let output = tempfile::tempdir().unwrap();
        let file = |name| File::create(output.path().join(name)).unwrap();
        let own = file("stderr").into();
        let binary = env!("CARGO_BIN_EXE_contact-service");
        let mut command = Command::new(binary);
        if let Some(limit) = self.descriptors {
            command = Command::new("sh");
            let script = format!("ulimit -S -n {limit}; exec \"$0\" \"$@\"");
            command.args(["-c", &script, binary]);
        }
        let child = command
            .args(arguments)
            .env_clear()
            .envs(self.settings.iter().cloned())
            .current_dir(self.path())
            .stdout(file("stdout"))
            .stderr(stderr.unwrap_or(own))
            .spawn()
            .unwrap();
        Running { child, output }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// Starts a server and waits until it is ready. Returns its address as well.
    pub(crate) fn serve(&self, arguments: &[&str]) -> (Running, String) {
        let (mut server, address) = self.serve_unready(arguments);
        server.until(|_| self.healthcheck(&address).status.success());
        (server, address)
    }

    /// Starts a server and waits until it listens. Returns its address as well.
    pub(crate) fn serve_unready(&self, arguments: &[&str]) -> (Running, String) {
        let mut server = self.start(arguments);
        let mut address = None;
        server.until(|server| {
            address = address_in(&server.stderr());
            address.is_some()
        });
        (server, address.unwrap())
    }

    pub(crate) fn healthcheck(&self, address: &str) -> Ended {
        self.run(&["healthcheck", "--listen-addr", address])
    }
}

impl Running {
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.output.path().join("stdout")).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.output.path().join("stderr")).unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let (option, id) = (format!("-{signal}"), self.child.id().to_string());
        let killed = Command::new("kill").args([option, id]).status().unwrap();
        assert!(killed.success());
    }

    pub(crate) fn wait(self) -> Ended {
        self.wait_for(TIMEOUT)
    }

    pub(crate) fn wait_for(mut self, patience: Duration) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < patience, "it goes on: {}", self.stderr());
            thread::sleep(PAUSE);
        };
        Ended {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    pub(crate) fn until(&mut self, is_done: impl FnMut(&Self) -> bool) {
        self.until_within(TIMEOUT, is_done);
    }

    pub(crate) fn until_within(
        &mut self,
        patience: Duration,
        mut is_done: impl FnMut(&Self) -> bool,
    ) {
        let start = Instant::now();
        while !is_done(self) {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "it ended: {}", self.stderr());
            assert!(start.elapsed() < patience, "it waits: {}", self.stderr());
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Returns standard output of a successful process.
    pub(crate) fn printed(self) -> String {
        assert!(self.status.success(), "{}", self.stderr);
        self.stdout
    }

    /// Returns the error line of a failed process.
    pub(crate) fn error_line(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let line = self.stderr.strip_prefix("contact-service: ");
        line.expect("no name before the error").trim().to_owned()
    }
}

/// Returns the address in the start line.
fn address_in(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("serving"))?;
    let (_, after) = line.split_once("127.0.0.1:")?;
    let port: String = after.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("127.0.0.1:{port}"))
}

/// Returns a free address.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Creates an empty schema in the test PostgreSQL, and returns its URL.
pub(crate) async fn fresh_schema() -> String {
    let server = std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL is not set: run ./scripts/test, which starts a PostgreSQL, \
         or set it to postgres://user@host:port/database of one (apt install postgresql)",
    );
    let random = u128::from_be_bytes(Random::system().bytes().unwrap());
    let schema = format!("cli_{random:032x}");
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    format!("{server}?options[search_path]={schema}")
}

/// Queries texts from the database directly.
pub(crate) async fn query_texts(database_url: &str, sql: &str) -> Vec<String> {
    let query = sqlx::AssertSqlSafe(sql.to_owned());
    let texts = if database_url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(database_url).await.unwrap();
        sqlx::query_scalar(query).fetch_all(&mut connection).await
    } else {
        let mut connection = PgConnection::connect(database_url).await.unwrap();
        sqlx::query_scalar(query).fetch_all(&mut connection).await
    };
    texts.unwrap()
}

/// Adds a token to every request.
#[derive(Clone)]
pub(crate) struct Bearer(String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value: MetadataValue<_> = format!("Bearer {}", self.0.trim()).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

pub(crate) type Client = ContactServiceClient<InterceptedService<Channel, Bearer>>;

pub(crate) fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    endpoint.unwrap().connect_lazy()
}

pub(crate) fn client(address: &str, token: &str) -> Client {
    ContactServiceClient::with_interceptor(channel(address), Bearer(token.to_owned()))
}
