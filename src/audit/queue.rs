//! What waits for a commit: decisions with somebody waiting for them, and notices. All lanes take from one queue, so a
//! lane that is lost leaves nothing stranded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::{
    Ended, RecordError,
    batch::Committed,
    leaf::{Decision, Notice},
    opens::{Opens, Slot},
};

/// A decision on its way into the log.
#[derive(Debug)]
pub(super) struct Request {
    pub decision: Decision,
    pub reply: oneshot::Sender<Result<Delivery, RecordError>>,
    /// Held by every decision that allows.
    pub slot: Option<Slot>,
}

/// A record that nobody waits for.
#[derive(Debug)]
pub(super) struct Noted {
    pub notice: Notice,
    /// Freed when this is dropped, which is after the record is durable.
    _slot: Option<Slot>,
}

impl From<Notice> for Noted {
    fn from(notice: Notice) -> Self {
        Self { notice, _slot: None }
    }
}

/// What a lane takes at once.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub notices: Vec<Noted>,
    pub decisions: Vec<Request>,
}

impl Items {
    /// Without the records that open or close one epoch of one lane: another would write them out of place.
    pub fn without_lane(mut self) -> Self {
        self.notices.retain(|noted| {
            !matches!(noted.notice, Notice::LaneOpen { .. } | Notice::LaneClose { .. })
        });
        self
    }

    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.decisions.is_empty()
    }
}

/// A durable decision on its way back to who waits for it. An ALLOW that nobody takes over is ended.
#[derive(Debug)]
pub(super) struct Delivery {
    pub committed: Arc<Committed>,
    /// Position in the batch.
    pub place: usize,
    pub id: Arc<str>,
    orphan: Option<Arc<Queue>>,
}

impl Delivery {
    pub fn new(
        committed: Arc<Committed>,
        place: usize,
        id: Arc<str>,
        allows: Option<Arc<Queue>>,
    ) -> Self {
        Self { committed, place, id, orphan: allows }
    }

    /// From here on its taker is answerable for the end.
    pub fn take_over(&mut self) {
        self.orphan = None;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(queue) = self.orphan.take() {
            queue.end(Ended::not_forwarded(Arc::clone(&self.id), "client_gone"));
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    decisions_max: usize,
    pub opens: Opens,
}

#[derive(Debug, Default)]
struct Waiting {
    decisions: VecDeque<Request>,
    notices: VecDeque<Noted>,
    closed: bool,
}

impl Queue {
    pub fn new(decisions_max: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), decisions_max, opens: Opens::new() }
    }

    pub fn push(&self, request: Request) -> Result<(), RecordError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(RecordError::Unavailable);
        }
        if waiting.decisions.len() >= self.decisions_max {
            return Err(RecordError::Full);
        }
        waiting.decisions.push_back(request);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// False when there is no room; only notices without a slot can find none.
    pub fn note(&self, notice: Notice) -> bool {
        let mut waiting = self.lock();
        if waiting.notices.len() >= NOTICES_MAX {
            return false;
        }
        waiting.notices.push_back(notice.into());
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// Ends an ALLOW, once: a second end of the same decision is nothing. Never refused: the slot is its room.
    pub fn end(&self, ended: Ended) {
        if let Some(slot) = self.opens.end(&ended.id) {
            self.note_held(Notice::Ended(ended), slot);
        }
    }

    pub fn note_held(&self, notice: Notice, slot: Slot) {
        self.lock().notices.push_back(Noted { notice, _slot: Some(slot) });
        self.wake.notify_one();
    }

    /// Everything that waits, up to a batch; returns at once, perhaps with nothing.
    pub fn take(&self) -> Items {
        let mut waiting = self.lock();
        let decisions = waiting.decisions.len().min(RECORDS_MAX);
        let room = (RECORDS_MAX - decisions).max(NOTICES_SHARE);
        let notices = waiting.notices.len().min(room);
        let items = Items {
            decisions: waiting.decisions.drain(..decisions).collect(),
            notices: waiting.notices.drain(..notices).collect(),
        };
        let more = !(waiting.decisions.is_empty() && waiting.notices.is_empty());
        drop(waiting);
        if more {
            self.wake.notify_one();
        }
        items
    }

    /// Waits until something may be waiting. Cancel-safe.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Puts back what could not be written, in front and in order.
    pub fn put_back(&self, items: Items) {
        if items.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        items.decisions.into_iter().rev().for_each(|request| waiting.decisions.push_front(request));
        items.notices.into_iter().rev().for_each(|noted| waiting.notices.push_front(noted));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Nothing new is admitted; what waits is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_waiters();
    }

    /// Decisions and notices that wait.
    pub fn depth(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.decisions.len(), waiting.notices.len())
    }

    pub fn is_nearly_full(&self) -> bool {
        let (decisions, _) = self.depth();
        decisions * 4 >= self.decisions_max * 3 || self.opens.free() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records of one commit: at 1,100 bytes a decision 1.1 MB, a few milliseconds of work.
const RECORDS_MAX: usize = 1_024;
/// Notices of one commit even when decisions alone would fill it, so that ends never starve.
const NOTICES_SHARE: usize = 512;
/// Notices without a slot (started, aggregates, alarms) that may wait: about 200 bytes each.
const NOTICES_MAX: usize = 131_072;
