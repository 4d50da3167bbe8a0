//! Rows of phone passwords and of the tries on them.
//!
//! Whoever tries a password locks, in this order, the rows of the agent, of the call and
//! of the contact; whoever changes one holds the customer before the contact's row. So
//! nobody waits for somebody who waits for them.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, sea_query::OnConflict};

use super::{
    Database, Transaction, bounded,
    entity::{
        phone_password_agents as agents, phone_password_calls as calls,
        phone_passwords::{ActiveModel, Column, Entity, Model},
    },
    expect_one_row,
    failure::Failure,
};
use crate::{
    domain::{
        contact::ContactId,
        customer::CustomerNumber,
        phone_password::{
            PhonePasswordState,
            tries::{AgentTries, CALL_MEMORY, ContactTries},
        },
    },
    error::{Error, Result},
};

/// A hash and what it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHash {
    /// The hash in the PHC string format, with its parameters.
    pub phc: String,
    /// Which pepper went into it.
    pub pepper_version: u32,
}

/// The row of a contact, be there a password, a contact, or neither.
#[derive(Clone, Debug)]
pub struct PhonePasswordRecord {
    /// The hash; `None`: no password is set.
    pub hash: Option<StoredHash>,
    /// When it was set: another time is another password, another hash may be the same.
    pub set_time: Option<DateTime<Utc>>,
    /// The tries until now.
    pub tries: ContactTries,
}

/// A change of a contact's phone password.
#[derive(Clone, Debug)]
pub enum PhonePasswordChange {
    /// It is set, and its tries begin anew.
    Set(StoredHash),
    /// It is removed, and its tries with it.
    Clear,
    /// Its lock is lifted, for this reason.
    Unlock(String),
}

/// What limits a try.
#[derive(Clone, Debug, Default)]
pub struct TriesUntilNow {
    /// The agent's.
    pub by_agent: AgentTries,
    /// Those in the call.
    pub in_call: i16,
    /// Those on the contact's phone password.
    pub on_contact: ContactTries,
}

impl Database {
    /// The tries until now, as a glance that holds nobody up.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_tries(
        &self,
        agent: &str,
        call_id: &str,
        number: &CustomerNumber,
        id: ContactId,
    ) -> Result<TriesUntilNow> {
        let rows = bounded(async {
            let readers = &self.readers;
            let agent = agents::Entity::find_by_id(agent).one(readers).await;
            let call = calls::Entity::find_by_id(call_id).one(readers).await;
            let contact = Entity::find_by_id((number.as_str().to_owned(), id.0))
                .one(readers)
                .await;
            Ok((
                agent.map_err(Failure::from)?,
                call.map_err(Failure::from)?,
                contact.map_err(Failure::from)?,
            ))
        });
        let (agent, call, contact) = rows.await?;
        Ok(TriesUntilNow {
            by_agent: AgentTries(agent.map_or(Ok(Vec::new()), |row| to_times(&row.failures))?),
            in_call: call.map_or(0, |row| row.tries),
            on_contact: contact
                .as_ref()
                .map_or(Ok(ContactTries::default()), to_tries)?,
        })
    }
}

