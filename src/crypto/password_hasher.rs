//! Hashing phone passwords: argon2id over an HMAC with a pepper (rule 15).
//!
//! At most four hashes are under way at once, on threads of their own that take what all
//! others leave: whoever floods the service with passwords to check slows down nobody
//! else. Where they leave too little, another thread does the hash over, with a share of
//! its own, and at last one like all others: a busy service still checks passwords. A place is taken before the hash, so
//! that nothing is begun that would wait.

mod cost;
pub mod memory_limit;
mod worker;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hmac::Mac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

pub use self::cost::HashCost;
use self::worker::{Job, Memory, Pace, Threads};
use crate::{
    crypto::keyring::VersionedKeys,
    error::{Error, Result},
};

const PLACES: usize = 4;
/// How long a hash may take before it is done over with a share of its own, and then with the
/// same as all others have: whoever waits does so for five seconds at most.
const LEISURE: Duration = Duration::from_secs(1);
const PURPOSE: &str = "phone-password";

/// A place among the hashes that are under way.
#[derive(Debug)]
pub struct HashPlace {
    _permit: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Whose password is hashed: a hash that is moved to another contact proves nothing.
#[derive(Clone, Debug)]
pub struct HashedFor {
    /// The customer's number.
    pub customer_number: String,
    /// The contact.
    pub contact_id: Uuid,
}

/// Makes and checks hashes. Clones share the places.
#[derive(Clone)]
pub struct PhoneHasher {
    peppers: Arc<VersionedKeys>,
    cost: HashCost,
    places: Arc<Semaphore>,
    /// Those that set a password stand in a line of their own, and take one place.
    setters: Arc<Semaphore>,
    threads: Threads,
    leisure: Duration,
    computed: Arc<AtomicU64>,
}

impl fmt::Debug for PhoneHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhoneHasher")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl PhoneHasher {
    /// With these peppers, newest first, and this cost; starts its threads.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no threads.
    pub fn new(peppers: VersionedKeys, cost: HashCost) -> Result<Self> {
        let largest_kib = cost::largest_memory_kib(memory_limit::available());
        let threads = Threads::start(largest_kib)?;
        Ok(Self {
            peppers: Arc::new(peppers),
            cost,
            places: Arc::new(Semaphore::new(PLACES)),
            setters: Arc::new(Semaphore::new(1)),
            threads,
            leisure: LEISURE,
            computed: Arc::default(),
        })
    }

    /// Takes a place, when there is one within `patience`.
    pub async fn place_within(&self, patience: Duration) -> Option<HashPlace> {
        let permit = Arc::clone(&self.places).acquire_owned();
        let permit = tokio::time::timeout(patience, permit).await.ok()?.ok()?;
        Some(HashPlace {
            _permit: permit,
            _turn: None,
        })
    }

