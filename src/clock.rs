//! Time as an argument: the only room that reads a clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of UTC time. Cheap to clone; the fixed one is for tests and for judging again.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Fixed(Arc<std::sync::atomic::AtomicI64>),
}

impl Clock {
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `unix_ns` until [`Clock::set`] moves it.
    #[must_use]
    pub fn fixed(unix_ns: i64) -> Self {
        Self(Source::Fixed(Arc::new(unix_ns.into())))
    }

    /// Moves a fixed clock; has no effect on the system clock.
    pub fn set(&self, unix_ns: i64) {
        if let Source::Fixed(now) = &self.0 {
            now.store(unix_ns, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the system clock"
    )]
    pub fn unix_ns(&self) -> i64 {
        match &self.0 {
            Source::Fixed(now) => now.load(std::sync::atomic::Ordering::SeqCst),
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_s(&self) -> i64 {
        self.unix_ns().div_euclid(1_000_000_000)
    }
}
