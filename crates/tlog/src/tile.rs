//! Tiles (C2SP tlog-tiles): a tree cut into pieces of 256 hashes, eight levels high, that never change once full.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::{fmt, str::FromStr};

use crate::{
    checkpoint::decimal,
    hash::Hash,
    proof::{ProofError, Subtrees},
};

mod verified;

pub use verified::Verified;

/// Hashes in a full tile.
pub const WIDTH: u16 = 256;
/// Levels of the tree in one tile.
pub const HEIGHT: u32 = 8;

/// Which tile: its level (in tiles, not in tree levels) and its index in that level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub level: u8,
    pub index: u64,
}

/// What a tile path names. Printed and read as the path of tlog-tiles, without a leading slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `tile/<L>/<N>[.p/<W>]`; `width` is 1 to 256.
    Tile { id: Id, width: u16 },
    /// `tile/entries/<N>[.p/<W>]`.
    Entries { index: u64, width: u16 },
}

/// The right edge of the tiles: what must be kept in memory to write each tile when it is full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// For each level the hashes of its partial tile, at most 255.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, levels: Vec::new() }
    }

    /// From the partial tiles of a tree, level 0 first; checked against [`partials`].
    #[must_use]
    pub fn from_partials(size: u64, levels: Vec<Vec<Hash>>) -> Option<Self> {
        let widths = (0..).map(|level| usize::from(partial_width(size, level)));
        let fits = levels.iter().zip(widths).all(|(hashes, width)| hashes.len() == width);
        (fits && levels.len() >= levels_of(size)).then_some(Self { size, levels })
    }

    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends leaves and hands out the tiles that they complete, in the order in which they became full.
    pub fn append(&mut self, leaves: &[Hash]) -> Vec<(Id, Vec<Hash>)> {
        let mut full = Vec::new();
        for leaf in leaves {
            self.push(*leaf, &mut full);
        }
        full
    }

    fn push(&mut self, leaf: Hash, full: &mut Vec<(Id, Vec<Hash>)>) {
        let mut carry = leaf;
        for level in 0..LEVELS_MAX {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(usize::from(level)) else { break };
            row.push(carry);
            if row.len() < usize::from(WIDTH) {
                break;
            }
            let hashes = core::mem::take(row);
            carry = root(&hashes);
            full.push((Id { level, index: full_tiles(self.size, level) }, hashes));
        }
        self.size += 1;
    }

    /// The partial tiles as they stand, empty ones left out.
    #[must_use]
    pub fn partials(&self) -> Vec<(Id, &[Hash])> {
        let place = |level: u8| Id { level, index: full_tiles(self.size, level) };
        let rows = (0..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty());
        rows.map(|(level, hashes)| (place(level), hashes.as_slice())).collect()
    }
}

/// Whether a log of this origin, a host and a path without scheme, can be served under that path (tlog-tiles): behind
/// the host it has only what RFC 3986 has in a path as it is, and no part that is empty, `.` or `..` (so no scheme, and no slash at its end).
/// Whoever asks may write any other character with a `%`, or leave it out.
///
/// # Errors
/// What it has that nobody could ask for.
pub fn check_origin(origin: &str) -> Result<(), OriginError> {
    let Some((_, path)) = origin.split_once('/') else { return Ok(()) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || PLAIN.as_bytes().contains(&byte);
    let is_no_part = |part: &str| matches!(part, "" | "." | "..");
    if path.bytes().all(is_plain) && !path.split('/').any(is_no_part) {
        Ok(())
    } else {
        Err(OriginError)
    }
}

/// An origin under whose path no log can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginError;

impl fmt::Display for OriginError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "it has other characters behind the host than ASCII letters, digits and `{PLAIN}`, or a part that is empty, `.` or `..` (a scheme, a slash at the end), and a log is served under the path of its origin"
        )
    }
}

impl core::error::Error for OriginError {}

/// What RFC 3986 has in a path as it is, besides letters and digits.
const PLAIN: &str = "-._~!$&'()*,;=:@/";

/// The root of a tile's hashes: for a full tile the hash that stands in the tile above it.
#[must_use]
pub fn root(hashes: &[Hash]) -> Hash {
    crate::proof::root(hashes, hashes.len() as u64).unwrap_or(Hash::EMPTY)
}

/// The full tiles that a tree has after growing from `old` to `new` leaves and had not before, level 0 first.
#[must_use]
pub fn completed(old: u64, new: u64) -> Vec<Id> {
    let level = |level| {
        (full_tiles(old, level)..full_tiles(new, level)).map(move |index| Id { level, index })
    };
    (0..LEVELS_MAX).flat_map(level).collect()
}

/// The partial tiles of a tree of this size with their widths (1 to 255), level 0 first.
#[must_use]
pub fn partials(size: u64) -> Vec<(Id, u16)> {
    let each = (0..LEVELS_MAX)
        .map(|level| (Id { level, index: full_tiles(size, level) }, partial_width(size, level)));
    each.filter(|(_, width)| *width > 0).collect()
}

/// How many hashes a tile has in a tree of this size: 0 to 256.
#[must_use]
pub fn width(id: Id, size: u64) -> u16 {
    match id.index.cmp(&full_tiles(size, id.level)) {
        core::cmp::Ordering::Less => WIDTH,
        core::cmp::Ordering::Equal => partial_width(size, id.level),
        core::cmp::Ordering::Greater => 0,
    }
}

