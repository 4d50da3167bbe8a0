//! What a hash of a phone password costs.

use std::ops::RangeInclusive;

use argon2::Params;

use super::worker::Threads;
use crate::error::{Error, Invalid, Result};

/// KiB: 8 MiB to 1 GiB.
const MEMORY_KIB: RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
const PASSES: RangeInclusive<u32> = 1..=16;
const LANES: RangeInclusive<u32> = 1..=16;
/// The memory that the rest of the process needs.
const REST_BYTES: u64 = 32 * 1024 * 1024;
const KIB: u64 = 1024;

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
    /// Reads `m=65536,t=3,p=1`: memory in KiB (8 MiB to 1 GiB), passes and lanes (1 to 16 each).
    ///
    /// # Errors
    /// [`Invalid`] for any other text, and for a number out of its bounds, which it names.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        let form = || Invalid::new("must be m=KiB,t=passes,p=lanes, such as m=65536,t=3,p=1");
        let mut parts = text.trim().split(',');
        let mut number = |name: &str, bounds: RangeInclusive<u32>, unit: &str| {
            let part = parts.next().and_then(|part| part.trim().strip_prefix(name));
            let digits = part.and_then(|part| part.strip_prefix('='));
            let is_number = |digits: &&str| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            };
            let digits = digits.filter(is_number).ok_or_else(form)?;
            // More digits than any number has are out of bounds as well.
            let number = digits.parse().ok().filter(|number| bounds.contains(number));
            number.ok_or_else(|| {
                let (least, most) = (bounds.start(), bounds.end());
                Invalid(format!("{name} must be {least} to {most}{unit}"))
            })
        };
        let cost = Self {
            memory_kib: number("m", MEMORY_KIB, " KiB")?,
            passes: number("t", PASSES, "")?,
            lanes: number("p", LANES, "")?,
        };
        if parts.next().is_some() {
            return Err(form());
        }
        Ok(cost)
    }

    /// A cost without the bounds of the setting, for tests.
    ///
    /// # Errors
    /// [`Error::Internal`] for numbers that argon2 does not take.
    pub fn unbounded(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        let cost = Self {
            memory_kib,
            passes,
            lanes,
        };
        cost.params().map(|_| cost)
    }

    /// Checks that as many hashes as may be under way at once fit into the memory that the
    /// process may use, in bytes.
    ///
    /// # Errors
    /// [`Invalid`] that says how much they need, and how much there is.
    pub fn check_memory(self, available: Option<u64>) -> std::result::Result<(), Invalid> {
        let most = largest_memory_kib(available);
        if self.memory_kib <= most {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(KIB * KIB);
        let needed = REST_BYTES + u64::from(self.memory_kib) * KIB * Threads::buffers();
        let mend = if MEMORY_KIB.contains(&most) {
            format!("set m to at most {most}, or allow it more memory")
        } else {
            "allow it more memory".to_owned()
        };
        Err(Invalid(format!(
            "m={} is too large: four hashes at once, and the rest, need {} MiB, but this process \
             may use {} MiB; {mend}",
            self.memory_kib,
            mib(needed),
            available.unwrap_or_default() / KIB / KIB,
        )))
    }

    pub(super) fn params(self) -> Result<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|_| Error::internal("argon2 does not take these parameters"))
    }

    /// Whether it is less than what is advised (OWASP: 19 MiB and two passes).
    pub const fn is_low(self) -> bool {
        self.memory_kib < 19 * 1024 || self.passes < 2
    }

    /// A hash of nothing at this cost. What it is compared with takes as long as any other, down to
    /// the reading of it.
    pub(super) fn stand_in(self) -> String {
        let salt = "A".repeat(22);
        let output = "A".repeat(43);
        format!("$argon2id$v=19{}{salt}${output}", self.in_hash())
    }

    /// How it stands in a hash.
    pub(super) fn in_hash(self) -> String {
        let Self {
            memory_kib,
            passes,
            lanes,
        } = self;
        format!("$m={memory_kib},t={passes},p={lanes}$")
    }
}

/// The most memory that a hash may take, in KiB, in a process that may use `available` bytes.
pub(super) fn largest_memory_kib(available: Option<u64>) -> u32 {
    let most = *MEMORY_KIB.end();
    let Some(available) = available else {
        return most;
    };
    let for_each = available.saturating_sub(REST_BYTES) / KIB / Threads::buffers();
    u32::try_from(for_each).unwrap_or(most).min(most)
}

/// Returns true if a stored hash costs no more than a setting may. One that costs more would take
/// the process's memory, or a thread for hours.
pub(super) fn is_affordable(params: &Params, largest_kib: u32) -> bool {
    params.m_cost() <= largest_kib
        && params.t_cost() <= *PASSES.end()
        && params.p_cost() <= *LANES.end()
}
