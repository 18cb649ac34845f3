//! Inclusion and consistency proofs (RFC 6962, section 2.1; verification as in RFC 9162, section 2.1): made and held.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use crate::hash::Hash;

/// Where complete subtrees come from: leaf hashes, tiles, a batch, rows of a table.
pub trait Subtrees {
    /// The Merkle tree hash of the leaves `index << level .. (index + 1) << level`; `None` when it is not at hand.
    fn subtree(&self, level: u32, index: u64) -> Option<Hash>;
}

/// All leaf hashes of a tree, in order. A proof costs as many hashes as there are leaves.
impl Subtrees for [Hash] {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let width = 1_usize.checked_shl(level)?;
        let start = usize::try_from(index).ok()?.checked_mul(width)?;
        let mut nodes = self.get(start..start.checked_add(width)?)?.to_vec();
        while nodes.len() > 1 {
            nodes = nodes.as_chunks::<2>().0.iter().map(|[l, r]| Hash::node(l, r)).collect();
        }
        nodes.first().copied()
    }
}

impl Subtrees for Vec<Hash> {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.as_slice().subtree(level, index)
    }
}

/// Stored complete subtrees, by level and index.
impl Subtrees for BTreeMap<(u32, u64), Hash> {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.get(&(level, index)).copied()
    }
}

/// The root of the tree of the first `size` leaves.
pub fn root<S: Subtrees + ?Sized>(tree: &S, size: u64) -> Result<Hash, ProofError> {
    if size == 0 {
        return Ok(Hash::EMPTY);
    }
    rightmost(tree, u64::BITS - (size - 1).leading_zeros(), size)
}

/// The proof that leaf `index` is in the tree of the first `size` leaves: siblings from the leaf's up to the root's child.
pub fn inclusion<S: Subtrees + ?Sized>(
    tree: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    path(tree, |level| rightmost(tree, level, size).ok(), (0, index), size)
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves. Empty when either says nothing
/// (`old` is 0, or the sizes are equal).
pub fn consistency<S: Subtrees + ?Sized>(
    tree: &S,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    // The largest complete subtree that ends where the old tree ends; it is the whole old tree when its index is 0.
    let level = old.trailing_zeros();
    let index = (old >> level) - 1;
    let mut proof = Vec::new();
    if index > 0 {
        proof.push(tree.subtree(level, index).ok_or(ProofError::Missing { level, index })?);
    }
    proof.extend(path(tree, |at| rightmost(tree, at, new).ok(), (level, index), new)?);
    Ok(proof)
}

/// Holds an inclusion proof against a root.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    Climb::from_leaf(*leaf, index, size, proof)?.leads_to(root)
}

/// An inclusion proof that led to a root, kept for other leaves of the same tree: from where two paths meet they are one, and
/// what was hashed there once need not be hashed again.
#[derive(Debug, Clone)]
pub struct Path {
    index: u64,
    size: u64,
    root: Hash,
    /// By level from the leaf's: the node on the path, and how many siblings of the proof are below it.
    nodes: Vec<(Hash, usize)>,
    proof: Vec<Hash>,
}

impl Path {
    /// As [`verify_inclusion`], and keeps the way.
    pub fn verify(
        leaf: &Hash,
        index: u64,
        size: u64,
        root: &Hash,
        proof: &[Hash],
    ) -> Result<Self, ProofError> {
        let mut climb = Climb::from_leaf(*leaf, index, size, proof)?;
        let mut nodes = Vec::with_capacity(proof.len() + 1);
        let here = |climb: &Climb<'_>| (climb.node, proof.len() - climb.siblings.len());
        nodes.push(here(&climb));
        while !climb.is_at_root() {
            climb.up()?;
            nodes.push(here(&climb));
        }
        climb.leads_to(root)?;
        Ok(Self { index, size, root: *root, nodes, proof: proof.to_vec() })
    }

    /// What [`verify_inclusion`] says of a leaf in this path's tree.
    pub fn verify_inclusion(
        &self,
        leaf: &Hash,
        index: u64,
        proof: &[Hash],
    ) -> Result<(), ProofError> {
        let mut climb = Climb::from_leaf(*leaf, index, self.size, proof)?;
        let meet = u64::BITS - (index ^ self.index).leading_zeros();
        for _ in 0..meet {
            climb.up()?;
        }
        let known = self.nodes.get(meet as usize);
        let same = known.is_some_and(|(node, below)| {
            climb.node == *node && self.proof.get(*below..) == Some(climb.siblings)
        });
        if same { Ok(()) } else { climb.leads_to(&self.root) }
    }
}

/// Holds a consistency proof against two roots.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == new {
        let agree = if old == 0 { *old_root == Hash::EMPTY } else { old_root == new_root };
        return match (proof.is_empty(), agree) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let level = old.trailing_zeros();
    let index = (old >> level) - 1;
    let (seed, rest) = match proof.split_first() {
        _ if index == 0 => (old_root, proof),
        Some((seed, rest)) => (seed, rest),
        None => return Err(ProofError::Length),
    };
    // Of the left siblings alone: the tree that ended with this subtree.
    let mut before = *seed;
    let mut climb = Climb { node: *seed, at: index, last: (new - 1) >> level, siblings: rest };
    while !climb.is_at_root() {
        if let Some(left) = climb.up()? {
            before = Hash::node(left, &before);
        }
    }
    climb.leads_to(new_root)?;
    if before == *old_root { Ok(()) } else { Err(ProofError::Root) }
}

