//! What counts as unsent, and which connections are closed for it.

use std::task::Poll;

use futures::FutureExt;

use super::*;

const LARGE: usize = SMALL_BYTES + 1;

async fn aborted(peer: &Peer) {
    std::future::poll_fn(|context| {
        if peer.poll_aborted(context) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn is_aborted(peer: &Peer) -> bool {
    aborted(peer).now_or_never().is_some()
}

fn large() -> Bytes {
    Bytes::from(vec![7; LARGE])
}

#[test]
fn bytes_count_until_their_last_part_is_gone() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let peer = budget.connect(None);
    let mut pieces = peer.track(large(), None);
    assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), LARGE);
    let held = || budget.0.bytes.load(Ordering::Relaxed);
    assert_eq!(held(), LARGE + OVERHEAD_BYTES);
    let mut piece = pieces.pop_front().unwrap();
    drop(pieces);
    let part = piece.split_to(10);
    assert_eq!(&part[..], [7; 10]);
    drop(piece);
    assert_eq!(held(), PIECE_BYTES + OVERHEAD_BYTES);
    drop(part);
    assert_eq!(held(), 0);
    assert!(lock(&peer.0.unsent).responses.is_empty());
    drop(peer);
    assert!(lock(&budget.0.connections).is_empty());
}

#[test]
fn a_connection_has_its_bound_for_all_but_small_pieces() {
    let budget = ResponseBudget::new(1 << 30, 2 * LARGE);
    let (peer, other) = (budget.connect(None), budget.connect(None));
    assert!(peer.has_room_for(LARGE));
    let _piece = peer.track(large(), None);
    assert!(!peer.has_room_for(LARGE));
    assert!(peer.has_room_for(SMALL_BYTES));
    assert!(other.has_room_for(LARGE));
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_holds_most_makes_room() {
    let budget = ResponseBudget::new(3 * LARGE, 4 * LARGE);
    let (stalled, other, newcomer) = (
        budget.connect(None),
        budget.connect(None),
        budget.connect(None),
    );
    let pieces = [stalled.track(large(), None), stalled.track(large(), None)];
    let _piece = other.track(Bytes::from_static(b"small"), None);
    assert!(!newcomer.has_room_for(LARGE));
    assert!(!is_aborted(&stalled), "within the grace");
    tokio::time::advance(GRACE).await;
    assert!(!newcomer.has_room_for(LARGE));
    assert!(is_aborted(&stalled));
    assert!(!is_aborted(&other));
    drop(pieces);
    assert!(newcomer.has_room_for(LARGE));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_loses_its_connection() {
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
async fn a_socket_that_takes_nothing_loses_its_connection() {
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
async fn a_client_that_goes_on_slowly_keeps_its_connection() {
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
async fn a_stop_is_held_up_for_a_shorter_time() {
    let budget = ResponseBudget::new(1 << 20, 1 << 20);
    let stalled = budget.connect(None);
    let _piece = stalled.track(large(), None);
    let (stop, stopped) = watch::channel(());
    tokio::spawn(budget.close_stalled(Duration::from_mins(1), stopped));
    drop(stop);
    tokio::time::timeout(2 * PATIENCE_AT_STOP, aborted(&stalled))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_waits_until_its_bytes_are_taken() {
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
async fn a_backlog_is_drained_when_the_client_takes_it() {
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
