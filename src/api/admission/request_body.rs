//! Bodies of requests: reads a message before any work is spent on it, and observes the progress of a
//! stream of messages.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{sync::oneshot, time::Instant};
use tonic::{Status, body::Body};

use super::concurrency_limit::{ConcurrencyLimit, Permit, overloaded};
use crate::{
    api::wire::PREFIX_BYTES,
    error::{Error, Result, Violation},
};

/// Reads the body of a request that is a single message. While bytes are in transit, it holds a permit of
/// `pending`.
///
/// # Errors
/// [`Error::InvalidFields`] for more than `max_bytes` or an incomplete body, [`Error::Overloaded`] if no
/// permit is left or the permit was evicted.
pub(crate) async fn read_message(
    mut body: Body,
    max_bytes: usize,
    pending: &ConcurrencyLimit,
    client: &str,
) -> Result<Bytes> {
    let mut message = BytesMut::new();
    let mut permit: Option<Permit> = None;
    loop {
        // Most messages arrive together with their headers.
        let frame = if let Some(frame) = body.frame().now_or_never() {
            frame
        } else {
            if permit.is_none() {
                permit = Some(pending.acquire(client)?);
            }
            let permit = permit.as_mut().ok_or_else(overloaded)?;
            permit.wait_for_client();
            tokio::select! {
                frame = body.frame() => frame,
                () = permit.evicted() => return Err(overloaded()),
            }
        };
        let Some(frame) = frame else { break };
        let incomplete = |_| Error::invalid_field("request", Violation::RequestIncomplete);
        let Ok(data) = frame.map_err(incomplete)?.into_data() else {
            continue;
        };
        if message.len() + data.len() > max_bytes + PREFIX_BYTES {
            return Err(Error::invalid_field("request", Violation::RequestTooLarge));
        }
        if message.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        message.extend_from_slice(&data);
        if body.is_end_stream() {
            break;
        }
    }
    Ok(message.freeze())
}

/// The progress of the messages of a request. When it is dropped, the body ends: a handler that spawned
/// a task would otherwise read until the client disconnects.
#[derive(Debug)]
pub(crate) struct RequestProgress {
    progress: SharedProgress,
    /// Closes the body when it is dropped. `None` for a request that was received completely.
    _body: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Debug, Default)]
struct SharedProgress(Arc<Mutex<Progress>>);

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    /// A message is being read or processed.
    #[default]
    Busy,
    /// The server has waited for the next message since this time.
    Idle(Instant),
    /// No further message can arrive or is read.
    Ended,
}

impl RequestProgress {
    /// Returns the progress of a request that was received completely.
    pub(crate) fn ended() -> Self {
        Self {
            progress: SharedProgress(Arc::new(Mutex::new(Progress::Ended))),
            _body: None,
        }
    }

    /// Returns how long the server has waited for a message; `None` if it waits for none.
    pub(crate) fn idle_time(&self) -> Option<Duration> {
        match *self.progress.lock() {
            Progress::Idle(since) => Some(since.elapsed()),
            Progress::Busy | Progress::Ended => None,
        }
    }
}

