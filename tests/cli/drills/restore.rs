//! A database is restored from a backup: watchers reload everything and miss no change.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use contact_service::crypto::random::Random;
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use super::{Cache, token, write};
use crate::process::{Backend, Sandbox, client};

/// Returns the path of a PostgreSQL program: of the test server, in PATH, or as installed by Debian.
fn postgres_program(name: &str) -> PathBuf {
    let of_server = env::var_os("TEST_POSTGRES_BIN").map(PathBuf::from);
    let in_path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    let mut installed: Vec<_> = versions.map(|entry| entry.unwrap().path()).collect();
    installed.sort_by_key(|path| std::cmp::Reverse(version(path).unwrap_or(0)));
    let installed = installed.into_iter().map(|path| path.join("bin"));
    let mut folders = of_server
        .into_iter()
        .chain(env::split_paths(&in_path))
        .chain(installed);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.exists()));
    found.unwrap_or_else(|| panic!("{name} is missing: apt install postgresql"))
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) {
    let ended = Command::new(postgres_program(program))
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{program}: {stderr}");
}

/// Splits the URL of a test database into the server's URL and the schema.
fn parts(database_url: &str) -> (&str, &str) {
    database_url.split_once("?options[search_path]=").unwrap()
}

async fn execute_on_server(sql: &str) {
    let server = env::var("TEST_POSTGRES_URL").unwrap();
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    connection.execute(sqlx::raw_sql(sql)).await.unwrap();
}

async fn back_up(sandbox: &Sandbox, backend: Backend, file: &str) {
    let (url, file) = (sandbox.database_url(), sandbox.path().join(file));
    match backend {
        Backend::Sqlite => {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            let copy = format!("VACUUM INTO '{}'", file.display());
            let copy = sqlx::AssertSqlSafe(copy);
            connection.execute(sqlx::raw_sql(copy)).await.unwrap();
        }
        Backend::Postgres => {
            let (server, schema) = parts(&url);
            let file = file.to_str().unwrap();
            run(
                "pg_dump",
                &[
                    server,
                    "--format=custom",
                    "--schema",
                    schema,
                    "--file",
                    file,
                ],
            );
        }
    }
}

/// Restores a backup: over the SQLite file, or into a new database of the server, whose name is
/// returned.
async fn restore(sandbox: Sandbox, backend: Backend, file: &str) -> (Sandbox, Option<String>) {
    let file = sandbox.path().join(file);
    if backend == Backend::Sqlite {
        for journal in ["data/contacts.db-wal", "data/contacts.db-shm"] {
            let _ = fs::remove_file(sandbox.path().join(journal));
        }
        fs::copy(file, sandbox.path().join("data/contacts.db")).unwrap();
        return (sandbox, None);
    }
    let random = u128::from_be_bytes(Random::system().bytes().unwrap());
    let name = format!("restored_{random:032x}");
    execute_on_server(&format!("CREATE DATABASE {name}")).await;
    let url = sandbox.database_url();
    let (server, schema) = parts(&url);
    let (server, _) = server.rsplit_once('/').unwrap();
    let restored = format!("{server}/{name}");
    run(
        "pg_restore",
        &["--dbname", &restored, file.to_str().unwrap()],
    );
    let url = format!("{restored}?options[search_path]={schema}");
    (sandbox.with("DATABASE_URL", url), Some(name))
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watcher_reads_everything_again_after_a_restore(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend).await;
    let (server, address) = sandbox.serve(&[]);
    let token = token(&sandbox);
    let mut writer = client(&address, &token);
    let mut cache = Cache::of(&address, &token);
    for number in ["K-1", "K-2"] {
        write(&mut writer, number, "+4972191374001").await.unwrap();
    }
    cache.follow_until("K-2").await;
    back_up(&sandbox, backend, "backup").await;
    // Lost by the restore.
    write(&mut writer, "K-1", "+4972191374002").await.unwrap();
    for number in ["LOST-1", "LOST-2"] {
        write(&mut writer, number, "+4972191374002").await.unwrap();
    }
    cache.follow_until("LOST-2").await;
    server.signal("KILL");
    server.wait();

    let (sandbox, database) = restore(sandbox, backend, "backup").await;
    let printed = sandbox.run(&["migrate", "renew-feed"]).printed();
    assert!(printed.contains("CURSOR_EXPIRED"), "{printed}");
    let (server, address) = sandbox.serve(&[]);
    let mut writer = client(&address, &token);
    // More writes than were lost, so that the old cursor's position is reused.
    write(&mut writer, "K-2", "+4972191374003").await.unwrap();
    for number in ["K-3", "K-4", "K-5"] {
        write(&mut writer, number, "+4972191374003").await.unwrap();
    }
    cache.connect(&address, &token);
    cache.follow_until("K-5").await;
    assert_eq!(cache.expired, 1);
    let stored = ["K-1", "K-2", "K-3", "K-4", "K-5"].map(str::to_owned);
    cache.assert_holds(&stored).await;
    // From here on it continues without another reload.
    write(&mut writer, "K-1", "+4972191374004").await.unwrap();
    cache.follow_until("K-1").await;
    cache.assert_holds(&stored).await;
    assert_eq!(cache.expired, 1);
    drop(server);
    if let Some(name) = database {
        execute_on_server(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}
