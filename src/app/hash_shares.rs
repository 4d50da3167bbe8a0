//! Shares of the places for hashes of phone passwords: one agent, or one customer, must not make
//! others OVERLOADED.
//!
//! Two of an agent's checks, and two of a customer's hashes, are in line for a place. Further ones wait
//! before that line, where they delay no others, and are rejected when their time is over: guesses at
//! one contact find its lock (rule 16). Passwords are set by portals, whose one subject serves all
//! customers: they are shared by customer only.

use std::{hash::Hash, time::Duration};

use crate::{
    app::phone_password::PLACE_RETRY,
    crypto::password_hasher::{HashPlace, PhoneHasher},
    domain::{audit::Actor, customer::CustomerNumber},
    error::{Error, Result},
    observability::metrics::{self, Limit},
    storage::{Turn, Turns},
};

/// How long a check waits for a place. Of many guesses at once the first ones are
/// hashed meanwhile, also on a busy machine, and the rest find the lock.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);
/// How long whoever sets a password waits for a place.
const SETTER_PATIENCE: Duration = Duration::from_secs(3);

/// Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct HashShares {
    agents: Turns<String>,
    checks: Turns<CustomerNumber>,
    setters: Turns<CustomerNumber>,
}

/// A place for a hash, with the customer's turn to have one.
pub(super) struct SharedPlace {
    pub(super) place: HashPlace,
    /// Given back when the check ends.
    pub(super) turn: Turn<CustomerNumber>,
}

impl Default for HashShares {
    fn default() -> Self {
        Self {
            agents: Turns::new(CHECK_PATIENCE),
            checks: Turns::new(CHECK_PATIENCE),
            setters: Turns::new(SETTER_PATIENCE),
        }
    }
}

impl HashShares {
    /// Begins a check of an agent, after its others.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when these take too long.
    pub(super) async fn begin_check(&self, agent: &Actor) -> Result<Turn<String>> {
        turn_of(&self.agents, &agent.0, Limit::HashesPerAgent).await
    }

    /// Takes a place for a check, after others of the same customer.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is none in time.
    pub(super) async fn place_to_check(
        &self,
        hasher: &PhoneHasher,
        number: &CustomerNumber,
    ) -> Result<SharedPlace> {
        let place = async {
            let turn = turn_of(&self.checks, number, Limit::HashesPerCustomer).await?;
            let place = hasher.place_within(CHECK_PATIENCE).await;
            let place = place.ok_or(OVERLOADED)?;
            Ok(SharedPlace { place, turn })
        };
        let place = tokio::time::timeout(CHECK_PATIENCE, place).await;
        place.unwrap_or(Err(OVERLOADED))
    }

    /// Takes the place for passwords that are set, after others of the same customer.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is none in time.
    pub(super) async fn place_to_set(
        &self,
        hasher: &PhoneHasher,
        number: &CustomerNumber,
    ) -> Result<SharedPlace> {
        let place = async {
            let turn = turn_of(&self.setters, number, Limit::HashesPerCustomer).await?;
            let place = hasher.place_to_set(SETTER_PATIENCE).await;
            let place = place.ok_or(OVERLOADED)?;
            Ok(SharedPlace { place, turn })
        };
        let place = tokio::time::timeout(SETTER_PATIENCE, place).await;
        place.unwrap_or(Err(OVERLOADED))
    }
}

const OVERLOADED: Error = Error::Overloaded {
    retry_after: PLACE_RETRY,
};

async fn turn_of<K: Clone + Eq + Hash>(turns: &Turns<K>, key: &K, limit: Limit) -> Result<Turn<K>> {
    let turn = turns.take(key).await;
    if turn.is_err() {
        metrics::limit_hit(limit);
    }
    turn
}
