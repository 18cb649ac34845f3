//! What others may fetch of the log as files that never change (C2SP tlog-tiles): checkpoints, tiles, entry bundles.
//!
//! *Invariant:* every byte follows from committed records alone, so a resource that was given once is given the same for
//! good; what a full tile holds comes from the tile that was kept, not from one made anew.

use sqlx::{PgConnection, PgPool};
use tlog::{
    Hash, bundle,
    tile::{self, Id, Resource, WIDTH},
};

use super::{
    AuditError,
    prove::leaves,
    verify::store::{self as log, Wanted},
};

mod store;

/// The published checkpoint of a lane to show to somebody who may have been shown one of `shown` records: its size and its
/// signed note; `None` until there is one of that size or more. Of the newest it is one that a witness cosigned, if any is.
pub async fn checkpoint(
    pool: &PgPool,
    lane: u16,
    shown: u64,
) -> Result<Option<(u64, String)>, AuditError> {
    let newest =
        log::newest_checkpoint(&mut *pool.acquire().await?, lane, Wanted::Shown(shown)).await?;
    Ok(newest.map(|checkpoint| (checkpoint.size, checkpoint.note)))
}

/// A tile or an entry bundle; `None` when the lane does not have it (yet), or no longer publishes it. `known` is what was
/// given before of a tile, from its beginning: that is not read again. Empty for none.
///
/// # Errors
/// When the database does not answer, or lacks what it must have.
pub async fn resource(
    pool: &PgPool,
    lane: u16,
    resource: Resource,
    known: &[u8],
) -> Result<Option<Vec<u8>>, AuditError> {
    let mut connection = pool.acquire().await?;
    let Some(extent) = store::extent(&mut connection, lane).await? else { return Ok(None) };
    if !extent.has(resource) {
        return Ok(None);
    }
    let bytes = match resource {
        Resource::Entries { index, width } => {
            let (from, to) = span(index, width);
            let leaves = leaves(&mut connection, lane, from, to).await?;
            whole(lane, width, leaves.len())?;
            bundle::encode(leaves.iter().map(Vec::as_slice))
                .map_err(|cause| AuditError::Content(cause.to_string()))?
        }
        Resource::Tile { id, width } => {
            part(&mut connection, lane, (id, width), extent.size, known).await?
        }
    };
    Ok(Some(bytes))
}

