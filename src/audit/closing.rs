//! ALLOWs of processes that are gone get their end: `unknown_crash`.
//!
//! *Invariant:* only epochs whose holder was found dead twice, some seconds apart, and only on a drained projection. They are
//! marked before the first end is written: a holder that was merely out of reach finds the mark before it writes again, and
//! leaves these ends to us.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    AuditError, Ended, How,
    leaf::Notice,
    projection::{
        store::{self, DeadEpoch},
        within,
    },
    recorder::Shared,
};

/// Owned by the projection's task.
#[derive(Debug)]
pub(super) struct Closing {
    next: Option<Instant>,
    /// Epochs (lane, number) found dead, and since when.
    dead: HashMap<(i32, i64), Instant>,
    /// Ends on their way into the log, for each such epoch.
    under_way: HashMap<(i32, i64), HashSet<Uuid>>,
}

impl Closing {
    pub fn new() -> Self {
        Self { next: None, dead: HashMap::new(), under_way: HashMap::new() }
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
        let taken_back = shared.queue.dropped();
        for id in taken_back.iter().filter_map(|id| id.parse::<Uuid>().ok()) {
            self.under_way.values_mut().for_each(|ends| {
                ends.remove(&id);
            });
        }
        let found = store::dead_epochs(connection, shared.identity.instance);
        let found = within(QUERY_MAX, found).await?;
        self.dead.retain(|key, _| found.iter().any(|epoch| (epoch.lane, epoch.epoch) == *key));
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
        if !epoch.abandoned && !within(QUERY_MAX, store::abandon(connection, epoch)).await? {
            return Ok(()); // its holder is back
        }
        let open = within(QUERY_MAX, store::open_allows(connection, epoch, CLOSE_AT_ONCE)).await?;
        let key = (epoch.lane, epoch.epoch);
        if open.is_empty() {
            self.under_way.remove(&key);
            return within(QUERY_MAX, store::settle(connection, epoch)).await;
        }
        let under_way = self.under_way.entry(key).or_default();
        under_way.retain(|decision| open.contains(decision));
        for decision in open {
            if !under_way.insert(decision) {
                continue;
            }
            let id: Arc<str> = decision.to_string().into();
            let ended = Ended::without_traffic(id, How::UnknownCrash, "gateway_gone");
            // If we stop here, the ALLOW is still without an end and the next one who looks finds it.
            if !shared.queue.note(Notice::Ended(ended)) {
                under_way.remove(&decision);
                break;
            }
        }
        Ok(())
    }
}

/// Two looks must find the holder gone: with the projection's pause an ALLOW is closed about 10 s after a restart,
/// within the promised 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(3);
const DEAD_FOR: Duration = Duration::from_secs(5);
const QUERY_MAX: Duration = Duration::from_secs(5);
/// At 20,000 a second a process that died leaves a few thousand at most.
const CLOSE_AT_ONCE: i64 = 10_000;
