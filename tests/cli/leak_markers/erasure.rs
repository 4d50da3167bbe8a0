//! The erasure of a customer whose requests had a marker in every field: a dump of all tables, the
//! database files, the mails and the logs contain no marker afterwards.

use std::{collections::BTreeMap, fs, path::Path};

use rstest::rstest;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{CALL_SEQUENCE, Caller, DIGITS, HEX, Known, LAST, WORD, all_scopes};
use crate::process::{Backend, Running, Sandbox, channel};

/// Order types belong to no customer, so their markers remain.
const UNMARKED: &[(&str, &str)] = &[("zq7k", "plain"), ("Zq7k", "Plain")];
const ERASED: &[(&str, &str)] = &[("zq7k-order-type", "plain-order-type")];
const KEPT: &[(&str, &str)] = &[
    ("zq7k-order-type", "plain-order-type"),
    ("zq7k", KEPT_WORD),
    ("Zq7k", "Vx3w"),
    (DIGITS, KEPT_DIGITS),
    (HEX, "ca9b82f6"),
];
const HEX_BYTES: [u8; 4] = 0xca9a_71e5_u32.to_be_bytes();
const KEPT_WORD: &str = "vx3w";
const KEPT_DIGITS: &str = "7216660";
/// Fills the remaining tables, so that each has rows at the end.
const SEQUEL: &[&str] = &[
    "CreateContact",
    "SetPhonePassword",
    "CheckPhonePassword",
    "UnlockPhonePassword",
    "AuthorizePhoneOrder",
    "VerifyContactChannel",
    "CreateOneTimeCode",
];
/// Tables with data of a customer, except for mails, which were sent.
const TABLES: &[&str] = &[
    "audit_events",
    "channel_check_customers",
    "confirmation_tokens",
    "contact_phone_numbers",
    "contacts",
    "customers",
    "email_confirmations",
    "feed_entries",
    "mail_customers",
    "one_time_codes",
    "phone_orders",
    "phone_password_calls",
    "phone_passwords",
    "request_ids",
];

/// The rows of each table as text, and the files by name.
type Dump = BTreeMap<String, Vec<String>>;

async fn tables(url: &str) -> Dump {
    let mut dump = Dump::new();
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let columns = "SELECT m.name, group_concat('quote(\"' || c.name || '\")', ' || '' '' || ')
            FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' GROUP BY 1";
        let columns: Vec<(String, String)> = sqlx::query_as(columns)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for (table, columns) in columns {
            let rows = sqlx::AssertSqlSafe(format!("SELECT {columns} FROM {table}"));
            let rows = sqlx::query_scalar(rows).fetch_all(&mut connection).await;
            dump.insert(table, rows.unwrap());
        }
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let names = "SELECT table_name::text FROM information_schema.tables
            WHERE table_schema = current_schema()";
        let names: Vec<String> = sqlx::query_scalar(names)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for table in names {
            let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
            let rows = sqlx::query_scalar(rows).fetch_all(&mut connection).await;
            dump.insert(table, rows.unwrap());
        }
    }
    dump
}

/// Adds the names and contents of all files.
fn files(folder: &Path, dump: &mut Dump) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, dump);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let name = path.display().to_string();
        // Ids are binary in SQLite files.
        let id = HEX_BYTES.as_slice();
        let ids = bytes.windows(id.len()).find(|bytes| *bytes == id);
        let ids = ids.map_or_else(String::new, |_| HEX.to_owned());
        dump.insert(name.clone(), vec![name, text, ids]);
    }
}

fn holds(row: &str, markers: &[String]) -> bool {
    let row = row.to_lowercase();
    markers.iter().any(|marker| row.contains(marker))
}

/// Returns the tables and files that contain a marker.
fn found_in<'d>(dump: &'d Dump, markers: &[String]) -> Vec<&'d str> {
    let found = dump
        .iter()
        .filter(|(_, rows)| rows.iter().any(|row| holds(row, markers)));
    found.map(|(name, _)| name.as_str()).collect()
}

