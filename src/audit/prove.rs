//! The proof of one record under the newest published checkpoint of its lane: the receipt that can be had later.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};
use tlog::{Checkpoint, Hash, Note, Receipt, bundle, proof, receipt, tile};
use uuid::Uuid;

use super::AuditError;
use super::row::Leaf;
use super::verify::store::{self as log, StoredCheckpoint, Wanted};

mod find;
mod store;

/// A record and what proves it.
#[derive(Debug, Clone)]
pub struct Proven {
    pub lane: u16,
    pub index: u64,
    /// The leaf's bytes, as they were hashed.
    pub leaf: Vec<u8>,
    /// C2SP tlog-proof. Absent for about a second, until a checkpoint that covers the record is published.
    pub receipt: Option<String>,
}

/// A part of what was proven, as it is handed out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Leaf,
    Receipt,
}

/// Looks a decision up by its id; `None` when the query tables do not know it (yet).
///
/// # Errors
/// When the database lacks what it must have, or what the query tables say is not what was signed.
pub async fn prove(pool: &PgPool, id: Uuid) -> Result<Option<Proven>, AuditError> {
    let mut snapshot = log::snapshot(pool).await?;
    let Some(place) = log::place_of(&mut snapshot, id).await? else { return Ok(None) };
    prove_of(&mut snapshot, place, ("decision", id)).await.map(Some)
}

/// The same for a decision or a look ahead of one organisation; `None` also when it is another's. It needs no row: what was recorded a
/// moment ago is found in the log. No statement of it takes longer than a second: whoever stops to wait for it leaves a connection that
/// is free by then.
///
/// # Errors
/// When the database lacks what it must have, or what the query tables say is not what was signed.
pub async fn prove_own(pool: &PgPool, id: Uuid, org: &str) -> Result<Option<Proven>, AuditError> {
    let mut snapshot = log::snapshot(pool).await?;
    store::limit(&mut snapshot).await?;
    if let Some(place) = store::place_of(&mut snapshot, id, org).await? {
        let proven = prove_of(&mut snapshot, place, ("decision", id)).await?;
        // Whose it is the row says, and is not believed in this either.
        let is_own = Leaf::read(&proven.leaf).is_ok_and(|leaf| leaf.is_of(org));
        return Ok(is_own.then_some(proven));
    }
    match find::by_time(&mut snapshot, id, org).await? {
        Some((lane, index)) => prove_at(&mut snapshot, lane, index).await,
        None => Ok(None),
    }
}

/// The same for the record of any kind at a place of the log; `None` when it is not there.
///
/// # Errors
/// When the database lacks what it must have, or the record there is not what was signed.
pub async fn prove_place(
    pool: &PgPool,
    lane: u16,
    index: u64,
) -> Result<Option<Proven>, AuditError> {
    prove_at(&mut *log::snapshot(pool).await?, lane, index).await
}

/// The record of this kind and decision that the query tables name at this place. They are not believed: whoever may write them
/// could have a good proof of one decision handed out for another.
pub(super) async fn prove_of(
    connection: &mut PgConnection,
    (lane, index): (u16, u64),
    (kind, decision): (&str, Uuid),
) -> Result<Proven, AuditError> {
    let other = |there: &str| {
        let about =
            format!("the query tables have the `{kind}` of decision {decision} there, {there}");
        differs(lane, index, &about)
    };
    let found = prove_at(connection, lane, index).await?;
    let proven = found.ok_or_else(|| other("and no record is"))?;
    let leaf = Leaf::read(&proven.leaf).map_err(AuditError::Content)?;
    let of = if kind == "decision" { Some(&leaf.id) } else { leaf.decision.as_ref() };
    let is_it = *leaf.kind == *kind && of.is_some_and(|of| **of == *decision.to_string());
    if is_it { Ok(proven) } else { Err(other("and the record is another one")) }
}

async fn prove_at(
    connection: &mut PgConnection,
    lane: u16,
    index: u64,
) -> Result<Option<Proven>, AuditError> {
    let leaves = leaves(connection, lane, index, index.saturating_add(1)).await?;
    let Some(leaf) = leaves.into_iter().next() else { return Ok(None) };
    let says = Leaf::read(&leaf).map_err(|cause| differs(lane, index, &cause))?;
    if (says.lane, says.index) != (lane.into(), index) {
        let about = format!("it was written as index {} of lane {}", says.index, says.lane);
        return Err(differs(lane, index, &about));
    }
    let receipt = receipt(connection, (lane, index), &leaf).await?;
    Ok(Some(Proven { lane, index, leaf, receipt }))
}

