//! What a hash of a phone password costs.

use argon2::Params;

use crate::error::{Error, Invalid, Result};

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