/// A text that a record names; `None` when it is not (or no longer) kept.
pub async fn text(pool: &PgPool, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, AuditError> {
    let found = log::text(&mut *pool.acquire().await?, digest).await?;
    Ok(found.map(|(_, bytes)| bytes))
}

/// How far a lane goes, and from where on it is published.
struct Extent {
    size: u64,
    minimum_index: u64,
}

impl Extent {
    /// A partial tile is given for every width up to the committed one: each commit makes a checkpoint of its size.
    fn has(&self, resource: Resource) -> bool {
        let (id, width) = match resource {
            Resource::Tile { id, width } => (id, width),
            Resource::Entries { index, width } => (Id { level: 0, index }, width),
        };
        // 256^(level + 1) entries lie below a full tile.
        let below = u64::from(WIDTH).checked_pow(u32::from(id.level) + 1).unwrap_or(u64::MAX);
        let end = id.index.saturating_add(1).saturating_mul(below);
        width <= tile::width(id, self.size) && end > self.minimum_index
    }
}

/// The first `width` hashes of a tile: as they are known, as they were stored, or what is known and what came since.
async fn part(
    connection: &mut PgConnection,
    lane: u16,
    (id, width): (Id, u16),
    size: u64,
    known: &[u8],
) -> Result<Vec<u8>, AuditError> {
    if let Some(known) = known.get(..usize::from(width) * Hash::BYTES) {
        return Ok(known.to_vec());
    }
    if tile::width(id, size) == WIDTH {
        let hashes = kept(connection, lane, id).await?;
        let part = hashes.get(..usize::from(width));
        return Ok(Hash::concat(part.ok_or_else(|| lacking(lane, "a hash of a tile"))?));
    }
    let since = edge(connection, lane, id, (width_of(known), width)).await?;
    Ok([known, &Hash::concat(&since)].concat())
}

/// A full tile as it was stored when it was filled.
async fn kept(connection: &mut PgConnection, lane: u16, id: Id) -> Result<Vec<Hash>, AuditError> {
    let rows =
        log::tiles_between(connection, lane, id.level.into(), id.index, id.index + 1).await?;
    let hashes = rows.first().and_then(|bytes| Hash::many(bytes));
    hashes.ok_or_else(|| lacking(lane, "a full tile"))
}

/// The right edge of the tiles of the first `size` records.
pub(super) async fn edge_at(
    connection: &mut PgConnection,
    lane: u16,
    size: u64,
) -> Result<tile::Edge, AuditError> {
    let mut levels = Vec::new();
    for (id, width) in tile::partials(size) {
        levels.resize(usize::from(id.level), Vec::new());
        levels.push(edge(connection, lane, id, (0, width)).await?);
    }
    let tops = (u64::BITS - size.leading_zeros()).div_ceil(tile::HEIGHT) as usize;
    levels.resize(tops.max(levels.len()), Vec::new());
    tile::Edge::from_partials(size, levels).ok_or_else(|| lacking(lane, "records or tiles"))
}

/// Hashes `have` to `width` of the tile at the right edge of its level: from the leaves, or from the full tiles below it.
async fn edge(
    connection: &mut PgConnection,
    lane: u16,
    id: Id,
    (have, width): (u16, u16),
) -> Result<Vec<Hash>, AuditError> {
    let (first, to) = span(id.index, width);
    let from = first + u64::from(have);
    let hashes: Vec<Hash> = match id.level.checked_sub(1) {
        None => {
            leaves(connection, lane, from, to).await?.iter().map(|leaf| Hash::leaf(leaf)).collect()
        }
        Some(below) => log::tiles_between(connection, lane, below.into(), from, to)
            .await?
            .iter()
            .filter_map(|bytes| Hash::many(bytes))
            .map(|hashes| tile::root(&hashes))
            .collect(),
    };
    whole(lane, width - have, hashes.len())?;
    Ok(hashes)
}

/// Hashes of a part of a tile.
fn width_of(part: &[u8]) -> u16 {
    u16::try_from(part.len() / Hash::BYTES).unwrap_or(0)
}

/// Places of the level below: leaves, or full tiles.
fn span(index: u64, width: u16) -> (u64, u64) {
    let from = index.saturating_mul(u64::from(WIDTH));
    (from, from.saturating_add(u64::from(width)))
}

fn whole(lane: u16, wanted: u16, found: usize) -> Result<(), AuditError> {
    if found == usize::from(wanted) { Ok(()) } else { Err(lacking(lane, "records or tiles")) }
}

fn lacking(lane: u16, what: &str) -> AuditError {
    AuditError::Content(format!("lane {lane} lacks {what}: run `haetae log verify`"))
}

#[cfg(test)]
mod tests {
    //! What is there: every width that a checkpoint can ask for, nothing beyond it, nothing below the minimum index.

    use super::*;

    fn has(size: u64, minimum_index: u64, path: &str) -> bool {
        Extent { size, minimum_index }.has(path.parse().unwrap())
    }

    #[test]
    fn the_worked_example_has_its_tiles_and_no_others() {
        for there in [
            "tile/0/000",
            "tile/0/272",
            "tile/0/273.p/112",
            "tile/0/273.p/1",
            "tile/1/000",
            "tile/1/001.p/17",
            "tile/2/000.p/1",
            "tile/entries/273.p/112",
            "tile/0/000.p/255",
        ] {
            assert!(has(70_000, 0, there), "{there}");
        }
        for missing in [
            "tile/0/273",
            "tile/0/273.p/113",
            "tile/0/274.p/1",
            "tile/1/001",
            "tile/1/001.p/18",
            "tile/2/000",
            "tile/2/000.p/2",
            "tile/3/000.p/1",
            "tile/63/000.p/1",
            "tile/entries/273",
            "tile/0/x018/x446/x744/x073/x709/x551/615",
        ] {
            assert!(!has(70_000, 0, missing), "{missing}");
        }
        assert!(has(256, 0, "tile/1/000.p/1") && !has(255, 0, "tile/1/000.p/1"));
        assert!(!has(0, 0, "tile/0/000.p/1"));
    }

    #[test]
    fn what_ends_at_or_below_the_minimum_index_is_not_published() {
        assert!(!has(70_000, 512, "tile/0/001") && !has(70_000, 512, "tile/entries/001"));
        assert!(has(70_000, 511, "tile/0/001") && has(70_000, 512, "tile/0/002"));
        assert!(has(70_000, 512, "tile/1/000"), "it holds what is above the minimum too");
        assert!(!has(70_000, 65_536, "tile/1/000"));
    }
}
