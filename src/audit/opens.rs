//! The ALLOWs of this process that have no end yet: each is ended once, and there is room for only so many.
//!
//! *Invariant:* a slot is free again only when the `ended` record is durable, so ends can never be crowded out: when
//! they cannot be written, admissions stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for one ALLOW from its admission to its durable end.
pub(super) type Slot = OwnedSemaphorePermit;

#[derive(Debug)]
pub(super) struct Opens {
    slots: Arc<Semaphore>,
    open: Mutex<HashMap<Arc<str>, Slot>>,
}

impl Opens {
    pub fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(OPEN_MAX)), open: Mutex::default() }
    }

    /// `None` when as many ALLOWs are without a durable end as there may be.
    pub fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    pub fn free(&self) -> usize {
        self.slots.available_permits()
    }

    /// A durable ALLOW begins.
    pub fn begin(&self, id: Arc<str>, slot: Slot) {
        self.lock().insert(id, slot);
    }

    pub fn is_open(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// The slot goes with the `ended` record; `None` when the decision has been ended already.
    pub fn end(&self, id: &str) -> Option<Slot> {
        self.lock().remove(id)
    }

    /// Everything that nobody ended.
    pub fn drain(&self) -> Vec<(Arc<str>, Slot)> {
        self.lock().drain().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Slot>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// ALLOWs in flight and ends not yet durable: at 20,000 a second a Postgres outage of 3 s fills it, and by then nothing
/// new is allowed anyway. About 200 bytes each: 13 MB.
const OPEN_MAX: usize = 65_536;
