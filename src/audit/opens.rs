//! The ALLOWs of this process that have no end yet: each is ended once, and there is room for only so many.
//!
//! *Invariant:* a slot is free again only when the `ended` record is durable, so ends can never be crowded out: when
//! they cannot be written, admissions stop.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for one ALLOW from its admission to its durable end.
pub(super) type Slot = OwnedSemaphorePermit;

/// Lane and epoch under which a record was written.
pub(super) type Epoch = (u16, u64);

/// A durable ALLOW of ours without a durable end.
#[derive(Debug)]
pub(super) struct Open {
    pub epoch: Epoch,
    /// Freed when this is dropped.
    _slot: Slot,
}

impl Open {
    pub const fn new(slot: Slot, epoch: Epoch) -> Self {
        Self { epoch, _slot: slot }
    }
}

#[derive(Debug)]
pub(super) struct Opens {
    slots: Arc<Semaphore>,
    open: Mutex<HashMap<Arc<str>, Open>>,
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
    pub fn begin(&self, id: Arc<str>, open: Open) {
        self.lock().insert(id, open);
    }

    pub fn is_open(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// The slot goes with the `ended` record; `None` when the decision has been ended already.
    pub fn end(&self, id: &str) -> Option<Open> {
        self.lock().remove(id)
    }

    /// Everything that nobody ended.
    pub fn drain(&self) -> Vec<(Arc<str>, Open)> {
        self.lock().drain().collect()
    }

    /// Somebody else ends those of these epochs; gives how many there were.
    pub fn disown(&self, epochs: &BTreeSet<Epoch>) -> usize {
        let mut open = self.lock();
        let before = open.len();
        open.retain(|_, open| !epochs.contains(&open.epoch));
        before - open.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// ALLOWs in flight and ends not yet durable: at 20,000 a second a Postgres outage of 3 s fills it, and by then nothing
/// new is allowed anyway. About 200 bytes each: 13 MB.
const OPEN_MAX: usize = 65_536;
