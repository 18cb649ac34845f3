//! Generations of a lane: when the database lost records of one, it is dead, and the next of its slot goes on.
//!
//! *Invariant:* a lane that is dead is never signed again, by any replica; its end is in the database before its successor
//! opens, and the successor's second record says what was lost.

use sqlx::PgConnection;
use tlog::Hash;

use super::{
    AuditError,
    highwater::{HighWater, Mark},
    key::{Signers, lane_origin},
    leaf::Notice,
    prove::root_at,
};

pub(super) mod store;

/// What the database has of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub size: u64,
    pub root: Hash,
    /// Largest size of a checkpoint ever published.
    pub published: u64,
}

/// The lane of a slot that may be claimed now. Whatever is known of a later generation than the database has was lost with
/// it, and is declared so first.
pub(super) async fn current(
    connection: &mut PgConnection,
    slot: u16,
    origin: &str,
    water: &HighWater,
) -> Result<u16, AuditError> {
    let (lane, dead) = store::newest(connection, slot).await?.unwrap_or((slot, false));
    match water.newest(slot) {
        Some((known, mark)) if known > lane => {
            store::bury(connection, known, &lane_origin(origin, known), mark).await?;
            next(known)
        }
        _ if dead => next(lane),
        _ => Ok(lane),
    }
}

/// Why a claimed lane must not be signed any more, and what was known of it; `None` when it holds all that is known.
pub(super) async fn lost(
    connection: &mut PgConnection,
    lane: u16,
    found: Found,
    known: Option<Mark>,
) -> Result<Option<(String, Mark)>, AuditError> {
    let Found { size, root, published } = found;
    let mark = known.unwrap_or(Mark { size: 0, root: Hash::EMPTY });
    if size < mark.size.max(published) {
        // What only a published checkpoint knows, it knows by its size.
        let checkpoint = Mark { size: published, root: Hash::EMPTY };
        let (mark, had) = if mark.size < published {
            (checkpoint, format!("{size} records, a checkpoint says {published}"))
        } else {
            (mark, format!("{size} records and had {}", mark.size))
        };
        return Ok(Some((format!("the database was rolled back: lane {lane} has {had}"), mark)));
    }
    if mark.size == 0 {
        return Ok(None);
    }
    let then = if size == mark.size { root } else { root_at(connection, lane, mark.size).await? };
    let first = mark.size;
    let why = || {
        format!(
            "the database was rolled back: the first {first} records of lane {lane} are other ones"
        )
    };
    Ok((then != mark.root).then(|| (why(), mark)))
}

/// What is known of a claimed lane, where its head was sealed by no gateway of this log and is not what was signed last: somebody else
/// has put records there. A head of before there were seals is taken where a signed checkpoint, or our own mark, is of all of it.
pub(super) async fn strange(
    connection: &mut PgConnection,
    found: Found,
    signers: &Signers,
    known: Option<Mark>,
) -> Result<Option<(String, Mark)>, AuditError> {
    let origin = signers.origin();
    let signed = store::signed(connection, origin).await?;
    let signed = signed.and_then(|note| signers.read(&note));
    let signed = signed.map(|signed| Mark { size: signed.size, root: signed.root });
    let marks = [known, signed].into_iter().flatten();
    let known = marks.max_by_key(|mark| mark.size).unwrap_or(Mark { size: 0, root: Hash::EMPTY });
    if (known.size, known.root) == (found.size, found.root) {
        return Ok(None);
    }
    let Found { size, .. } = found;
    let about = format!(
        "`{origin}` has {size} records, of which {} are known to be this log's: somebody else has written the others",
        known.size
    );
    Ok(Some((about, known)))
}

/// The record with which a new generation says why it is there; `None` for the first generation.
pub(super) async fn opening(
    connection: &mut PgConnection,
    lane: u16,
    water: &HighWater,
) -> Result<Option<Notice>, AuditError> {
    let Some(of) = lane.checked_sub(SLOTS) else { return Ok(None) };
    let Some((known, found)) = store::buried(connection, of).await? else { return Ok(None) };
    let cluster = store::cluster(connection).await?.unwrap_or_default();
    let cluster_known = water.known_cluster().filter(|known| *known != cluster);
    Ok(Some(Notice::Rollback { of, known, found, cluster, cluster_known }))
}

/// The slot of a lane: what a replica is told to hold.
pub(super) const fn slot(lane: u16) -> u16 {
    lane % SLOTS
}

fn next(lane: u16) -> Result<u16, AuditError> {
    let next = lane.checked_add(SLOTS).filter(|lane| *lane <= LANE_MAX);
    next.ok_or_else(|| {
        AuditError::Content(format!("lane {lane} was the last generation of its slot"))
    })
}

/// A deployment has at most 16 lanes at a time; generations of one are 16 apart.
pub(super) const SLOTS: u16 = 16;
/// As the schema has it: 255 rollbacks.
const LANE_MAX: u16 = 4_095;