/// The complete subtrees that an inclusion proof is made of: what to fetch before [`inclusion`] is called.
pub fn inclusion_needs(index: u64, size: u64) -> Result<Vec<(u32, u64)>, ProofError> {
    let wanted = Wanted::default();
    inclusion(&wanted, index, size)?;
    Ok(wanted.nodes.into_inner())
}

/// The complete subtrees that a consistency proof is made of.
pub fn consistency_needs(old: u64, new: u64) -> Result<Vec<(u32, u64)>, ProofError> {
    let wanted = Wanted::default();
    consistency(&wanted, old, new)?;
    Ok(wanted.nodes.into_inner())
}

/// Writes down what is asked of it.
#[derive(Default)]
struct Wanted {
    nodes: core::cell::RefCell<Vec<(u32, u64)>>,
}

impl Subtrees for Wanted {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.nodes.borrow_mut().push((level, index));
        Some(Hash::EMPTY)
    }
}

/// On the way from a subtree to the root.
struct Climb<'p> {
    node: Hash,
    /// Place of the node in its level, and of the level's last node.
    at: u64,
    last: u64,
    /// Of the levels from here up.
    siblings: &'p [Hash],
}

impl<'p> Climb<'p> {
    fn from_leaf(leaf: Hash, index: u64, size: u64, proof: &'p [Hash]) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::OutOfRange);
        }
        Ok(Self { node: leaf, at: index, last: size - 1, siblings: proof })
    }

    const fn is_at_root(&self) -> bool {
        self.last == 0
    }

    /// Joins the node with its sibling, which is given back when it was the left one.
    fn up(&mut self) -> Result<Option<&'p Hash>, ProofError> {
        let is_right = self.at & 1 == 1;
        // The last node has no sibling on the levels where its place is even: a proof leaves them out.
        let joined = is_right || self.at < self.last;
        let mut left = None;
        if joined {
            let (sibling, rest) = self.siblings.split_first().ok_or(ProofError::Length)?;
            self.siblings = rest;
            left = is_right.then_some(sibling);
            self.node = match left {
                Some(left) => Hash::node(left, &self.node),
                None => Hash::node(&self.node, sibling),
            };
        }
        (self.at, self.last) = (self.at >> 1, self.last >> 1);
        Ok(left)
    }

    fn leads_to(mut self, root: &Hash) -> Result<(), ProofError> {
        while !self.is_at_root() {
            self.up()?;
        }
        match (self.siblings, self.node == *root) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::Root),
            _ => Err(ProofError::Length),
        }
    }
}

/// The siblings of node (`level`, `index`) up to the root of a tree of `size` leaves. `rightmost` gives the last node
/// of a level, which may be incomplete; it is asked at most once.
pub(crate) fn path<S: Subtrees + ?Sized>(
    tree: &S,
    rightmost: impl Fn(u32) -> Option<Hash>,
    (mut level, mut index): (u32, u64),
    size: u64,
) -> Result<Vec<Hash>, ProofError> {
    let mut last = (size - 1) >> level;
    let mut siblings = Vec::with_capacity((u64::BITS - last.leading_zeros()) as usize);
    while last > 0 {
        let sibling = index ^ 1;
        if sibling <= last {
            let complete = sibling < last;
            let hash = if complete { tree.subtree(level, sibling) } else { rightmost(level) };
            siblings.push(hash.ok_or(ProofError::Missing { level, index: sibling })?);
        }
        (level, index, last) = (level + 1, index >> 1, last >> 1);
    }
    Ok(siblings)
}

/// The last node of a level in a tree of `size` leaves, joined from the complete subtrees under it.
fn rightmost<S: Subtrees + ?Sized>(tree: &S, level: u32, size: u64) -> Result<Hash, ProofError> {
    let start = (size - 1).checked_shr(level).map_or(0, |index| index << level);
    let mut joined: Option<Hash> = None;
    let mut end = size;
    // From the smallest complete subtree at the right end to the largest.
    while end > start {
        let at = (end - start).trailing_zeros();
        let index = (end >> at) - 1;
        let left = tree.subtree(at, index).ok_or(ProofError::Missing { level: at, index })?;
        joined = Some(joined.map_or(left, |right| Hash::node(&left, &right)));
        end -= 1 << at;
    }
    joined.ok_or(ProofError::OutOfRange)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofError {
    /// The index is not in the tree, or the old tree is larger than the new one.
    OutOfRange,
    /// A subtree that the proof needs is not at hand.
    Missing { level: u32, index: u64 },
    /// Too many or too few hashes for this position.
    Length,
    /// The hashes do not lead to the root.
    Root,
}

impl fmt::Display for ProofError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => out.write_str("the position is outside the tree"),
            Self::Missing { level, index } => {
                write!(out, "the subtree {index} of level {level} is not at hand")
            }
            Self::Length => out.write_str("the proof has too many or too few hashes"),
            Self::Root => out.write_str("the proof does not lead to the root"),
        }
    }
}

impl core::error::Error for ProofError {}
