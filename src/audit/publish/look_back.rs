//! Whether the database still has what was committed, and is still the one it was.
//!
//! *Invariant:* a lane that is found behind is declared dead at once, whoever holds it; what other replicas published counts as
//! known here too, so that whoever takes a lane over knows how far it was.

use std::collections::HashSet;
use std::time::Duration;

use tlog::{Checkpoint, Hash, Note};
use tokio::time::timeout;

use super::store;
use crate::audit::{
    AuditError, cosigned,
    generation::{self, slot},
    highwater::Mark,
    key::{Key, Signers},
    leaf::{Head, Notice},
    prove::root_at,
    recorder::Shared,
};

/// An error when nothing could be looked at; inside, what kept from looking at a lane.
pub(super) async fn look_back(
    shared: &Shared,
    keys: &[Key],
) -> Result<Result<(), String>, AuditError> {
    // Marks first: what is committed meanwhile makes heads higher, never lower.
    let marks = shared.water.marks();
    let heads = store::heads(&shared.pool).await?;
    // A lane that cannot be looked at keeps nobody from looking at the others.
    let mut failed = Ok(());
    let mut unseen = HashSet::new();
    for (lane, mark) in marks {
        let newest = shared.water.newest(slot(lane)).is_some_and(|(of, _)| of == lane);
        let head = heads.iter().find(|head| head.lane == lane);
        if !newest {
            continue;
        }
        let looked = timeout(LANE_MAX, look_at(shared, keys, (lane, mark), head)).await;
        let looked = looked.map_or_else(
            |_| Err("no answer".to_owned()),
            |done| done.map_err(|cause| cause.to_string()),
        );
        if let Err(cause) = looked {
            unseen.insert(lane);
            failed = failed.and(Err(format!("lane {lane}: {cause}")));
        }
    }
    learn(shared, keys, &unseen).await?;
    cluster(shared).await?;
    Ok(failed)
}

async fn look_at(
    shared: &Shared,
    keys: &[Key],
    (lane, mark): (u16, Mark),
    head: Option<&Head>,
) -> Result<(), AuditError> {
    if is_behind(shared, lane, mark, head).await? {
        bury(shared, keys, lane, mark).await?;
    }
    Ok(())
}

/// Whether a lane has less than is known of it, or other records.
async fn is_behind(
    shared: &Shared,
    lane: u16,
    mark: Mark,
    head: Option<&Head>,
) -> Result<bool, AuditError> {
    let (size, root) = head.map_or((0, Hash::EMPTY), |head| (head.size, Hash(head.root)));
    if size <= mark.size {
        return Ok(size < mark.size || root != mark.root);
    }
    // Of a lane of ours every commit continues the tree that we know.
    if mark.size == 0 || shared.board.holds(lane) {
        return Ok(false);
    }
    let mut connection = shared.pool.acquire().await?;
    Ok(root_at(&mut connection, lane, mark.size).await? != mark.root)
}

/// Nobody signs it any more; whoever has room for its slot opens the next generation, and says what was lost.
async fn bury(shared: &Shared, keys: &[Key], lane: u16, mark: Mark) -> Result<(), AuditError> {
    let signers = Signers::new(keys, &shared.config.origin, lane)?;
    let mut connection = shared.pool.acquire().await?;
    let now = generation::store::bury(&mut connection, lane, signers.origin(), mark).await?;
    if now {
        let known = mark.size;
        tracing::error!(
            lane,
            known,
            "the database was rolled back: the lane is dead, and not signed again"
        );
    }
    shared.doubt(slot(lane), lane);
    Ok(())
}

/// Checkpoints that bear our signature, whichever replica made it; not of lanes that could not be held against what is known of them:
/// a mark that was not looked at is not replaced.
async fn learn(shared: &Shared, keys: &[Key], unseen: &HashSet<u16>) -> Result<(), AuditError> {
    for published in cosigned::published(&shared.pool).await? {
        if unseen.contains(&published.lane) {
            continue;
        }
        let signers = Signers::new(keys, &shared.config.origin, published.lane)?;
        if let Some(mark) = signed(&published.note, &signers) {
            shared.water.raise(published.lane, mark);
        }
    }
    Ok(())
}

fn signed(note: &str, signers: &Signers) -> Option<Mark> {
    let note: Note = note.parse().ok()?;
    note.verify([signers.verifier()]).ok()?;
    let Checkpoint { origin, size, root, .. } = note.text().parse().ok()?;
    (origin == signers.origin()).then_some(Mark { size, root })
}

async fn cluster(shared: &Shared) -> Result<(), AuditError> {
    let mut connection = shared.pool.acquire().await?;
    let Some(now) = generation::store::cluster(&mut connection).await? else { return Ok(()) };
    if let Some(before) = shared.water.cluster(&now) {
        let about = format!(
            "the database is another cluster or timeline: {before} before, {now} now; lanes were held against what is known of them"
        );
        tracing::warn!(about);
        shared.queue.note(Notice::Alarm { what: "database_changed", about, decision: None });
    }
    Ok(())
}

const LANE_MAX: Duration = Duration::from_secs(2);
