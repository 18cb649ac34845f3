//! A lane's tree on our own disk: for each level of tiles one file of hashes, which only grows.
//!
//! *Invariant:* what counts is what the head says, and the head is replaced after the hashes are on the disk. Hashes past it
//! are of a tree that was not held against a signed root yet; they are cut off at the start. A tree that is larger than what is
//! fetched at once comes in pieces: of each piece the root was computed from tiles that lead to the signed one.

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
    /// What is in memory is perhaps not what the disk has: it is read again before anything is cut off or added.
    is_stale: bool,
}

/// As far as the hashes go, and the newest signed checkpoint that they are a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::witness) struct Head {
    pub size: u64,
    pub root: Hash,
    /// Size and root of the checkpoint.
    pub signed: (u64, Hash),
    /// The checkpoint as a signed note; empty before the first.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u64,
    note: String,
    /// Absent when all of the signed tree is here, as in what was written before there were pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    size: u64,
    root: String,
}

impl Head {
    /// Before the first.
    const fn none() -> Self {
        Self { size: 0, root: Hash::EMPTY, signed: (0, Hash::EMPTY), note: String::new() }
    }

    /// Whether all of the signed tree is here.
    pub const fn is_whole(&self) -> bool {
        self.size == self.signed.0
    }

    fn written(&self) -> Written {
        let part = Part { size: self.size, root: self.root.to_string() };
        let part = (!self.is_whole()).then_some(part);
        let v = if part.is_some() { VERSION_PART } else { VERSION };
        Written { v, note: self.note.clone(), part }
    }

    fn read(text: &[u8]) -> io::Result<Self> {
        let written: Result<Written, _> = serde_json::from_slice(text);
        let Written { v, note, part } =
            written.map_err(|cause| io::Error::new(ErrorKind::InvalidData, cause))?;
        let parsed: Option<Note> = note.parse().ok();
        let checkpoint: Option<Checkpoint> = parsed.and_then(|note| note.text().parse().ok());
        let signed = checkpoint.map(|checkpoint| (checkpoint.size, checkpoint.root));
        let signed = signed.ok_or_else(|| broken("its head is no signed checkpoint"))?;
        let at = match (v, part) {
            (VERSION, None) => Some(signed),
            (VERSION_PART, Some(Part { size, root })) if size < signed.0 => {
                root.parse().ok().map(|root| (size, root))
            }
            _ => None,
        };
        let (size, root) = at.ok_or_else(|| broken("its head is not what was written"))?;
        Ok(Self { size, root, signed, note })
    }
}

impl Tree {
    /// Opens what was kept of a lane, or begins.
    ///
    /// # Errors
    /// When the files do not fit each other (`InvalidData`), or the disk does not answer.
    pub fn open(dir: &Path) -> io::Result<Self> {
        disk::make_directory(dir)?;
        let (dir, head, edge, levels) = (dir.to_owned(), Head::none(), Edge::new(), Vec::new());
        let mut tree = Self { dir, head, edge, levels, is_stale: true };
        tree.settle()?;
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

    /// Bytes of the hashes of a tree of this size, on the disk.
    pub fn bytes(size: u64) -> u64 {
        let levels = (0..LEVELS_MAX).map(|level| size >> (HEIGHT * u32::from(level)));
        levels.fold(0, u64::saturating_add).saturating_mul(BYTES)
    }

    /// The root of the first `size` leaves.
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 {
            return Some(Hash::EMPTY);
        }
        (size <= self.size()).then(|| proof::root(self, size).ok()).flatten()
    }

    /// The same, as far as it was held against a signed checkpoint.
    pub fn signed_root(&self, size: u64) -> Option<Hash> {
        let (signed, root) = self.head.signed;
        if size == signed {
            return Some(root);
        }
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

    /// Takes over the hashes of whole tiles, from the one in which this tree ends up to the new head. False, and nothing is changed, when
    /// they begin otherwise than the tree ends, or do not lead to the head. On the disk when it returns.
    pub fn go_on(&mut self, tiles: &[Hash], head: Head) -> io::Result<bool> {
        self.settle()?;
        let taken = self.take(tiles, head);
        if !matches!(taken, Ok(true)) {
            // What was appended has no signed root.
            self.roll_back()?;
        }
        taken
    }

    fn take(&mut self, tiles: &[Hash], head: Head) -> io::Result<bool> {
        let size = self.size();
        let known = self.leaves(size / WIDE * WIDE, size)?;
        let Some(fresh) = tiles.strip_prefix(known.as_slice()) else { return Ok(false) };
        self.append(fresh)?;
        let fits = self.size() == head.size && self.root(head.size) == Some(head.root);
        if fits {
            self.commit(head)?;
        }
        Ok(fits)
    }

    /// The head from now on, to which the hashes that were appended lead. On the disk when it returns.
    pub fn commit(&mut self, head: Head) -> io::Result<()> {
        for level in &self.levels {
            level.sync_data()?;
        }
        // If we stop here, the hashes past the old head are cut off, and fetched again.
        if let Err(cause) = write(&self.dir, &head) {
            // The file may be the new one already.
            self.is_stale = true;
            return Err(cause);
        }
        self.head = head;
        Ok(())
    }

    /// Reads again what the disk has, where that is not known.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.is_stale { self.roll_back() } else { Ok(()) }
    }

