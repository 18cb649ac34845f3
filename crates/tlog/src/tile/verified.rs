//! Tiles of somebody else: map of tiles, size, root -> tiles of which every hash is one of that tree.
//!
//! A full tile is held against its place in the tile above it, a partial one, which is on the tree's right edge, against the root. So
//! a proof from these tiles that fails speaks against the tree, and not against whoever served them.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{HEIGHT, Id, WIDTH, above, root, width};
use crate::hash::Hash;
use crate::proof::{self, ProofError, Subtrees};

/// Tiles that were held against the root of their tree. [`super::needed_for_roots`] says which are needed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(BTreeMap<Id, Vec<Hash>>);

impl Verified {
    /// # Errors
    /// `Length` for a tile that is wider or narrower than the tree's, `Missing` when the tile above a full one or a part of the right edge is
    /// not there, `Root` when a hash is not the tree's.
    pub fn new(
        tiles: BTreeMap<Id, Vec<Hash>>,
        size: u64,
        signed: &Hash,
    ) -> Result<Self, ProofError> {
        let is_whole =
            |(id, hashes): (&Id, &Vec<Hash>)| hashes.len() == usize::from(width(*id, size));
        if !tiles.iter().all(is_whole) {
            return Err(ProofError::Length);
        }
        let full = tiles.iter().filter(|(_, hashes)| hashes.len() == usize::from(WIDTH));
        for (id, hashes) in full {
            if stands_above(&tiles, *id)? != root(hashes) {
                return Err(ProofError::Root);
            }
        }
        if proof::root(&tiles, size)? == *signed { Ok(Self(tiles)) } else { Err(ProofError::Root) }
    }
}

/// What stands for a full tile in the tile above it.
fn stands_above(tiles: &BTreeMap<Id, Vec<Hash>>, id: Id) -> Result<Hash, ProofError> {
    let (tile, place) = above(id);
    let hash = tiles.get(&tile).and_then(|hashes| hashes.get(place)).copied();
    hash.ok_or(ProofError::Missing { level: HEIGHT * u32::from(tile.level), index: id.index })
}

impl Subtrees for Verified {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.0.subtree(level, index)
    }
}
