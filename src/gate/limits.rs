//! How much may be under way at once, and for whom.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of the gate. Over a limit the answer is 503 with Retry-After, given before the body is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests under way at once, streams included.
    pub in_flight_max: usize,
    /// The part of `in_flight_max` and of `body_bytes_in_flight_max`, in percent, that one organisation may take.
    pub organisation_share_percent: usize,
    /// Bytes of request bodies held in memory at once, from the first byte read until the last has gone to a site.
    pub body_bytes_in_flight_max: usize,
    /// Prepared decisions kept in memory, within 48 MiB.
    pub memo_entries_max: usize,
    /// One in so many judgements is made anew, past the memos, and compared; 0: none.
    pub memo_recheck_one_in: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: 4096,
            organisation_share_percent: 50,
            // 16 bodies of the largest size (16 MiB) at once, or 60 kB for each of the 4,096 requests
            body_bytes_in_flight_max: 256 * 1024 * 1024,
            memo_entries_max: 65_536,
            memo_recheck_one_in: 100,
        }
    }
}

pub struct Limits {
    in_flight: Arc<Semaphore>,
    share_max: usize,
    body_share_max: usize,
    /// Organisation -> what is left of its share; owned by this lock, entries are few (one an organisation).
    shares: Mutex<BTreeMap<Arc<str>, Share>>,
    body_bytes: Arc<Semaphore>,
    draining: AtomicBool,
}

/// What one organisation may still take.
#[derive(Debug, Clone)]
struct Share {
    requests: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
    /// Of its own records.
    reads: Arc<Semaphore>,
}

/// Room for a body, given back when this is dropped.
#[derive(Debug)]
pub struct Room {
    all: OwnedSemaphorePermit,
    share: OwnedSemaphorePermit,
}

/// A place among the requests under way. Held until the last byte of the response is out.
#[derive(Debug)]
pub struct Slot {
    _all: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
}

/// Why there is no place now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    Draining,
    Full,
    ShareFull,
}

impl Limits {
    pub fn new(config: &Config) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(config.in_flight_max)),
            share_max: (config.in_flight_max * config.organisation_share_percent / 100).max(1),
            body_share_max: config
                .body_bytes_in_flight_max
                .saturating_mul(config.organisation_share_percent)
                / 100,
            shares: Mutex::default(),
            body_bytes: Arc::new(Semaphore::new(config.body_bytes_in_flight_max)),
            draining: AtomicBool::new(false),
        }
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Taken before the caller is known, so that token checks are bounded too.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, NoPlace> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(NoPlace::Draining);
        }
        Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| NoPlace::Full)
    }

    pub fn share(&self, org: &Arc<str>, all: OwnedSemaphorePermit) -> Result<Slot, NoPlace> {
        let share =
            self.share_of(org).requests.try_acquire_owned().map_err(|_| NoPlace::ShareFull)?;
        Ok(Slot { _all: all, _share: share })
    }

    /// Room for a body of at most `bytes`; `None` when there is none now.
    pub fn body_room(&self, org: &Arc<str>, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes).ok()?;
        // The organisation's own first: what it may not have it does not take from the others for a moment.
        let share = self.share_of(org).body_bytes.try_acquire_many_owned(bytes).ok()?;
        let all = Arc::clone(&self.body_bytes).try_acquire_many_owned(bytes).ok()?;
        Some(Room { all, share })
    }

    /// A place among the few reads of an organisation's own records; waits for one.
    pub async fn read(&self, org: &Arc<str>) -> Option<OwnedSemaphorePermit> {
        self.share_of(org).reads.acquire_owned().await.ok()
    }

    fn share_of(&self, org: &Arc<str>) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(org) {
            return share.clone();
        }
        let share = Share {
            requests: Arc::new(Semaphore::new(self.share_max)),
            body_bytes: Arc::new(Semaphore::new(self.body_share_max)),
            reads: Arc::new(Semaphore::new(READS_MAX)),
        };
        shares.insert(Arc::clone(org), share.clone());
        share
    }
}

impl Room {
    /// Gives back what a body of `bytes` does not need of it.
    pub fn shrink(&mut self, bytes: usize) {
        for permit in [&mut self.all, &mut self.share] {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }
}

impl Slot {
    /// Gives the place back when the response's body has ended or was dropped.
    pub fn release_with(self, response: Response<Body>) -> Response<Body> {
        if http_body::Body::is_end_stream(response.body()) {
            return response;
        }
        response.map(|body| Body::new(Held { body, _slot: self }))
    }
}

/// A body whose place is given back with it. Its length stays known, so that an answer of known length is sent as one.
struct Held {
    body: Body,
    _slot: Slot,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads of records at once, of one organisation. Each takes milliseconds, or waits a moment for its record without a connection.
const READS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    //! One organisation cannot take the others' room for bodies, and what was taken comes back.

    use super::*;

    #[test]
    fn the_room_for_bodies_is_shared_out_and_given_back() {
        let config = Config { body_bytes_in_flight_max: 1_000, ..Config::default() };
        let limits = Limits::new(&config);
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let mut room = limits.body_room(&one, 500).unwrap();
        assert!(limits.body_room(&one, 1).is_none(), "half of all is its share");
        let others = limits.body_room(&other, 500).unwrap();
        room.shrink(100);
        assert_eq!((room.all.num_permits(), room.share.num_permits()), (100, 100));
        assert!(limits.body_room(&one, 401).is_none());
        let more = limits.body_room(&one, 400).unwrap();
        assert!(limits.body_room(&Arc::from("third"), 1).is_none(), "all is taken");
        drop((room, others, more));
        assert_eq!(limits.body_bytes.available_permits(), 1_000);
        assert_eq!(limits.share_of(&one).body_bytes.available_permits(), 500);
    }
}
