//! The rules by which connections make room, each by itself.

use futures::FutureExt;
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
    permit.evicted().now_or_never().is_some()
}

/// Connections in this order, a millisecond apart.
async fn connect(limit: &ConnectionLimit, hosts: &[u8]) -> Vec<ConnectionPermit> {
    let mut permits = Vec::new();
    for last in hosts {
        permits.push(limit.try_admit(host(*last)).unwrap());
        advance(SHORT).await;
    }
    permits
}

/// Which of them are evicted.
fn evicted(permits: &[ConnectionPermit]) -> Vec<usize> {
    let numbered = permits.iter().enumerate();
    let evicted = numbered.filter(|(_, permit)| is_evicted(permit));
    evicted.map(|(index, _)| index).collect()
}

#[tokio::test(start_paused = true)]
async fn no_connection_goes_while_there_are_places() {
    let limit = limit(3);
    let mut permits = connect(&limit, &[1, 1]).await;
    advance(100 * GRACE).await;
    permits.extend(connect(&limit, &[2]).await);
    assert_eq!(evicted(&permits), NONE);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_permit_frees_its_place_once() {
    let limit = limit(1);
    let first = connect(&limit, &[1]).await;
    let busy = first[0].busy();
    assert!(limit.try_admit(host(1)).is_none());
    drop((busy, first));
    let second = connect(&limit, &[1]).await;
    let third = connect(&limit, &[1]).await;
    assert_eq!(evicted(&second), [0]);
    drop(second);
    // The third one's place is still its own.
    let _busy = third[0].busy();
    assert!(limit.try_admit(host(1)).is_none());
    assert_eq!(evicted(&third), NONE);
}

#[rstest]
#[case::longest_idle_of_the_host_with_most(&[1, 2, 2, 2, 3], 3, Some(1))]
#[case::longest_idle_of_one_host_where_hosts_are_even(&[1, 2, 1, 2], 3, Some(1))]
#[case::own_where_the_own_host_has_most(&[1, 2, 2], 2, Some(1))]
#[case::own_behind_one_proxy(&[1, 1, 1], 1, Some(0))]
#[tokio::test(start_paused = true)]
async fn an_unauthenticated_connection_goes_at_once(
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
async fn a_busy_connection_keeps_its_place_until_its_last_request_ended() {
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
    // It is idle from now on.
    let _newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_host_with_fewer_connections_keeps_them() {
    let limit = limit(4);
    let old = connect(&limit, &[2]).await;
    let flood = connect(&limit, &[1, 1, 1]).await;
    let busy: Vec<_> = flood.iter().map(ConnectionPermit::busy).collect();
    // Host 1 finds none of its own that may go, and takes none of host 2.
    assert!(limit.try_admit(host(1)).is_none());
    drop(busy);
    assert!(limit.try_admit(host(1)).is_some());
    assert_eq!((evicted(&old), evicted(&flood)), (vec![], vec![0]));
}

#[tokio::test(start_paused = true)]
async fn a_request_renews_an_unauthenticated_connection() {
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
async fn closed_connections_leave_nothing() {
    let limit = limit(100);
    let kept = connect(&limit, &[1]).await;
    for _ in 0..1_000 {
        drop(connect(&limit, &[1, 2]).await);
    }
    let taken = limit.0.lock();
    assert_eq!((taken.slots.len(), taken.hosts.len()), (1, 1));
    assert_eq!(taken.by_connections.len(), 1);
    let queue = &taken.hosts[&Host::of(host(1))].unauthenticated;
    assert!(queue.len() <= 2 + QUEUE_SLACK, "{}", queue.len());
    drop((taken, kept));
}

#[tokio::test(start_paused = true)]
async fn grace_protects_most_places_from_the_own_host_only() {
    let limit = limit(4);
    let flood = connect(&limit, &[1, 1, 1, 2]).await;
    flood.iter().for_each(ConnectionPermit::mark_authenticated);
    assert!(limit.try_admit(host(1)).is_none());
    let newcomer = limit.try_admit(host(3)).unwrap();
    newcomer.mark_authenticated();
    assert_eq!(evicted(&flood), [0]);
    // Now it has half, as others may rightly have.
    assert!(limit.try_admit(host(4)).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_authenticated_connection_goes_after_all_others() {
    let limit = limit(2);
    let permits = connect(&limit, &[1, 1]).await;
    permits[0].mark_authenticated();
    let newcomer = limit.try_admit(host(1)).unwrap();
    assert_eq!(evicted(&permits), [1]);
    newcomer.mark_authenticated();
    assert!(limit.try_admit(host(1)).is_none(), "both have their grace");
    advance(GRACE).await;
    assert!(limit.try_admit(host(1)).is_some());
    assert_eq!(evicted(&permits), [0, 1]);
}

#[rstest]
#[case::of_one_network("2001:db8::1", "2001:db8::ffff:1", true)]
#[case::of_two_networks("2001:db8::1", "2001:db8:0:1::1", false)]
#[case::of_two_ipv4_addresses("192.0.2.1", "192.0.2.2", false)]
#[case::of_a_mapped_ipv4_address("::ffff:192.0.2.1", "192.0.2.1", true)]
#[case::of_two_mapped_ipv4_addresses("::ffff:192.0.2.1", "::ffff:192.0.2.2", false)]
fn a_host_is_an_address_or_a_network(
    #[case] one: &str,
    #[case] other: &str,
    #[case] is_same: bool,
) {
    let host = |text: &str| Host::of(text.parse().unwrap());
    assert_eq!(host(one) == host(other), is_same);
}

#[tokio::test(start_paused = true)]
async fn newcomers_wait_in_their_order_and_only_so_many() {
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
    // Two wait already.
    assert!(limit.admit(host(1)).await.is_none());
    let second = second.await.unwrap().unwrap();
    assert!(!third.is_finished());
    // No newcomer of their host overtakes those that wait.
    drop(second);
    assert!(limit.try_admit(host(1)).is_none());
    assert!(third.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_wait_for_ever() {
    let limit = limit(1);
    let permits = connect(&limit, &[1]).await;
    let _busy = permits[0].busy();
    assert!(limit.admit(host(2)).await.is_none());
    assert_eq!(evicted(&permits), NONE);
    // Its place in the queue is free again.
    assert_eq!(limit.0.waiting.available_permits(), 2);
    assert_eq!(limit.0.lock().hosts.len(), 1);
}
