//! Counting of unsent bytes, and the choice of connections to close.

use futures::FutureExt;

use super::*;
use crate::connection_limit::ConnectionLimit;

const LARGE: usize = SMALL_BYTES + 1;

async fn aborted(peer: &Peer) {
    peer.0.close_signal.sent().await;
}

fn is_aborted(peer: &Peer) -> bool {
    peer.0.close_signal.is_sent()
}

fn large() -> Bytes {
    Bytes::from(vec![7; LARGE])
}

#[test]
fn bytes_count_as_unsent_until_their_last_part_is_dropped() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let peer = budget.connect(None);
    let mut pieces = peer.track(large(), None);
    assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), LARGE);
    let unsent = || budget.0.bytes.load(Ordering::Relaxed);
    assert_eq!(unsent(), LARGE + OVERHEAD_BYTES);
    let mut piece = pieces.pop_front().unwrap();
    drop(pieces);
    let part = piece.split_to(10);
    assert_eq!(&part[..], [7; 10]);
    drop(piece);
    assert_eq!(unsent(), PIECE_BYTES + OVERHEAD_BYTES);
    drop(part);
    assert_eq!(unsent(), 0);
    assert!(lock(&peer.0.unsent).responses.is_empty());
    drop(peer);
    assert!(lock(&budget.0.connections).is_empty());
}

#[test]
fn small_responses_are_exempt_from_the_limit_of_a_connection() {
    let budget = ResponseBudget::new(1 << 30, 2 * LARGE);
    let (peer, other) = (budget.connect(None), budget.connect(None));
    assert!(peer.has_room_for(LARGE));
    let _piece = peer.track(large(), None);
    assert!(!peer.has_room_for(LARGE));
    assert!(peer.has_room_for(SMALL_BYTES));
    assert!(other.has_room_for(LARGE));
}

#[tokio::test(start_paused = true)]
async fn stalled_connection_with_most_bytes_is_closed() {
    let budget = ResponseBudget::new(3 * LARGE, 4 * LARGE);
    let (stalled, other, newcomer) = (
        budget.connect(None),
        budget.connect(None),
        budget.connect(None),
    );
    let pieces = [stalled.track(large(), None), stalled.track(large(), None)];
    let _piece = other.track(Bytes::from_static(b"small"), None);
    assert!(!newcomer.has_room_for(LARGE));
    assert!(!is_aborted(&stalled), "within the grace period");
    tokio::time::advance(GRACE).await;
    assert!(!newcomer.has_room_for(LARGE));
    assert!(is_aborted(&stalled));
    assert!(!is_aborted(&other));
    drop(pieces);
    assert!(newcomer.has_room_for(LARGE));
}

#[tokio::test(start_paused = true)]
async fn connection_of_a_stalled_reader_is_closed() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let (stalled, other) = (budget.connect(None), budget.connect(None));
    let _piece = stalled.track(large(), None);
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(budget.close_stalled(Duration::from_mins(1), stopped));
    tokio::time::sleep(Duration::from_secs(59)).await;
    let _recent = other.track(large(), None);
    assert!(!is_aborted(&stalled));
    tokio::time::timeout(Duration::from_secs(2), aborted(&stalled))
        .await
        .unwrap();
    assert!(!is_aborted(&other));
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_stalled_socket_is_closed() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let (blocked, other) = (budget.connect(None), budget.connect(None));
    blocked.set_write_blocked(true);
    other.set_write_blocked(true);
    other.set_write_blocked(false);
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(budget.close_stalled(Duration::from_mins(1), stopped));
    tokio::time::timeout(Duration::from_secs(62), aborted(&blocked))
        .await
        .unwrap();
    assert!(!is_aborted(&other));
}

#[tokio::test(start_paused = true)]
async fn connection_of_a_slow_reader_stays_open() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let slow = budget.connect(None);
    let mut pieces = slow.track(Bytes::from(vec![7; 4 * PIECE_BYTES]), None);
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(budget.close_stalled(Duration::from_mins(1), stopped));
    while pieces.pop_front().is_some() {
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(!is_aborted(&slow));
    }
}

#[tokio::test(start_paused = true)]
async fn stall_timeout_is_shorter_while_the_server_stops() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let stalled = budget.connect(None);
    let _piece = stalled.track(large(), None);
    let (stop, stopped) = watch::channel(());
    tokio::spawn(budget.close_stalled(Duration::from_mins(1), stopped));
    drop(stop);
    tokio::time::timeout(2 * STALL_TIMEOUT_AT_STOP, aborted(&stalled))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_while_the_server_stops() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let limit = ConnectionLimit::new(2, 0, Limit::Connections);
    let connect = || budget.connect(limit.try_admit([127, 0, 0, 1].into()));
    let (idle, busy) = (connect(), connect());
    let request = busy.begin_request();
    let (stop, stopped) = watch::channel(());
    tokio::spawn(
        budget
            .clone()
            .close_stalled(Duration::from_mins(1), stopped),
    );
    tokio::time::sleep(Duration::from_mins(1) / 2).await;
    assert!(!is_aborted(&idle), "before the stop");
    drop(stop);
    tokio::time::timeout(2 * STALL_TIMEOUT_AT_STOP, aborted(&idle))
        .await
        .unwrap();
    assert!(!is_aborted(&busy));
    drop(request);
    tokio::time::sleep(STALL_TIMEOUT_AT_STOP / 2).await;
    assert!(!is_aborted(&busy), "so soon after its last request");
    tokio::time::timeout(STALL_TIMEOUT_AT_STOP, aborted(&busy))
        .await
        .unwrap();
}

#[tokio::test]
async fn stream_waits_until_its_bytes_are_read() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let (peer, stream) = (budget.connect(None), Arc::new(StreamUnsent::default()));
    let piece = peer.track(large(), Some(&stream));
    assert!(stream.below(LARGE).now_or_never().is_none());
    assert!(!stream.is_empty());
    drop(piece);
    stream.below(1).await;
    assert!(stream.is_empty());
}

#[tokio::test]
async fn backlog_is_drained_when_the_client_reads_it() {
    let budget = ResponseBudget::new(1 << 30, 1 << 30);
    let (peer, other) = (budget.connect(None), budget.connect(None));
    let backlog = peer.track(Bytes::from(vec![7; BACKLOG_BYTES]), None);
    assert!(peer.drained().now_or_never().is_none());
    assert!(other.drained().now_or_never().is_some());
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { peer.drained().await }
    });
    tokio::task::yield_now().await;
    drop(backlog);
    waiting.await.unwrap();
    assert!(peer.is_drained());
}

#[tokio::test(start_paused = true)]
async fn streams_wait_for_room_which_stalled_clients_make() {
    let budget = ResponseBudget::new(LARGE, 1 << 30);
    let (stalled, waiting) = (budget.connect(None), budget.connect(None));
    let pieces = stalled.track(large(), None);
    assert!(waiting.room().now_or_never().is_none());
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(budget.close_stalled(Duration::from_mins(1), stopped));
    // Long before its stall timeout.
    tokio::time::timeout(2 * GRACE, aborted(&stalled))
        .await
        .unwrap();
    let room = tokio::spawn(async move { waiting.room().await });
    tokio::task::yield_now().await;
    drop(pieces);
    room.await.unwrap();
}
