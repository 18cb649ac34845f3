//! A tree that only grows: all that must be kept of it to append, and the proofs of a batch just appended.

use alloc::vec::Vec;

use crate::{
    hash::Hash,
    proof::{self, ProofError, Subtrees},
};

/// The right edge of a tree: one hash for each complete subtree, from the largest (left) to the smallest.
///
/// There are as many as the size has bits set, so a tree of a billion leaves is kept in less than 1 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Larger trees are refused, so that no sum of a size and a batch can overflow.
    pub const SIZE_MAX: u64 = 1 << 62;

    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash of all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let join = |right: Hash, left: &Hash| Hash::node(left, &right);
        match self.peaks.split_last() {
            Some((last, larger)) => larger.iter().rev().fold(*last, join),
            None => Hash::EMPTY,
        }
    }

    pub fn append(&mut self, leaf: Hash) {
        let (mut node, mut rest) = (leaf, self.size);
        while rest & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = Hash::node(&left, &node);
            rest >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The tree after these leaves, with what is needed to prove each of them. `self` stays as it is: until the batch
    /// is durable the old tree is the true one. Take over the new one with [`Batch::into_frontier`].
    #[must_use]
    pub fn append_batch(&self, leaves: &[Hash]) -> Batch {
        Batch::new(self, leaves)
    }

    /// Size (8 bytes, big-endian), then the hashes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.peaks.len() * Hash::BYTES);
        bytes.extend(self.size.to_be_bytes());
        self.peaks.iter().for_each(|peak| bytes.extend(peak.0));
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote. The root must still be held against a checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAFrontier> {
        let (size, hashes) = bytes.split_first_chunk().ok_or(NotAFrontier)?;
        let (size, peaks) = (u64::from_be_bytes(*size), Hash::many(hashes).ok_or(NotAFrontier)?);
        let whole = size <= Self::SIZE_MAX && peaks.len() as u64 == u64::from(size.count_ones());
        whole.then_some(Self { size, peaks }).ok_or(NotAFrontier)
    }

    /// The complete subtree of `1 << level` leaves at the edge, if the size has that bit set.
    fn peak(&self, level: u32) -> Option<Hash> {
        if (self.size >> level) & 1 == 0 {
            return None;
        }
        let larger = (self.size >> level >> 1).count_ones();
        self.peaks.get(larger as usize).copied()
    }
}

/// Leaves appended together: the tree after them and, without any older leaf, the proof of each.
#[derive(Debug, Clone)]
pub struct Batch {
    before: u64,
    after: Frontier,
    levels: Vec<Level>,
    /// For each level the hash of the rightmost node, complete or not; the last one is the root. Empty without leaves.
    rightmost: Vec<Hash>,
}

/// The nodes of one level that are new, with the old peak to their left when one is there. The first index is even,
/// so that neighbours pair up from the start.
#[derive(Debug, Clone)]
struct Level {
    first: u64,
    nodes: Vec<Hash>,
}

impl Batch {
    fn new(before: &Frontier, leaves: &[Hash]) -> Self {
        let size = before.size + leaves.len() as u64;
        let mut levels: Vec<Level> = Vec::new();
        let mut fresh = leaves.to_vec();
        for level in 0..bits(size) {
            let old = before.peak(level);
            let first = (before.size >> level) - u64::from(old.is_some());
            let nodes: Vec<Hash> = old.into_iter().chain(fresh).collect();
            let (pairs, _) = nodes.as_chunks::<2>();
            fresh = pairs.iter().map(|[left, right]| Hash::node(left, right)).collect();
            levels.push(Level { first, nodes });
        }
        let mut batch = Self {
            before: before.size,
            after: Frontier { size, peaks: Vec::new() },
            levels,
            rightmost: Vec::new(),
        };
        batch.after.peaks = batch.peaks();
        batch.rightmost = batch.right_edge();
        batch
    }

    /// The tree's size before the batch: the index of its first leaf.
    #[must_use]
    pub const fn first_index(&self) -> u64 {
        self.before
    }

    /// The tree's size after the batch.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.after.size
    }

    /// Number of leaves in the batch.
    #[must_use]
    pub const fn leaves(&self) -> u64 {
        self.after.size - self.before
    }

    #[must_use]
    pub fn root(&self) -> Hash {
        self.rightmost.last().copied().unwrap_or_else(|| self.after.root())
    }

    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.after
    }

    #[must_use]
    pub fn into_frontier(self) -> Frontier {
        self.after
    }

    /// The inclusion proof of the batch's `i`-th leaf (from 0) in the tree after the batch; `None` past its end.
    /// Copies at most 62 hashes and computes none.
    #[must_use]
    pub fn proof(&self, i: usize) -> Option<Vec<Hash>> {
        let index = self.before + i as u64;
        if index >= self.after.size {
            return None;
        }
        let rightmost = |level: u32| self.rightmost.get(level as usize).copied();
        proof::path(self, rightmost, (0, index), self.after.size).ok()
    }

    /// The consistency proof from the tree before the batch to the tree after it.
    pub fn consistency(&self) -> Result<Vec<Hash>, ProofError> {
        proof::consistency(self, self.before, self.after.size)
    }

    fn peaks(&self) -> Vec<Hash> {
        let size = self.after.size;
        let set = (0..bits(size)).rev().filter(|level| (size >> level) & 1 == 1);
        set.filter_map(|level| self.subtree(level, (size >> level) - 1)).collect()
    }

    fn right_edge(&self) -> Vec<Hash> {
        let mut edge = Vec::new();
        let Some(mut index) = self.after.size.checked_sub(1) else { return edge };
        // Without leaves there is nothing to prove, and the last leaf of the old tree is not at hand.
        let Some(mut last) = self.subtree(0, index).filter(|_| self.leaves() > 0) else {
            return edge;
        };
        edge.push(last);
        for level in 0.. {
            if index == 0 {
                break;
            }
            if index & 1 == 1 {
                let left = self.subtree(level, index - 1);
                last = left.map_or(last, |left| Hash::node(&left, &last));
            }
            index >>= 1;
            edge.push(last);
        }
        edge
    }
}

impl Subtrees for Batch {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let level = self.levels.get(level as usize)?;
        let at = usize::try_from(index.checked_sub(level.first)?).ok()?;
        level.nodes.get(at).copied()
    }
}

/// Number of binary digits; 0 has none.
const fn bits(size: u64) -> u32 {
    u64::BITS - size.leading_zeros()
}

crate::one_error!(NotAFrontier, "not a frontier: the number of hashes does not fit the size");
