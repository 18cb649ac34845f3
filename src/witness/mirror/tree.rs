//! A lane's tree on our own disk: for each level of tiles one file of hashes, which only grows.
//!
//! *Invariant:* what counts is what the head says, and the head is replaced after the hashes are on the disk. Hashes past it
//! are of a tree that was not held against a signed root yet; they are cut off at the start.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tlog::proof::{self, Subtrees};
use tlog::tile::{self, Edge, HEIGHT, WIDTH};
use tlog::{Checkpoint, Hash, Note};

use crate::disk;

#[derive(Debug)]
pub(in crate::witness) struct Tree {
    dir: PathBuf,
    head: Head,
    edge: Edge,
    levels: Vec<File>,
}

/// The newest signed checkpoint that the hashes lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::witness) struct Head {
    pub size: u64,
    pub root: Hash,
    /// The signed note; empty before the first.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u64,
    note: String,
}

impl Tree {
    /// Opens what was kept of a lane, or begins.
    ///
    /// # Errors
    /// When the files do not fit each other, or the disk does not answer.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let head = read(&dir.join(HEAD))?;
        let mut tree = Self { dir: dir.to_owned(), head, edge: Edge::new(), levels: Vec::new() };
        tree.roll_back()?;
        let root = tree.root(tree.head.size);
        if tree.head.size > 0 && root != Some(tree.head.root) {
            return Err(broken("the hashes do not lead to the root of the checkpoint"));
        }
        Ok(tree)
    }

    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Leaves appended, held against a root or not.
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root of the first `size` leaves.
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 {
            return Some(Hash::EMPTY);
        }
        (size <= self.size()).then(|| proof::root(self, size).ok()).flatten()
    }

    /// The same, as far as a signed checkpoint reaches.
    pub fn signed_root(&self, size: u64) -> Option<Hash> {
        (size <= self.head.size).then(|| self.root(size)).flatten()
    }

    /// Leaf hashes `from <= index < to`, as far as they are there.
    pub fn leaves(&self, from: u64, to: u64) -> io::Result<Vec<Hash>> {
        self.hashes(0, from, to.min(self.size()))
    }

    pub fn append(&mut self, leaves: &[Hash]) -> io::Result<()> {
        let size = self.size();
        self.write(0, size, leaves)?;
        for (id, hashes) in self.edge.append(leaves) {
            self.write(usize::from(id.level) + 1, id.index, &[tile::root(&hashes)])?;
        }
        Ok(())
    }

    /// Appends what follows in a tile after the hashes that are here; false when the tile begins otherwise than they do.
    pub fn go_on(&mut self, from: u64, before: &[Hash], fresh: &[Hash]) -> io::Result<bool> {
        if self.leaves(from / WIDE * WIDE, from)? != before {
            return Ok(false);
        }
        self.append(fresh)?;
        Ok(true)
    }

    /// What was appended leads to this signed checkpoint. On the disk when it returns.
    pub fn commit(&mut self, note: &str, checkpoint: &Checkpoint) -> io::Result<()> {
        for level in &self.levels {
            level.sync_data()?;
        }
        // If we stop here, the hashes past the old head are cut off, and fetched again.
        let written = Written { v: VERSION, note: note.to_owned() };
        let text = serde_json::to_vec(&written).map_err(io::Error::other)?;
        disk::replace(&self.dir.join(HEAD), &text)?;
        let (size, root) = (checkpoint.size, checkpoint.root);
        self.head = Head { size, root, note: note.to_owned() };
        Ok(())
    }

    /// Forgets what no signed checkpoint covers.
    pub fn roll_back(&mut self) -> io::Result<()> {
        let size = self.head.size;
        let mut partials = Vec::new();
        self.levels.clear();
        for level in 0..LEVELS_MAX {
            let count = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
            let path = self.dir.join(format!("level-{level}"));
            if count == 0 && !path.exists() {
                break;
            }
            let file = open(&path)?;
            if file.metadata()?.len() < count * BYTES {
                return Err(broken("hashes are missing"));
            }
            file.set_len(count * BYTES)?;
            self.levels.push(file);
            partials.push(self.hashes(usize::from(level), count / WIDE * WIDE, count)?);
        }
        let edge = Edge::from_partials(size, partials);
        self.edge = edge.ok_or_else(|| broken("the levels do not fit each other"))?;
        Ok(())
    }

    fn write(&mut self, level: usize, at: u64, hashes: &[Hash]) -> io::Result<()> {
        while self.levels.len() <= level {
            let path = self.dir.join(format!("level-{}", self.levels.len()));
            self.levels.push(open(&path)?);
            disk::sync_directory(&path)?;
        }
        let file = self.levels.get(level).ok_or_else(|| broken("a level is missing"))?;
        file.write_all_at(&Hash::concat(hashes), at * BYTES)
    }

    fn hashes(&self, level: usize, from: u64, to: u64) -> io::Result<Vec<Hash>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let length = usize::try_from((to - from) * BYTES).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let file = self.levels.get(level).ok_or_else(|| broken("a level is missing"))?;
        file.read_exact_at(&mut bytes, from * BYTES)?;
        Hash::many(&bytes).ok_or_else(|| broken("half a hash"))
    }
}