    /// Takes a place, if there is one.
    pub fn try_place(&self) -> Option<HashPlace> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(HashPlace {
            _permit: permit,
            _turn: None,
        })
    }

    /// Takes the one place for passwords that are set, when there is one within
    /// `patience`: however many are set at once, checks find the other places.
    pub async fn place_to_set(&self, patience: Duration) -> Option<HashPlace> {
        let both = async {
            let turn = Arc::clone(&self.setters).acquire_owned().await.ok()?;
            let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
            Some(HashPlace {
                _permit: permit,
                _turn: Some(turn),
            })
        };
        tokio::time::timeout(patience, both).await.ok().flatten()
    }

    /// How many hashes were computed, for whoever has to know that none was too many.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// The pepper of new hashes.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is none.
    pub fn pepper_version(&self) -> Result<u32> {
        self.peppers.newest()
    }

    /// Hashes a folded password with the newest pepper, and gives the hash in the PHC
    /// string format.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be done.
    pub async fn hash(
        &self,
        place: HashPlace,
        password: &str,
        of: &HashedFor,
        salt: [u8; 16],
    ) -> Result<String> {
        let input = self
            .input(self.peppers.newest()?, password, of)
            .ok_or_else(no_pepper)?;
        let params = self.cost.params()?;
        self.run(place, move |memory| memory.hash(&params, &input, &salt))
            .await?
    }

    /// The configured pepper versions, newest first.
    pub fn pepper_versions(&self) -> impl Iterator<Item = u32> {
        self.peppers.versions()
    }

    /// Checks that a stored hash can be verified.
    ///
    /// # Errors
    /// [`Error::PepperMissing`] when its pepper version is not configured.
    pub fn require_pepper(&self, version: u32) -> Result<()> {
        if self.peppers.versions().any(|known| known == version) {
            Ok(())
        } else {
            Err(Error::PepperMissing)
        }
    }

    /// Whether a folded password is the one of a hash, which may be of an older pepper
    /// or cost. Without a hash, and with one that cannot be read, the answer is no after the
    /// work of a hash of today.
    ///
    /// # Errors
    /// [`Error::PepperMissing`] before any work, and [`Error::Internal`] when it cannot be done.
    pub async fn verify(
        &self,
        place: HashPlace,
        password: &str,
        of: &HashedFor,
        stored: Option<(String, u32)>,
    ) -> Result<bool> {
        let stand_in = self.cost.stand_in();
        let is_set = stored.is_some();
        let (phc, version) = match stored {
            Some(stored) => stored,
            None => (stand_in.clone(), self.peppers.newest()?),
        };
        let input = self
            .input(version, password, of)
            .ok_or(Error::PepperMissing)?;
        self.run(place, move |memory| {
            let Ok(is_right) = memory.verify(&phc, &input) else {
                tracing::error!("a phone password's hash cannot be read");
                return memory.verify(&stand_in, &input).map(|_| false);
            };
            Ok(is_right && is_set)
        })
        .await?
    }

    /// Whether a hash that matched should be made anew.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no pepper.
    pub fn is_outdated(&self, phc: &str, pepper_version: u32) -> Result<bool> {
        let is_current = pepper_version == self.peppers.newest()?
            && phc.starts_with("$argon2id$v=19$")
            && phc.contains(&self.cost.in_hash());
        Ok(!is_current)
    }

    fn input(&self, pepper_version: u32, password: &str, of: &HashedFor) -> Option<Vec<u8>> {
        let mut mac = self.peppers.mac(pepper_version, PURPOSE)?;
        mac.update(of.customer_number.as_bytes());
        mac.update(&[0]);
        mac.update(of.contact_id.as_bytes());
        mac.update(password.as_bytes());
        Some(mac.finalize().into_bytes().to_vec())
    }

    async fn run<T: Send + 'static>(
        &self,
        place: HashPlace,
        work: impl Fn(&mut Memory) -> T + Send + Sync + 'static,
    ) -> Result<T> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        let (answer, mut answered) = oneshot::channel();
        let unanswered = Mutex::new(Some((answer, place)));
        let job: Job = Arc::new(move |memory| {
            let unanswered = || unanswered.lock().unwrap_or_else(PoisonError::into_inner);
            if unanswered().is_none() {
                return;
            }
            let result = work(memory);
            if let Some((answer, place)) = unanswered().take() {
                // Whoever waits may take the place at once.
                drop(place);
                let _ = answer.send(result);
            }
        });
        let panicked = |_| Error::internal("a hash panicked");
        for pace in [Pace::Leisurely, Pace::Pressing] {
            self.threads.begin(pace, Arc::clone(&job))?;
            if let Ok(answered) = tokio::time::timeout(self.leisure, &mut answered).await {
                return answered.map_err(panicked);
            }
        }
        self.threads.begin(Pace::Urgent, job)?;
        answered.await.map_err(panicked)
    }
}

fn no_pepper() -> Error {
    Error::internal("there is no pepper")
}

#[cfg(test)]
mod tests;
