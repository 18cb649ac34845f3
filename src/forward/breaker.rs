//! Whether a site is worth a try: it is left out after failures in a row, and tried again by one request at a time.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::Failure;

#[derive(Default)]
pub struct Breaker {
    /// Failures in a row: read for each request, without the lock.
    failures: AtomicU32,
    /// Written with the lock held, after each failure.
    last: Mutex<Option<(Failure, Instant)>>,
}

impl Breaker {
    /// True when the site may be chosen. After the pause it is half open: for one request at a time.
    pub fn lets_through(&self, in_flight: u64, now: Instant) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures < FAILURES_MAX {
            return true;
        }
        in_flight == 0 && self.last().is_none_or(|(_, since)| now >= since + pause(failures))
    }

    pub fn failed(&self, failure: Failure) {
        if !failure.is_of_site() {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((failure, Instant::now()));
        // Another identity is not a bad moment: leave the site out at once.
        let step = if failure == Failure::Identity { FAILURES_MAX } else { 1 };
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(step);
        self.failures.store(failures, Ordering::Relaxed);
    }

    /// A request was answered.
    pub fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.clear();
        }
    }

    /// A probe connected: that disproves failures to connect, not failures to answer.
    pub fn connected(&self) {
        if self.last().is_some_and(|(failure, _)| failure.is_of_connection()) {
            self.clear();
        }
    }

    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn last(&self) -> Option<(Failure, Instant)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = None;
        self.failures.store(0, Ordering::Relaxed);
    }
}

/// 1 s after the third failure, doubled by each further one, at most 32 s.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(FAILURES_MAX).min(5))
}

/// Failures in a row that leave a site out: a restart drops a few connections at once, an outage all.
const FAILURES_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    //! Proves when a site is left out, when it is tried again, and what brings it back.

    use super::*;

    #[test]
    fn three_failures_in_a_row_leave_a_site_out_until_one_request_is_answered() {
        let breaker = Breaker::default();
        breaker.failed(Failure::Closed);
        breaker.failed(Failure::Refused);
        breaker.failed(Failure::Closed);
        assert_eq!(breaker.failures(), 2, "a refusal is no failure of the site");
        assert!(breaker.lets_through(5, Instant::now()));
        breaker.failed(Failure::FirstByteTimeout);
        assert!(!breaker.lets_through(0, Instant::now()));
        breaker.connected();
        assert!(!breaker.lets_through(0, Instant::now()), "a connection does not prove an answer");
        let later = breaker.last().unwrap().1 + Duration::from_secs(1);
        assert!(breaker.lets_through(0, later), "half open");
        assert!(!breaker.lets_through(1, later), "for one request at a time");
        breaker.failed(Failure::Closed);
        let since = breaker.last().unwrap().1;
        assert!(!breaker.lets_through(0, since + Duration::from_millis(1_999)));
        assert!(breaker.lets_through(0, since + Duration::from_secs(2)));
        breaker.answered();
        assert!(breaker.lets_through(5, Instant::now()));
        assert_eq!((breaker.failures(), breaker.last()), (0, None));
    }

    #[test]
    fn another_identity_leaves_a_site_out_at_once_and_a_right_one_brings_it_back() {
        let breaker = Breaker::default();
        breaker.failed(Failure::Identity);
        assert!(!breaker.lets_through(0, Instant::now()));
        breaker.connected();
        assert!(breaker.lets_through(0, Instant::now()));
    }

    #[test]
    fn the_pause_grows_to_its_limit() {
        assert_eq!(pause(3), Duration::from_secs(1));
        assert_eq!(pause(8), Duration::from_secs(32));
        assert_eq!(pause(u32::MAX), Duration::from_secs(32));
    }
}
