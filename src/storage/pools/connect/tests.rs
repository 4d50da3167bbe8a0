//! What a URL may say of `PgBouncer`, and a server that vanishes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// `PostgreSQL`'s answers to a log-in: it is welcome, and the server is ready.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// The URL that is left for the driver.
fn taken(text: &str) -> (String, bool) {
    let url = DatabaseUrl::parse(text).unwrap();
    (url.as_str().to_owned(), url.through_pgbouncer())
}

#[rstest]
#[case("postgres://u:p%40@h:1/n?pgbouncer=true", "postgres://u:p%40@h:1/n")]
#[case("postgresql://u@h/n?pgbouncer=true", "postgresql://u@h/n")]
#[case(
    "postgres://u@h/n?sslmode=require&pgbouncer=true&user=x",
    "postgres://u@h/n?sslmode=require&user=x"
)]
fn the_parameter_is_taken_out(#[case] text: &str, #[case] left: &str) {
    assert_eq!(taken(text), (left.to_owned(), true));
}

#[rstest]
#[case("postgres://u:p%40@h:1/n?options[search_path]=s")]
#[case("postgres://u@h/n?application_name=pgbouncer")]
#[case("sqlite://data/contacts.db?mode=rwc")]
fn a_url_without_it_stays_as_it_is(#[case] text: &str) {
    assert_eq!(taken(text), (text.to_owned(), false));
}

/// Parameters of other drivers: what they ask for is no more than wished for here.
#[test]
fn parameters_of_other_drivers_are_left_out() {
    let text = "postgres://u:p%40@h/n?channel_binding=require&sslmode=require&connect_timeout=3";
    let url = DatabaseUrl::parse(text).unwrap();
    assert_eq!(url.as_str(), "postgres://u:p%40@h/n?sslmode=require");
    assert_eq!(url.ignored(), ["channel_binding", "connect_timeout"]);
}

#[rstest]
#[case("postgres://u:hunter2@db.example:5433/n", "postgres db.example:5433")]
#[case("postgresql://u:hunter2@db.example/n", "postgres db.example:5432")]
#[case("postgres://u:hunter2@[2001:db8::1]/n", "postgres [2001:db8::1]:5432")]
#[case("postgres://u:hunter2@%2Frun%2Fpg/n", "postgres /run/pg")]
#[case("postgres:///n?host=/run/pg&password=hunter2", "postgres /run/pg")]
#[case("sqlite://data/contacts.db?mode=rwc", "sqlite data/contacts.db")]
#[case(
    "sqlite:///var/lib/my data/100%25.db",
    "sqlite /var/lib/my data/100%.db"
)]
fn what_is_shown_of_a_url_is_kind_and_place(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(DatabaseUrl::parse(text).unwrap().describe(), shown);
}

#[rstest]
#[case("data/contacts.db")]
#[case("my data/contacts.db")]
#[case("/var/lib/100%/what?/a#b [c].db")]
fn any_path_of_a_file_becomes_a_url(#[case] path: &str) {
    let url = DatabaseUrl::of_file(Path::new(path)).unwrap();
    assert_eq!(url.file(), Some(path.into()));
    assert!(::url::Url::parse(url.as_str()).is_ok());
}

#[rstest]
#[case("postgres://u@h/n?pgbouncer=false")]
#[case("postgres://u@h/n?pgbouncer=yes")]
#[case("postgres://u@h/n?pgbouncer")]
#[case("postgres://u@h/n?pgbouncer=true&options[search_path]=s")]
#[case("postgres://u@h/n?options=-c%20search_path%3Ds&pgbouncer=true")]
#[case("sqlite://data/contacts.db?mode=rwc&pgbouncer=true")]
#[case("mysql://u@h/n?pgbouncer=true")]
fn what_cannot_be_meant_is_refused(#[case] text: &str) {
    DatabaseUrl::parse(text).unwrap_err();
}

#[tokio::test]
async fn only_transactions_that_are_lent_are_not_held() {
    for (text, lends) in [
        ("postgres://u@127.0.0.1:1/n?pgbouncer=true", true),
        ("postgres://u@127.0.0.1:1/n", false),
    ] {
        let url = DatabaseUrl::parse(text).unwrap();
        let mut options = postgres_options(&url, false);
        options.connect_lazy(true).min_connections(0);
        let readers = open(options, "").await.unwrap();
        let pool = readers.get_postgres_connection_pool();
        assert_eq!(lends_transactions(pool), lends, "{text}");
    }
}

/// A server that lets clients in, as long as it is not silent, and then never answers.
async fn silent_server(is_silent: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut clients = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            if !is_silent.load(Ordering::SeqCst) {
                let mut startup = [0; 1024];
                let _ = client.read(&mut startup).await;
                let _ = client.write_all(WELCOME).await;
            }
            // Open for ever, as with a machine that lost its power.
            clients.push(client);
        }
    });
    format!("postgres://u@{address}/n?sslmode=disable")
}

#[rstest]
#[case("", true)]
#[case("", false)]
#[case("&pgbouncer=true", true)]
#[tokio::test]
async fn a_server_that_vanished_leaves_room_for_the_next(
    #[case] parameter: &str,
    #[case] writes: bool,
) {
    let is_silent = Arc::new(AtomicBool::new(false));
    let url = silent_server(Arc::clone(&is_silent)).await + parameter;
    let mut options = postgres_options(&DatabaseUrl::parse(&url).unwrap(), writes);
    options.connect_lazy(true);
    let connections = open(options, "").await.unwrap();
    let pool = connections.get_postgres_connection_pool();
    let mut lent = Vec::new();
    for _ in 0..POOL_SIZE {
        lent.push(pool.acquire().await.unwrap());
    }
    is_silent.store(true, Ordering::SeqCst);
    drop(lent);
    tokio::time::sleep(RELEASE_TIMEOUT + Duration::from_millis(500)).await;
    // Another server has taken over.
    is_silent.store(false, Ordering::SeqCst);
    assert!(pool.acquire().await.is_ok(), "no place is left in the pool");
}
