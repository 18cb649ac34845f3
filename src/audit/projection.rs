//! The query tables follow the log: batches in order become rows, each exactly once.
//!
//! *Invariant:* rows and cursor move in one transaction, so a crash neither loses nor doubles a row. Any replica may do
//! it, one at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use self::made::Made;
use super::{
    AuditError,
    batch::Committed,
    chance,
    closing::Closing,
    leaf::Notice,
    recorder::Shared,
    row::{self, Row},
    store::small,
};

mod made;
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
    // Whoever closed before is done with it, or what it still writes of that is refused: what is looked at below is all there is.
    let term = i64::from_be_bytes(chance::bytes()?) & i64::MAX;
    within(QUERY_MAX, store::close_under(&mut connection, term)).await?;
    closing.begin(term);
    let mut projector = Projector::new(shared);
    // Who holds no lane leaves it to one who does: the ends that it finds missing would wait here for ever.
    // At a server that is not the one any more nobody can be seen to live.
    while shared.writes() && Arc::ptr_eq(&server, &shared.pool.connect_options()) {
        // What was there is projected. An epoch is closed only when it was found dead twice, some seconds apart: all of
        // its records were there.
        if projector.catch_up(&mut connection).await? {
            closing.look(&mut connection, shared).await?;
        }
        // Nothing new: look again when a lane commits, or after a while for the lanes of others.
        let _ = timeout(LOOK_EVERY, shared.grown.notified()).await;
        sleep(GATHER).await;
    }
    Ok(())
}

/// Turns batches into rows.
struct Projector<'s> {
    shared: &'s Shared,
    /// `detail` texts whose flows are there.
    flows: HashSet<Vec<u8>>,
    /// When the log was told last of a lane's trouble.
    told: HashMap<(i32, &'static str), Instant>,
}

/// A lane, as far as it is projected, and its size.
#[derive(Debug, Clone, Copy)]
struct Lag {
    lane: i32,
    next: i64,
    size: i64,
}

impl<'s> Projector<'s> {
    fn new(shared: &'s Shared) -> Self {
        Self { shared, flows: HashSet::new(), told: HashMap::new() }
    }

    /// Projects what is in the log now. What comes meanwhile waits for the next time: many small steps cost Postgres
    /// more than one large one. False when a lane cannot be read: the others go on, but nobody knows what has no end yet.
    async fn catch_up(&mut self, connection: &mut PgConnection) -> Result<bool, AuditError> {
        let mut lags = within(QUERY_MAX, store::lags(connection)).await?;
        let (mut whole, mut stuck) = (true, 0);
        loop {
            lags.retain(|lag| lag.next < lag.size);
            let left: u64 = lags.iter().map(|lag| small(lag.size - lag.next)).sum();
            self.shared.metrics.lag(stuck + left);
            if lags.is_empty() {
                return Ok(whole);
            }
            for lag in &mut lags {
                let next = self.go_on(connection, *lag).await?;
                whole &= next.is_some();
                stuck += next.map_or(small(lag.size - lag.next), |_| 0);
                lag.next = next.unwrap_or(lag.size);
            }
        }
    }

    /// A step; nothing where the server cannot read the lane, for which it may read others.
    async fn go_on(
        &mut self,
        connection: &mut PgConnection,
        lag: Lag,
    ) -> Result<Option<i64>, AuditError> {
        let cause = match within(STEP_MAX, self.step(connection, lag)).await {
            Ok(next) => return Ok(Some(next)),
            Err(cause) => cause,
        };
        let Some(code) = of_the_data(&cause) else { return Err(cause) };
        let Lag { lane, next, .. } = lag;
        tracing::debug!(lane, next, %cause, "a lane cannot be projected");
        // Without its words: they may repeat a value.
        let about = format!(
            "of lane {lane}, the database cannot read the records from index {next} on, or keep their rows (SQLSTATE {code})"
        );
        self.alarm((lane, "not_projected"), about);
        Ok(None)
    }

