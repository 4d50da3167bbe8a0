//! Answers that are streams, on their way to the client: they hold their place among the streams to
//! their end, and a client that takes nothing of one for too long is hung up on. Nothing else would
//! free what it holds: HTTP/2 leaves the pace of an answer to whoever asked.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, stream, task::AtomicWaker};
use http_body_util::{BodyExt, StreamBody};
use tonic::{body::Body, codegen::Body as _};

/// Ends the connection that a call came over, with all its calls. Clones end the same one.
#[derive(Clone, Debug, Default)]
pub struct HangUp(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    asked: AtomicBool,
    connection: AtomicWaker,
}

impl HangUp {
    /// Asks for it; the connection ends when it is read next.
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.connection.wake();
    }

    /// Whether it was asked for; if not, the reader of the connection is woken when it is.
    pub fn poll_asked(&self, context: &mut Context<'_>) -> bool {
        self.0.connection.register(context.waker());
        self.0.asked.load(Ordering::Acquire)
    }
}

/// Since when a frame waits that the client does not take.
type Untaken = Mutex<Option<Instant>>;

/// The same body, which keeps `place` until it ends or is given up. Who takes nothing of it for as
/// long as `patience` is hung up on.
pub(super) fn held(
    mut body: Body,
    place: impl Send + 'static,
    patience: Duration,
    hang_up: Option<HangUp>,
) -> Body {
    // A refusal, which is told by headers alone and stays so.
    if body.is_end_stream() {
        return body;
    }
    let untaken = Arc::new(Untaken::default());
    if let Some(hang_up) = hang_up {
        tokio::spawn(watch(Arc::downgrade(&untaken), patience, hang_up));
    }
    let frames = stream::poll_fn(move |context| {
        let _held = &place;
        // Whoever asks for a frame has taken the last one.
        note(&untaken, None);
        let frame = body.frame().poll_unpin(context);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            note(&untaken, Some(Instant::now()));
        }
        frame
    });
    Body::new(StreamBody::new(frames))
}

fn note(untaken: &Untaken, since: Option<Instant>) {
    *untaken.lock().unwrap_or_else(PoisonError::into_inner) = since;
}

async fn watch(untaken: Weak<Untaken>, patience: Duration, hang_up: HangUp) {
    loop {
        tokio::time::sleep(patience / 4).await;
        let Some(untaken) = untaken.upgrade() else {
            return;
        };
        let since = *untaken.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| since.elapsed() >= patience) {
            tracing::info!("a client takes nothing of its stream: its connection is closed");
            hang_up.ask();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::sync::Semaphore;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    async fn asked(hang_up: &HangUp) {
        std::future::poll_fn(|context| {
            if hang_up.poll_asked(context) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn answer() -> Body {
        Body::new(Full::from("answer"))
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_hung_up_on() {
        let hang_up = HangUp::default();
        let mut body = held(answer(), (), PATIENCE, Some(hang_up.clone()));
        // It is on its way now, and nobody asks for more.
        body.frame().await.unwrap().unwrap();
        asked(&hang_up).await;
    }

    #[tokio::test]
    async fn whoever_waits_for_the_server_is_not() {
        let hang_up = HangUp::default();
        let silent = stream::once(async {
            std::future::pending::<()>().await;
            answer().frame().await.unwrap()
        });
        let silent = Body::new(StreamBody::new(silent));
        let mut body = held(silent, (), PATIENCE, Some(hang_up.clone()));
        assert!(body.frame().now_or_never().is_none());
        let waited = tokio::time::timeout(5 * PATIENCE, asked(&hang_up)).await;
        assert!(waited.is_err());
    }

    #[tokio::test]
    async fn a_place_is_held_to_the_end_of_the_answer() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let body = held(answer(), place, PATIENCE, None);
        assert_eq!(places.available_permits(), 0);
        drop(body);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_refusal_stays_one_and_holds_no_place() {
        let body = held(Body::empty(), (), PATIENCE, None);
        assert!(body.is_end_stream());
    }
}
