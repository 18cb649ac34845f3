//! The tree of one lane, built again: against full tiles, published checkpoints and the head.

use std::collections::{BTreeMap, VecDeque};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tlog::{Checkpoint, Frontier, Hash, Note, VerifierKey, tile};

use super::{
    Walk, What,
    store::{HeadState, StoredCheckpoint},
    walk::NO_BATCH_ENDS,
};

/// A lane's tree while its leaves come in.
pub(super) struct Tree {
    lane: u16,
    frontier: Frontier,
    edge: tile::Edge,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    /// By size; those that were passed are gone.
    checkpoints: VecDeque<StoredCheckpoint>,
    /// A leaf is missing: roots can no longer be told.
    broken: bool,
    /// Leaves and tiles are of different trees: a later run could not tell this log from another.
    differs: bool,
    /// Largest size at which a signed root agreed, for saying where a difference lies.
    agreed: u64,
    /// Size of the last checkpoint that was looked at.
    passed: u64,
}

/// A tree at the end of a part of its lane, as far as it cannot be read from the database again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stood {
    /// Base64 of size and peaks.
    frontier: String,
    agreed: u64,
    passed: u64,
}

impl Stood {
    pub fn frontier(&self) -> Option<Frontier> {
        Frontier::from_bytes(&STANDARD.decode(&self.frontier).ok()?).ok()
    }

    pub const fn agreed(&self) -> u64 {
        self.agreed
    }
}

impl Tree {
    pub fn new(
        lane: u16,
        tiles: Vec<((u8, u64), Vec<u8>)>,
        checkpoints: Vec<StoredCheckpoint>,
    ) -> Self {
        Self {
            lane,
            frontier: Frontier::new(),
            edge: tile::Edge::new(),
            tiles: tiles.into_iter().collect(),
            checkpoints: checkpoints.into(),
            broken: false,
            differs: false,
            agreed: 0,
            passed: 0,
        }
    }

    /// Goes on from where it stood; `edge` is the database's, and has the same root.
    pub fn resume(mut self, stood: &Stood, frontier: Frontier, edge: tile::Edge) -> Self {
        (self.agreed, self.passed) = (stood.agreed, stood.passed);
        (self.frontier, self.edge) = (frontier, edge);
        let size = self.frontier.size();
        self.tiles.retain(|(level, n), _| *n >= full_tiles(size, *level));
        self
    }

    /// What a later run needs to go on from here; nothing once a leaf or a tile was found to differ.
    pub fn stood(&self) -> Option<Stood> {
        let frontier = STANDARD.encode(self.frontier.to_bytes());
        (!self.broken && !self.differs).then_some(Stood {
            frontier,
            agreed: self.agreed,
            passed: self.passed,
        })
    }

    /// Checkpoints of sizes that an earlier run went past before they were published.
    pub fn late(&mut self, trusted: &[VerifierKey], origin: &str, walk: &mut Walk) {
        let (passed, size) = (self.passed, self.frontier.size());
        while let Some(stored) = self.checkpoints.pop_front_if(|stored| stored.size <= size) {
            let root = walk.roots.get(&(self.lane, stored.size)).copied();
            if stored.size > passed {
                self.look(&stored, (trusted, origin), (root, root.is_some()), walk);
            }
        }
    }

    /// The checkpoint that the database has of this size.
    pub fn checkpoint_of(&self, size: u64) -> Option<&StoredCheckpoint> {
        self.checkpoints.iter().find(|stored| stored.size == size)
    }

    pub fn break_off(&mut self) {
        self.broken = true;
    }

    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// A leaf is not the one that was committed.
    pub fn differ(&mut self) {
        self.differs = true;
    }

    /// The largest size at which a signed root agreed.
    pub const fn signed(&self) -> u64 {
        self.agreed
    }

    /// The hash that the level 0 tile kept for a leaf.
    pub fn kept(&self, index: u64) -> Option<Hash> {
        let (n, at) = (index / u64::from(tile::WIDTH), index % u64::from(tile::WIDTH));
        let start = usize::try_from(at).ok()? * Hash::BYTES;
        self.tiles.get(&(0, n))?.get(start..start + Hash::BYTES).and_then(Hash::from_slice)
    }

    /// Takes in full tiles whose leaves are still to come.
    pub fn keep(&mut self, tiles: Vec<((u8, u64), Vec<u8>)>) {
        let size = self.frontier.size();
        let to_come = |n: u64| (n + 1).saturating_mul(u64::from(tile::WIDTH)) > size;
        self.tiles.extend(tiles.into_iter().filter(|((_, n), _)| to_come(*n)));
    }

    pub fn append(&mut self, leaf: Hash, walk: &mut Walk) {
        if self.broken {
            return;
        }
        self.frontier.append(leaf);
        for (id, hashes) in self.edge.append(&[leaf]) {
            let about = match self.tiles.remove(&(id.level, id.index)) {
                None => format!("tile {}/{} is missing", id.level, id.index),
                Some(kept) if kept != Hash::concat(&hashes) => {
                    format!(
                        "tile {}/{} does not agree with the leaves below it",
                        id.level, id.index
                    )
                }
                Some(_) => continue,
            };
            self.differs = true;
            walk.find_lane(self.lane, What::Tree, about);
        }
    }