    /// Forgets what no signed checkpoint covers. Never what the head on the disk says: of all that were written it is the newest, and heads
    /// only grow, so whichever of them a power cut leaves has its hashes.
    pub fn roll_back(&mut self) -> io::Result<()> {
        if self.is_stale {
            self.head = read(&self.dir)?;
        }
        // Until all of it is done.
        self.is_stale = true;
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
        self.is_stale = false;
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

/// The head that is kept in a directory.
pub(super) fn read(dir: &Path) -> io::Result<Head> {
    let text = disk::read(&dir.join(HEAD))?;
    text.map_or_else(|| Ok(Head::none()), |text| Head::read(&text))
}

pub(super) fn write(dir: &Path, head: &Head) -> io::Result<()> {
    let text = serde_json::to_vec(&head.written()).map_err(io::Error::other)?;
    disk::replace(&dir.join(HEAD), &text)
}

pub(super) fn remove(dir: &Path) -> io::Result<()> {
    let path = dir.join(HEAD);
    std::fs::remove_file(&path)?;
    disk::sync_directory(&path)
}

fn broken(cause: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, cause)
}

const HEAD: &str = "head.json";
const VERSION: u64 = 1;
/// Of a head that is smaller than its checkpoint. An earlier program does not start on it.
const VERSION_PART: u64 = 2;
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

    /// The head of the first `size` of these leaves, under a checkpoint of all of them.
    fn head(all: &[Hash], size: u64) -> Head {
        let key = SigningKey::from_seed("log.example/0", Kind::Ed25519, &[1; 32]).unwrap();
        let root = |size| (size, proof::root(all, size).unwrap_or(Hash::EMPTY));
        let signed = root(all.len() as u64);
        let checkpoint = Checkpoint::new(key.verifier().name().to_owned(), signed.0, signed.1);
        let note = checkpoint.sign(&key).unwrap().to_string();
        Head { size, root: root(size).1, signed, note }
    }

    fn on_disk(dir: &Path) -> u64 {
        let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
        let levels = files.filter(|file| file.file_name().to_string_lossy().starts_with("level-"));
        levels.map(|file| file.metadata().unwrap().len()).sum()
    }

    #[test]
    fn roots_are_those_of_the_leaves_and_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tree, mut before) = (Tree::open(dir.path()).unwrap(), 0);
        for size in [1, 255, 256, 257, 512, 65_535, 65_537, 66_000] {
            tree.append(&leaves(before, size)).unwrap();
            let all = leaves(0, size);
            let head = head(&all, size);
            assert_eq!(tree.root(size), Some(head.root));
            tree.commit(head).unwrap();
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
            assert_eq!(Tree::bytes(size), on_disk(dir.path()));
            before = size;
        }
    }

    /// Of a tree that comes in pieces each is kept with the checkpoint that it is a part of.
    #[test]
    fn pieces_outlive_a_restart_and_a_wrong_one_changes_nothing() {
        let (dir, all) = (tempfile::tempdir().unwrap(), leaves(0, 1_000));
        let mut tree = Tree::open(dir.path()).unwrap();
        for (from, to) in [(0, 256), (256, 768), (768, 1_000), (1_000, 1_000)] {
            let (first, tiles) = (from / 256 * 256, |first: usize| all[first..to].to_vec());
            let mut wrong = tiles(first);
            if let Some(hash) = wrong.last_mut() {
                hash.0[0] ^= 1;
                assert!(!tree.go_on(&wrong, head(&all, to as u64)).unwrap());
            }
            assert_eq!(tree.size(), from as u64);
            assert!(tree.go_on(&tiles(first), head(&all, to as u64)).unwrap());
            tree = Tree::open(dir.path()).unwrap();
            assert_eq!(*tree.head(), head(&all, to as u64));
            assert_eq!(tree.head().is_whole(), to == 1_000);
            assert_eq!(tree.signed_root(1_000), Some(head(&all, 1_000).root));
            assert_eq!(tree.signed_root(999).is_some(), to == 1_000);
        }
    }

    /// Renamed, and the sync of the directory failed: whichever head the next start finds has its hashes.
    #[test]
    fn nothing_is_cut_off_below_a_head_that_may_be_on_the_disk() {
        let (dir, all) = (tempfile::tempdir().unwrap(), leaves(0, 700));
        let mut tree = Tree::open(dir.path()).unwrap();
        assert!(tree.go_on(&all[..300], head(&all[..300], 300)).unwrap());
        disk::faults::at(&[dir.path()]);
        for _ in 0..2 {
            assert!(tree.go_on(&all[256..600], head(&all[..600], 600)).is_err());
            assert!(tree.settle().is_err());
        }
        // The disk recovers for a start, or for this process.
        disk::faults::at(&[]);
        assert_eq!(Tree::open(dir.path()).unwrap().head().size, 600);
        tree.settle().unwrap();
        assert_eq!((tree.head().size, tree.size()), (600, 600));
        assert!(tree.go_on(&all[512..], head(&all, 700)).unwrap());
        // Before the rename: what was appended goes, and comes again.
        let (path, more) = (dir.path().join(HEAD), leaves(0, 800));
        disk::faults::at(&[&path]);
        assert!(tree.go_on(&more[512..], head(&more, 800)).is_err());
        disk::faults::at(&[]);
        tree.settle().unwrap();
        assert_eq!((tree.head().size, tree.size()), (700, 700));
        assert!(tree.go_on(&more[512..], head(&more, 800)).unwrap());
        assert_eq!(Tree::open(dir.path()).unwrap().root(800), proof::root(&more, 800).ok());
    }

    #[test]
    fn files_that_do_not_fit_stop_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(dir.path()).unwrap();
        tree.append(&leaves(0, 300)).unwrap();
        tree.commit(head(&leaves(0, 300), 300)).unwrap();
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
