//! The threads that hash, and the memory they do it in.

use std::{sync::Arc, thread, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

use super::{PLACES, cost};
use crate::error::{Error, Result};

/// Of 0 to 99, where 49 is what others have: niceness 10 on Linux.
const LOW_PRIORITY: u8 = 25;
/// How long a thread without work keeps its memory.
const KEPT_IDLE: Duration = Duration::from_secs(10);

/// Does nothing the second time, once the first has ended.
pub(super) type Job = Arc<dyn Fn(&mut Memory) + Send + Sync>;

/// Where jobs wait for their threads.
#[derive(Clone)]
pub(super) struct Threads {
    leisurely: flume::Sender<Job>,
    pressing: flume::Sender<Job>,
    urgent: flume::Sender<Job>,
}

/// How much of the processors a job gets.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// Takes what all others leave, which may be nothing.
    Leisurely,
    /// Gives way to others, but gets on where those leave nothing.
    Pressing,
    /// As much as any other thread.
    Urgent,
}

impl Threads {
    /// Starts as many threads as the machine has cores, [`PLACES`] at most (more would only take
    /// each other's caches), and one each for what is pressing and urgent. A hash that asks for
    /// more than `largest_kib` is not computed.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no threads.
    pub(super) fn start(largest_kib: u32) -> Result<Self> {
        Ok(Self {
            leisurely: start(Pace::Leisurely, leisurely_threads(), largest_kib)?,
            pressing: start(Pace::Pressing, 1, largest_kib)?,
            urgent: start(Pace::Urgent, 1, largest_kib)?,
        })
    }

    /// How many threads hold memory for a hash while four hashes are under way.
    pub(super) fn buffers() -> u64 {
        (leisurely_threads() + 2).max(PLACES) as u64
    }

    /// Does a job at this pace.
    ///
    /// # Errors
    /// [`Error::Internal`] when there are no threads any more.
    pub(super) fn begin(&self, pace: Pace, job: Job) -> Result<()> {
        let threads = match pace {
            Pace::Leisurely => &self.leisurely,
            Pace::Pressing => &self.pressing,
            Pace::Urgent => &self.urgent,
        };
        let begun = threads.send(job);
        begun.map_err(|_| Error::internal("the hasher has ended"))
    }
}

fn leisurely_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(PLACES)
}

fn start(pace: Pace, count: usize, largest_kib: u32) -> Result<flume::Sender<Job>> {
    let (jobs, waiting) = flume::unbounded::<Job>();
    let name = match pace {
        Pace::Leisurely => "phone-hash",
        Pace::Pressing => "phone-hash-soon",
        Pace::Urgent => "phone-hash-now",
    };
    for index in 0..count {
        let waiting = waiting.clone();
        thread::Builder::new()
            .name(format!("{name}-{index}"))
            .spawn(move || work(pace, &waiting, largest_kib))
            .map_err(|_| Error::internal("no thread for hashes"))?;
    }
    Ok(jobs)
}

fn work(pace: Pace, waiting: &flume::Receiver<Job>, largest_kib: u32) {
    lower_priority(pace);
    let mut memory = Memory::new(largest_kib);
    loop {
        match waiting.recv_timeout(KEPT_IDLE) {
            Ok(job) => job(&mut memory),
            Err(flume::RecvTimeoutError::Timeout) => {
                memory = Memory::new(largest_kib);
                match waiting.recv() {
                    Ok(job) => job(&mut memory),
                    Err(flume::RecvError::Disconnected) => return,
                }
            }
            Err(flume::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A system that allows none of this hashes all the same.
fn lower_priority(pace: Pace) {
    if matches!(pace, Pace::Urgent) {
        return;
    }
    if let Ok(priority) = ThreadPriorityValue::try_from(LOW_PRIORITY) {
        let _ = ThreadPriority::Crossplatform(priority).set_for_current();
    }
    // However nice a thread is, Linux lets it keep a processor for some milliseconds while
    // others wait, and does not see that processor as free. Not so one of this class.
    #[cfg(target_os = "linux")]
    if matches!(pace, Pace::Leisurely) {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy::Idle, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        let policy = ThreadSchedulePolicy::Normal(Idle);
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = pace;
}

/// What argon2 fills. It is kept from one hash to the next: 64 MiB that are given back and
/// asked for anew each time hold up every other thread of the process.
pub(super) struct Memory {
    blocks: Vec<Block>,
    largest_kib: u32,
}

impl Memory {
    /// Holds nothing yet, and never more than `largest_kib`.
    pub(super) const fn new(largest_kib: u32) -> Self {
        Self {
            blocks: Vec::new(),
            largest_kib,
        }
    }

    /// Hashes with argon2id, and gives the hash in the PHC string format.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be done.
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

    /// Checks an input against a hash in the PHC string format, of any cost within the bounds of
    /// the setting.
    ///
    /// # Errors
    /// [`Error::Internal`] for a text that is no hash of argon2id, and for one that costs more.
    pub(super) fn verify(&mut self, phc: &str, input: &[u8]) -> Result<bool> {
        let hash = PasswordHash::new(phc).map_err(defect)?;
        let is_known = hash.algorithm == Algorithm::Argon2id.ident()
            && hash.version == Some(Version::V0x13.into());
        let (true, Some(salt), Some(stored)) = (is_known, &hash.salt, &hash.hash) else {
            return Err(Error::internal("is no hash of argon2id"));
        };
        let params = Params::try_from(&hash).map_err(defect)?;
        if !cost::is_affordable(&params, self.largest_kib) {
            return Err(Error::internal("a hash costs more than may be spent"));
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = output
            .get_mut(..stored.len())
            .ok_or_else(|| Error::internal("a hash is too long"))?;
        self.fill(&params, input, salt, output)?;
        // This comparison takes the same time wherever they differ.
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
            // Never both the old and the new memory.
            self.blocks = Vec::new();
            // An allocation that fails must not end the process.
            self.blocks.try_reserve_exact(count).map_err(defect)?;
            self.blocks.resize(count, Block::new());
        }
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(input, salt, output, &mut self.blocks)
            .map_err(defect)
    }
}

fn defect<E>(_: E) -> Error {
    Error::internal("argon2 does not take this")
}
