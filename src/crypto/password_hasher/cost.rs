//! The cost of a phone password hash: memory, passes and lanes of argon2id.

use std::ops::RangeInclusive;

use argon2::Params;

use super::capacity;
use crate::error::{Error, Invalid, Result};

/// 8 MiB to 1 GiB.
const MEMORY_KIB: RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
const PASSES: RangeInclusive<u32> = 1..=16;
const LANES: RangeInclusive<u32> = 1..=16;
/// The memory reserved for the rest of the process.
const RESERVED_BYTES: u64 = 32 * 1024 * 1024;
const KIB: u64 = 1024;

/// The cost parameters of argon2id (RFC 9106).
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
    /// Parses `m=65536,t=3,p=1`: memory in KiB (8 MiB to 1 GiB), passes and lanes (1 to 16 each).
    ///
    /// # Errors
    /// [`Invalid`] for any other text. For a number out of bounds it names the parameter.
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
            // A number too large for the type is out of bounds as well.
            let number = digits.parse().ok().filter(|number| bounds.contains(number));
            number.ok_or_else(|| {
                let (min, max) = (bounds.start(), bounds.end());
                Invalid(format!("{name} must be {min} to {max}{unit}"))
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

    /// Creates a cost without the bounds of the setting, for tests.
    ///
    /// # Errors
    /// [`Error::Internal`] for parameters that argon2 rejects.
    pub fn unbounded(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        let cost = Self {
            memory_kib,
            passes,
            lanes,
        };
        cost.params().map(|_| cost)
    }

    /// Checks that the maximum number of concurrent hashes fits into the `available` bytes of
    /// memory. `None`: unlimited.
    ///
    /// # Errors
    /// [`Invalid`] with the required and the available memory.
    pub fn check_memory(self, available: Option<u64>) -> std::result::Result<(), Invalid> {
        let max_kib = max_memory_kib(available);
        if self.memory_kib <= max_kib {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(KIB * KIB);
        let needed = RESERVED_BYTES + u64::from(self.memory_kib) * KIB * capacity::buffers();
        let remedy = if MEMORY_KIB.contains(&max_kib) {
            format!("set m to at most {max_kib}, or allow it more memory")
        } else {
            "allow it more memory".to_owned()
        };
        Err(Invalid(format!(
            "m={} is too large: four hashes at once, and the rest, need {} MiB, but this process \
             may use {} MiB; {remedy}",
            self.memory_kib,
            mib(needed),
            available.unwrap_or_default() / KIB / KIB,
        )))
    }

    pub(super) fn params(self) -> Result<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|_| Error::internal("argon2 rejects these parameters"))
    }

    /// Returns true if the cost is below the OWASP recommendation of 19 MiB and two passes.
    pub const fn is_low(self) -> bool {
        self.memory_kib < 19 * 1024 || self.passes < 2
    }

    /// Returns a hash at this cost that matches no password. Verifying against it takes as long as
    /// against any other hash, including its parsing.
    pub(super) fn dummy_hash(self) -> String {
        let salt = "A".repeat(22);
        let output = "A".repeat(43);
        format!("$argon2id$v=19{}{salt}${output}", self.phc_params())
    }

    /// Returns the parameters as in the PHC string format, with a `$` on both sides.
    pub(super) fn phc_params(self) -> String {
        let Self {
            memory_kib,
            passes,
            lanes,
        } = self;
        format!("$m={memory_kib},t={passes},p={lanes}$")
    }
}

/// Returns the maximum memory of a hash in KiB, for a process with `available` bytes of memory.
pub(super) fn max_memory_kib(available: Option<u64>) -> u32 {
    let max_kib = *MEMORY_KIB.end();
    let Some(available) = available else {
        return max_kib;
    };
    let kib_per_buffer = available.saturating_sub(RESERVED_BYTES) / KIB / capacity::buffers();
    u32::try_from(kib_per_buffer)
        .unwrap_or(max_kib)
        .min(max_kib)
}

/// Returns true if the cost of a stored hash is within the bounds of the setting. A higher one
/// would exhaust the memory, or occupy a thread for hours.
pub(super) fn is_affordable(params: &Params, max_kib: u32) -> bool {
    params.m_cost() <= max_kib
        && params.t_cost() <= *PASSES.end()
        && params.p_cost() <= *LANES.end()
}