/// The proof under the newest checkpoint that covers the place. It is held against the leaf: only what leads to the root that the
/// checkpoint says is handed out.
async fn receipt(
    connection: &mut PgConnection,
    (lane, index): (u16, u64),
    leaf: &[u8],
) -> Result<Option<String>, AuditError> {
    let newest = log::newest_checkpoint(connection, lane, Wanted::Cosigned).await?;
    let Some(checkpoint) = newest.filter(|checkpoint| checkpoint.size > index) else {
        return Ok(None);
    };
    let size = checkpoint.size;
    let needs = proof::inclusion_needs(index, size).map_err(incomplete)?;
    let nodes = nodes(connection, lane, needs).await?;
    let proof = proof::inclusion(&nodes, index, size).map_err(incomplete)?;
    let root = root_of(&checkpoint).ok_or_else(|| {
        differs(lane, index, &format!("what is kept as the checkpoint of size {size} is none"))
    })?;
    proof::verify_inclusion(&Hash::leaf(leaf), index, size, &root, &proof).map_err(|_| {
        let about = format!("its hash is not the one under the checkpoint of size {size}");
        differs(lane, index, &about)
    })?;
    Ok(Some(receipt::write(index, &proof, &checkpoint.note)))
}

/// The root that a stored checkpoint says; whose signature it has is for the reader of the proof.
fn root_of(stored: &StoredCheckpoint) -> Option<Hash> {
    let note: Note = stored.note.parse().ok()?;
    let checkpoint: Checkpoint = note.text().parse().ok()?;
    (checkpoint.size == stored.size).then_some(checkpoint.root)
}

pub(super) fn differs(lane: u16, index: u64, about: &str) -> AuditError {
    AuditError::Content(format!("lane {lane}, index {index}: {about}: run `haetae log verify`"))
}

impl Proven {
    /// The media type and the bytes of a part. `None` while no checkpoint covers the record.
    #[must_use]
    pub fn part(self, part: Part) -> Option<(&'static str, Vec<u8>)> {
        match part {
            Part::Leaf => Some(("application/json", self.leaf)),
            Part::Receipt => Some(("text/plain; charset=utf-8", self.receipt?.into_bytes())),
        }
    }

    /// The tlog-proof with the record itself in its `extra` line: one text that proves what it says to who has the
    /// lane's key. `None` while no checkpoint covers the record.
    #[must_use]
    pub fn self_contained(&self) -> Option<String> {
        let mut receipt: Receipt = self.receipt.as_deref()?.parse().ok()?;
        receipt.extra = Some(self.leaf.clone());
        Some(receipt.to_string())
    }
}

/// The root that the first `size` leaves of a lane have now.
pub(super) async fn root_at(
    connection: &mut PgConnection,
    lane: u16,
    size: u64,
) -> Result<Hash, AuditError> {
    // One complete subtree for each bit of the size.
    let bits = (0..u64::BITS).filter(|level| (size >> level) & 1 == 1);
    let needs = bits.map(|level| (level, (size >> level) - 1)).collect();
    let nodes = nodes(connection, lane, needs).await?;
    proof::root(&nodes, size).map_err(incomplete)
}

/// Complete subtrees by (level, index).
type Nodes = BTreeMap<(u32, u64), Hash>;

pub(super) async fn nodes(
    connection: &mut PgConnection,
    lane: u16,
    needs: Vec<(u32, u64)>,
) -> Result<Nodes, AuditError> {
    let mut nodes = BTreeMap::new();
    for (level, place) in needs {
        nodes.insert((level, place), node(connection, lane, level, place).await?);
    }
    Ok(nodes)
}

/// The root of a complete subtree: from leaves below the height of a tile, else from the full tiles under it.
async fn node(
    connection: &mut PgConnection,
    lane: u16,
    level: u32,
    place: u64,
) -> Result<Hash, AuditError> {
    let width = 1_u64 << (level % TILE_HEIGHT);
    let (from, to) = (place * width, (place + 1) * width);
    let hashes: Vec<Hash> = match (level / TILE_HEIGHT).checked_sub(1) {
        None => {
            leaves(connection, lane, from, to).await?.iter().map(|leaf| Hash::leaf(leaf)).collect()
        }
        Some(below) => log::tiles_between(connection, lane, below, from, to)
            .await?
            .iter()
            .filter_map(|hashes| Hash::many(hashes))
            .map(|hashes| tile::root(&hashes))
            .collect(),
    };
    if hashes.len() as u64 == width {
        Ok(tile::root(&hashes))
    } else {
        let lacks = format!("lane {lane} lacks records or tiles under {from}");
        Err(AuditError::Content(format!("{lacks}: run `haetae log verify`")))
    }
}

/// The leaves `from <= index < to`, as far as they are there.
pub(super) async fn leaves(
    connection: &mut PgConnection,
    lane: u16,
    from: u64,
    to: u64,
) -> Result<Vec<Vec<u8>>, AuditError> {
    let mut found = Vec::new();
    for (first, batch) in store::batches(connection, lane, from, to).await? {
        for (index, leaf) in (first..).zip(bundle::leaves(&batch)) {
            let leaf = leaf.map_err(|cause| AuditError::Content(cause.to_string()))?;
            if (from..to).contains(&index) {
                found.push(leaf.to_vec());
            }
        }
    }
    Ok(found)
}

pub(super) fn incomplete(cause: proof::ProofError) -> AuditError {
    AuditError::Content(cause.to_string())
}

/// tlog-tiles: a tile holds eight levels of the tree.
const TILE_HEIGHT: u32 = 8;
