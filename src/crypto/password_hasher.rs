//! Hashes phone passwords: argon2id over an HMAC with a pepper (rule 15).
//!
//! At most four hashes run concurrently, on threads of idle priority, so that a flood of checks
//! does not slow down other requests. If such a thread makes no progress on a busy machine, the
//! hash is computed again on a thread of low priority, and finally on one of normal priority, so
//! that a busy service still checks passwords. A permit is acquired before the hash, so that a
//! hash that was started never waits for capacity.

mod capacity;
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

pub use self::cost::HashCost;
use self::{
    capacity::MAX_HASHES,
    worker::{Job, Memory, Priority, Threads},
};
use crate::{
    crypto::keyring::VersionedKeys,
    domain::ids::ContactRef,
    error::{Error, Result},
};

/// How long a hash may take at one priority before it is started again at the next higher one. A
/// request waits for five seconds at most.
const ESCALATION_DELAY: Duration = Duration::from_secs(1);
const PURPOSE: &str = "phone-password";

/// Allows one hash to be computed.
#[derive(Debug)]
pub struct HashPermit {
    _permit: OwnedSemaphorePermit,
    _setter_permit: Option<OwnedSemaphorePermit>,
}

/// Computes and verifies hashes. The contact is part of the hashed input: a hash that is copied to
/// another contact matches nothing. Clones share the threads and permits.
#[derive(Clone)]
pub struct PhoneHasher {
    peppers: Arc<VersionedKeys>,
    cost: HashCost,
    permits: Arc<Semaphore>,
    /// Limits requests that set a password to one permit.
    setters: Arc<Semaphore>,
    threads: Threads,
    escalation_delay: Duration,
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
    /// Creates a hasher and starts its threads.
    ///
    /// # Errors
    /// [`Error::Internal`] if a thread cannot be started.
    pub fn new(peppers: VersionedKeys, cost: HashCost) -> Result<Self> {
        let max_kib = cost::max_memory_kib(memory_limit::available());
        let threads = Threads::start(max_kib)?;
        Ok(Self {
            peppers: Arc::new(peppers),
            cost,
            permits: Arc::new(Semaphore::new(MAX_HASHES)),
            setters: Arc::new(Semaphore::new(1)),
            threads,
            escalation_delay: ESCALATION_DELAY,
            computed: Arc::default(),
        })
    }

