//! The rules of eviction, each by itself.

use rstest::rstest;
use tokio::time::advance;

use super::*;

const SHORT: Duration = Duration::from_millis(1);
const NONE: [usize; 0] = [];

fn limit(max: usize) -> ConnectionLimit {
    ConnectionLimit::new(max, 2, Limit::PageConnections)
}

fn host(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn is_evicted(permit: &ConnectionPermit) -> bool {
    permit.close_signal().is_sent()
}

/// Admits connections of these hosts, a millisecond apart.
async fn connect(limit: &ConnectionLimit, hosts: &[u8]) -> Vec<ConnectionPermit> {
    let mut permits = Vec::new();
    for last in hosts {
        permits.push(limit.try_admit(host(*last)).unwrap());
        advance(SHORT).await;
    }
    permits
}

/// Returns the indices of the evicted connections.
fn evicted(permits: &[ConnectionPermit]) -> Vec<usize> {
    let numbered = permits.iter().enumerate();
    let evicted = numbered.filter(|(_, permit)| is_evicted(permit));
    evicted.map(|(index, _)| index).collect()
}

#[tokio::test(start_paused = true)]
async fn no_connection_is_evicted_while_permits_are_left() {
    let limit = limit(3);
    let mut permits = connect(&limit, &[1, 1]).await;
    advance(100 * GRACE).await;
    permits.extend(connect(&limit, &[2]).await);
    assert_eq!(evicted(&permits), NONE);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_permit_releases_it_once() {
    let limit = limit(1);
    let first = connect(&limit, &[1]).await;
    let busy = first[0].busy();
    assert!(limit.try_admit(host(1)).is_none());
    drop((busy, first));
    let second = connect(&limit, &[1]).await;
    let third = connect(&limit, &[1]).await;
    assert_eq!(evicted(&second), [0]);
    drop(second);
    // The permit of the third connection was not released.
    let _busy = third[0].busy();
    assert!(limit.try_admit(host(1)).is_none());
    assert_eq!(evicted(&third), NONE);
}

#[rstest]
#[case::longest_idle_of_the_host_with_most(&[1, 2, 2, 2, 3], 3, Some(1))]
#[case::longest_idle_of_one_host_where_hosts_are_even(&[1, 2, 1, 2], 3, Some(1))]
#[case::own_of_the_host_with_most(&[1, 2, 2], 2, Some(1))]
#[case::own_of_a_proxy(&[1, 1, 1], 1, Some(0))]
#[tokio::test(start_paused = true)]
async fn unauthenticated_connection_is_evicted_at_once(
    #[case] hosts: &[u8],
    #[case] newcomer: u8,
    #[case] expected: Option<usize>,
) {
    let limit = limit(hosts.len());
    let permits = connect(&limit, hosts).await;
    let admitted = limit.try_admit(host(newcomer));
    assert_eq!(admitted.is_some(), expected.is_some());
    assert_eq!(evicted(&permits), Vec::from_iter(expected));
}

#[tokio::test(start_paused = true)]
async fn busy_connection_is_not_evicted() {
    let limit = limit(2);
    let permits = connect(&limit, &[1, 1]).await;
    let (first, second) = (permits[0].busy(), permits[0].busy());
    advance(GRACE).await;
    let newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [1]);
    drop(first);
    let _newcomer_busy = newcomer.busy();
    advance(GRACE).await;
    assert!(limit.try_admit(host(1)).is_none());
    drop(second);
    // The connection is idle now.
    let _newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn host_with_fewer_connections_keeps_them() {
    let limit = limit(4);
    let old = connect(&limit, &[2]).await;
    let flood = connect(&limit, &[1, 1, 1]).await;
    let busy: Vec<_> = flood.iter().map(ConnectionPermit::busy).collect();
    // No connection of host 1 can be evicted, and those of host 2 are protected.
    assert!(limit.try_admit(host(1)).is_none());
    drop(busy);
    assert!(limit.try_admit(host(1)).is_some());
    assert_eq!((evicted(&old), evicted(&flood)), (vec![], vec![0]));
}

#[tokio::test(start_paused = true)]
async fn request_resets_the_idle_time() {
    let limit = limit(3);
    let permits = connect(&limit, &[1, 1, 1]).await;
    drop(permits[0].busy());
    let _busy = permits[1].busy();
    let _newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [2]);
    let _newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn connection_idle_since_a_request_is_older_than_a_new_one() {
    let limit = limit(2);
    let mut permits = connect(&limit, &[1]).await;
    drop(permits[0].busy());
    advance(SHORT).await;
    permits.extend(connect(&limit, &[1]).await);
    let _newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [0]);
}

#[tokio::test(start_paused = true)]
async fn closed_connections_leave_no_entries() {
    let limit = limit(100);
    let kept = connect(&limit, &[1]).await;
    for _ in 0..1_000 {
        drop(connect(&limit, &[1, 2]).await);
    }
    let connections = limit.0.lock();
    assert_eq!((connections.by_id.len(), connections.hosts.len()), (1, 1));
    assert_eq!(connections.by_count.len(), 1);
    let queue = &connections.hosts[&Host::of(host(1))].unauthenticated;
    assert!(queue.len() <= 2 + QUEUE_SLACK, "{}", queue.len());
    drop((connections, kept));
}

#[tokio::test(start_paused = true)]
async fn grace_of_most_permits_applies_to_the_own_host_only() {
    let limit = limit(4);
    let flood = connect(&limit, &[1, 1, 1, 2]).await;
    flood.iter().for_each(ConnectionPermit::mark_authenticated);
    assert!(limit.try_admit(host(1)).is_none());
    let newcomer = limit.try_admit(host(3)).unwrap();
    newcomer.mark_authenticated();
    assert_eq!(evicted(&flood), [0]);
    // Host 1 has half of the permits now, which are protected.
    assert!(limit.try_admit(host(4)).is_none());
}

#[tokio::test(start_paused = true)]
async fn authenticated_connection_is_evicted_last() {
    let limit = limit(2);
    let permits = connect(&limit, &[1, 1]).await;
    permits[0].mark_authenticated();
    let newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [1]);
    newcomer.mark_authenticated();
    assert!(
        limit.try_admit(host(1)).is_none(),
        "both are within the grace period"
    );
    advance(GRACE).await;
    assert!(limit.try_admit(host(1)).is_some());
    assert_eq!(evicted(&permits), [0, 1]);
}

