//! ALLOWs of processes that are gone get their end: `unknown_crash`.
//!
//! *Invariant:* only epochs whose holder was found dead twice, some seconds apart, and only on a drained projection. They are
//! marked before the first end is written: a holder that was merely out of reach finds the mark before it writes again, and
//! leaves these ends to us. What it wrote before the mark is projected before its ALLOWs are looked through. Each end is written
//! under the term of who looked: where another closes meanwhile, none is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    AuditError, Ended, How,
    projection::{
        store::{self, DeadEpoch},
        within,
    },
    recorder::Shared,
};

/// Owned by the projection's task.
#[derive(Debug)]
pub(super) struct Closing {
    /// Under which the ends that we find missing are written, or not at all: one process closes at a time.
    term: i64,
    next: Option<Instant>,
    /// Epochs (lane, number) found dead, and since when.
    dead: HashMap<(i32, i64), Instant>,
    /// Of these, the ones that are marked, durably.
    marked: HashSet<(i32, i64)>,
    /// Ends on their way into the log, for each such epoch.
    under_way: HashMap<(i32, i64), HashSet<Uuid>>,
    /// Of each such epoch, as long as it ends there: from where on every ALLOW has its end.
    closed: HashMap<(i32, i64), (i64, i64)>,
}

impl Closing {
    pub fn new() -> Self {
        Self {
            term: 0,
            next: None,
            dead: HashMap::new(),
            marked: HashSet::new(),
            under_way: HashMap::new(),
            closed: HashMap::new(),
        }
    }

    /// From here on we close, under this term. Ends of a former one are in the log by now, or never will be.
    pub fn begin(&mut self, term: i64) {
        self.term = term;
        self.under_way.clear();
        // A failover may have taken ends and marks away.
        self.closed.clear();
        self.marked.clear();
    }

    /// Ends what can be ended now; looks only every few seconds.
    pub async fn look(
        &mut self,
        connection: &mut PgConnection,
        shared: &Shared,
    ) -> Result<(), AuditError> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next = Some(now + LOOK_EVERY);
        let found = store::dead_epochs(connection, shared.identity.instance);
        let found = within(QUERY_MAX, found).await?;
        self.dead.retain(|key, _| found.iter().any(|epoch| (epoch.lane, epoch.epoch) == *key));
        self.closed.retain(|key, _| self.dead.contains_key(key));
        self.marked.retain(|key| self.dead.contains_key(key));
        for epoch in found {
            let since = *self.dead.entry((epoch.lane, epoch.epoch)).or_insert(now);
            // A process that lost its connections for a moment is back by then.
            if now.duration_since(since) >= DEAD_FOR {
                self.close(connection, shared, epoch).await?;
            }
        }
        Ok(())
    }

    async fn close(
        &mut self,
        connection: &mut PgConnection,
        shared: &Shared,
        epoch: DeadEpoch,
    ) -> Result<(), AuditError> {
        let key = (epoch.lane, epoch.epoch);
        if !self.marked.contains(&key) {
            if within(QUERY_MAX, store::abandon(connection, epoch)).await? {
                self.marked.insert(key);
            }
            // Its holder is back, or may have been until now: its last ends are projected before the next look.
            return Ok(());
        }
        let (open, is_all) = self.open(connection, epoch).await?;
        if open.is_empty() && is_all {
            self.under_way.remove(&key);
            return within(QUERY_MAX, store::settle(connection, epoch)).await;
        }
        let under_way = self.under_way.entry(key).or_default();
        if is_all {
            under_way.retain(|decision| open.contains(decision));
        }
        for decision in open {
            if !under_way.insert(decision) {
                continue;
            }
            let id: Arc<str> = decision.to_string().into();
            let ended = Ended::without_traffic(id, How::UnknownCrash, "gateway_gone");
            // If we stop here, the ALLOW is still without an end and the next one who looks finds it.
            if !shared.queue.note_closing(ended, self.term) {
                under_way.remove(&decision);
                break;
            }
        }
        Ok(())
    }

    /// ALLOWs without an end, the newest first, and whether these are all: what there was no time for is for the next look.
    async fn open(
        &mut self,
        connection: &mut PgConnection,
        epoch: DeadEpoch,
    ) -> Result<(Vec<Uuid>, bool), AuditError> {
        let (began, key) = (Instant::now(), (epoch.lane, epoch.epoch));
        let known = self.closed.get(&key).filter(|(until, _)| *until == epoch.until);
        let mut to = known.map_or(epoch.until, |(_, from)| *from);
        let mut open: Vec<Uuid> = Vec::new();
        while to > epoch.first {
            if open.len() >= CLOSE_AT_ONCE || began.elapsed() > SCAN_MAX {
                return Ok((open, false));
            }
            let from = (to - AT_ONCE).max(epoch.first);
            let found = store::open_allows(connection, epoch.lane, (from, to));
            open.extend(within(QUERY_MAX, found).await?);
            if open.is_empty() {
                self.closed.insert(key, (epoch.until, from));
            }
            to = from;
        }
        Ok((open, true))
    }
}

/// Records of an epoch that are looked through by one query: one that lasted for months has more than a query has time for.
const AT_ONCE: i64 = 100_000;
const SCAN_MAX: Duration = Duration::from_secs(4);
/// Two looks find the holder gone and mark it, a third writes the ends: with the projection's pause an ALLOW is closed about 12 s
/// after a restart, within the promised 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(3);
const DEAD_FOR: Duration = Duration::from_secs(5);
const QUERY_MAX: Duration = Duration::from_secs(5);
/// At 20,000 a second a process that died leaves a few thousand at most.
const CLOSE_AT_ONCE: usize = 10_000;
