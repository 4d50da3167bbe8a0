//! Leases in virtual time.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tokio::time;

use super::*;
use crate::error::Error;

/// A clock that follows the virtual time of the runtime.
fn clock() -> Clock {
    let clock = Clock::manual("2026-03-01T09:00:00Z".parse().unwrap());
    let (ticking, start) = (clock.clone(), clock.now());
    let began = time::Instant::now();
    tokio::spawn(async move {
        loop {
            time::sleep(Duration::from_millis(50)).await;
            let passed = TimeDelta::from_std(began.elapsed()).unwrap();
            ticking.advance(start + passed - ticking.now());
        }
    });
    clock
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_before_it_ends() {
    let clock = clock();
    let lease = Lease::new(clock.clone(), clock.now() + LEASE);
    let latest_end = AtomicI64::new((clock.now() + LEASE).timestamp_millis());
    let renewals = AtomicUsize::new(0);
    let renew = |end: DateTime<Utc>| {
        let latest = latest_end.swap(end.timestamp_millis(), Ordering::Relaxed);
        assert!(clock.now().timestamp_millis() < latest, "renewed too late");
        renewals.fetch_add(1, Ordering::Relaxed);
        async { Ok(true) }
    };
    // The time that RFC 5321 allows a server after the final dot.
    let work = time::sleep(Duration::from_mins(10));
    assert_eq!(lease.hold(renew, work).await, Some(()));
    let count = renewals.load(Ordering::Relaxed);
    assert!((20..=35).contains(&count), "{count} renewals");
    assert!(lease.remaining() > TimeDelta::seconds(30));
}

#[tokio::test(start_paused = true)]
async fn work_ends_when_the_lease_is_lost() {
    let clock = clock();
    let lease = Lease::new(clock.clone(), clock.now() + LEASE);
    let began = time::Instant::now();
    let held = lease.hold(async |_| Ok(false), std::future::pending::<()>());
    assert_eq!(held.await, None);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn work_continues_while_the_database_is_unavailable() {
    let clock = clock();
    let lease = Lease::new(clock.clone(), clock.now() + LEASE);
    let work = time::sleep(Duration::from_mins(3));
    let renew = async |_| Err(Error::DatabaseUnavailable);
    assert_eq!(lease.hold(renew, work).await, Some(()));
    // But the text must not be sent.
    let (lease, overflow) = (&lease, &OverflowPermits::new(1));
    let error = Handover { lease, overflow }.check().unwrap_err();
    assert!(!error.is_permanent());
}

#[test]
fn text_is_sent_only_under_a_lease_with_time_left() {
    let clock = Clock::manual("2026-03-01T09:00:00Z".parse().unwrap());
    let lease = &Lease::new(clock.clone(), clock.now() + LEASE);
    let handover = Handover {
        lease,
        overflow: &OverflowPermits::new(1),
    };
    assert!(handover.check().is_ok());
    clock.advance(LEASE - TimeDelta::seconds(4));
    assert!(handover.check().is_err());
    clock.advance(TimeDelta::hours(1));
    assert!(handover.check().is_err());
}
