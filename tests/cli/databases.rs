//! Errors at startup about a database that rejects the service or does not meet its requirements: one
//! line with the address and the cause, and never the password.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use contact_service::crypto::random::Random;
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection};
use url::Url;

use crate::process::{Sandbox, fresh_schema};

const SECRET: &str = "hunter2";
/// A wait this long proves a retry.
const PATIENCE: Duration = Duration::from_millis(1500);

fn error_line(url: &str, arguments: &[&str]) -> String {
    let sandbox = Sandbox::new()
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("DATABASE_URL", url);
    let error_line = sandbox.run(arguments).error_line();
    assert!(!error_line.contains(SECRET), "{error_line}");
    let why = error_line.strip_prefix("DATABASE_URL: ");
    why.unwrap_or_else(|| panic!("{error_line}")).to_owned()
}

/// Starts a server that sends the same bytes to every client.
fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move |mut client: TcpStream| {
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(&answer);
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            serve(client);
        }
    });
    address
}

/// `PostgreSQL`'s message of an error.
fn error_response(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0MThe text with {SECRET} is not shown\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", length.to_be_bytes().as_slice(), fields.as_bytes()].concat()
}

#[rstest]
#[case("28P01", "rejects the password of this user", false)]
#[case("28000", "does not let this user in", false)]
#[case("3D000", "has no database of this name", false)]
#[case("42501", "the user lacks the right CONNECT on the database", false)]
#[case("53300", "takes no more connections (max_connections)", true)]
#[case("57P03", "is starting or shutting down", true)]
#[case("08P01", "rejects the connection with code 08P01", true)]
#[case("0A000", "rejects the connection with code 0A000", false)]
fn rejection_by_the_server_is_retried_if_temporary(
    #[case] code: &str,
    #[case] why: &str,
    #[case] may_pass: bool,
) {
    let address = answering(error_response(code));
    let url = format!("postgres://u:{SECRET}@{address}/n?sslmode=disable");
    let start = Instant::now();
    let error_line = error_line(&url, &["migrate", "status"]);
    let waited = start.elapsed() > PATIENCE;
    assert!(error_line.starts_with(&address), "{error_line}");
    assert!(error_line.contains(why), "{error_line}");
    assert!(
        waited || !may_pass,
        "it gave up after {:?}",
        start.elapsed()
    );
}

#[rstest]
#[case(b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not PostgreSQL")]
#[case(b"", "is not PostgreSQL")]
#[case(b"N", "no TLS: server does not support TLS")]
fn other_protocol_is_reported_as_no_postgresql(#[case] answer: &[u8], #[case] why: &str) {
    let address = answering(answer.to_vec());
    let url = format!("postgres://u:{SECRET}@{address}/n?sslmode=require");
    let error_line = error_line(&url, &["serve"]);
    assert!(error_line.contains(&address), "{error_line}");
    assert!(error_line.contains(why), "{error_line}");
}

#[test]
fn unreachable_replica_is_logged_with_its_address() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(fresh_schema());
    let replica = format!("postgres://u:{SECRET}@127.0.0.1:1/n");
    let sandbox = Sandbox::new()
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("DATABASE_URL", url)
        .with("DATABASE_REPLICA_URL", replica);
    sandbox.run(&["migrate", "up"]).printed();
    let (mut server, _) = sandbox.serve(&[]);
    server.until(|server| {
        server
            .stderr()
            .contains("DATABASE_REPLICA_URL: read replica unavailable")
    });
    let log = server.stderr();
    assert!(
        log.contains("127.0.0.1:1 cannot be reached: connection refused"),
        "{log}"
    );
    assert!(!log.contains(SECRET), "{log}");
}

/// Creates an empty database with this encoding.
async fn database_in(encoding: &str) -> String {
    let name = unique("encoding");
    admin(&format!(
        "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    ))
    .await;
    let mut url = Url::parse(&server_url()).unwrap();
    url.set_path(&name);
    url.into()
}

#[rstest]
#[case("SQL_ASCII")]
#[case("LATIN1")]
#[tokio::test]
async fn database_that_is_not_utf_8_is_reported(#[case] encoding: &str) {
    let url = database_in(encoding).await;
    for arguments in [&["serve"][..], &["migrate", "up"], &["export", "K-1"]] {
        let error_line = error_line(&url, arguments);
        let why = format!("the database's encoding is {encoding} and must be UTF8: ");
        assert!(error_line.starts_with(&why), "{error_line}");
    }
}

/// Creates a role that may log in, and a schema without rights for it.
async fn role_without_rights() -> (String, String, String) {
    let (role, url) = (unique("role"), fresh_schema().await);
    let (_, schema) = url.split_once("search_path]=").unwrap();
    let schema = schema.to_owned();
    admin(&format!("CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")).await;
    Sandbox::new()
        .with("DATABASE_URL", &url)
        .run(&["migrate", "up"])
        .printed();
    let mut url = Url::parse(&url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some(SECRET)).unwrap();
    (url.into(), role, schema)
}

#[tokio::test]
async fn missing_rights_of_a_role_are_reported() {
    let (url, role, schema) = role_without_rights().await;
    let tables = "lacks SELECT on seaql_migrations; SELECT, INSERT on confirmation_tokens";
    for (grant, of_serve, of_migrate) in [
        (
            String::new(),
            "lacks USAGE on any schema of its search_path",
            "lacks USAGE, CREATE on any schema of its search_path".to_owned(),
        ),
        (
            format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
            tables,
            format!("lacks CREATE on the schema {schema}"),
        ),
        (
            format!("GRANT CREATE ON SCHEMA {schema} TO {role}"),
            tables,
            "lacks the ownership of the existing tables".to_owned(),
        ),
    ] {
        admin(&grant).await;
        for arguments in [&["serve"][..], &["migrate", "status"], &["export", "K-1"]] {
            let error_line = error_line(&url, arguments);
            assert!(error_line.contains(of_serve), "{arguments:?}: {error_line}");
        }
        let error_line = error_line(&url, &["migrate", "up"]);
        assert!(error_line.contains(&of_migrate), "{error_line}");
    }
}

#[tokio::test]
async fn role_with_too_few_connections_is_reported() {
    let (url, role, _) = role_without_rights().await;
    admin(&format!("ALTER ROLE {role} CONNECTION LIMIT 3")).await;
    let error_line = error_line(&url, &["migrate", "status"]);
    let why = "does not give the 10 connections that are kept open";
    assert!(error_line.contains(why), "{error_line}");
}

fn server_url() -> String {
    std::env::var("TEST_POSTGRES_URL").unwrap()
}

fn unique(kind: &str) -> String {
    let random = u128::from_be_bytes(Random::system().bytes().unwrap());
    format!("{kind}_{random:032x}")
}

async fn admin(sql: &str) {
    let mut connection = PgConnection::connect(&server_url()).await.unwrap();
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    connection.execute(sqlx::raw_sql(sql)).await.unwrap();
}