#[rstest]
#[case::one_network("2001:db8::1", "2001:db8::ffff:1", true)]
#[case::two_networks("2001:db8::1", "2001:db8:0:1::1", false)]
#[case::two_ipv4_addresses("192.0.2.1", "192.0.2.2", false)]
#[case::mapped_ipv4_address("::ffff:192.0.2.1", "192.0.2.1", true)]
#[case::two_mapped_ipv4_addresses("::ffff:192.0.2.1", "::ffff:192.0.2.2", false)]
fn host_is_an_address_or_a_network(#[case] one: &str, #[case] other: &str, #[case] is_same: bool) {
    let host = |text: &str| Host::of(text.parse().unwrap());
    assert_eq!(host(one) == host(other), is_same);
}

#[tokio::test(start_paused = true)]
async fn newcomers_wait_in_order_up_to_a_maximum() {
    let limit = limit(1);
    let first = connect(&limit, &[1]).await;
    first[0].mark_authenticated();
    let admit = |last| {
        let limit = limit.clone();
        tokio::spawn(async move {
            let admitted = limit.admit(host(last)).await;
            admitted.inspect(ConnectionPermit::mark_authenticated)
        })
    };
    let second = admit(1);
    tokio::task::yield_now().await;
    let third = admit(1);
    tokio::task::yield_now().await;
    // Two newcomers wait already.
    assert!(limit.admit(host(1)).await.is_none());
    let second = second.await.unwrap().unwrap();
    assert!(!third.is_finished());
    // No newcomer of the same host overtakes those that wait.
    drop(second);
    assert!(limit.try_admit(host(1)).is_none());
    assert!(third.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn newcomer_waits_for_a_limited_time() {
    let limit = limit(1);
    let permits = connect(&limit, &[1]).await;
    let _busy = permits[0].busy();
    assert!(limit.admit(host(2)).await.is_none());
    assert_eq!(evicted(&permits), NONE);
    // Its permit to wait was released.
    assert_eq!(limit.0.waiting.available_permits(), 2);
    assert_eq!(limit.0.lock().hosts.len(), 1);
}
