//! The query tables follow the log: batches in order become rows, each exactly once.
//!
//! *Invariant:* rows and cursor move in one transaction, so a crash neither loses nor doubles a row. Any replica may do
//! it, one at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use super::{
    AuditError,
    batch::Committed,
    closing::Closing,
    metrics::Metrics,
    recent::Recent,
    recorder::Shared,
    row::{self, Leaf, Row},
    store::small,
};

pub(super) mod store;

/// Until the room stops: connect, win the task's lock, follow; begin again when something breaks.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut closing = Closing::new();
    while !shared.stop.is_cancelled() {
        let followed = tokio::select! {
            followed = follow(&shared, &mut closing) => followed,
            () = shared.stop.cancelled() => return,
        };
        shared.recent.keep(false);
        if let Err(cause) = followed {
            tracing::warn!(%cause, "the projection stopped; it begins again");
        }
        tokio::select! { () = sleep(RETRY_AFTER) => {}, () = shared.stop.cancelled() => {} }
    }
}

async fn follow(shared: &Shared, closing: &mut Closing) -> Result<(), AuditError> {
    if !shared.writes() {
        return Ok(());
    }
    let server = shared.pool.connect_options();
    let connect = store::connect(shared.options(), &shared.identity);
    let mut connection = within(QUERY_MAX, connect).await?;
    if !within(QUERY_MAX, store::lock(&mut connection)).await? {
        return Ok(()); // another replica projects
    }
    shared.recent.keep(true);
    let mut projector = Projector { recent: &shared.recent, flows: HashSet::new() };
    // Who holds no lane leaves it to one who does: the ends that it finds missing would wait here for ever.
    // At a server that is not the one any more nobody can be seen to live.
    while shared.writes() && Arc::ptr_eq(&server, &shared.pool.connect_options()) {
        projector.catch_up(&mut connection, &shared.metrics).await?;
        // What was there is projected. An epoch is closed only when it was found dead twice, some seconds apart: all of
        // its records were there.
        closing.look(&mut connection, shared).await?;
        // Nothing new: look again when a lane commits, or after a while for the lanes of others.
        let _ = timeout(LOOK_EVERY, shared.grown.notified()).await;
        sleep(GATHER).await;
    }
    Ok(())
}

/// Turns batches into rows.
struct Projector<'s> {
    recent: &'s Recent,
    /// `detail` texts whose flows are there.
    flows: HashSet<Vec<u8>>,
}

