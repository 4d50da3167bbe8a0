//! The service under the documented database role: it reads and writes rows and cannot change the
//! schema.

use chrono::TimeDelta;
use contact_service::crypto::random::Random;
use prost::Message;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::tempdir;
use url::Url;

use crate::{
    harness::{ALL_SCOPES, Options, TestServer, connect, execute, postgres_url, try_execute},
    raw::call,
    rpcs::{Effect, RPCS, prepare, valid_request},
};

const PAGE: &str = include_str!("../../docs/operations/databases.md");

/// A database with the documented roles under unique names.
struct Roles {
    names: [(&'static str, String); 3],
}

impl Roles {
    fn new() -> Self {
        let id = u128::from_be_bytes(Random::system().bytes().unwrap());
        Self {
            names: [
                ("contact_owner", format!("owner_{id:032x}")),
                ("contact_service", format!("service_{id:032x}")),
                ("DATABASE contacts", format!("DATABASE contacts_{id:032x}")),
            ],
        }
    }

    fn url(&self, role: Option<usize>) -> String {
        let mut url = Url::parse(&postgres_url()).unwrap();
        url.set_path(self.names[2].1.strip_prefix("DATABASE ").unwrap());
        if let Some(role) = role {
            url.set_username(&self.names[role].1).unwrap();
            url.set_password(Some("change me")).unwrap();
        }
        url.into()
    }

    fn owner_url(&self) -> String {
        self.url(Some(0))
    }

    fn service_url(&self) -> String {
        self.url(Some(1))
    }

    /// Runs the statements of one code block of the page.
    async fn run(&self, block: usize, url: &str) {
        let block = PAGE.split("```sql\n").nth(block + 1).unwrap();
        let (mut block, _) = block
            .split_once("```")
            .map(|(a, b)| (a.to_owned(), b))
            .unwrap();
        for (name, own) in &self.names {
            block = block.replace(name, own);
        }
        let mut connection = PgConnection::connect(url).await.unwrap();
        for statement in block.split(";\n").filter(|text| !text.trim().is_empty()) {
            let sql = sqlx::AssertSqlSafe(statement.to_owned());
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        }
    }

    /// Runs all code blocks of the page in order, with the migration in between.
    async fn prepare(&self) {
        self.run(0, &postgres_url()).await;
        // As the page requires for PostgreSQL 14; a no-op on later versions.
        let owned = format!("ALTER SCHEMA public OWNER TO {}", self.names[0].1);
        execute(&self.url(None), &owned).await;
        self.run(1, &self.owner_url()).await;
        let database = connect(&self.owner_url()).await;
        database.check_migrate_privileges().await.unwrap();
        database.migrate().await.unwrap();
        database.close().await;
        self.run(2, &self.owner_url()).await;
    }
}

#[tokio::test]
async fn service_role_runs_every_rpc_and_every_background_job() {
    let roles = Roles::new();
    roles.prepare().await;
    let options = Options {
        migrates: false,
        ..Options::default()
    };
    let server = TestServer::start_on(&roles.service_url(), tempdir().unwrap(), options).await;
    server.database.check_serve_privileges().await.unwrap();
    let token = server.token(ALL_SCOPES, None);
    let read = prepare(&server, "R-1").await;
    for rpc in RPCS {
        let on = match rpc.effect {
            Effect::Reads => read.clone(),
            _ => prepare(&server, &format!("R-{}", rpc.name)).await,
        };
        let body = valid_request(rpc.name, &on).encode_to_vec();
        let response = call(&server, Some(&token), rpc.name, body).await;
        assert!(response.is_ok(), "{}: {response:?}", rpc.name);
    }
    let app = &server.app;
    app.sequence_all_events().await.unwrap();
    server.clock.advance(TimeDelta::days(6));
    assert!(app.remind_of_pending_emails().await.unwrap() > 0);
    assert!(app.count_mails().await.unwrap().waiting > 0);
    assert!(!server.mails().await.is_empty());
    server.clock.advance(TimeDelta::days(2));
    assert!(app.clear_expired_emails().await.unwrap() > 0);
    server.clock.advance(TimeDelta::days(400));
    assert!(app.purge_confirmations().await.unwrap() > 0);
    assert!(app.purge_attempts().await.unwrap() > 0);
    app.purge_dead_letters().await.unwrap();
    assert!(app.purge_mail_counts().await.unwrap() > 0);
    assert!(app.purge_channel_checks().await.unwrap() > 0);
    app.count_failed_contacts().await.unwrap();
    app.sequence_all_events().await.unwrap();
    assert!(app.purge_events(TimeDelta::days(365)).await.unwrap() > 0);
    app.purge_sealed_numbers().await.unwrap();
    app.purge_expired_requests().await.unwrap();
    app.clean_files().await.unwrap();
}

#[tokio::test]
async fn service_role_changes_no_schema() {
    let roles = Roles::new();
    roles.prepare().await;
    let url = roles.service_url();
    for statement in [
        "CREATE TABLE made (id INT)",
        "CREATE TEMPORARY TABLE made (id INT)",
        "CREATE SCHEMA made",
        "ALTER TABLE contacts ADD COLUMN made INT",
        "DROP TABLE contacts",
        "TRUNCATE contacts",
        "CREATE INDEX made ON contacts (customer_number)",
        "ALTER TABLE contacts DISABLE TRIGGER ALL",
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('x', 0)",
        "SELECT * FROM schema_lock",
    ] {
        let rejected = try_execute(&url, statement).await.unwrap_err();
        let error = rejected.as_database_error().unwrap();
        assert_eq!(
            error.code().as_deref(),
            Some("42501"),
            "{statement}: {rejected}"
        );
    }
    let database = connect(&url).await;
    let why = database.check_migrate_privileges().await.unwrap_err();
    assert!(why.contains("lacks CREATE on the schema public"), "{why}");
    database.close().await;
}

/// The default privileges cover the tables of later migrations.
#[tokio::test]
async fn service_role_may_use_tables_of_later_migrations() {
    let roles = Roles::new();
    roles.prepare().await;
    execute(
        &roles.owner_url(),
        "CREATE TABLE later (id INT PRIMARY KEY)",
    )
    .await;
    let url = roles.service_url();
    for statement in [
        "INSERT INTO later VALUES (1)",
        "UPDATE later SET id = 2 WHERE id = 1",
        "SELECT id FROM later FOR UPDATE",
        "DELETE FROM later",
    ] {
        execute(&url, statement).await;
    }
}

#[tokio::test]
async fn missing_privilege_of_the_service_role_is_named() {
    let roles = Roles::new();
    roles.prepare().await;
    let owner = roles.owner_url();
    let role = &roles.names[1].1;
    let database = connect(&roles.service_url()).await;
    for (revoke, why) in [
        (
            format!("REVOKE UPDATE, DELETE ON outbox_mails FROM {role}"),
            "its role lacks UPDATE, DELETE on outbox_mails: ",
        ),
        (
            format!("REVOKE SELECT ON seaql_migrations FROM {role}"),
            "its role lacks SELECT on seaql_migrations; UPDATE, DELETE on outbox_mails: ",
        ),
        (
            format!("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"),
            "its role lacks SELECT on seaql_migrations; SELECT, INSERT, UPDATE, DELETE on \
             audit_events, change_feed, channel_check_agents and ",
        ),
        (
            format!("REVOKE ALL ON SCHEMA public FROM {role}"),
            "its role lacks USAGE on any schema of its search_path: ",
        ),
    ] {
        execute(&owner, &revoke).await;
        let named = database.check_serve_privileges().await.unwrap_err();
        assert!(named.starts_with(why), "{named}");
    }
}
