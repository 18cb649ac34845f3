//! Where a record stands that has no row, or none yet: by its id, which says when it was written.
//!
//! *Invariant:* nothing is believed but the leaf: what is found says itself that it has this id and is this organisation's.

use sqlx::PgConnection;
use tlog::bundle;
use uuid::Uuid;

use super::store;
use crate::audit::{AuditError, instant, row::Leaf, verify::store as log};

/// The place of an organisation's decision or look ahead: lane and index. An id has the millisecond of its record's `at`, but for one
/// that was reserved before its record was made: that one is found by its row alone.
pub(super) async fn by_time(
    connection: &mut PgConnection,
    id: Uuid,
    org: &str,
) -> Result<Option<(u16, u64)>, AuditError> {
    let Some(wanted) = Wanted::of(id, org) else { return Ok(None) };
    for (lane, size) in store::lanes(connection).await? {
        let first = begins_before(connection, (lane, size), wanted.at_ms).await?;
        if let Some(index) = scan(connection, (lane, first), &wanted).await? {
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

/// First index of the last batch of a lane that begins before this millisecond, or 0. Times rise in a lane, so it is looked up as a word
/// in a dictionary.
async fn begins_before(
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
        if begins.is_some_and(|begins| begins < at_ms) {
            (found, low) = (first, (first + count).max(middle + 1));
        } else {
            high = first;
        }
    }
    Ok(found)
}

/// From a batch on, as far as leaves are not younger than what is wanted. What cannot be read is not it: `log verify` names that.
async fn scan(
    connection: &mut PgConnection,
    (lane, mut next): (u16, u64),
    wanted: &Wanted<'_>,
) -> Result<Option<u64>, AuditError> {
    for _ in 0..BATCHES_MAX {
        let batch = log::batches(connection, lane, next, 1).await?.pop();
        let Some(batch) = batch else { return Ok(None) };
        for (index, leaf) in (batch.first..).zip(bundle::leaves(batch.leaves())) {
            let Some(leaf) = leaf.ok().and_then(|leaf| Leaf::read(leaf).ok()) else { continue };
            if wanted.is(&leaf) {
                return Ok(Some(index));
            }
            if written_ms(&leaf).is_some_and(|at| at > wanted.at_ms) {
                return Ok(None);
            }
        }
        next = batch.first + batch.count.max(1);
    }
    Ok(None)
}

fn written_ms(leaf: &Leaf<'_>) -> Option<i64> {
    instant::read(&leaf.at).map(|at_ns| at_ns / 1_000_000)
}

/// Batches of 1 MiB at most. A commit takes about a millisecond, so a few of a lane begin within the same one.
const BATCHES_MAX: usize = 8;
