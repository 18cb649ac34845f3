//! What waits for a commit: decisions with somebody waiting for them, and notices. All lanes take from one queue, so a
//! lane that is lost leaves nothing stranded.
//!
//! A commit costs the same for one record as for a hundred, so few and large ones are worth a short wait: while a lane
//! commits, another begins only when a commit's worth waits or the first has waited long; and notices, which nobody
//! waits for, ride with the next decision.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{Notify, oneshot},
    time::{Duration, Instant},
};

use super::{
    Ended, RecordError,
    batch::Committed,
    leaf::{Decision, Notice},
    opens::{Epoch, Open, Opens, Slot},
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
    /// Of the end of an ALLOW of ours. Freed when this is dropped, which is after the record is durable.
    open: Option<Open>,
    /// Of the end of an ALLOW of a process that is gone: the term under which its absence was seen.
    pub closer: Option<i64>,
}

impl From<Notice> for Noted {
    fn from(notice: Notice) -> Self {
        Self { notice, open: None, closer: None }
    }
}

/// What a lane takes at once.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub notices: Vec<Noted>,
    pub decisions: Vec<Request>,
}

impl Items {
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.decisions.is_empty()
    }
}

/// What a lane is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Commit this. The turn is held until everybody has been told.
    Commit(Items, Turn),
    /// Nothing now. Look again when woken, and at this instant if one is given.
    Wait(Option<Instant>),
}

/// One lane is at a commit.
#[derive(Debug)]
pub(super) struct Turn(Arc<Queue>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().lanes_busy -= 1;
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
    /// Since when a decision, and a notice, waits. Of no meaning while none does.
    decision_since: Option<Instant>,
    notice_since: Option<Instant>,
    /// Lanes that are at a commit.
    lanes_busy: usize,
    closed: bool,
    /// Epochs of ours that were given up by another process: it ends their ALLOWs, so we do not.
    disowned: BTreeSet<Epoch>,
}

impl Waiting {
    /// When a lane should begin a commit; none while nothing waits.
    fn due(&self) -> Option<Instant> {
        let decisions = self.decision_since.map(|since| (self.decisions.len(), since));
        let notices = self.notice_since.map(|since| (self.notices.len(), since));
        due(
            decisions.filter(|(count, _)| *count > 0),
            notices.filter(|(count, _)| *count > 0),
            self.lanes_busy,
        )
    }