    /// Waits for a permit for up to `timeout`.
    pub async fn acquire_timeout(&self, timeout: Duration) -> Option<HashPermit> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(timeout, permit).await.ok()?.ok()?;
        Some(HashPermit {
            _permit: permit,
            _setter_permit: None,
        })
    }

    /// Acquires a permit if one is free.
    pub fn try_acquire(&self) -> Option<HashPermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(HashPermit {
            _permit: permit,
            _setter_permit: None,
        })
    }

    /// Waits for the single permit for passwords that are set, for up to `timeout`. The other
    /// permits remain available to checks.
    pub async fn acquire_setter_timeout(&self, timeout: Duration) -> Option<HashPermit> {
        let both = async {
            let setter_permit = Arc::clone(&self.setters).acquire_owned().await.ok()?;
            let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
            Some(HashPermit {
                _permit: permit,
                _setter_permit: Some(setter_permit),
            })
        };
        tokio::time::timeout(timeout, both).await.ok().flatten()
    }

    /// Returns the number of hashes computed so far. Tests use it to prove that rejected attempts
    /// compute none.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Returns the pepper version of new hashes.
    ///
    /// # Errors
    /// [`Error::Internal`] if no pepper is configured.
    pub fn pepper_version(&self) -> Result<u32> {
        self.peppers.newest()
    }

    /// Hashes a normalized password with the newest pepper. Returns the hash in the PHC string
    /// format.
    ///
    /// # Errors
    /// [`Error::Internal`] if no pepper is configured or argon2 fails.
    pub async fn hash(
        &self,
        permit: HashPermit,
        password: &str,
        contact: &ContactRef,
        salt: [u8; 16],
    ) -> Result<String> {
        let input = self
            .input(self.peppers.newest()?, password, contact)
            .ok_or_else(no_pepper)?;
        let params = self.cost.params()?;
        self.run(permit, move |memory| memory.hash(&params, &input, &salt))
            .await?
    }

    /// Iterates over the configured pepper versions, newest first.
    pub fn pepper_versions(&self) -> impl Iterator<Item = u32> {
        self.peppers.versions()
    }

    /// Checks that hashes with this pepper version can be verified.
    ///
    /// # Errors
    /// [`Error::PepperMissing`].
    pub fn require_pepper(&self, version: u32) -> Result<()> {
        if self.peppers.versions().any(|known| known == version) {
            Ok(())
        } else {
            Err(Error::PepperMissing)
        }
    }

    /// Returns true if a normalized password matches the stored hash, which may have an older
    /// pepper or cost. Without a hash, or with one that cannot be parsed, returns false after the
    /// work of a hash at the current cost.
    ///
    /// # Errors
    /// [`Error::PepperMissing`] before any work, and [`Error::Internal`] if argon2 fails.
    pub async fn verify(
        &self,
        permit: HashPermit,
        password: &str,
        contact: &ContactRef,
        stored: Option<(String, u32)>,
    ) -> Result<bool> {
        let dummy = self.cost.dummy_hash();
        let is_set = stored.is_some();
        let (phc, version) = match stored {
            Some(stored) => stored,
            None => (dummy.clone(), self.peppers.newest()?),
        };
        let input = self
            .input(version, password, contact)
            .ok_or(Error::PepperMissing)?;
        self.run(permit, move |memory| {
            let Ok(matches) = memory.verify(&phc, &input) else {
                tracing::error!("stored phone password hash invalid");
                return memory.verify(&dummy, &input).map(|_| false);
            };
            Ok(matches && is_set)
        })
        .await?
    }

    /// Returns true if a hash has an older pepper or another cost than new ones.
    ///
    /// # Errors
    /// [`Error::Internal`] if no pepper is configured.
    pub fn is_outdated(&self, phc: &str, pepper_version: u32) -> Result<bool> {
        let is_current = pepper_version == self.peppers.newest()?
            && phc.starts_with("$argon2id$v=19$")
            && phc.contains(&self.cost.phc_params());
        Ok(!is_current)
    }

    fn input(&self, pepper_version: u32, password: &str, contact: &ContactRef) -> Option<Vec<u8>> {
        let mut mac = self.peppers.mac(pepper_version, PURPOSE)?;
        mac.update(contact.customer_number.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(contact.contact_id.0.as_bytes());
        mac.update(password.as_bytes());
        Some(mac.finalize().into_bytes().to_vec())
    }

    /// Runs `work` at idle priority, and again at the next higher priority whenever the escalation
    /// delay has passed. Returns the first result.
    async fn run<T: Send + 'static>(
        &self,
        permit: HashPermit,
        work: impl Fn(&mut Memory) -> T + Send + Sync + 'static,
    ) -> Result<T> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        let (sender, mut receiver) = oneshot::channel();
        let pending = Mutex::new(Some((sender, permit)));
        let job: Job = Arc::new(move |memory| {
            let pending = || pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending().is_none() {
                return;
            }
            let result = work(memory);
            if let Some((sender, permit)) = pending().take() {
                // Before the result is sent, so that its receiver can acquire the permit again.
                drop(permit);
                let _ = sender.send(result);
            }
        });
        let panicked = |_| Error::internal("a hash panicked");
        for priority in [Priority::Idle, Priority::Low] {
            self.threads.submit(priority, Arc::clone(&job))?;
            if let Ok(result) = tokio::time::timeout(self.escalation_delay, &mut receiver).await {
                return result.map_err(panicked);
            }
        }
        self.threads.submit(Priority::Normal, job)?;
        receiver.await.map_err(panicked)
    }
}

fn no_pepper() -> Error {
    Error::internal("no pepper is configured")
}

#[cfg(test)]
mod tests;