impl Projector<'_> {
    /// Projects what is in the log now. What comes meanwhile waits for the next time: many small steps cost Postgres
    /// more than one large one.
    async fn catch_up(
        &mut self,
        connection: &mut PgConnection,
        metrics: &Metrics,
    ) -> Result<(), AuditError> {
        let mut lags = within(QUERY_MAX, store::lags(connection)).await?;
        loop {
            lags.retain(|(_, next, size)| next < size);
            metrics.lag(lags.iter().map(|(_, next, size)| small(size - next)).sum());
            if lags.is_empty() {
                return Ok(());
            }
            for (lane, next, _) in &mut lags {
                *next = within(STEP_MAX, self.step(connection, *lane, *next)).await?;
            }
        }
    }

    /// Some batches of one lane; gives the index up to which it is projected.
    async fn step(
        &mut self,
        connection: &mut PgConnection,
        lane: i32,
        next: i64,
    ) -> Result<i64, AuditError> {
        let mut batches = store::batches(connection, lane, (next, next + RECORDS)).await?;
        let mut expected = next;
        let gap = batches.iter().position(|(first, count, _)| {
            let follows = *first == expected;
            expected += if follows { i64::from(*count) } else { 0 };
            !follows
        });
        // A gap is not stepped over: `haetae log verify` names it.
        batches.truncate(gap.unwrap_or(batches.len()));
        let leaves = self.leaves(connection, lane, batches).await?;
        let mut rows = Vec::new();
        for batch in &leaves {
            rows_of(batch.bytes(), &mut rows)?;
        }
        if expected == next {
            return Err(AuditError::Content(format!("lane {lane} has no batch at {next}")));
        }
        let flows = self.new_flows(connection, &rows).await?;
        // If we stop before the commit of this, the cursor has not moved and the same rows are made again.
        store::write(connection, lane, (next, expected), &rows, &flows).await?;
        Ok(expected)
    }

    /// The leaves of these batches: those that were committed here a moment ago, and from the database the others.
    async fn leaves(
        &self,
        connection: &mut PgConnection,
        lane: i32,
        batches: Vec<(i64, i32, Vec<u8>)>,
    ) -> Result<Vec<Leaves>, AuditError> {
        let number = u16::try_from(lane).unwrap_or(u16::MAX);
        let kept =
            batches.iter().map(|(first, _, marks)| self.recent.take(number, small(*first), marks));
        let kept: Vec<_> = kept.collect();
        let missing = batches.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let missing: Vec<i64> = missing.map(|((first, ..), _)| *first).collect();
        let mut read = if missing.is_empty() {
            Vec::new().into_iter()
        } else {
            store::leaves(connection, lane, &missing).await?.into_iter()
        };
        let each = kept.into_iter().map(|kept| match kept {
            Some(kept) => Some(Leaves::Kept(kept)),
            None => read.next().map(Leaves::Read),
        });
        let all: Option<Vec<_>> = each.collect();
        all.ok_or_else(|| {
            AuditError::Content(format!("lane {lane} lost a batch while it was read"))
        })
    }

    /// Flows of the `detail` texts that were not seen before.
    async fn new_flows(
        &mut self,
        connection: &mut PgConnection,
        rows: &[Row<'_>],
    ) -> Result<Vec<store::Flows>, AuditError> {
        if self.flows.len() >= FLOWS_MAX {
            self.flows.clear();
        }
        let mut new = Vec::new();
        for row in rows {
            let Row::Decision(decision) = row else { continue };
            if !self.flows.insert(decision.detail.clone()) {
                continue;
            }
            let detail = store::text(connection, &decision.detail).await?.unwrap_or_default();
            let facts = store::text(connection, &decision.facts).await?.unwrap_or_default();
            new.push(store::Flows {
                detail: decision.detail.clone(),
                rows: row::flows(&detail, &facts),
            });
        }
        Ok(new)
    }
}

/// A C2SP entry bundle.
enum Leaves {
    Kept(Arc<Committed>),
    Read(Vec<u8>),
}

impl Leaves {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Kept(batch) => batch.leaves(),
            Self::Read(leaves) => leaves,
        }
    }
}

/// Adds the rows of a batch, in order.
fn rows_of<'l>(leaves: &'l [u8], rows: &mut Vec<Row<'l>>) -> Result<(), AuditError> {
    for leaf in tlog::bundle::leaves(leaves) {
        let leaf = leaf.map_err(|cause| AuditError::Content(cause.to_string()))?;
        let row = Leaf::read(leaf).and_then(Leaf::row).map_err(AuditError::Content)?;
        rows.extend(row);
    }
    Ok(())
}

pub(super) async fn within<T, E: Into<AuditError>>(
    time: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, AuditError> {
    match timeout(time, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(AuditError::Database(sqlx::Error::PoolTimedOut)),
    }
}

/// Records of one transaction, as many as begin batches here; the last batch has at most some 1,540. Some 20 MB. A lone client's commits have
/// a record or two each, and a transaction for every few of them would cost as much as they do.
const RECORDS: i64 = 16_384;
/// Commits that come within this time are projected together; well below the second that the rows may lag.
const GATHER: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const RETRY_AFTER: Duration = Duration::from_millis(500);
const QUERY_MAX: Duration = Duration::from_secs(2);
const STEP_MAX: Duration = Duration::from_secs(30);
/// 32 bytes each.
const FLOWS_MAX: usize = 65_536;