    /// A batch from the front.
    fn split(&mut self) -> Items {
        let decisions = self.decisions.len().min(RECORDS_MAX);
        let room = (RECORDS_MAX - decisions).max(NOTICES_SHARE);
        let notices = self.notices.len().min(room);
        Items {
            decisions: self.decisions.drain(..decisions).collect(),
            notices: self.notices.drain(..notices).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.notices.is_empty()
    }

    /// Whether this may still be written by us.
    fn is_ours(&self, noted: &Noted) -> bool {
        noted.open.as_ref().is_none_or(|open| !self.disowned.contains(&open.epoch))
    }
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
        if waiting.decisions.is_empty() {
            waiting.decision_since = Some(Instant::now());
        }
        waiting.decisions.push_back(request);
        // The first wakes a lane (to commit, or to help when that takes long), as does each further commit's worth.
        let waiting = waiting.decisions.len();
        if waiting == 1 || waiting.is_multiple_of(COMMIT_WORTH) {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// False when there is no room; only notices without a slot can find none.
    pub fn note(&self, notice: Notice) -> bool {
        self.admit(notice.into())
    }

    /// The same for the end of another's ALLOW: written as long as nobody closes under a later term.
    pub fn note_closing(&self, ended: Ended, term: i64) -> bool {
        self.admit(Noted { notice: Notice::Ended(ended), open: None, closer: Some(term) })
    }

    fn admit(&self, noted: Noted) -> bool {
        let mut waiting = self.lock();
        if waiting.notices.len() >= NOTICES_MAX {
            return false;
        }
        self.add(&mut waiting, noted);
        true
    }

    /// Ends an ALLOW, once: a second end of the same decision is nothing. Never refused: the slot is its room.
    pub fn end(&self, ended: Ended) {
        if let Some(open) = self.opens.end(&ended.id) {
            self.note_held(Notice::Ended(ended), open);
        }
    }

    pub fn note_held(&self, notice: Notice, open: Open) {
        self.add(&mut self.lock(), Noted { notice, open: Some(open), closer: None });
    }

    /// A durable ALLOW begins; false when it is not ours to end, and hence not to be acted upon.
    pub fn begin(&self, id: &Arc<str>, open: Open) -> bool {
        let waiting = self.lock();
        let ours = !waiting.disowned.contains(&open.epoch);
        if ours {
            self.opens.begin(Arc::clone(id), open);
        }
        ours
    }

    /// Another process found us gone and ends the ALLOWs of these epochs. Gives how many of them were open.
    pub fn disown(&self, epochs: impl IntoIterator<Item = Epoch>) -> usize {
        let mut waiting = self.lock();
        waiting.disowned.extend(epochs);
        let notices = std::mem::take(&mut waiting.notices);
        let before = notices.len();
        waiting.notices = notices.into_iter().filter(|noted| waiting.is_ours(noted)).collect();
        before - waiting.notices.len() + self.opens.disown(&waiting.disowned)
    }

    fn add(&self, waiting: &mut Waiting, noted: Noted) {
        if !waiting.is_ours(&noted) {
            return;
        }
        if waiting.notices.is_empty() {
            waiting.notice_since = Some(Instant::now());
        }
        waiting.notices.push_back(noted);
        // The first wakes a lane, which then looks again in time; so does a batch of them.
        if waiting.notices.len() % NOTICES_SHARE == 1 {
            self.wake.notify_one();
        }
    }

    /// What a lane should do now. Returns at once.
    pub fn next(self: &Arc<Self>) -> Next {
        let now = Instant::now();
        let mut waiting = self.lock();
        match waiting.due() {
            Some(due) if due <= now => {
                let items = waiting.split();
                waiting.lanes_busy += 1;
                // What is left was there before: it has waited as long, and may be worth another lane's commit.
                let left = !waiting.is_empty();
                drop(waiting);
                if left {
                    self.wake.notify_one();
                }
                Next::Commit(items, Turn(Arc::clone(self)))
            }
            due => Next::Wait(due),
        }
    }

    /// Everything that waits, up to a batch, due or not: for a lane that closes.
    pub fn take(&self) -> Items {
        self.lock().split()
    }

    /// Lets requests that this thread has ready come in first, up to its next look at the sockets: the busier the process, the
    /// larger the commit. A moment where there is none. Cancel-safe.
    pub async fn gather(&self) {
        tokio::task::yield_now().await;
    }

    /// Waits until something may be waiting. Cancel-safe.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// A lane leaves, or has something else to do: if it was the one that was woken for what waits, another is.
    pub fn hand_on(&self) {
        if !self.lock().is_empty() {
            self.wake.notify_one();
        }
    }

    /// Puts back what a lane that is lost could not write, but for what is not ours to write any more, and the records that open
    /// or close its epoch: another lane would write them out of place.
    pub fn give_back(&self, mut items: Items) {
        let waiting = self.lock();
        items.notices.retain(|noted| !noted.notice.is_of_epoch() && waiting.is_ours(noted));
        drop(waiting);
        self.put_back(items);
    }

    /// Puts back what was not written yet, in front and in order.
    pub fn put_back(&self, items: Items) {
        if items.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        if waiting.is_empty() {
            let now = Some(Instant::now());
            (waiting.decision_since, waiting.notice_since) = (now, now);
        }
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

/// When the next commit should begin, from how many wait and since when.
fn due(
    decisions: Option<(usize, Instant)>,
    notices: Option<(usize, Instant)>,
    lanes_busy: usize,
) -> Option<Instant> {
    let decisions = decisions.map(|(count, since)| {
        let worth = count >= lanes_busy * COMMIT_WORTH;
        if worth { since } else { since + HELP_AFTER }
    });
    let notices = notices.map(|(count, since)| {
        let worth = lanes_busy == 0 && count >= NOTICES_SHARE;
        if worth { since } else { since + LINGER }
    });
    decisions.into_iter().chain(notices).min()
}

/// Records of one commit: at 1,100 bytes a decision 1.1 MB, a few milliseconds of work.
const RECORDS_MAX: usize = 1_024;
/// Decisions that are worth a commit beside one that is under way: a commit of 256 takes Postgres about twice as long as
/// one of a single record.
const COMMIT_WORTH: usize = 256;
/// A decision waits no longer for the commit under way: on a disk that syncs in less, one lane at a time is the fastest.
const HELP_AFTER: Duration = Duration::from_millis(5);
/// Notices wait for a decision to ride with. Their ALLOW is durable: what is lost in a crash is closed as such.
const LINGER: Duration = Duration::from_millis(50);
/// Notices of one commit even when decisions alone would fill it, so that ends never starve.
const NOTICES_SHARE: usize = 512;
/// Notices without a slot (started, aggregates, alarms) that may wait: about 200 bytes each.
const NOTICES_MAX: usize = 131_072;

#[cfg(test)]
mod tests {
    //! Proves when a commit begins: at once for somebody who waits, late for what nobody waits for; and that what waits
    //! always has a lane that knows of it.

    use futures_util::FutureExt as _;

    use super::*;

    fn noted(queue: &Queue, count: usize) {
        (0..count).for_each(|_| assert!(queue.note(Notice::LaneClose { why: "drain" })));
    }

    #[test]
    fn a_lane_that_leaves_hands_on_what_it_was_woken_for() {
        let queue = Arc::new(Queue::new(10));
        noted(&queue, 1);
        assert!(queue.wait().now_or_never().is_some());
        assert!(queue.wait().now_or_never().is_none(), "one lane is woken for one record");
        queue.hand_on();
        assert!(queue.wait().now_or_never().is_some());
        queue.take();
        queue.hand_on();
        assert!(queue.wait().now_or_never().is_none(), "nothing waits");
    }

    #[test]
    fn what_a_commit_leaves_behind_wakes_another_lane() {
        let queue = Arc::new(Queue::new(10));
        noted(&queue, RECORDS_MAX + 1);
        while queue.wait().now_or_never().is_some() {}
        let Next::Commit(items, _turn) = queue.next() else { panic!("it is worth a commit") };
        assert_eq!(items.notices.len(), RECORDS_MAX);
        assert!(queue.wait().now_or_never().is_some());
    }

    #[test]
    fn a_decision_waits_only_for_a_commit_under_way_and_not_long() {
        let since = Instant::now();
        assert_eq!(due(Some((1, since)), None, 0), Some(since));
        assert_eq!(due(Some((COMMIT_WORTH - 1, since)), None, 1), Some(since + HELP_AFTER));
        assert_eq!(due(Some((COMMIT_WORTH, since)), None, 1), Some(since));
        assert_eq!(due(Some((COMMIT_WORTH, since)), None, 2), Some(since + HELP_AFTER));
    }

    #[test]
    fn notices_wait_for_a_decision_or_for_a_batch_of_them() {
        let (since, later) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        assert_eq!(due(None, Some((1, since)), 0), Some(since + LINGER));
        assert_eq!(due(Some((1, later)), Some((1, since)), 0), Some(later));
        assert_eq!(due(None, Some((NOTICES_SHARE, since)), 0), Some(since));
        assert_eq!(due(None, Some((NOTICES_SHARE, since)), 1), Some(since + LINGER));
        assert_eq!(due(None, None, 0), None);
    }
}
