//! The tries that limit a try of a phone password: of the agent, in the call, on the contact.
//!
//! Whoever tries a password locks their rows in this order; whoever changes one holds the
//! customer before the contact's row. So nobody waits for somebody who waits for them.
//! Checks come in floods: where statements travel to a server, all three rows go by one.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter,
    QueryResult, Set, Statement, sea_query::OnConflict,
};

use super::{
    Database, Transaction, bounded,
    entity::{
        phone_password_agents as agents, phone_password_calls as calls,
        phone_passwords::{ActiveModel, Model},
    },
    expect_one_row,
    phone_password::{PhonePasswordRecord, from_times, to_record, to_times, tries_columns},
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        ids::{ContactId, CustomerNumber},
        phone_password::attempts::{AgentAttempts, CALL_ATTEMPT_RETENTION},
    },
    error::{Error, Result},
};

/// Who tries whose phone password in which call.
#[derive(Clone, Debug)]
pub struct TryKey<'a> {
    /// The agent.
    pub agent: &'a str,
    /// A hash of the call's id: the attempts in a call are counted for each customer.
    pub call: String,
    /// The customer.
    pub number: &'a CustomerNumber,
    /// The contact.
    pub id: ContactId,
}

/// What limits a try.
#[derive(Clone, Debug, Default)]
pub struct TriesUntilNow {
    /// The agent's.
    pub by_agent: AgentAttempts,
    /// Those in the call.
    pub in_call: i16,
    /// The contact's phone password, with those on it.
    pub on_contact: PhonePasswordRecord,
}

/// What is on file of the three; nothing where no row is.
#[derive(FromQueryResult)]
struct Row {
    agent_failures: Option<String>,
    call_tries: Option<i16>,
    #[sea_orm(nested)]
    phone_password: Option<Model>,
}

const FAILED_CONTACTS: &str = "\
    SELECT count(*) FROM phone_passwords \
    WHERE consecutive_failures > 0 AND update_time > $1 GROUP BY failed_by";

impl Database {
    /// The numbers of contacts whose last attempt failed and was made after `time`, by its agent. A
    /// match since then ends a contact's failures.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_failed_contacts(&self, time: DateTime<Utc>) -> Result<Vec<i64>> {
        let rows = self.rows_by_index(FAILED_CONTACTS, [time.into()]).await?;
        let counts = rows.iter().map(|row| row.try_get_by_index(0));
        let counts: std::result::Result<_, _> = counts.collect();
        Ok(counts.map_err(Failure::from)?)
    }

    /// The tries until now, as a glance that holds nobody up.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_tries(&self, key: &TryKey<'_>) -> Result<TriesUntilNow> {
        let values = [
            key.agent.into(),
            key.call.as_str().into(),
            key.number.as_str().into(),
            key.id.0.into(),
        ];
        let backend = self.readers.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, FIND, values);
        let row = self.readers.query_one_raw(statement);
        bounded(async { to_tries_until_now(row.await.map_err(Failure::from)?.as_ref()) }).await
    }
}

impl Transaction {
    /// The tries until now, whose rows are made when missing. Other tries of the agent, in the
    /// call or on the contact wait until the transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_tries(&self, key: &TryKey<'_>, now: DateTime<Utc>) -> Result<TriesUntilNow> {
        if self.inner.get_database_backend() == DbBackend::Sqlite {
            return Ok(TriesUntilNow {
                by_agent: self.lock_agent_tries(key.agent, now).await?,
                in_call: self.lock_call_tries(key, now).await?,
                on_contact: self.lock_phone_password(key.number, key.id, now).await?,
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
        to_tries_until_now(row.map_err(Failure::from)?.as_ref())
    }

    /// Saves tries whose rows are locked.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_tries(&self, key: &TryKey<'_>, tries: &TriesUntilNow) -> Result<()> {
        let on_contact = &tries.on_contact.tries;
        if self.inner.get_database_backend() == DbBackend::Sqlite {
            self.save_agent_tries(key.agent, &tries.by_agent).await?;
            self.save_call_tries(key, tries.in_call).await?;
            let row = ActiveModel {
                failed_by: Set(Some(key.agent.to_owned())),
                ..tries_columns(on_contact)?
            };
            return self.update_phone_password(key.number, key.id, row).await;
        }
        let values = [
            key.agent.into(),
            key.call.as_str().into(),
            key.number.as_str().into(),
            key.id.0.into(),
            from_times(&tries.by_agent.0)?.into(),
            tries.in_call.into(),
            on_contact.consecutive.into(),
            on_contact.locked_until.into(),
            from_times(&on_contact.recent)?.into(),
            on_contact.is_revoked.into(),
            on_contact.notice_time.into(),
        ];
        let statement =
            Statement::from_sql_and_values(DbBackend::Postgres, SAVE_ON_POSTGRES, values);
        let saved = self.inner.execute_raw(statement).await;
        expect_one_row(saved.map_err(Failure::from)?.rows_affected())
    }

    /// The failed tries of an agent, whose other tries wait until the transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_agent_tries(&self, agent: &str, now: DateTime<Utc>) -> Result<AgentAttempts> {
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
            .map_err(Failure::from)?;
        to_times(&row.failures).map(AgentAttempts)
    }

