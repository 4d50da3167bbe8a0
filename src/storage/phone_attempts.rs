//! The attempts that limit checks of phone passwords: by agent, by phone call and by contact.
//!
//! A check locks these rows in this order, and a change of a password locks the customer before the
//! contact's row, which prevents deadlocks. Checks come in bursts, so on PostgreSQL one statement
//! handles all three rows.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter,
    QueryResult, Set, Statement, sea_query::OnConflict,
};

use super::{
    columns::{from_times, to_times},
    database::Database,
    entity::{
        phone_password_agents as agents, phone_password_calls as calls,
        phone_passwords::{ActiveModel, Model},
    },
    error::{StorageError, ensure_version_matched},
    phone_password::record::{PhonePasswordRecord, attempt_columns, to_record},
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        ids::{ContactId, CustomerNumber},
        phone_password::attempts::{AgentAttempts, CALL_ATTEMPT_RETENTION},
    },
    error::{Error, Result},
};

/// The key of an attempt: the agent, the phone call and the contact.
#[derive(Clone, Debug)]
pub struct AttemptKey<'a> {
    /// The agent.
    pub agent: &'a str,
    /// A hash of the phone call's id: its attempts are counted for each customer.
    pub call: String,
    /// The customer.
    pub number: &'a CustomerNumber,
    /// The contact.
    pub id: ContactId,
}

/// The attempts that limit the next one.
#[derive(Clone, Debug, Default)]
pub struct AttemptCounts {
    /// The failed attempts of the agent.
    pub agent_attempts: AgentAttempts,
    /// The number of attempts in the phone call.
    pub phone_call_attempts: i16,
    /// The contact's phone password with its attempts.
    pub contact_attempts: PhonePasswordRecord,
}

/// The columns of the three rows, each `None` if there is no row.
#[derive(FromQueryResult)]
struct AttemptRow {
    agent_failures: Option<String>,
    phone_call_attempts: Option<i16>,
    #[sea_orm(nested)]
    phone_password: Option<Model>,
}

const FAILED_CONTACTS: &str = "\
    SELECT count(*) FROM phone_passwords \
    WHERE consecutive_failures > 0 AND update_time > $1 GROUP BY failed_by";

impl Database {
    /// Counts the contacts whose last attempt failed and was made after `time`, by its agent. A match
    /// clears a contact's failures.
    pub async fn count_failed_contacts(&self, time: DateTime<Utc>) -> Result<Vec<i64>> {
        let rows = self.rows_by_index(FAILED_CONTACTS, [time.into()]).await?;
        let counts = rows.iter().map(|row| row.try_get_by_index(0));
        let counts: std::result::Result<_, _> = counts.collect();
        Ok(counts.map_err(StorageError::from)?)
    }

    /// Reads the attempts without a lock.
    pub async fn find_attempts(&self, key: &AttemptKey<'_>) -> Result<AttemptCounts> {
        let values = [
            key.agent.into(),
            key.call.as_str().into(),
            key.number.as_str().into(),
            key.id.0.into(),
        ];
        let backend = self.readers.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, FIND, values);
        let row = self.readers.query_one_raw(statement);
        with_timeout(async { to_counts(row.await.map_err(StorageError::from)?.as_ref()) }).await
    }
}

impl Transaction {
    /// Locks and reads the attempts; missing rows are inserted. Other attempts of the agent, in the
    /// phone call or on the contact wait until the transaction ends.
    pub async fn lock_attempts(
        &self,
        key: &AttemptKey<'_>,
        now: DateTime<Utc>,
    ) -> Result<AttemptCounts> {
        if self.inner.get_database_backend() == DbBackend::Sqlite {
            return Ok(AttemptCounts {
                agent_attempts: self.lock_agent_attempts(key.agent, now).await?,
                phone_call_attempts: self.lock_phone_call_attempts(key, now).await?,
                contact_attempts: self.lock_phone_password(key.number, key.id, now).await?,
            });
        }
        let values = [
            key.agent.into(),
            key.call.as_str().into(),
            key.number.as_str().into(),
            key.id.0.into(),
            now.into(),
            (now + CALL_ATTEMPT_RETENTION).into(),
        ];
        let statement =
            Statement::from_sql_and_values(DbBackend::Postgres, LOCK_ON_POSTGRES, values);
        let row = self.inner.query_one_raw(statement).await;
        to_counts(row.map_err(StorageError::from)?.as_ref())
    }

    /// Updates attempts whose rows are locked.
    pub async fn update_attempts(
        &self,
        key: &AttemptKey<'_>,
        counts: &AttemptCounts,
    ) -> Result<()> {
        let contact_attempts = &counts.contact_attempts.attempts;
        if self.inner.get_database_backend() == DbBackend::Sqlite {
            self.update_agent_attempts(key.agent, &counts.agent_attempts)
                .await?;
            self.update_phone_call_attempts(key, counts.phone_call_attempts)
                .await?;
            let row = ActiveModel {
                failed_by: Set(Some(key.agent.to_owned())),
                ..attempt_columns(contact_attempts)?
            };
            return self.update_phone_password(key.number, key.id, row).await;
        }
        let values = [
            key.agent.into(),
            key.call.as_str().into(),
            key.number.as_str().into(),
            key.id.0.into(),
            from_times(&counts.agent_attempts.0)?.into(),
            counts.phone_call_attempts.into(),
            contact_attempts.consecutive.into(),
            contact_attempts.locked_until.into(),
            from_times(&contact_attempts.recent)?.into(),
            contact_attempts.is_revoked.into(),
            contact_attempts.notice_time.into(),
        ];
        let statement =
            Statement::from_sql_and_values(DbBackend::Postgres, SAVE_ON_POSTGRES, values);
        let saved = self.inner.execute_raw(statement).await;
        ensure_version_matched(saved.map_err(StorageError::from)?.rows_affected())
    }

