//! A latency histogram with a relative error of at most one percent, in a few kilobytes.

use std::time::Duration;

/// Steps between two powers of two.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = 64 * 128;

/// The count of each latency.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Counts one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap();
        *self.counts.get_mut(bucket(nanos)).unwrap() += 1;
        self.total += 1;
        self.longest = self.longest.max(latency);
    }

    /// Adds the counts of another histogram.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// Total count.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The latency that `per_mille` of 1000 do not exceed, in microseconds.
    pub(crate) fn percentile_us(&self, per_mille: u64) -> f64 {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (middle(bucket) / 1e3).min(self.max_us());
            }
        }
        self.max_us()
    }

    /// The maximum in microseconds.
    pub(crate) fn max_us(&self) -> f64 {
        self.longest.as_secs_f64() * 1e6
    }
}

/// Latencies below 2 * STEPS have a bucket each; above, those with the same leading bits share
/// one.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    usize::try_from(u64::from(shift) * STEPS + (nanos >> shift)).unwrap()
}

/// The midpoint of a bucket in nanoseconds.
fn middle(bucket: usize) -> f64 {
    let bucket = u64::try_from(bucket).unwrap();
    let shift = (bucket / STEPS).saturating_sub(1);
    let width = (1_u64 << shift) as f64;
    (bucket - shift * STEPS) as f64 * width + (width - 1.0) / 2.0
}