impl SharedProgress {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces the body by one whose progress is observed.
pub(crate) fn observe(body: &mut Body) -> RequestProgress {
    let progress = SharedProgress::default();
    let (sender, ended) = oneshot::channel();
    let observed = Observed {
        inner: std::mem::take(body),
        messages: MessageParser::default(),
        progress: progress.clone(),
        ended: Some(ended),
    };
    *body = Body::new(observed);
    RequestProgress {
        progress,
        _body: Some(sender),
    }
}

struct Observed {
    inner: Body,
    messages: MessageParser,
    progress: SharedProgress,
    /// Resolves when the response has ended; `None` once it has.
    ended: Option<oneshot::Receiver<()>>,
}

/// Finds the ends of the messages of a body. Each message follows a flag and four bytes of length.
#[derive(Debug, Default)]
struct MessageParser {
    prefix: Vec<u8>,
    payload_left: usize,
}

impl MessageParser {
    /// Returns true if `data` contains the end of a message.
    fn completes_message(&mut self, mut data: &[u8]) -> bool {
        let mut is_completed = false;
        while !data.is_empty() {
            let wanted = if self.payload_left > 0 {
                self.payload_left
            } else {
                PREFIX_BYTES - self.prefix.len()
            };
            let (part, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            if self.payload_left > 0 {
                self.payload_left -= part.len();
            } else {
                self.prefix.extend_from_slice(part);
                let Some([_, length @ ..]) = self.prefix.first_chunk::<PREFIX_BYTES>() else {
                    continue;
                };
                self.payload_left =
                    usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                self.prefix.clear();
            }
            is_completed |= self.payload_left == 0;
        }
        is_completed
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let ended = this.ended.as_mut();
        if ended.is_none_or(|ended| ended.poll_unpin(context).is_ready()) {
            this.ended = None;
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        let mut progress = this.progress.lock();
        if polled.is_pending() && matches!(*progress, Progress::Busy) {
            *progress = Progress::Idle(Instant::now());
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) if !this.inner.is_end_stream() => {
                // Only complete messages are progress.
                let data = frame.data_ref();
                if data.is_some_and(|data| this.messages.completes_message(data)) {
                    *progress = Progress::Busy;
                }
            }
            Some(_) | None => *progress = Progress::Ended,
        }
        drop(progress);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        *self.progress.lock() = Progress::Ended;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{Full, StreamBody};
    use rstest::rstest;
    use tokio::sync::mpsc;

    use super::*;
    use crate::observability::metrics::Limit;

    fn pending(max: usize) -> ConcurrencyLimit {
        ConcurrencyLimit::new(
            (max, Limit::PendingMessages),
            (max, Limit::ClientPendingMessages),
        )
    }

    /// Returns a body with the frames that are sent to the sender.
    fn body() -> (mpsc::UnboundedSender<&'static [u8]>, Body) {
        let (sender, mut frames) = mpsc::unbounded_channel();
        let frames = stream::poll_fn(move |context| frames.poll_recv(context));
        let frames = futures::StreamExt::map(frames, |data: &[u8]| {
            Ok::<_, Status>(Frame::data(Bytes::from_static(data)))
        });
        (sender, Body::new(StreamBody::new(frames)))
    }

    #[tokio::test]
    async fn complete_message_needs_no_permit() {
        let whole = Body::new(Full::from("message"));
        let read = read_message(whole, 7, &pending(0), "a").await.unwrap();
        assert_eq!(read, "message");
    }

    #[tokio::test]
    async fn message_in_transit_holds_a_permit() {
        let (sender, parts) = body();
        let pending = pending(1);
        let mut read = Box::pin(read_message(parts, 7, &pending, "a"));
        sender.send(b"mess").unwrap();
        assert!((&mut read).now_or_never().is_none());
        assert!(pending.acquire("b").is_err());
        sender.send(b"age").unwrap();
        drop(sender);
        assert_eq!(read.await.unwrap(), "message");
        assert!(pending.acquire("b").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_message_is_evicted() {
        let (_sender, silent) = body();
        let pending = pending(1);
        let read = read_message(silent, 7, &pending, "a");
        let newcomer = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pending.acquire("b")
        };
        let (read, newcomer) = tokio::join!(read, newcomer);
        assert!(newcomer.is_ok());
        assert!(matches!(read, Err(Error::Overloaded { .. })));
    }

    #[tokio::test]
    async fn message_that_is_too_long_is_rejected() {
        let (sender, long) = body();
        for _ in 0..3 {
            sender.send(b"12345").unwrap();
        }
        let read = read_message(long, 9, &pending(1), "a").await;
        assert!(matches!(read, Err(Error::InvalidFields(_))));
    }

    #[rstest]
    #[case::whole(12)]
    #[case::byte_by_byte(1)]
    #[case::across_prefixes(7)]
    fn ends_of_messages_are_found_wherever_the_bytes_are_cut(#[case] piece: usize) {
        let bytes = [&[0, 0, 0, 0, 2, 7, 7][..], &[1, 0, 0, 0, 0]].concat();
        let mut messages = MessageParser::default();
        let mut ends = Vec::new();
        let mut read = 0;
        for piece in bytes.chunks(piece) {
            read += piece.len();
            if messages.completes_message(piece) {
                ends.push(read);
            }
        }
        let all = if piece == 12 { vec![12] } else { vec![7, 12] };
        assert_eq!(ends, all);
    }

    #[tokio::test]
    async fn body_ends_with_its_response() {
        let (_sender, mut silent) = body();
        let progress = observe(&mut silent);
        let mut waiting = Box::pin(silent.frame());
        assert!((&mut waiting).now_or_never().is_none());
        drop(progress);
        assert!(waiting.await.is_none());
        assert!(silent.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_an_incomplete_message_are_no_progress() {
        let (sender, mut parts) = body();
        let progress = observe(&mut parts);
        assert!(parts.frame().now_or_never().is_none());
        for byte in [&[0][..], &[0], &[0]] {
            tokio::time::advance(Duration::from_secs(20)).await;
            sender.send(byte).unwrap();
            parts.frame().await.unwrap().unwrap();
        }
        assert_eq!(progress.idle_time(), Some(Duration::from_mins(1)));
        sender.send(&[0, 1, 7]).unwrap();
        parts.frame().await.unwrap().unwrap();
        assert_eq!(progress.idle_time(), None);
        drop(parts);
        assert!(matches!(*progress.progress.lock(), Progress::Ended));
    }
}