    /// Some batches of one lane; gives the index up to which it is projected.
    async fn step(&mut self, connection: &mut PgConnection, lag: Lag) -> Result<i64, AuditError> {
        let Lag { lane, next, size } = lag;
        // What is committed by now beyond the size that was seen is for the next time.
        let range = (next, size.min(next.saturating_add(RECORDS)));
        let batches = store::batches(connection, lane, range).await?;
        let leaves = self.leaves(connection, lane, &batches).await?;
        // A batch ends where the next begins, whatever it says of itself.
        let last = batches.last().map_or(next, |(first, ..)| *first);
        let following = match batches.last() {
            Some((first, count, _)) if first.saturating_add((*count).into()) <= range.1 => None,
            _ => store::following(connection, lane, last).await?,
        };
        let begins = batches.iter().skip(1).map(|(first, ..)| *first);
        let begins = begins.chain([following.unwrap_or(size)]);
        let mut made = Made::new(lag);
        for (((first, count, _), leaves), begins) in batches.iter().zip(&leaves).zip(begins) {
            let end = first.saturating_add(i64::from(*count)).min(begins);
            made.batch((*first, end), leaves.bytes());
        }
        if batches.is_empty() {
            made.missing(following.unwrap_or(size));
        }
        let (flows, details) = self.new_flows(connection, &made.rows).await?;
        // If we stop before the commit of this, the cursor has not moved and the same rows are made again.
        let until = made.until();
        let planted = store::write(connection, lane, (next, until), &made.rows, &flows).await?;
        self.flows.extend(details);
        if let Some(about) = made.trouble() {
            self.alarm((lane, "not_projected"), about);
        }
        if planted {
            let about = format!(
                "rows of lane {lane} from index {next} on were there before their records were projected, and stay: run `haetae log verify`"
            );
            self.alarm((lane, "row_planted"), about);
        }
        Ok(until)
    }

    /// Into the log once a minute for each lane and kind: whoever spoils many records has not filled it with alarms.
    fn alarm(&mut self, of: (i32, &'static str), about: String) {
        let now = Instant::now();
        if self.told.get(&of).is_some_and(|told| now.duration_since(*told) < TELL_EVERY) {
            return;
        }
        self.told.insert(of, now);
        let what = of.1;
        tracing::error!(what, about);
        self.shared.queue.note(Notice::Alarm { what, about, decision: None });
    }

    /// The leaves of these batches: those that were committed here a moment ago, and from the database the others.
    async fn leaves(
        &self,
        connection: &mut PgConnection,
        lane: i32,
        batches: &[(i64, i32, Vec<u8>)],
    ) -> Result<Vec<Leaves>, AuditError> {
        let number = u16::try_from(lane).unwrap_or(u16::MAX);
        let recent = &self.shared.recent;
        let kept =
            batches.iter().map(|(first, _, marks)| recent.take(number, small(*first), marks));
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

    /// Flows of the `detail` texts that were not seen before, and the digests of these.
    async fn new_flows(
        &mut self,
        connection: &mut PgConnection,
        rows: &[Row<'_>],
    ) -> Result<(Vec<store::Flows>, HashSet<Vec<u8>>), AuditError> {
        if self.flows.len() >= FLOWS_MAX {
            self.flows.clear();
        }
        let (mut new, mut details) = (Vec::new(), HashSet::new());
        for row in rows {
            let Row::Decision(decision) = row else { continue };
            let known = self.flows.contains(&decision.detail);
            if known || !details.insert(decision.detail.clone()) {
                continue;
            }
            let detail = store::text(connection, &decision.detail).await?.unwrap_or_default();
            let facts = store::text(connection, &decision.facts).await?.unwrap_or_default();
            new.push(store::Flows {
                detail: decision.detail.clone(),
                rows: row::flows(&detail, &facts),
            });
        }
        Ok((new, details))
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

/// The SQLSTATE of what is wrong with the data themselves: not a value, in the way of another, too long, damaged. The rest passes.
fn of_the_data(cause: &AuditError) -> Option<String> {
    let AuditError::Database(sqlx::Error::Database(cause)) = cause else { return None };
    let code = cause.code()?;
    ["22", "23", "54", "XX"].iter().any(|class| code.starts_with(class)).then(|| code.into_owned())
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
const TELL_EVERY: Duration = Duration::from_mins(1);
const RETRY_AFTER: Duration = Duration::from_millis(500);
const QUERY_MAX: Duration = Duration::from_secs(2);
const STEP_MAX: Duration = Duration::from_secs(30);
/// 32 bytes each.
const FLOWS_MAX: usize = 65_536;
