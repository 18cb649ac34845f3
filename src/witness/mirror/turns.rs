//! Whose turn it is: a few lanes at once, and those that did not answer last time among themselves, so that a lane that never
//! answers keeps only its like waiting.
//!
//! *Invariant:* never more than [`QUICK`] + [`SLOW`] lanes of a log at once, and a turn ends after a piece of work when it was long.

use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) struct Turns {
    quick: Semaphore,
    slow: Semaphore,
}

/// Of one lane, until it is dropped.
pub(super) struct Turn<'t> {
    began: Instant,
    /// None only when the queue was closed, which nobody does.
    _place: Option<SemaphorePermit<'t>>,
}

impl Turns {
    pub const fn new() -> Self {
        Self { quick: Semaphore::const_new(QUICK), slow: Semaphore::const_new(SLOW) }
    }

    /// Waits for one; lanes that wait get theirs in the order in which they came.
    pub async fn next(&self, was_slow: bool) -> Turn<'_> {
        let queue = if was_slow { &self.slow } else { &self.quick };
        let place = queue.acquire().await.ok();
        Turn { began: Instant::now(), _place: place }
    }
}

impl Turn<'_> {
    /// Whether others are to have theirs: what is left is done in the next one.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= LONG
    }

    /// Whether the lane waits among the slow ones from now on: it came to nothing for want of an answer, or one piece took very long.
    pub fn was_slow(&self, failed: bool) -> bool {
        let took = self.began.elapsed();
        (failed && took >= UNANSWERED) || took >= VERY_LONG
    }
}

const QUICK: usize = 4;
const SLOW: usize = 2;
const LONG: Duration = Duration::from_secs(10);
/// Half of what an answer may take.
const UNANSWERED: Duration = Duration::from_secs(5);
const VERY_LONG: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_was_slow_keeps_only_its_like_waiting() {
        let turns = Turns::new();
        let slow: Vec<Turn<'_>> =
            std::iter::from_fn(|| turns.next(true).now_or_never()).take(100).collect();
        assert_eq!(slow.len(), SLOW);
        let mut quick: Vec<Turn<'_>> =
            std::iter::from_fn(|| turns.next(false).now_or_never()).take(100).collect();
        assert_eq!(quick.len(), QUICK);
        // First come, first served.
        let (mut second, mut third) = (Box::pin(turns.next(false)), Box::pin(turns.next(false)));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(quick.pop());
        assert!(third.now_or_never().is_none() && second.now_or_never().is_some());
    }
}