/// The tile in which a complete subtree of the tree is found.
#[must_use]
pub fn holding(level: u32, index: u64) -> Id {
    let within = level % HEIGHT;
    // Level 63 at most, so level 7 of tiles.
    let tile = u8::try_from(level / HEIGHT).unwrap_or(u8::MAX);
    Id { level: tile, index: index >> (HEIGHT - within) }
}

/// The tiles that an inclusion proof is made of.
pub fn needed_for_inclusion(index: u64, size: u64) -> Result<Vec<Id>, ProofError> {
    crate::proof::inclusion_needs(index, size).map(|nodes| tiles_of(&nodes))
}

/// The tiles that a consistency proof is made of.
pub fn needed_for_consistency(old: u64, new: u64) -> Result<Vec<Id>, ProofError> {
    crate::proof::consistency_needs(old, new).map(|nodes| tiles_of(&nodes))
}

/// The tiles from which the roots at `sizes` of a tree of `size` leaves come, with those that [`Verified`] needs beside them: the
/// tree's right edge, and for each full tile the one above it. Sizes that the tree does not have need nothing.
#[must_use]
pub fn needed_for_roots(sizes: impl IntoIterator<Item = u64>, size: u64) -> Vec<Id> {
    let mut needs = BTreeSet::new();
    let smaller = sizes.into_iter().filter(|smaller| *smaller < size);
    for (id, _) in smaller.chain([size]).flat_map(partials) {
        let mut next = Some(id);
        // What is above a tile that is known is known as well.
        while let Some(id) = next.filter(|id| needs.insert(*id)) {
            next = (width(id, size) == WIDTH).then_some(above(id).0);
        }
    }
    needs.into_iter().collect()
}

/// Where the root of a full tile stands: the tile above it, and the place in that one.
fn above(id: Id) -> (Id, usize) {
    let place = id.index % u64::from(WIDTH);
    let above = Id { level: id.level.saturating_add(1), index: id.index >> HEIGHT };
    (above, usize::try_from(place).unwrap_or(usize::MAX))
}

/// Tiles, full and partial: proofs can be made from them.
impl Subtrees for BTreeMap<Id, Vec<Hash>> {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let within = level % HEIGHT;
        let start = usize::try_from((index << within) % u64::from(WIDTH)).ok()?;
        let hashes = self.get(&holding(level, index))?;
        hashes.get(start..start + (1 << within))?.subtree(within, 0)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match self {
            Self::Tile { id, width } => {
                write!(out, "tile/{}/", id.level)?;
                (id.index, width)
            }
            Self::Entries { index, width } => {
                out.write_str("tile/entries/")?;
                (*index, width)
            }
        };
        out.write_str(&groups(index))?;
        if *width < WIDTH { write!(out, ".p/{width}") } else { Ok(()) }
    }
}

impl FromStr for Resource {
    type Err = NotATile;

    fn from_str(path: &str) -> Result<Self, NotATile> {
        let rest = path.strip_prefix("tile/").ok_or(NotATile)?;
        let (level, rest) = rest.split_once('/').ok_or(NotATile)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, decimal(width).ok_or(NotATile)?),
            None => (rest, u64::from(WIDTH)),
        };
        let partial = rest.len() != index.len();
        let width = u16::try_from(width).map_err(|_| NotATile)?;
        if width == 0 || width > WIDTH || (partial && width == WIDTH) {
            return Err(NotATile);
        }
        let index = ungroup(index).ok_or(NotATile)?;
        if level == "entries" {
            return Ok(Self::Entries { index, width });
        }
        let level = decimal(level).and_then(|level| u8::try_from(level).ok()).ok_or(NotATile)?;
        if level > LEVEL_PATH_MAX {
            return Err(NotATile);
        }
        Ok(Self::Tile { id: Id { level, index }, width })
    }
}

/// `1234067` -> `x001/x234/067`.
fn groups(index: u64) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

fn ungroup(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut parts = text.split('/').peekable();
    while let Some(part) = parts.next() {
        let digits = if parts.peek().is_some() { part.strip_prefix('x')? } else { part };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // Only one path names a tile: no empty groups in front.
    (groups(index) == text).then_some(index)
}

fn full_tiles(size: u64, level: u8) -> u64 {
    size.checked_shr(HEIGHT * (u32::from(level) + 1)).unwrap_or(0)
}

fn partial_width(size: u64, level: u8) -> u16 {
    let hashes = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
    u16::try_from(hashes % u64::from(WIDTH)).unwrap_or(0)
}

/// Levels of tiles with anything in them.
fn levels_of(size: u64) -> usize {
    (u64::BITS - size.leading_zeros()).div_ceil(HEIGHT) as usize
}

fn tiles_of(nodes: &[(u32, u64)]) -> Vec<Id> {
    let mut tiles: Vec<Id> = nodes.iter().map(|(level, index)| holding(*level, *index)).collect();
    tiles.sort_unstable();
    tiles.dedup();
    tiles
}

crate::one_error!(NotATile, "not the path of a tile, e.g. `tile/0/x001/067` or `tile/1/000.p/8`");

/// A size is a `u64`: eight levels of eight.
const LEVELS_MAX: u8 = 8;
/// Set by the specification.
const LEVEL_PATH_MAX: u8 = 63;
