//! The signal to a connection to close.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// Makes the one task that serves a connection close it.
#[derive(Debug, Default)]
pub struct CloseSignal {
    is_sent: AtomicBool,
    task: AtomicWaker,
}

impl CloseSignal {
    /// Sends the signal. It stays sent.
    pub fn send(&self) {
        self.is_sent.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Returns true once the signal was sent.
    pub fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }

    /// Resolves once the signal was sent. Only the task that polled it last is woken.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        // Registered before the check, so that no signal is missed.
        self.task.register(context.waker());
        if self.is_sent() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits for the signal.
    pub async fn sent(&self) {
        poll_fn(|context| self.poll(context)).await;
    }
}
