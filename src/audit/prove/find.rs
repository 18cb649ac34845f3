//! Where a record stands that has no row, or none yet: by its id, which says when it was written.
//!
//! *Invariant:* nothing is believed but the leaf: what is found says itself that it has this id and is this organisation's.

use sqlx::PgConnection;
use tlog::bundle;
use uuid::Uuid;

use super::store;
use crate::audit::{AuditError, instant, row::Leaf};

/// The place of an organisation's decision or look ahead: lane and index. An id has the millisecond of its record's `at`, but for one
/// that was reserved before its record was made: that one is found by its row alone.
pub(super) async fn by_time(
    connection: &mut PgConnection,
    id: Uuid,
    org: &str,
) -> Result<Option<(u16, u64)>, AuditError> {
    let Some(wanted) = Wanted::of(id, org) else { return Ok(None) };
    for (lane, size) in store::lanes(connection).await? {
        let last = begins_by(connection, (lane, size), wanted.at_ms).await?;
        if let Some(index) = scan_back(connection, (lane, last), &wanted).await? {
            return Ok(Some((lane, index)));
        }
    }
    Ok(None)
}

struct Wanted<'w> {
    id: String,
    org: &'w str,
    /// Milliseconds since 1970.
    at_ms: i64,
}

impl<'w> Wanted<'w> {
    /// `None` for an id that no record of ours has.
    fn of(id: Uuid, org: &'w str) -> Option<Self> {
        let (seconds, nanos) = id.get_timestamp()?.to_unix();
        let at_ms = i64::try_from(seconds).ok()?.checked_mul(1_000)? + i64::from(nanos / 1_000_000);
        Some(Self { id: id.to_string(), org, at_ms })
    }

    fn is(&self, leaf: &Leaf<'_>) -> bool {
        let kind = matches!(&*leaf.kind, "decision" | "preflight");
        kind && *leaf.id == *self.id && leaf.is_of(self.org)
    }
}

/// First index of the last batch of a lane that begins in this millisecond or earlier, or 0. Times rise in a lane, so it is looked up as
/// a word in a dictionary.
async fn begins_by(
    connection: &mut PgConnection,
    (lane, size): (u16, u64),
    at_ms: i64,
) -> Result<u64, AuditError> {
    let (mut found, mut low, mut high) = (0, 0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let batch = store::batch_with(connection, lane, middle).await?;
        let Some((first, count, begin)) = batch else { break };
        let leaf = bundle::leaves(&begin).next().and_then(Result::ok);
        let begins = leaf.and_then(|leaf| Leaf::read(leaf).ok()).and_then(|leaf| written_ms(&leaf));
        if begins.is_some_and(|begins| begins <= at_ms) {
            (found, low) = (first, (first + count).max(middle + 1));
        } else {
            high = first;
        }
    }
    Ok(found)
}

/// From a batch back to the one that began before the millisecond that is wanted: newest first, because who has just got its answer asks
/// for one of the newest. What cannot be read is not it: `log verify` names that.
async fn scan_back(
    connection: &mut PgConnection,
    (lane, mut next): (u16, u64),
    wanted: &Wanted<'_>,
) -> Result<Option<u64>, AuditError> {
    for _ in 0..BATCHES_MAX {
        let batch = store::batches(connection, lane, next, next.saturating_add(1)).await?.pop();
        let Some((first, leaves)) = batch else { return Ok(None) };
        let mut begins = None;
        for (index, leaf) in (first..).zip(bundle::leaves(&leaves)) {
            let Some(leaf) = leaf.ok().and_then(|leaf| Leaf::read(leaf).ok()) else { continue };
            if wanted.is(&leaf) {
                return Ok(Some(index));
            }
            begins = begins.or_else(|| written_ms(&leaf));
        }
        let Some(before) = first.checked_sub(1) else { return Ok(None) };
        if begins.is_some_and(|begins| begins < wanted.at_ms) {
            return Ok(None);
        }
        next = before;
    }
    Ok(None)
}

fn written_ms(leaf: &Leaf<'_>) -> Option<i64> {
    instant::read(&leaf.at).map(|at_ns| at_ns / 1_000_000)
}

/// Batches of 1 MiB at most, one at a time. A commit takes about a millisecond, so a few of a lane begin within the same one; but where
/// its times are ahead of the clock all do until that has caught up, and what is older than these is found by its row alone.
const BATCHES_MAX: usize = 64;
