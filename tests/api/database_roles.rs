//! The documented database roles: the service's reads and writes rows and cannot change the schema, the
//! reader's only reads.

use chrono::TimeDelta;
use contact_service::{crypto::random::Random, storage::grant_statements};
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
    names: [(&'static str, String); 4],
}

impl Roles {
    fn new() -> Self {
        let id = u128::from_be_bytes(Random::system().bytes().unwrap());
        Self {
            names: [
                ("contact_owner", format!("owner_{id:032x}")),
                ("contact_service", format!("service_{id:032x}")),
                ("DATABASE contacts", format!("DATABASE contacts_{id:032x}")),
                ("contact_reader", format!("reader_{id:032x}")),
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

    fn reader_url(&self) -> String {
        self.url(Some(3))
    }

    /// Runs the statements of the first code block of the page.
    async fn create(&self) {
        let (_, page) = PAGE.split_once("```sql\n").unwrap();
        let (block, _) = page.split_once("```").unwrap();
        let mut block = block.to_owned();
        for (name, own) in &self.names {
            block = block.replace(name, own);
        }
        let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
        for statement in block.split(";\n").filter(|text| !text.trim().is_empty()) {
            let sql = sqlx::AssertSqlSafe(statement.to_owned());
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        }
    }

    /// Follows the page: creates the roles, migrates as the owner, and grants the rights.
    async fn prepare(&self) {
        self.create().await;
        // As the page requires for PostgreSQL 14; a no-op on later versions.
        let owned = format!("ALTER SCHEMA public OWNER TO {}", self.names[0].1);
        execute(&self.url(None), &owned).await;
        let database = connect(&self.owner_url()).await;
        database.check_migrate_privileges().await.unwrap();
        database.migrate().await.unwrap();
        database.close().await;
        self.grant().await;
    }

    /// Runs the statements that `migrate grants` prints.
    async fn grant(&self) {
        let (service, reader) = (&self.names[1].1, &self.names[3].1);
        let grants = grant_statements("public", service, Some(reader)).join("; ");
        execute(&self.owner_url(), &format!("BEGIN; {grants}; COMMIT")).await;
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
        assert_denied(&url, statement).await;
    }
    let database = connect(&url).await;
    let why = database.check_migrate_privileges().await.unwrap_err();
    assert!(why.contains("lacks CREATE on the schema public"), "{why}");
    database.close().await;
}

/// Statements that the service never runs are denied on its own tables, too.
#[tokio::test]
async fn service_role_has_only_the_rights_that_statements_need() {
    let roles = Roles::new();
    roles.prepare().await;
    let url = roles.service_url();
    for statement in [
        "UPDATE audit_events SET actor = 'other'",
        "DELETE FROM change_feed",
        "INSERT INTO change_feed (id, last_position, low_watermark) VALUES (2, 0, 0)",
        "DELETE FROM order_types",
        "UPDATE contact_imports SET import_time = now()",
        "UPDATE confirmation_tokens SET confirmation_id = gen_random_uuid()",
        "DELETE FROM seaql_migrations",
    ] {
        assert_denied(&url, statement).await;
    }
}

#[tokio::test]
async fn reader_role_reads_tables_without_secrets_and_writes_nothing() {
    let roles = Roles::new();
    roles.prepare().await;
    let url = roles.reader_url();
    for table in ["customers", "contacts", "phone_orders", "audit_events"] {
        execute(&url, &format!("SELECT count(*) FROM {table}")).await;
        assert_denied(&url, &format!("DELETE FROM {table}")).await;
    }
    for table in [
        "phone_passwords",
        "one_time_codes",
        "confirmation_tokens",
        "mail_recipients",
        "request_ids",
        "schema_lock",
    ] {
        assert_denied(&url, &format!("SELECT count(*) FROM {table}")).await;
    }
    execute(&roles.owner_url(), "CREATE TABLE later (id INT)").await;
    assert_denied(&url, "SELECT count(*) FROM later").await;
}

/// Rights of an earlier version do not remain.
#[tokio::test]
async fn repeated_grants_revoke_rights_that_are_not_needed() {
    let roles = Roles::new();
    roles.prepare().await;
    let (service, reader) = (&roles.names[1].1, &roles.names[3].1);
    let more =
        format!("GRANT ALL ON audit_events TO {service}; GRANT ALL ON phone_passwords TO {reader}");
    execute(&roles.owner_url(), &more).await;
    execute(&roles.service_url(), "UPDATE audit_events SET actor = ''").await;
    roles.grant().await;
    assert_denied(&roles.service_url(), "UPDATE audit_events SET actor = ''").await;
    assert_denied(&roles.reader_url(), "SELECT hash FROM phone_passwords").await;
}

/// The read replica is another database here, so that only it has the customer.
#[tokio::test]
async fn reader_role_suffices_for_a_read_replica() {
    let (primary, replica) = (Roles::new(), Roles::new());
    primary.prepare().await;
    replica.prepare().await;
    let options = || Options {
        migrates: false,
        ..Options::default()
    };
    let on_replica =
        TestServer::start_on(&replica.service_url(), tempdir().unwrap(), options()).await;
    let customer = prepare(&on_replica, "R-1").await;
    let options = Options {
        replica: Some(replica.reader_url()),
        ..options()
    };
    let server = TestServer::start_on(&primary.service_url(), tempdir().unwrap(), options).await;
    let token = server.token(ALL_SCOPES, None);
    let body = valid_request("ResolveRecipients", &customer).encode_to_vec();
    let response = call(&server, Some(&token), "ResolveRecipients", body).await;
    assert!(response.is_ok(), "{response:?}");
}

async fn assert_denied(url: &str, statement: &str) {
    let rejected = try_execute(url, statement).await.unwrap_err();
    let error = rejected.as_database_error().unwrap();
    let code = error.code();
    assert_eq!(code.as_deref(), Some("42501"), "{statement}: {rejected}");
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
            "its role lacks SELECT on seaql_migrations; SELECT, INSERT on confirmation_tokens, \
             contact_imports; SELECT, INSERT, DELETE on audit_events, contact_phone_numbers; ",
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
