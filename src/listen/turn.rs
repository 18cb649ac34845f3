//! Whose turn it is in an answer on HTTP/2.
//!
//! A client that gives a stream no room blocks no write and answers every ping: its connection looks alive, and the stream
//! has something to send for ever. So each stream knows whether it waits for the service or for the client, and one that
//! waits for the client too long is dropped, which resets it. The connection's other streams are other people's, where a
//! proxy is in front: they go on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

tokio::task_local! {
    /// Of the stream whose task is polled: its answer is polled in there, and has no other way to it.
    static TURN: Arc<Turn>;
}

/// Written by the answer of one stream, read by the stream's task.
#[derive(Debug, Default)]
struct Turn {
    /// There is something to send, and the client has not taken it.
    clients: AtomicBool,
    /// Counts what was handed on.
    moves: AtomicU32,
}

/// Set while something that waits for the client has not moved: what had moved by then, and until when it may stay so.
type Waiting = Option<(u32, Pin<Box<Sleep>>)>;

/// Said by the answer of the stream that is polled now, when it is asked for more: is there something for the client, or has
/// the service to make it? False on HTTP/1, where a client that takes nothing blocks the write.
pub(super) fn moves(to_client: bool) -> bool {
    TURN.try_with(|turn| turn.moves(to_client)).is_ok()
}

impl Turn {
    fn moves(&self, to_client: bool) {
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.clients.store(to_client, Ordering::Relaxed);
    }

    /// Ready when the client took nothing for `idle`. Asked whenever the stream's task is polled, and by its own timer: one
    /// that only waits for its service arms none.
    fn poll_stalled(
        &self,
        waiting: &mut Waiting,
        idle: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if !self.clients.load(Ordering::Relaxed) {
                *waiting = None;
                return Poll::Pending;
            }
            let moved = self.moves.load(Ordering::Relaxed);
            let arm = || (moved, Box::pin(tokio::time::sleep(idle)));
            let (before, until) = waiting.get_or_insert_with(arm);
            ready!(until.as_mut().poll(cx));
            if *before == moved {
                return Poll::Ready(());
            }
            // It moved since: armed anew only now, so that pieces do not touch the timer.
            *waiting = None;
        }
    }
}

/// Runs the task of one stream. False when it was dropped because the client took nothing of its answer for `idle`: between
/// once and twice that.
pub(super) async fn watched(task: impl Future, idle: Duration) -> bool {
    let turn = Arc::new(Turn::default());
    let mut waiting = None;
    let task = TURN.scope(Arc::clone(&turn), task);
    tokio::select! {
        biased;
        _ = task => true,
        () = poll_fn(|cx| turn.poll_stalled(&mut waiting, idle, cx)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says whose turn it is, and is never done.
    async fn answers(to_client: bool) {
        assert!(moves(to_client));
        std::future::pending::<()>().await;
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_client_that_takes_nothing_loses_its_stream_and_a_slow_service_does_not() {
        assert!(!tokio::time::timeout(LONG, watched(answers(true), SHORT)).await.unwrap());
        let slow = watched(answers(false), SHORT);
        assert!(tokio::time::timeout(SHORT * 10, slow).await.is_err(), "it goes on");
    }

    #[tokio::test]
    async fn whatever_the_client_takes_gives_it_the_whole_time_again() {
        let turn = Turn::default();
        let (mut waiting, mut cx) = (None, Context::from_waker(std::task::Waker::noop()));
        turn.moves(true);
        assert!(turn.poll_stalled(&mut waiting, SHORT, &mut cx).is_pending());
        turn.moves(true);
        tokio::time::sleep(SHORT * 2).await;
        assert!(turn.poll_stalled(&mut waiting, LONG, &mut cx).is_pending(), "it took something");
        turn.moves(false);
        assert!(turn.poll_stalled(&mut waiting, LONG, &mut cx).is_pending());
        assert!(waiting.is_none(), "the service's time is not measured here");
        turn.moves(true);
        assert!(turn.poll_stalled(&mut waiting, SHORT, &mut cx).is_pending());
        tokio::time::sleep(SHORT * 2).await;
        assert!(turn.poll_stalled(&mut waiting, SHORT, &mut cx).is_ready());
    }
}