impl Subtrees for Tree {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let within = level % HEIGHT;
        let from = index.checked_shl(within)?;
        let file = usize::try_from(level / HEIGHT).ok()?;
        let hashes = self.hashes(file, from, from.checked_add(1 << within)?).ok()?;
        Some(tile::root(&hashes))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn read(path: &Path) -> io::Result<Head> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Ok(Head { size: 0, root: Hash::EMPTY, note: String::new() });
        }
        Err(cause) => return Err(cause),
    };
    let written: Written = serde_json::from_slice(&text).map_err(io::Error::other)?;
    let note: Option<Note> = (written.v == VERSION).then(|| written.note.parse().ok()).flatten();
    let checkpoint: Option<Checkpoint> = note.and_then(|note| note.text().parse().ok());
    let checkpoint = checkpoint.ok_or_else(|| broken("its head is no signed checkpoint"))?;
    Ok(Head { size: checkpoint.size, root: checkpoint.root, note: written.note })
}

fn broken(cause: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, cause)
}

const HEAD: &str = "head.json";
const VERSION: u64 = 1;
const BYTES: u64 = Hash::BYTES as u64;
const WIDE: u64 = WIDTH as u64;
/// A size is a `u64`: eight levels of eight.
const LEVELS_MAX: u8 = 8;

#[cfg(test)]
mod tests {
    //! Against the tree in memory: every root, after a restart and after what was not signed.

    use tlog::{Signer as _, SigningKey, key::Kind};

    use super::*;

    fn leaves(from: u64, to: u64) -> Vec<Hash> {
        (from..to).map(|n| Hash::leaf(&n.to_be_bytes())).collect()
    }

    fn signed(all: &[Hash]) -> (String, Checkpoint) {
        let key = SigningKey::from_seed("log.example/0", Kind::Ed25519, &[1; 32]).unwrap();
        let size = all.len() as u64;
        let root = proof::root(all, size).unwrap_or(Hash::EMPTY);
        let checkpoint = Checkpoint::new(key.verifier().name().to_owned(), size, root);
        (checkpoint.sign(&key).unwrap().to_string(), checkpoint)
    }

    #[test]
    fn roots_are_those_of_the_leaves_and_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tree, mut before) = (Tree::open(dir.path()).unwrap(), 0);
        for size in [1, 255, 256, 257, 512, 65_535, 65_537, 66_000] {
            tree.append(&leaves(before, size)).unwrap();
            let all = leaves(0, size);
            let (note, checkpoint) = signed(&all);
            assert_eq!(tree.root(size), Some(checkpoint.root));
            tree.commit(&note, &checkpoint).unwrap();
            // Of a tree that nobody signed: gone after a restart, and after rolling back.
            tree.append(&leaves(1_000_000, 1_000_300)).unwrap();
            tree = Tree::open(dir.path()).unwrap();
            assert_eq!((tree.size(), tree.head().size), (size, size));
            tree.append(&leaves(2_000_000, 2_000_001)).unwrap();
            tree.roll_back().unwrap();
            for at in [0, 1, size / 2, size.saturating_sub(1), size] {
                let root = proof::root(&all, at).unwrap_or(Hash::EMPTY);
                assert_eq!(tree.root(at), Some(root), "{at} of {size}");
            }
            assert_eq!(tree.root(size + 1), None);
            assert_eq!(tree.leaves(before, size).unwrap(), leaves(before, size));
            before = size;
        }
    }

    #[test]
    fn files_that_do_not_fit_stop_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(dir.path()).unwrap();
        tree.append(&leaves(0, 300)).unwrap();
        let (note, checkpoint) = signed(&leaves(0, 300));
        tree.commit(&note, &checkpoint).unwrap();
        let level = dir.path().join("level-0");
        let mut bytes = std::fs::read(&level).unwrap();
        bytes[7] ^= 1;
        std::fs::write(&level, &bytes).unwrap();
        // The root of a full tile stands in the level above, so only the edge is read: the leaf is found when it is compared.
        assert!(Tree::open(dir.path()).is_ok());
        bytes[299 * 32] ^= 1;
        std::fs::write(&level, &bytes).unwrap();
        assert!(Tree::open(dir.path()).is_err());
        std::fs::write(&level, &bytes[..64]).unwrap();
        assert!(Tree::open(dir.path()).is_err());
    }
}