    /// Saves the failed tries of an agent.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_agent_tries(&self, agent: &str, tries: &AgentAttempts) -> Result<()> {
        let row = agents::ActiveModel {
            failures: Set(from_times(&tries.0)?),
            ..<agents::ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        agents::Entity::update_many()
            .set(row)
            .filter(agents::Column::Agent.eq(agent))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    async fn lock_call_tries(&self, key: &TryKey<'_>, now: DateTime<Utc>) -> Result<i16> {
        let row = calls::ActiveModel {
            customer_number: Set(key.number.as_str().to_owned()),
            call_id: Set(key.call.clone()),
            tries: Set(0),
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
            .map_err(Failure::from)?;
        Ok(row.tries)
    }

    async fn save_call_tries(&self, key: &TryKey<'_>, tries: i16) -> Result<()> {
        let row = calls::ActiveModel {
            tries: Set(tries),
            ..<calls::ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        calls::Entity::update_many()
            .set(row)
            .filter(calls::Column::CustomerNumber.eq(key.number.as_str()))
            .filter(calls::Column::CallId.eq(&key.call))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }
}

const FIND: &str = "\
    SELECT (SELECT failures FROM phone_password_agents WHERE agent = $1) AS agent_failures, \
           (SELECT tries FROM phone_password_calls \
            WHERE customer_number = $3 AND call_id = $2) AS call_tries, \
           phone_passwords.* \
    FROM (SELECT 1) AS one LEFT JOIN phone_passwords \
         ON phone_passwords.customer_number = $3 AND phone_passwords.contact_id = $4";

/// Each insertion takes its row from the one before, so that they lock in that order. The customer
/// is kept, or whoever erases it would leave the row that is made here.
const LOCK_ON_POSTGRES: &str = "\
    WITH customer AS ( \
        SELECT 1 FROM customers WHERE customer_number = $3 FOR KEY SHARE \
    ), agent AS ( \
        INSERT INTO phone_password_agents (agent, failures, update_time) \
        SELECT $1, '[]', $5 FROM (SELECT count(*) FROM customer) AS kept \
        ON CONFLICT (agent) DO UPDATE SET update_time = excluded.update_time \
        RETURNING failures AS agent_failures \
    ), in_call AS ( \
        INSERT INTO phone_password_calls (customer_number, call_id, tries, expire_time) \
        SELECT $3, $2, 0, $6 FROM agent \
        ON CONFLICT (customer_number, call_id) DO UPDATE SET expire_time = excluded.expire_time \
        RETURNING tries AS call_tries \
    ), phone_password AS ( \
        INSERT INTO phone_passwords (customer_number, contact_id, consecutive_failures, \
                                     recent_failures, is_void, update_time) \
        SELECT $3, $4, 0, '[]', false, $5 FROM in_call \
        ON CONFLICT (customer_number, contact_id) \
        DO UPDATE SET update_time = excluded.update_time \
        RETURNING * \
    ) \
    SELECT * FROM agent, in_call, phone_password";

const SAVE_ON_POSTGRES: &str = "\
    WITH agent AS ( \
        UPDATE phone_password_agents SET failures = $5 WHERE agent = $1 \
    ), in_call AS ( \
        UPDATE phone_password_calls SET tries = $6 \
        WHERE customer_number = $3 AND call_id = $2 \
    ) \
    UPDATE phone_passwords \
    SET consecutive_failures = $7, locked_until = $8, recent_failures = $9, is_void = $10, \
        notice_time = $11, failed_by = $1 \
    WHERE customer_number = $3 AND contact_id = $4";

fn to_tries_until_now(row: Option<&QueryResult>) -> Result<TriesUntilNow> {
    let missing = || Error::internal("a statement that always answers did not");
    let row = Row::from_query_result(row.ok_or_else(missing)?, "").map_err(Failure::from)?;
    let failures = row.agent_failures.as_deref();
    Ok(TriesUntilNow {
        by_agent: AgentAttempts(failures.map_or(Ok(Vec::new()), to_times)?),
        in_call: row.call_tries.unwrap_or_default(),
        on_contact: row
            .phone_password
            .map_or(Ok(PhonePasswordRecord::default()), to_record)?,
    })
}