    /// The end of a batch: remembered for heartbeats.
    pub fn batch(&self, walk: &mut Walk) {
        if !self.broken {
            walk.roots.insert((self.lane, self.frontier.size()), self.frontier.root());
        }
    }

    /// Checkpoints at the present size; `ends`: a batch ends here.
    pub fn checkpoint(
        &mut self,
        trusted: &[VerifierKey],
        origin: &str,
        ends: bool,
        walk: &mut Walk,
    ) {
        let size = self.frontier.size();
        while self.checkpoints.front().is_some_and(|stored| stored.size < size) {
            self.checkpoints.pop_front();
        }
        while let Some(stored) = self.checkpoints.pop_front_if(|stored| stored.size == size) {
            let root = (!self.broken).then(|| self.frontier.root());
            self.look(&stored, (trusted, origin), (root, ends), walk);
        }
    }

    fn look(
        &mut self,
        stored: &StoredCheckpoint,
        (trusted, origin): (&[VerifierKey], &str),
        (root, ends): (Option<Hash>, bool),
        walk: &mut Walk,
    ) {
        walk.report.checkpoints += 1;
        let (size, from) = (stored.size, self.agreed);
        self.passed = size;
        if !is_trusted(trusted, origin) {
            // Said once, of the lane.
            return;
        }
        let told = root.is_some() || self.broken;
        let held = holds(stored, trusted, origin, root);
        if held.is_ok() && told {
            self.agreed = size;
        }
        // Of a lane with a gap nothing is said: where its batches ended is not known.
        let within = !ends && !self.broken;
        let fault = held.err().or_else(|| within.then(|| NO_BATCH_ENDS.to_owned()));
        if let Some(about) = fault {
            let about = format!("checkpoint of size {size}: {about} (records {from} to {size})");
            walk.find_lane(self.lane, What::Checkpoint, about);
        }
    }

    /// The end of the lane: what is left over should not be there.
    pub fn close(self, head: &HeadState, walk: &mut Walk) {
        let (lane, size) = (self.lane, self.frontier.size());
        for stored in self.checkpoints.iter().filter(|stored| stored.size > size) {
            walk.report.checkpoints += 1;
            let about = format!(
                "a checkpoint says {} records, the lane has {size}: the tail is gone",
                stored.size
            );
            let (index, id) = (Some(size), None);
            walk.report.findings.push(super::Finding {
                lane,
                index,
                id,
                what: What::Missing,
                about,
            });
        }
        if let (false, Some(((level, n), _))) = (self.broken, self.tiles.first_key_value()) {
            walk.find_lane(lane, What::Tree, format!("tile {level}/{n} has no leaves below it"));
        }
        if head.size != size && !self.broken {
            let about = format!("the head says {} records, the batches have {size}", head.size);
            walk.find_lane(lane, What::Missing, about);
        } else if !self.broken && head.root != self.frontier.root() {
            let from = self.agreed;
            walk.find_lane(
                lane,
                What::Tree,
                format!("the head has another root (records {from} to {size})"),
            );
        }
        if head
            .frontier
            .as_ref()
            .is_none_or(|kept| kept.root() != head.root || kept.size() != head.size)
        {
            walk.find_lane(
                lane,
                What::Tree,
                "size, frontier and root of the head contradict each other",
            );
        }
    }
}

fn full_tiles(size: u64, level: u8) -> u64 {
    size.checked_shr(tile::HEIGHT * (u32::from(level) + 1)).unwrap_or(0)
}

/// Whether there is a key of that name to believe; where nobody brought any, those that the database states are.
pub(super) fn is_trusted(trusted: &[VerifierKey], origin: &str) -> bool {
    trusted.is_empty() || trusted.iter().any(|key| key.name() == origin)
}

/// Whether a stored checkpoint is signed and says this root. `None`: the root cannot be told.
pub(super) fn holds(
    stored: &StoredCheckpoint,
    trusted: &[VerifierKey],
    origin: &str,
    root: Option<Hash>,
) -> Result<(), String> {
    let note: Note =
        stored.note.parse().map_err(|cause: tlog::note::NoteError| cause.to_string())?;
    let stated: Vec<VerifierKey> = stored.vkey.parse().into_iter().collect();
    let keys = if trusted.is_empty() { &stated } else { trusted };
    let of_lane = keys.iter().filter(|key| key.name() == origin);
    note.verify(of_lane).map_err(|cause| cause.to_string())?;
    let checkpoint: Checkpoint =
        note.text().parse().map_err(|cause: tlog::checkpoint::NotACheckpoint| cause.to_string())?;
    if checkpoint.origin != origin {
        return Err(format!("it is of `{}`", checkpoint.origin));
    }
    if checkpoint.size != stored.size {
        return Err(format!("it was signed for size {}", checkpoint.size));
    }
    match root {
        Some(root) if root != checkpoint.root => Err("the signed root is another one".to_owned()),
        _ => Ok(()),
    }
}
