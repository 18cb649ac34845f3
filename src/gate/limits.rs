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
    /// The part of `in_flight_max`, in percent, that one organisation may take.
    pub organisation_share_percent: usize,
    /// Bytes of request bodies held in memory at once.
    pub body_bytes_in_flight_max: usize,
    /// Prepared decisions kept in memory.
    pub memo_entries_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: 4096,
            organisation_share_percent: 50,
            // 64 bodies of the largest size (4 MiB) at once
            body_bytes_in_flight_max: 256 * 1024 * 1024,
            memo_entries_max: 65_536,
        }
    }
}

pub struct Limits {
    in_flight: Arc<Semaphore>,
    share_max: usize,
    /// Organisation -> what is left of its share; owned by this lock, entries are few (one an organisation).
    shares: Mutex<BTreeMap<Arc<str>, Arc<Semaphore>>>,
    body_bytes: Arc<Semaphore>,
    draining: AtomicBool,
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
        let share = {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            match shares.get(org) {
                Some(share) => Arc::clone(share),
                None => Arc::clone(
                    shares
                        .entry(Arc::clone(org))
                        .or_insert_with(|| Arc::new(Semaphore::new(self.share_max))),
                ),
            }
        };
        let share = share.try_acquire_owned().map_err(|_| NoPlace::ShareFull)?;
        Ok(Slot { _all: all, _share: share })
    }

    /// Room for a body of at most `bytes`; `None` when there is none now.
    pub fn body_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.body_bytes).try_acquire_many_owned(bytes).ok()
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
