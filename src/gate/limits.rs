//! How much may be under way at once, and for whom.

mod pace;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use pace::Pace;

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
    /// For what is used up.
    desk: Arc<Semaphore>,
    /// Of its own access entries.
    changes: Arc<Semaphore>,
    /// How often these may be changed.
    pace: Arc<Mutex<Pace>>,
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

    /// The place of an organisation that reads its own records; waits for it.
    pub async fn read(&self, org: &Arc<str>) -> Option<OwnedSemaphorePermit> {
        self.share_of(org).reads.acquire_owned().await.ok()
    }

    /// The place of an organisation at whose desk something is looked at that may be used up; waits for it, not for ever.
    pub async fn desk(&self, org: &Arc<str>) -> Option<OwnedSemaphorePermit> {
        within(self.share_of(org).desk).await
    }

    /// The place of an organisation that changes its own access entries: one change at a time, and no more often than its
    /// [`Pace`] lets it, by the clock given (unix nanoseconds). Each change moves the facts that everybody is judged on.
    pub async fn change(&self, org: &Arc<str>, now_ns: i64) -> Option<OwnedSemaphorePermit> {
        let share = self.share_of(org);
        // Before the wait: who comes too often is told so at once.
        let may = share.pace.lock().unwrap_or_else(PoisonError::into_inner).take(now_ns);
        if may { within(share.changes).await } else { None }
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
            desk: Arc::new(Semaphore::new(1)),
            changes: Arc::new(Semaphore::new(1)),
            pace: Arc::default(),
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

/// The only place of some kind that an organisation has, if it is free in time.
async fn within(place: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    timeout(PLACE_WAIT_MAX, place.acquire_owned()).await.ok()?.ok()
}

/// As long as a caller waits for a record.
const PLACE_WAIT_MAX: Duration = Duration::from_millis(1_800);
/// Reads of records at once, of one organisation. Each takes milliseconds, and one of the few connections for them: fewer organisations
/// than there are of these keep nobody else waiting.
const READS_MAX: usize = 1;

#[cfg(test)]
mod tests {
    //! One organisation cannot take the others' room, and what was taken comes back.

    use futures_util::FutureExt as _;

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

    #[test]
    fn an_organisation_reads_once_at_a_time_and_keeps_no_other_waiting() {
        let limits = Limits::new(&Config::default());
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let reading = limits.read(&one).now_or_never().unwrap();
        assert!(limits.read(&one).now_or_never().is_none());
        assert!(limits.read(&other).now_or_never().is_some());
        drop(reading);
        assert!(limits.read(&one).now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_organisation_has_one_desk_and_keeps_no_other_from_its_own() {
        let limits = Limits::new(&Config::default());
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let desk = limits.desk(&one).await.unwrap();
        assert!(limits.desk(&one).now_or_never().is_none(), "it waits");
        assert!(limits.desk(&other).now_or_never().unwrap().is_some());
        drop(desk);
        assert!(limits.desk(&one).now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn an_organisation_changes_its_entries_one_at_a_time_and_at_its_pace() {
        let limits = Limits::new(&Config::default());
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let changing = limits.change(&one, 0).await.unwrap();
        assert!(limits.change(&one, 0).now_or_never().is_none(), "the first is not done");
        drop(changing);
        let mut changes = 2;
        while limits.change(&one, 0).await.is_some() {
            changes += 1;
            assert!(changes < 1_000, "nothing bounds it");
        }
        assert!(limits.change(&other, 0).now_or_never().unwrap().is_some());
        assert!(limits.change(&one, 1_000_000_000).now_or_never().unwrap().is_some());
    }
}
