//! A foreign transaction that blocks the service's writers.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

/// A lock that another connection holds until it is released.
pub enum HeldLock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl HeldLock {
    /// Locks the customer's row; on SQLite, which allows one writer at a time, the whole
    /// database.
    pub async fn take(database_url: &str, number: &str) -> Self {
        if database_url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(database_url).await.unwrap();
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            return Self::Sqlite(connection);
        }
        let mut connection = PgConnection::connect(database_url).await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        sqlx::query("SELECT 1 FROM customers WHERE customer_number = $1 FOR UPDATE")
            .bind(number)
            .execute(&mut connection)
            .await
            .unwrap();
        Self::Postgres(connection)
    }

    pub async fn release(self) {
        match self {
            Self::Sqlite(mut connection) => connection.execute("ROLLBACK").await.map(|_| ()),
            Self::Postgres(mut connection) => connection.execute("ROLLBACK").await.map(|_| ()),
        }
        .unwrap();
    }
}