impl Transaction {
    /// The failed tries of an agent, whose other tries wait until the transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_agent_tries(&self, agent: &str, now: DateTime<Utc>) -> Result<AgentTries> {
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
        to_times(&row.failures).map(AgentTries)
    }

    /// Saves the failed tries of an agent.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_agent_tries(&self, agent: &str, tries: &AgentTries) -> Result<()> {
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

    /// How often passwords were tried in a call, whose other tries wait until the
    /// transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_call_tries(&self, call_id: &str, now: DateTime<Utc>) -> Result<i16> {
        let row = calls::ActiveModel {
            call_id: Set(call_id.to_owned()),
            tries: Set(0),
            expire_time: Set(now + CALL_MEMORY),
        };
        let row = calls::Entity::insert(row)
            .on_conflict(
                OnConflict::column(calls::Column::CallId)
                    .update_column(calls::Column::ExpireTime)
                    .to_owned(),
            )
            .exec_with_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(row.tries)
    }

    /// Saves how often passwords were tried in a call.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_call_tries(&self, call_id: &str, tries: i16) -> Result<()> {
        let row = calls::ActiveModel {
            tries: Set(tries),
            ..<calls::ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        calls::Entity::update_many()
            .set(row)
            .filter(calls::Column::CallId.eq(call_id))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// The contact's row, made when missing, whose other tries wait until the
    /// transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        now: DateTime<Utc>,
    ) -> Result<PhonePasswordRecord> {
        let row = ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            contact_id: Set(id.0),
            hash: Set(None),
            pepper_version: Set(None),
            set_time: Set(None),
            consecutive_failures: Set(0),
            locked_until: Set(None),
            recent_failures: Set("[]".to_owned()),
            is_void: Set(false),
            notice_time: Set(None),
            unlock_reason: Set(None),
            update_time: Set(now),
        };
        let row = Entity::insert(row)
            .on_conflict(
                OnConflict::columns([Column::CustomerNumber, Column::ContactId])
                    .update_column(Column::UpdateTime)
                    .to_owned(),
            )
            .exec_with_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        to_record(row)
    }

    /// Saves the tries on a contact's phone password.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_contact_tries(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        tries: &ContactTries,
    ) -> Result<()> {
        self.update_phone_password(number, id, tries_columns(tries)?)
            .await
    }

    /// Puts the same password's hash in place of an older one.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn renew_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        hash: &StoredHash,
    ) -> Result<()> {
        let row = ActiveModel {
            hash: Set(Some(hash.phc.clone())),
            pepper_version: Set(Some(hash.pepper_version.into())),
            ..<ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        self.update_phone_password(number, id, row).await
    }

    /// Changes a contact's phone password, and gives how it is shown afterwards.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn change_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        change: &PhonePasswordChange,
        now: DateTime<Utc>,
    ) -> Result<PhonePasswordState> {
        let mut record = self.lock_phone_password(number, id, now).await?;
        let row = match change {
            PhonePasswordChange::Set(hash) => ActiveModel {
                hash: Set(Some(hash.phc.clone())),
                pepper_version: Set(Some(hash.pepper_version.into())),
                set_time: Set(Some(now)),
                ..tries_columns(&ContactTries::default())?
            },
            PhonePasswordChange::Clear => ActiveModel {
                hash: Set(None),
                pepper_version: Set(None),
                set_time: Set(None),
                ..tries_columns(&ContactTries::default())?
            },
            PhonePasswordChange::Unlock(reason) => {
                record.tries.unlock();
                ActiveModel {
                    unlock_reason: Set(Some(reason.clone())),
                    ..tries_columns(&record.tries)?
                }
            }
        };
        self.update_phone_password(number, id, row).await?;
        let row = Entity::find_by_id((number.as_str().to_owned(), id.0))
            .one(&self.inner)
            .await
            .map_err(Failure::from)?;
        row.as_ref()
            .map_or(Ok(PhonePasswordState::default()), to_state)
    }

    /// Deletes what is kept of a contact's phone password.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
    ) -> Result<()> {
        Entity::delete_many()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Forgets the tries of agents of which none is younger than `time`, and the calls
    /// that are over at `now`. Gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_old_tries(&self, now: DateTime<Utc>, time: DateTime<Utc>) -> Result<u64> {
        let agents = agents::Entity::delete_many()
            .filter(agents::Column::UpdateTime.lte(time))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        let calls = calls::Entity::delete_many()
            .filter(calls::Column::ExpireTime.lte(now))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(agents.rows_affected + calls.rows_affected)
    }

    /// Forgets the tries on what is no password, of which none is younger than `time`, and
    /// gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_tries_on_nothing(&self, time: DateTime<Utc>) -> Result<u64> {
        let deleted = Entity::delete_many()
            .filter(Column::SetTime.is_null())
            .filter(Column::UpdateTime.lte(time))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(deleted.rows_affected)
    }

    async fn update_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        row: ActiveModel,
    ) -> Result<()> {
        let updated = Entity::update_many()
            .set(row)
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        expect_one_row(updated.rows_affected)
    }
}

fn tries_columns(tries: &ContactTries) -> Result<ActiveModel> {
    Ok(ActiveModel {
        consecutive_failures: Set(tries.consecutive),
        locked_until: Set(tries.locked_until),
        recent_failures: Set(from_times(&tries.recent)?),
        is_void: Set(tries.is_void),
        notice_time: Set(tries.notice_time),
        ..<ActiveModel as sea_orm::ActiveModelTrait>::default()
    })
}

fn to_record(row: Model) -> Result<PhonePasswordRecord> {
    let tries = to_tries(&row)?;
    let set_time = row.set_time;
    let hash = match (row.hash, row.pepper_version) {
        (Some(phc), Some(version)) => Some(StoredHash {
            phc,
            pepper_version: u32::try_from(version)
                .map_err(|_| Error::data_loss("phone_passwords.pepper_version"))?,
        }),
        (None, None) => None,
        _ => return Err(Error::data_loss("phone_passwords.hash")),
    };
    Ok(PhonePasswordRecord {
        hash,
        set_time,
        tries,
    })
}

fn to_tries(row: &Model) -> Result<ContactTries> {
    Ok(ContactTries {
        consecutive: row.consecutive_failures,
        locked_until: row.locked_until,
        recent: to_times(&row.recent_failures)?,
        is_void: row.is_void,
        notice_time: row.notice_time,
    })
}

/// How it is shown: the tries on a password that is not set concern nobody.
pub(super) fn to_state(row: &Model) -> Result<PhonePasswordState> {
    if row.set_time.is_none() {
        return Ok(PhonePasswordState::default());
    }
    let tries = to_tries(row)?;
    Ok(PhonePasswordState {
        set_time: row.set_time,
        locked_until: tries.latest_lock(),
        is_void: tries.is_void,
    })
}

fn to_times(json: &str) -> Result<Vec<DateTime<Utc>>> {
    serde_json::from_str(json).map_err(|_| Error::data_loss("times of failed tries"))
}

fn from_times(times: &[DateTime<Utc>]) -> Result<String> {
    serde_json::to_string(times).map_err(|_| Error::internal("times cannot be written"))
}
