//! Rate limits of confirmation e-mails, per address and per customer, as sliding windows over the
//! times of the e-mails.

use chrono::{DateTime, TimeDelta, Utc};

/// At most `count` e-mails in any `window`.
#[derive(Clone, Copy, Debug)]
pub struct MailRate {
    count: usize,
    window: TimeDelta,
}

/// The limits of confirmation e-mails to one address, across all customers: 5 per hour, 20 per day.
pub const PER_ADDRESS: &[MailRate] = &[
    MailRate::new(5, TimeDelta::hours(1)),
    MailRate::new(20, TimeDelta::days(1)),
];
/// The limit of confirmation e-mails of one customer, except those of imports: 100 per hour.
pub const PER_CUSTOMER: &[MailRate] = &[MailRate::new(100, TimeDelta::hours(1))];
/// How long the times of e-mails are stored: the longest window.
pub const MAIL_TIMES_RETENTION: TimeDelta = TimeDelta::days(1);

impl MailRate {
    const fn new(count: usize, window: TimeDelta) -> Self {
        Self { count, window }
    }
}

/// The times of sent and planned e-mails, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailTimes(pub Vec<DateTime<Utc>>);

impl MailTimes {
    /// Returns the earliest time from `now` on at which one more e-mail is within `rates`.
    pub fn next_time(&self, rates: &[MailRate], now: DateTime<Utc>) -> DateTime<Utc> {
        let next = rates.iter().filter_map(|rate| {
            let nth = self.0.len().checked_sub(rate.count)?;
            Some(*self.0.get(nth)? + rate.window)
        });
        next.fold(now, DateTime::max)
    }

    /// Adds an e-mail, and drops those that are outside all windows.
    pub fn add(&mut self, time: DateTime<Utc>, now: DateTime<Utc>) {
        self.0.retain(|known| *known + MAIL_TIMES_RETENTION > now);
        let index = self.0.partition_point(|known| *known <= time);
        self.0.insert(index, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn five_mails_fit_into_an_hour_and_twenty_into_a_day() {
        let mut times = MailTimes::default();
        for nth in 0..42 {
            let (day, hour) = (nth / 20, nth % 20 / 5);
            let time = times.next_time(PER_ADDRESS, at(0));
            assert_eq!(time, at(60 * (24 * day + hour)), "{nth}");
            times.add(time, at(0));
        }
    }

    #[test]
    fn window_slides_and_old_mails_are_dropped() {
        let mut times = MailTimes::default();
        for minute in [0, 10, 20, 30, 40] {
            assert_eq!(times.next_time(PER_ADDRESS, at(minute)), at(minute));
            times.add(at(minute), at(minute));
        }
        assert_eq!(times.next_time(PER_ADDRESS, at(50)), at(60));
        times.add(at(60), at(60));
        assert_eq!(times.next_time(PER_ADDRESS, at(61)), at(70));
        times.add(at(24 * 60 + 10), at(24 * 60 + 10));
        assert_eq!(times.0[0], at(20));
    }
}