    /// Locks and reads the failed attempts of an agent.
    pub async fn lock_agent_attempts(
        &self,
        agent: &str,
        now: DateTime<Utc>,
    ) -> Result<AgentAttempts> {
        let row = agents::ActiveModel {
            agent: Set(agent.to_owned()),
            failures: Set("[]".to_owned()),
            update_time: Set(now),
        };
        let row = agents::Entity::insert(row)
            .on_conflict(
                OnConflict::column(agents::Column::Agent)
                    .update_column(agents::Column::UpdateTime)
                    .to_owned(),
            )
            .exec_with_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        to_times(&row.failures).map(AgentAttempts)
    }

    /// Updates the failed attempts of an agent.
    pub async fn update_agent_attempts(&self, agent: &str, attempts: &AgentAttempts) -> Result<()> {
        let row = agents::ActiveModel {
            failures: Set(from_times(&attempts.0)?),
            ..<agents::ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        agents::Entity::update_many()
            .set(row)
            .filter(agents::Column::Agent.eq(agent))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    async fn lock_phone_call_attempts(
        &self,
        key: &AttemptKey<'_>,
        now: DateTime<Utc>,
    ) -> Result<i16> {
        let row = calls::ActiveModel {
            customer_number: Set(key.number.as_str().to_owned()),
            call_id: Set(key.call.clone()),
            attempts: Set(0),
            expire_time: Set(now + CALL_ATTEMPT_RETENTION),
        };
        let row = calls::Entity::insert(row)
            .on_conflict(
                OnConflict::columns([calls::Column::CustomerNumber, calls::Column::CallId])
                    .update_column(calls::Column::ExpireTime)
                    .to_owned(),
            )
            .exec_with_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(row.attempts)
    }

    async fn update_phone_call_attempts(&self, key: &AttemptKey<'_>, attempts: i16) -> Result<()> {
        let row = calls::ActiveModel {
            attempts: Set(attempts),
            ..<calls::ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        calls::Entity::update_many()
            .set(row)
            .filter(calls::Column::CustomerNumber.eq(key.number.as_str()))
            .filter(calls::Column::CallId.eq(&key.call))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

const FIND: &str = "\
    SELECT (SELECT failures FROM phone_password_agents WHERE agent = $1) AS agent_failures, \
           (SELECT attempts FROM phone_password_calls \
            WHERE customer_number = $3 AND call_id = $2) AS phone_call_attempts, \
           phone_passwords.customer_number, contact_id, hash, pepper_version, set_time, \
           consecutive_failures, locked_until, recent_failures, is_revoked, notice_time, \
           unlock_reason, failed_by, update_time \
    FROM (SELECT 1) AS one LEFT JOIN phone_passwords \
         ON phone_passwords.customer_number = $3 AND phone_passwords.contact_id = $4";

/// Each insertion reads from the one before, so that the rows are locked in this order. The lock on
/// the customer delays an erasure, which would miss the rows that are inserted here.
const LOCK_ON_POSTGRES: &str = "\
    WITH customer AS ( \
        SELECT 1 FROM customers WHERE customer_number = $3 FOR KEY SHARE \
    ), agent AS ( \
        INSERT INTO phone_password_agents (agent, failures, update_time) \
        SELECT $1, '[]', $5 FROM (SELECT count(*) FROM customer) AS kept \
        ON CONFLICT (agent) DO UPDATE SET update_time = excluded.update_time \
        RETURNING failures AS agent_failures \
    ), in_call AS ( \
        INSERT INTO phone_password_calls (customer_number, call_id, attempts, expire_time) \
        SELECT $3, $2, 0, $6 FROM agent \
        ON CONFLICT (customer_number, call_id) DO UPDATE SET expire_time = excluded.expire_time \
        RETURNING attempts AS phone_call_attempts \
    ), phone_password AS ( \
        INSERT INTO phone_passwords (customer_number, contact_id, consecutive_failures, \
                                     recent_failures, is_revoked, update_time) \
        SELECT $3, $4, 0, '[]', false, $5 FROM in_call \
        ON CONFLICT (customer_number, contact_id) \
        DO UPDATE SET update_time = excluded.update_time \
        RETURNING customer_number, contact_id, hash, pepper_version, set_time, \
                  consecutive_failures, locked_until, recent_failures, is_revoked, notice_time, \
                  unlock_reason, failed_by, update_time \
    ) \
    SELECT * FROM agent, in_call, phone_password";

const SAVE_ON_POSTGRES: &str = "\
    WITH agent AS ( \
        UPDATE phone_password_agents SET failures = $5 WHERE agent = $1 \
    ), in_call AS ( \
        UPDATE phone_password_calls SET attempts = $6 \
        WHERE customer_number = $3 AND call_id = $2 \
    ) \
    UPDATE phone_passwords \
    SET consecutive_failures = $7, locked_until = $8, recent_failures = $9, is_revoked = $10, \
        notice_time = $11, failed_by = $1 \
    WHERE customer_number = $3 AND contact_id = $4";

fn to_counts(row: Option<&QueryResult>) -> Result<AttemptCounts> {
    let missing = || Error::internal("a statement that always returns a row returned none");
    let row =
        AttemptRow::from_query_result(row.ok_or_else(missing)?, "").map_err(StorageError::from)?;
    let failures = row.agent_failures.as_deref();
    Ok(AttemptCounts {
        agent_attempts: AgentAttempts(failures.map_or(Ok(Vec::new()), to_times)?),
        phone_call_attempts: row.phone_call_attempts.unwrap_or_default(),
        contact_attempts: row
            .phone_password
            .map_or(Ok(PhonePasswordRecord::default()), to_record)?,
    })
}
