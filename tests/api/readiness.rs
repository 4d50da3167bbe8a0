//! Readiness reflects the result of real writes, and acknowledged writes are never lost.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use contact_service::{
    crypto::random::Random, observability::metrics::NotReady, storage::ProbeOutcome,
};
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use url::Url;

use crate::{
    harness::{Backend, Options, TestServer, execute, fresh_database, query_texts, rejection},
    server::{until, watch_readiness},
};

async fn reason_for_not_ready(server: &TestServer) -> Option<NotReady> {
    server.database.probe_write(0).await.err()
}

async fn assert_writes_are_rejected(server: &TestServer) {
    let creation = contact_service::api::proto::UpdateCustomerRequest {
        customer: Some(contact_service::api::proto::Customer {
            customer_number: "K-9".into(),
            ..Default::default()
        }),
        allow_missing: true,
        ..Default::default()
    };
    let rejected = rejection(server.client().update_customer(creation).await);
    assert_eq!(rejected, (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
}

/// The database file of a server on SQLite.
fn file_of(server: &TestServer) -> PathBuf {
    server.folder.path().join("contacts.db")
}

fn copy(from: &Path, to: &Path) {
    let mut copy = File::create(to).unwrap();
    copy.write_all(&fs::read(from).unwrap()).unwrap();
}

#[rstest]
#[tokio::test]
async fn probes_write_the_same_few_rows(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for seed in 0..=255 {
        let probed = server.database.probe_write(seed).await;
        assert_eq!(probed, Ok(ProbeOutcome::Written));
    }
    let count = "SELECT count(*) FROM write_probes";
    let rows = crate::harness::query_number(&server.database_url, count).await;
    assert_eq!(rows, 16);
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Removed,
    Moved,
    Replaced,
}

#[rstest]
#[tokio::test]
async fn replaced_database_file_acknowledges_no_write(
    #[values(Fate::Removed, Fate::Moved, Fate::Replaced)] fate: Fate,
) {
    let server = TestServer::start(Backend::Sqlite).await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    server.create_customer("K-1").await;
    let (file, other) = (file_of(&server), server.folder.path().join("other.db"));
    match fate {
        Fate::Removed => fs::remove_file(&file).unwrap(),
        Fate::Moved => fs::rename(&file, &other).unwrap(),
        Fate::Replaced => {
            copy(&file, &other);
            fs::rename(&other, &file).unwrap();
        }
    }
    // Immediately, not only after the next probe.
    assert_writes_are_rejected(&server).await;
    until(&mut readiness, ServingStatus::NotServing).await;
    assert_eq!(
        reason_for_not_ready(&server).await,
        Some(NotReady::DatabaseReplaced)
    );
    if matches!(fate, Fate::Moved) {
        // Connections may have been opened to another file in the meantime.
        fs::rename(&other, &file).unwrap();
    }
    assert_writes_are_rejected(&server).await;
}

#[tokio::test]
async fn damaged_database_file_is_not_ready() {
    let server = TestServer::start(Backend::Sqlite).await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    execute(&server.database_url, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let file = file_of(&server);
    let bytes = vec![0xAA; usize::try_from(fs::metadata(&file).unwrap().len()).unwrap()];
    let mut opened = OpenOptions::new().write(true).open(&file).unwrap();
    opened.write_all(&bytes).unwrap();
    until(&mut readiness, ServingStatus::NotServing).await;
}

/// A small file system, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this process lacks the privilege to mount.
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(at)
            .output();
        let is_mounted = mounted.is_ok_and(|mounted| mounted.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).unwrap();
        let mut size = 64 * 1024;
        while size > 0 {
            if filler.write(&vec![1; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn full_disk_is_not_ready_until_space_is_freed() {
    let folder = TempDir::new().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        return println!("skipped: this process lacks the privilege to mount a file system");
    };
    let url = fresh_database(Backend::Sqlite, folder.path().join("contacts.db")).await;
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    disk.fill();
    until(&mut readiness, ServingStatus::NotServing).await;
    assert_eq!(
        reason_for_not_ready(&server).await,
        Some(NotReady::DiskFull)
    );
    assert_writes_are_rejected(&server).await;
    disk.empty();
    until(&mut readiness, ServingStatus::Serving).await;
    server.create_customer("K-1").await;
}

/// A trigger raises the errors; PostgreSQL's response is the same.
#[rstest]
#[case::full("53100", NotReady::DiskFull)]
#[case::standby("25006", NotReady::DatabaseReadOnly)]
#[case::damaged("XX001", NotReady::DatabaseCorrupt)]
#[case::other("42501", NotReady::WriteFailed)]
#[tokio::test]
async fn readiness_names_why_postgresql_rejects_writes(
    #[case] code: &str,
    #[case] cause: NotReady,
) {
    let server = TestServer::start(Backend::Postgres).await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    let function = format!(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
           $$ BEGIN RAISE EXCEPTION 'made' USING ERRCODE = '{code}'; END $$"
    );
    let trigger = "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON write_probes \
        FOR EACH ROW EXECUTE FUNCTION fail()";
    // One after the other, as Citus repeats the whole command on its workers.
    execute(&server.database_url, &function).await;
    execute(&server.database_url, trigger).await;
    until(&mut readiness, ServingStatus::NotServing).await;
    assert_eq!(reason_for_not_ready(&server).await, Some(cause));
    execute(&server.database_url, "DROP TRIGGER fail ON write_probes").await;
    until(&mut readiness, ServingStatus::Serving).await;
}

/// Without `PgBouncer` the service requests read-write transactions, which hides the setting.
#[tokio::test]
async fn read_only_role_is_not_ready_until_it_can_write() {
    let id = u128::from_be_bytes(Random::system().bytes().unwrap());
    let role = format!("reader_{id:032x}");
    let schema_url = fresh_database(Backend::Postgres, "".into()).await;
    let schema = query_texts(&schema_url, "SELECT current_schema()::text").await;
    let mut admin = PgConnection::connect(&schema_url).await.unwrap();
    let mut run = async |sql: String| {
        let sql = sqlx::AssertSqlSafe(sql);
        admin.execute(sqlx::raw_sql(sql)).await.unwrap();
    };
    run(format!("CREATE ROLE {role} LOGIN SUPERUSER")).await;
    for setting in [
        "statement_timeout = '3s'",
        "lock_timeout = '1s'",
        "idle_in_transaction_session_timeout = '10s'",
        &format!("search_path = {}", schema[0]),
    ] {
        run(format!("ALTER ROLE {role} SET {setting}")).await;
    }
    let mut url = Url::parse(&schema_url).unwrap();
    url.set_username(&role).unwrap();
    url.set_query(Some("pgbouncer=true"));
    let folder = TempDir::new().unwrap();
    let server = TestServer::start_on(url.as_str(), folder, Options::default()).await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;

    let disconnect =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    let setting = "default_transaction_read_only";
    run(format!("ALTER ROLE {role} SET {setting} = on")).await;
    run(disconnect.clone()).await;
    until(&mut readiness, ServingStatus::NotServing).await;
    while reason_for_not_ready(&server).await != Some(NotReady::DatabaseReadOnly) {}
    assert_writes_are_rejected(&server).await;

    run(format!("ALTER ROLE {role} RESET {setting}")).await;
    run(disconnect).await;
    until(&mut readiness, ServingStatus::Serving).await;
}
