//! Starts the binary, and waits for it no longer than it may take.

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

/// Far more than anything here takes: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The databases that commands are tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A folder to start the binary in, and the environment that it sees there.
pub(crate) struct Place {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    /// The soft limit that a process starts with.
    descriptors: Option<u32>,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process that has not ended; it is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    output: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            // Tests run side by side, and each server has a page.
            settings: vec![
                ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
                ("METRICS_ADDR", "127.0.0.1:0".to_owned()),
            ],
            descriptors: None,
        }
    }

    /// With an empty database; SQLite's is the default one.
    pub(crate) async fn on(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::new(),
            Backend::Postgres => Self::new().with("DATABASE_URL", fresh_schema().await),
        }
    }

    pub(crate) fn with(mut self, setting: &'static str, value: impl Into<String>) -> Self {
        self.settings.retain(|(name, _)| *name != setting);
        self.settings.push((setting, value.into()));
        self
    }

    /// With a soft limit of file descriptors.
    pub(crate) fn with_descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// With the development keys that a server makes.
    pub(crate) fn with_keys(self) -> Self {
        let folder = self.path().join("data");
        DevelopmentKeys::load_or_create(&folder, &Random::system()).unwrap();
        self
    }

    /// The URL of its database.
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

    /// Starts the binary with a standard error of its own; `None`: a file that [`Running`] reads.
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

    /// Starts a server and waits until it is ready; gives its address as well.
    pub(crate) fn serve(&self, arguments: &[&str]) -> (Running, String) {
        let (mut server, address) = self.serve_unready(arguments);
        server.until(|_| self.healthcheck(&address).status.success());
        (server, address)
    }

    /// Starts a server and waits until it listens; gives its address as well.
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
        self.wait_for(PATIENCE)
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
        self.until_within(PATIENCE, is_done);
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
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// What it printed, once it succeeded.
    pub(crate) fn printed(self) -> String {
        assert!(self.status.success(), "{}", self.stderr);
        self.stdout
    }

    /// The one line with which it failed.
    pub(crate) fn complaint(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let line = self.stderr.strip_prefix("contact-service: ");
        line.expect("no name before the complaint")
            .trim()
            .to_owned()
    }
}

/// The address in the line that says that the server serves.
fn address_in(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("serving"))?;
    let (_, after) = line.split_once("127.0.0.1:")?;
    let port: String = after.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("127.0.0.1:{port}"))
}

/// An address on which nothing listens at the moment.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The URL of an empty schema of the test's PostgreSQL.
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

/// Asks the database for texts, past the service.
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

/// Adds a token to every call.
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
