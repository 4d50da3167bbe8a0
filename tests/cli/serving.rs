//! `serve` and `healthcheck`, from startup to shutdown.

use contact_service::api::proto::{self, Delivery};
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::process::{Backend, Sandbox, client, free_address, fresh_schema};

/// The record of a migration of a later version.
const NEWER_MIGRATION: &str =
    "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_x', 0)";

fn rejection<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("the call should be rejected");
    (
        status.code(),
        status.get_details_error_info().unwrap().reason,
    )
}

fn get(number: &str) -> proto::GetCustomerRequest {
    proto::GetCustomerRequest {
        customer_number: number.into(),
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_prints_calls_and_answers_them(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, address) = sandbox.serve(&["serve", "--demo"]);
    let printed = server.stdout();
    let calls = printed.lines().filter(|line| line.starts_with("curl "));
    assert_eq!(calls.clone().count(), 8, "{printed}");
    for call in calls {
        let url = format!(" http://{address}/contact.v1.ContactService/");
        assert!(call.contains(&url), "{call}");
    }
    let token = printed
        .lines()
        .find_map(|line| line.strip_prefix("export CONTACT_SERVICE_TOKEN="));
    let token = token.unwrap();
    assert_eq!(printed.matches(token).count(), 1, "{printed}");

    let request = proto::ResolveRecipientsRequest {
        customer_number: "K-1001".into(),
        purpose: proto::Purpose::Invoice.into(),
        ..proto::ResolveRecipientsRequest::default()
    };
    let answer = client(&address, token)
        .resolve_recipients(request)
        .await
        .unwrap();
    let resolution = answer.into_inner().resolution.unwrap();
    assert_eq!(resolution.delivery(), Delivery::Email);
    let recipients = resolution
        .recipients
        .iter()
        .map(|recipient| recipient.email.as_str());
    assert_eq!(
        recipients.collect::<Vec<_>>(),
        ["anna.schmidt@muster.example", "buchhaltung@muster.example"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minted_token_grants_its_scopes_only() {
    let sandbox = Sandbox::new().with("LISTEN_ADDR", "127.0.0.1:0");
    let mint = |scope: &str, extra: &[&str]| {
        let arguments = [&["token", "--sub", "tester", "--scope", scope], extra].concat();
        sandbox.run(&arguments).printed()
    };
    let tenant_scoped = ["--customer", "K-1001", "--ttl", "1h"];
    let (_server, address) = sandbox.serve(&["serve", "--demo"]);
    let for_all = mint("customers.read contacts.read", &[]);
    let for_one = mint("customers.read", &tenant_scoped);

    client(&address, &for_all)
        .get_customer(get("K-1002"))
        .await
        .unwrap();
    client(&address, &for_one)
        .get_customer(get("K-1001"))
        .await
        .unwrap();
    let other = client(&address, &for_one).get_customer(get("K-1002")).await;
    assert_eq!(
        rejection(other),
        (Code::PermissionDenied, "CUSTOMER_MISMATCH".into())
    );
    let unscoped = client(&address, &mint("contacts.read", &[]))
        .get_customer(get("K-1001"))
        .await;
    assert_eq!(
        rejection(unscoped),
        (Code::PermissionDenied, "SCOPE_MISSING".into())
    );
    let foreign = Sandbox::new().with_keys();
    let foreign = foreign.run(&["token", "--sub", "x", "--scope", "customers.read"]);
    let foreign = client(&address, &foreign.printed())
        .get_customer(get("K-1001"))
        .await;
    assert_eq!(
        rejection(foreign),
        (Code::Unauthenticated, "TOKEN_INVALID".into())
    );
}

#[rstest]
#[case::the_default_command_on_an_empty_file("TERM", &[])]
#[case::named_and_interrupted("INT", &["serve"])]
#[case::whose_terminal_was_closed("HUP", &["serve"])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthcheck_succeeds_from_readiness_to_shutdown(
    #[case] signal: &str,
    #[case] arguments: &[&str],
) {
    let address = free_address();
    let sandbox = Sandbox::new().with("LISTEN_ADDR", &address);
    let error_line = sandbox.run(&["healthcheck"]).error_line();
    assert_eq!(error_line, format!("nothing answers on {address}"));

    let (server, served) = sandbox.serve(arguments);
    assert_eq!(served, address);
    assert_eq!(sandbox.run(&["healthcheck"]).printed(), "");
    let token = sandbox
        .run(&["token", "--sub", "x", "--scope", "customers.read"])
        .printed();
    let unknown = client(&address, &token).get_customer(get("K-1")).await;
    assert_eq!(
        rejection(unknown),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );

    server.signal(signal);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let error_line = sandbox.run(&["healthcheck"]).error_line();
    assert_eq!(error_line, format!("nothing answers on {address}"));
}

#[tokio::test]
async fn migrated_shared_database_is_served() {
    let sandbox = Sandbox::migrated_on(Backend::Postgres).await;
    let (server, _) = sandbox.serve(&[]);
    server.signal("TERM");
    assert_eq!(server.wait().status.code(), Some(0));
}

/// A pod may restart between a migration and the end of the rollout.
#[tokio::test]
async fn newer_schema_is_served_with_a_warning() {
    let database_url = fresh_schema().await;
    let sandbox = Sandbox::new()
        .with("DATABASE_URL", &database_url)
        .with("LISTEN_ADDR", "127.0.0.1:0");
    sandbox.run(&["migrate", "up"]).printed();
    let mut connection = PgConnection::connect(&database_url).await.unwrap();
    connection.execute(NEWER_MIGRATION).await.unwrap();
    let (server, _) = sandbox.serve(&[]);
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("this version does not know"),
        "{}",
        ended.stderr
    );
}

/// A rollback runs the older version's `migrate up` again.
#[tokio::test]
async fn migrate_up_leaves_a_newer_schema_with_a_warning() {
    let database_url = fresh_schema().await;
    let sandbox = Sandbox::new().with("DATABASE_URL", &database_url);
    sandbox.run(&["migrate", "up"]).printed();
    let mut connection = PgConnection::connect(&database_url).await.unwrap();
    connection.execute(NEWER_MIGRATION).await.unwrap();
    let ended = sandbox.run(&["migrate", "up"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("this version does not know"),
        "{}",
        ended.stderr
    );
    let rejected = sandbox.run(&["migrate", "status"]).error_line();
    assert!(rejected.contains("does not know"), "{rejected}");
}

/// Operators look for the start line first.
#[rstest]
#[tokio::test]
async fn start_line_names_version_database_keys_and_mails(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend)
        .await
        .with("SMTP_URL", "smtp://user:hunter2@localhost:2525")
        .with("MAIL_FROM", "contact@provider.example");
    let (server, _) = sandbox.serve(&[]);
    let log = server.stderr();
    let line = log.lines().find(|line| line.contains("serving")).unwrap();
    let database = match backend {
        Backend::Sqlite => "sqlite data/contacts.db",
        Backend::Postgres => "postgres 127.0.0.1:",
    };
    for named in [
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        &format!("database=\"{database}"),
        "keys=\"development key in data\"",
        "mail=\"smtp localhost:2525\"",
    ] {
        assert!(line.contains(named), "no {named} in {line}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}
