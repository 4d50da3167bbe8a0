//! The guard against bursts of failures (rule 32): a blocklisted sender looks like many failing addresses.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// The time that the share of failures is taken of.
const WINDOW: TimeDelta = TimeDelta::minutes(10);
const BUCKET: TimeDelta = TimeDelta::seconds(10);
/// The highest share of failures that is usual.
const MAX_FAILURE_PERCENT: u64 = 5;
/// A share of few reports means nothing.
const MIN_REPORTS: u64 = 100;
/// As many failures are unusual whatever was delivered, which a sender may not report.
const MIN_FAILURES: u64 = 20;

/// The reports of the last ten minutes.
#[derive(Debug, Default)]
pub struct BurstGuard {
    buckets: VecDeque<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    start: DateTime<Utc>,
    reports: u64,
    failures: u64,
}

impl BurstGuard {
    /// Counts a report.
    pub fn count(&mut self, is_failure: bool, now: DateTime<Utc>) {
        self.add(1, u64::from(is_failure), now);
    }

    /// Counts deliveries.
    pub fn count_deliveries(&mut self, count: u64, now: DateTime<Utc>) {
        self.add(count, 0, now);
    }

    fn add(&mut self, reports: u64, failures: u64, now: DateTime<Utc>) {
        let is_current = |bucket: &&mut Bucket| now - bucket.start < BUCKET;
        if let Some(bucket) = self.buckets.back_mut().filter(is_current) {
            bucket.reports += reports;
            bucket.failures += failures;
        } else {
            self.buckets.push_back(Bucket {
                start: now,
                reports,
                failures,
            });
        }
    }

    /// Returns true if so many reports are failures that no address may be marked.
    pub fn is_burst(&mut self, now: DateTime<Utc>) -> bool {
        while let Some(oldest) = self.buckets.front()
            && now - oldest.start >= WINDOW
        {
            self.buckets.pop_front();
        }
        let reports: u64 = self.buckets.iter().map(|bucket| bucket.reports).sum();
        let failures: u64 = self.buckets.iter().map(|bucket| bucket.failures).sum();
        let are_enough = reports >= MIN_REPORTS || failures >= MIN_FAILURES;
        are_enough && failures * 100 > reports * MAX_FAILURE_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn count(guard: &mut BurstGuard, delivered: u64, failed: u64, now: DateTime<Utc>) {
        for index in 0..delivered + failed {
            guard.count(index >= delivered, now);
        }
    }

    #[test]
    fn rule_32_more_than_five_percent_is_a_burst() {
        let mut guard = BurstGuard::default();
        assert!(!guard.is_burst(at(0)));
        count(&mut guard, 950, 50, at(0));
        assert!(!guard.is_burst(at(0)));
        count(&mut guard, 0, 1, at(1));
        assert!(guard.is_burst(at(1)));
        count(&mut guard, 19, 0, at(2));
        assert!(!guard.is_burst(at(2)));
    }

    #[test]
    fn few_reports_are_no_burst() {
        let mut guard = BurstGuard::default();
        count(&mut guard, 0, 19, at(0));
        assert!(!guard.is_burst(at(0)));
        count(&mut guard, 0, 1, at(0));
        assert!(guard.is_burst(at(0)));
        let mut guard = BurstGuard::default();
        count(&mut guard, 93, 6, at(0));
        assert!(!guard.is_burst(at(0)));
        count(&mut guard, 1, 0, at(0));
        assert!(guard.is_burst(at(0)));
    }

    #[test]
    fn burst_ends_after_ten_minutes() {
        let mut guard = BurstGuard::default();
        count(&mut guard, 100, 100, at(0));
        assert!(guard.is_burst(at(599)));
        count(&mut guard, 100, 5, at(599));
        assert!(guard.is_burst(at(599)));
        assert!(!guard.is_burst(at(600)));
        assert!(!guard.is_burst(at(1_199)));
        assert!(guard.buckets.is_empty());
    }
}
