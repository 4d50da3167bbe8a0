//! Hashing phone passwords: argon2id over an HMAC with a pepper (rule 15).
//!
//! At most four hashes are under way at once, on threads of their own that give way to
//! all others: whoever floods the service with passwords to check slows down nobody
//! else. A place is taken before the hash, so that nothing is begun that would wait.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use hmac::Mac;
use thread_priority::{ThreadPriority, ThreadPriorityValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use crate::{
    error::{Error, Invalid, Result},
    versioned_keys::VersionedKeys,
};

const PLACES: usize = 4;
/// Of 0 to 99, where 49 is what others have: niceness 10 on Linux.
const THREAD_PRIORITY: u8 = 25;
const PURPOSE: &str = "phone-password";

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

impl HashCost {
    /// Reads `m=65536,t=3,p=1`: memory in KiB, passes, lanes.
    ///
    /// # Errors
    /// [`Invalid`] for any other text, and for what argon2 does not take.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        let form = || Invalid::new("must be m=KiB,t=passes,p=lanes, such as m=65536,t=3,p=1");
        let mut numbers = text.trim().split(',');
        let mut number = |name: &str| {
            let part = numbers
                .next()
                .and_then(|part| part.trim().strip_prefix(name));
            part.and_then(|digits| digits.parse::<u32>().ok())
                .ok_or_else(form)
        };
        let cost = Self {
            memory_kib: number("m=")?,
            passes: number("t=")?,
            lanes: number("p=")?,
        };
        if numbers.next().is_some() || cost.params().is_err() {
            return Err(form());
        }
        Ok(cost)
    }

    fn params(self) -> std::result::Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
    }

    /// Whether it is less than what is advised (OWASP: 19 MiB and two passes).
    pub const fn is_low(self) -> bool {
        self.memory_kib < 19 * 1024 || self.passes < 2
    }

    /// How it stands in a hash.
    fn in_hash(self) -> String {
        let Self {
            memory_kib,
            passes,
            lanes,
        } = self;
        format!("$m={memory_kib},t={passes},p={lanes}$")
    }
}

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

type Job = Box<dyn FnOnce() + Send>;

/// Makes and checks hashes. Clones share the places.
#[derive(Clone)]
pub struct PhoneHasher {
    peppers: Arc<VersionedKeys>,
    cost: HashCost,
    places: Arc<Semaphore>,
    /// Those that set a password stand in a line of their own, and take one place.
    setters: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
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
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for index in 0..PLACES {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name(format!("phone-hash-{index}"))
                .spawn(move || work(&waiting))
                .map_err(|_| Error::internal("no thread for hashes"))?;
        }
        Ok(Self {
            peppers: Arc::new(peppers),
            cost,
            places: Arc::new(Semaphore::new(PLACES)),
            setters: Arc::new(Semaphore::new(1)),
            jobs,
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
            .ok_or_else(|| Error::internal("there is no pepper"))?;
        let params = self.cost.params().map_err(|_| defect())?;
        self.run(place, move || {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_with_salt(&input, &salt)
                .map(|hash| hash.to_string())
                .map_err(|_| defect())
        })
        .await?
    }

    /// Whether a folded password is the one of a hash, which may be of an older pepper
    /// or cost. Without a hash, and with one that cannot be read or whose pepper is gone,
    /// the answer is no after the work of a hash of today.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be done.
    pub async fn verify(
        &self,
        place: HashPlace,
        password: &str,
        of: &HashedFor,
        stored: Option<(String, u32)>,
    ) -> Result<bool> {
        let readable = stored.and_then(|(hash, version)| {
            let input = self.input(version, password, of);
            if input.is_none() {
                tracing::error!(version, "a phone password's pepper is gone");
            }
            Some((hash, input?))
        });
        let dummy = self
            .input(self.peppers.newest()?, password, of)
            .ok_or_else(|| Error::internal("there is no pepper"))?;
        let params = self.cost.params().map_err(|_| defect())?;
        self.run(place, move || {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            if let Some((hash, input)) = readable {
                match PasswordVerifier::<str>::verify_password(&argon2, &input, &hash) {
                    Ok(()) => return Ok(true),
                    Err(argon2::password_hash::Error::PasswordInvalid) => return Ok(false),
                    Err(_) => tracing::error!("a phone password's hash cannot be read"),
                }
            }
            let hashed = argon2.hash_password_with_salt(&dummy, &[0; 16]);
            hashed.map(|_| false).map_err(|_| defect())
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
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let computed = Arc::clone(&self.computed);
        let job = Box::new(move || {
            computed.fetch_add(1, Ordering::Relaxed);
            let result = work();
            // Whoever waits may take the place at once.
            drop(place);
            let _ = answer.send(result);
        });
        let failed = || Error::internal("the hasher has ended");
        self.jobs.send(job).map_err(|_| failed())?;
        answered.await.map_err(|_| failed())
    }
}

fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    // A system that allows none of this hashes all the same.
    if let Ok(priority) = ThreadPriorityValue::try_from(THREAD_PRIORITY) {
        let _ = ThreadPriority::Crossplatform(priority).set_for_current();
    }
    loop {
        let job = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

fn defect() -> Error {
    Error::internal("argon2 does not take these parameters")
}

#[cfg(test)]
mod tests;
