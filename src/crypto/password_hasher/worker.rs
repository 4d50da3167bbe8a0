//! The threads that compute hashes, and their memory.

use std::{sync::Arc, thread, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

use super::{capacity, cost};
use crate::error::{Error, Result};

/// On a scale from 0 to 99 with 49 as the default; niceness 10 on Linux.
const LOW_PRIORITY: u8 = 25;
/// How long an idle thread keeps its memory.
const MEMORY_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The computation of a hash. It may be started on several threads; once one of them has finished,
/// the others do nothing.
pub(super) type Job = Arc<dyn Fn(&mut Memory) + Send + Sync>;

/// The job queues of the threads, one for each priority.
#[derive(Clone)]
pub(super) struct Threads {
    idle: flume::Sender<Job>,
    low: flume::Sender<Job>,
    normal: flume::Sender<Job>,
}

/// The CPU priority of a job.
#[derive(Clone, Copy)]
pub(super) enum Priority {
    /// Runs on cores that are otherwise idle; may make no progress on a busy machine.
    Idle,
    /// Yields to other threads, but makes progress on a busy machine.
    Low,
    /// Runs like any other thread.
    Normal,
}

impl Threads {
    /// Starts the threads of all priorities. They do not compute hashes that need more memory than
    /// `max_kib`.
    ///
    /// # Errors
    /// [`Error::Internal`] if a thread cannot be started.
    pub(super) fn start(max_kib: u32) -> Result<Self> {
        Ok(Self {
            idle: start(Priority::Idle, capacity::idle_threads(), max_kib)?,
            low: start(Priority::Low, 1, max_kib)?,
            normal: start(Priority::Normal, 1, max_kib)?,
        })
    }

    /// Queues a job for a thread of this priority.
    ///
    /// # Errors
    /// [`Error::Internal`] if the threads have ended.
    pub(super) fn submit(&self, priority: Priority, job: Job) -> Result<()> {
        let queue = match priority {
            Priority::Idle => &self.idle,
            Priority::Low => &self.low,
            Priority::Normal => &self.normal,
        };
        let submitted = queue.send(job);
        submitted.map_err(|_| Error::internal("the threads of the password hasher have ended"))
    }
}

fn start(priority: Priority, count: usize, max_kib: u32) -> Result<flume::Sender<Job>> {
    let (sender, jobs) = flume::unbounded::<Job>();
    let name = match priority {
        Priority::Idle => "phone-hash",
        Priority::Low => "phone-hash-soon",
        Priority::Normal => "phone-hash-now",
    };
    for index in 0..count {
        let jobs = jobs.clone();
        thread::Builder::new()
            .name(format!("{name}-{index}"))
            .spawn(move || run(priority, &jobs, max_kib))
            .map_err(|_| Error::internal("a thread of the password hasher cannot be started"))?;
    }
    Ok(sender)
}

fn run(priority: Priority, jobs: &flume::Receiver<Job>, max_kib: u32) {
    lower_priority(priority);
    let mut memory = Memory::new(max_kib);
    loop {
        match jobs.recv_timeout(MEMORY_IDLE_TIMEOUT) {
            Ok(job) => job(&mut memory),
            Err(flume::RecvTimeoutError::Timeout) => {
                memory = Memory::new(max_kib);
                match jobs.recv() {
                    Ok(job) => job(&mut memory),
                    Err(flume::RecvError::Disconnected) => return,
                }
            }
            Err(flume::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Lowers the priority of the current thread. Errors are ignored: a system that does not allow it
/// computes hashes at normal priority.
fn lower_priority(priority: Priority) {
    if matches!(priority, Priority::Normal) {
        return;
    }
    if let Ok(value) = ThreadPriorityValue::try_from(LOW_PRIORITY) {
        let _ = ThreadPriority::Crossplatform(value).set_for_current();
    }
    // Whatever its niceness, Linux lets a thread run for some milliseconds while others wait, and
    // does not treat its core as idle. The scheduling class SCHED_IDLE avoids both.
    #[cfg(target_os = "linux")]
    if matches!(priority, Priority::Idle) {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy::Idle, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        let policy = ThreadSchedulePolicy::Normal(Idle);
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = priority;
}

/// The working memory of argon2, reused between hashes: releasing and allocating 64 MiB for each
/// hash would stall all threads of the process.
pub(super) struct Memory {
    blocks: Vec<Block>,
    max_kib: u32,
}

impl Memory {
    /// Creates an empty memory that grows to at most `max_kib`.
    pub(super) const fn new(max_kib: u32) -> Self {
        Self {
            blocks: Vec::new(),
            max_kib,
        }
    }

    /// Hashes with argon2id. Returns the hash in the PHC string format.
    ///
    /// # Errors
    /// [`Error::Internal`] if argon2 or the allocation of memory fails.
    pub(super) fn hash(&mut self, params: &Params, input: &[u8], salt: &[u8]) -> Result<String> {
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        self.fill(params, input, salt, &mut output)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(params).map_err(defect)?,
            salt: Some(Salt::new(salt).map_err(defect)?),
            hash: Some(Output::new(&output).map_err(defect)?),
        };
        Ok(hash.to_string())
    }

    /// Returns true if the input matches a hash in the PHC string format.
    ///
    /// # Errors
    /// [`Error::Internal`] for a text that is no argon2id hash, or whose cost is out of bounds.
    pub(super) fn verify(&mut self, phc: &str, input: &[u8]) -> Result<bool> {
        let hash = PasswordHash::new(phc).map_err(defect)?;
        let is_argon2id = hash.algorithm == Algorithm::Argon2id.ident()
            && hash.version == Some(Version::V0x13.into());
        let (true, Some(salt), Some(stored)) = (is_argon2id, &hash.salt, &hash.hash) else {
            return Err(Error::internal("a stored hash is not argon2id"));
        };
        let params = Params::try_from(&hash).map_err(defect)?;
        if !cost::is_affordable(&params, self.max_kib) {
            return Err(Error::internal(
                "the cost of a stored hash is out of bounds",
            ));
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = output
            .get_mut(..stored.len())
            .ok_or_else(|| Error::internal("a stored hash is too long"))?;
        self.fill(&params, input, salt, output)?;
        // This comparison takes constant time.
        Ok(Output::new(output).map_err(defect)? == *stored)
    }

    fn fill(
        &mut self,
        params: &Params,
        input: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<()> {
        let count = params.block_count();
        if self.blocks.len() < count {
            // Releases the old memory before allocating the new one.
            self.blocks = Vec::new();
            // A failed allocation must not abort the process.
            self.blocks.try_reserve_exact(count).map_err(defect)?;
            self.blocks.resize(count, Block::new());
        }
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(input, salt, output, &mut self.blocks)
            .map_err(defect)
    }
}

fn defect<E>(_: E) -> Error {
    Error::internal("argon2 failed")
}
