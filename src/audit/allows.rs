//! What the log says was allowed towards one site: for whoever holds it against what the site says it let in.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde::Deserialize;
use sqlx::PgPool;
use tlog::bundle;
use tokio::time::{Instant, sleep};

use self::store::{AllowRow, Bundle};
use super::{AuditError, instant};

mod store;

/// An allowing decision and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub id: uuid::Uuid,
    /// The lane's name.
    pub origin: String,
    pub index: i64,
    /// What the gateway's clock said, in nanoseconds since 1970: its record's `clock`, which a site's guard goes by too, else `at`.
    pub made_ns: i64,
    /// How it ended; none while it is under way.
    pub how: Option<String>,
}

/// Allows towards `site` made from `from_ns` on and before `to_ns`, in the order of their records' `at`.
///
/// Waits until the query tables have everything that is in the log now. Rows have no `clock`: where the times of a lane are ahead of the
/// clock is seen by when the database wrote a batch, and there the records are asked. Whoever has the place of an allow is not to rely
/// on the database's clock, but asks [`allows_at`].
///
/// # Errors
/// The database's, and query tables that do not catch up.
pub async fn allows(
    pool: &PgPool,
    site: &str,
    from_ns: i64,
    to_ns: i64,
) -> Result<Vec<Allowed>, AuditError> {
    let sizes = store::sizes(pool).await?;
    let begun = Instant::now();
    while !store::are_projected(pool, &sizes).await? {
        if begun.elapsed() > PROJECTED_WAIT_MAX {
            let cause = "the query tables are behind the log: does a gateway run? `haetae log verify` says more";
            return Err(AuditError::Content(cause.to_owned()));
        }
        sleep(POLL).await;
    }
    let mut found = made(pool, store::allows(pool, site, (from_ns, to_ns)).await?).await?;
    found.retain(|allow| (from_ns..to_ns).contains(&allow.made_ns));
    Ok(found)
}

/// The allows towards `site` at these places (a lane's name and an index), whenever they were made. Looks only at what has its row.
///
/// # Errors
/// The database's.
pub async fn allows_at(
    pool: &PgPool,
    site: &str,
    places: &[(&str, u64)],
) -> Result<Vec<Allowed>, AuditError> {
    let mut found = Vec::new();
    for some in places.chunks(PLACES) {
        found.extend(made(pool, store::allows_at(pool, site, some).await?).await?);
    }
    Ok(found)
}

/// With what the clock said. Batches are read one after the other, and only those that may have records whose `at` is ahead of it.
async fn made(pool: &PgPool, mut rows: Vec<AllowRow>) -> Result<Vec<Allowed>, AuditError> {
    let batches = rows.iter().filter_map(|row| Some((row.lane, row.ahead_in?)));
    let (lanes, firsts): (Vec<i32>, Vec<i64>) =
        batches.collect::<BTreeSet<_>>().into_iter().unzip();
    let ahead = rows.iter_mut().filter(|row| row.ahead_in.is_some());
    let mut ahead: HashMap<_, _> = ahead.map(|row| ((row.lane, row.index), row)).collect();
    let mut batches = store::batches(pool, lanes, firsts);
    while let Some(Bundle { lane, first_index, leaves }) = batches.try_next().await? {
        for (index, leaf) in (first_index..).zip(bundle::leaves(&leaves)) {
            let Some(row) = ahead.remove(&(lane, index)) else { continue };
            let clock_ns = leaf.ok().and_then(clock).unwrap_or(row.at_ns);
            row.at_ns = clock_ns.min(row.at_ns);
        }
    }
    Ok(rows.into_iter().map(Allowed::from).collect())
}

/// The key `clock` of a record. One that cannot be read has none: `log verify` names it.
fn clock(leaf: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Said {
        clock: Option<String>,
    }
    let said: Said = serde_json::from_slice(leaf).ok()?;
    instant::read(&said.clock?)
}

impl From<AllowRow> for Allowed {
    fn from(row: AllowRow) -> Self {
        let AllowRow { id, origin, index, at_ns, how, .. } = row;
        Self { id, origin, index, made_ns: at_ns, how }
    }
}

/// In service they lag less than a second.
const PROJECTED_WAIT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// Of one statement: some 400 kB.
const PLACES: usize = 10_000;
