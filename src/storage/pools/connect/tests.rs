//! Parameters of `PgBouncer` in a URL, and a server that vanishes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{super::reader_pool::uses_transaction_pooling, *};

/// The replies of `PostgreSQL` to a successful login.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// Returns the URL for the driver, and whether it leads to `PgBouncer`.
fn parsed(text: &str) -> (String, bool) {
    let url = DatabaseUrl::parse(text).unwrap();
    (url.as_str().to_owned(), url.uses_pgbouncer())
}

#[rstest]
#[case("postgres://u:p%40@h:1/n?pgbouncer=true", "postgres://u:p%40@h:1/n")]
#[case("postgresql://u@h/n?pgbouncer=true", "postgresql://u@h/n")]
#[case(
    "postgres://u@h/n?sslmode=require&pgbouncer=true&user=x",
    "postgres://u@h/n?sslmode=require&user=x"
)]
fn pgbouncer_parameter_is_removed(#[case] text: &str, #[case] left: &str) {
    assert_eq!(parsed(text), (left.to_owned(), true));
}

#[rstest]
#[case("postgres://u:p%40@h:1/n?options[search_path]=s")]
#[case("postgres://u@h/n?application_name=pgbouncer")]
#[case("sqlite://data/contacts.db?mode=rwc")]
fn url_without_the_parameter_is_unchanged(#[case] text: &str) {
    assert_eq!(parsed(text), (text.to_owned(), false));
}

/// Ignoring these parameters of other drivers does not weaken the connection.
#[test]
fn parameters_of_other_drivers_are_ignored() {
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
fn description_has_only_kind_and_address(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(DatabaseUrl::parse(text).unwrap().describe(), shown);
}

#[rstest]
#[case("data/contacts.db")]
#[case("my data/contacts.db")]
#[case("/var/lib/100%/what?/a#b [c].db")]
fn every_path_has_a_url(#[case] path: &str) {
    let url = DatabaseUrl::from_path(Path::new(path)).unwrap();
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
fn invalid_urls_are_rejected(#[case] text: &str) {
    DatabaseUrl::parse(text).unwrap_err();
}

#[tokio::test]
async fn connections_in_transactions_are_not_pinned() {
    for (text, pools_transactions) in [
        ("postgres://u@127.0.0.1:1/n?pgbouncer=true", true),
        ("postgres://u@127.0.0.1:1/n", false),
    ] {
        let url = DatabaseUrl::parse(text).unwrap();
        let mut options = postgres_options(&url, ServerTraits::default(), false);
        options.connect_lazy(true).min_connections(0);
        let readers = open(options, "").await.unwrap();
        let pool = readers.get_postgres_connection_pool();
        assert_eq!(uses_transaction_pooling(pool), pools_transactions, "{text}");
    }
}

/// A generic plan of a statement over several shards fails.
#[rstest]
#[case(false, true)]
#[case(true, false)]
fn generic_plans_are_forced_without_citus_only(#[case] has_citus: bool, #[case] forced: bool) {
    let url = DatabaseUrl::parse("postgres://u@h/n").unwrap();
    let options = adapt(
        &url,
        url.postgres().unwrap(),
        ServerTraits { has_citus },
        true,
    );
    let sent = options.get_options().unwrap();
    assert_eq!(sent.contains("plan_cache_mode"), forced, "{sent}");
    assert!(sent.contains("statement_timeout"), "{sent}");
}

/// Starts a server that accepts logins unless it is silent, and never replies to statements.
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
            // Open forever, as after a power failure of the host.
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
async fn vanished_server_frees_its_slots_of_the_pool(
    #[case] parameter: &str,
    #[case] writes: bool,
) {
    let is_silent = Arc::new(AtomicBool::new(false));
    let url = silent_server(Arc::clone(&is_silent)).await + parameter;
    let mut options = postgres_options(
        &DatabaseUrl::parse(&url).unwrap(),
        ServerTraits::default(),
        writes,
    );
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
    // After a failover.
    is_silent.store(false, Ordering::SeqCst);
    assert!(
        pool.acquire().await.is_ok(),
        "no connection is left in the pool"
    );
}