/// Returns the rows and files that contain a marker, sorted.
fn rows_with(dump: &Dump, markers: &[String]) -> Vec<String> {
    let rows = dump.values().flatten().filter(|row| holds(row, markers));
    let mut rows: Vec<_> = rows.cloned().collect();
    rows.sort();
    rows
}

async fn call_all(
    caller: &mut Caller,
    overrides: &'static [(&str, &str)],
    sandbox: &Path,
) -> Known {
    let mut known = Known {
        overrides,
        ..Known::default()
    };
    let of_customers = |rpc: &&&str| !["UpdateOrderType", "WatchChanges"].contains(*rpc);
    let sequence: Vec<_> = CALL_SEQUENCE
        .iter()
        .chain(SEQUEL)
        .filter(of_customers)
        .copied()
        .collect();
    caller.call_sequence(&sequence, &mut known, sandbox).await;
    known
}

/// A server with two customers on file.
struct Scene {
    sandbox: Sandbox,
    server: Running,
    caller: Caller,
    erased: Known,
}

async fn set(backend: Backend) -> Scene {
    let sandbox = Sandbox::migrated_on(backend)
        .await
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1")
        .with("RUST_LOG", "trace");
    let (server, address) = sandbox.serve(&[]);
    let token = sandbox.run(&["token", "--sub", "tester", "--scope", &all_scopes()]);
    let mut caller = Caller {
        channel: channel(&address),
        token: token.printed().trim().to_owned(),
        headers: &[],
        observed: Vec::new(),
    };
    let mut unmarked = Known {
        overrides: UNMARKED,
        ..Known::default()
    };
    let path = sandbox.path();
    caller
        .call_sequence(&["UpdateOrderType"; 2], &mut unmarked, path)
        .await;
    call_all(&mut caller, KEPT, path).await;
    let erased = call_all(&mut caller, ERASED, path).await;
    Scene {
        sandbox,
        server,
        caller,
        erased,
    }
}

/// Returns the markers of an erased customer. The audit log keeps the ids of contacts, which no longer
/// refer to anything.
fn markers_of(erased: &Known) -> Vec<String> {
    let is_id = |text: &&String| uuid::Uuid::try_parse(text).is_ok();
    let secrets = erased.secrets.iter().filter(|text| !is_id(text));
    let markers = [WORD, DIGITS, HEX].into_iter().map(str::to_owned);
    markers
        .chain(secrets.map(|text| text.to_lowercase()))
        .collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasure_leaves_no_marker_of_the_erased_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut scene = set(backend).await;
    let gone = markers_of(&scene.erased);
    let kept = [KEPT_WORD, KEPT_DIGITS].map(str::to_owned);
    let (url, folder) = (
        scene.sandbox.database_url(),
        scene.sandbox.path().to_owned(),
    );
    let mails = || {
        let mut mails = Dump::new();
        files(&folder.join("data/mail"), &mut mails);
        mails
    };
    let before = (tables(&url).await, mails());
    for table in TABLES {
        for markers in [&gone[..], &kept] {
            assert!(found_in(&before.0, markers).contains(table), "{table}");
        }
    }
    assert!(!found_in(&before.1, &gone).is_empty());

    let caller = &mut scene.caller;
    caller
        .call_sequence(&[LAST], &mut scene.erased, &folder)
        .await;
    let after = (tables(&url).await, mails());
    assert_eq!(found_in(&after.0, &gone), [""; 0]);
    assert_eq!(rows_with(&after.0, &kept), rows_with(&before.0, &kept));
    assert_eq!(rows_with(&after.1, &kept), rows_with(&before.1, &kept));
    // The SQLite file with its WAL files, the mails, and the keys.
    let mut all_files = Dump::new();
    files(&folder, &mut all_files);
    assert_eq!(found_in(&all_files, &gone), [""; 0]);
    assert!(!found_in(&all_files, &kept).is_empty());

    scene.server.signal("TERM");
    let ended = scene.server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("EraseCustomer"));
    let logs = Dump::from([("logs".to_owned(), vec![ended.stdout, ended.stderr])]);
    assert_eq!(found_in(&logs, &gone), [""; 0]);
}
