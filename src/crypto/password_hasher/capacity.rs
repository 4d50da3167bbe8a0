//! The number of concurrent hashes and of the threads and buffers that they need.

use std::thread;

/// The maximum number of concurrent hashes.
pub(super) const MAX_HASHES: usize = 4;
/// The threads at low and at normal priority, one each.
const ESCALATION_THREADS: usize = 2;

/// Returns the number of threads at idle priority: one per core, up to [`MAX_HASHES`]. More
/// threads would only evict each other's caches.
pub(super) fn idle_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(MAX_HASHES)
}

/// Returns the maximum number of threads that hold the memory of a hash at the same time.
pub(super) fn buffers() -> u64 {
    (idle_threads() + ESCALATION_THREADS).max(MAX_HASHES) as u64
}
