//! The witness's own log: what it found, as records that it cannot quietly change either.
//!
//! Leaves and tree are those of docs/record.md (one lane, number 0), so that any of its verifiers reads them, and another
//! witness may watch this one. Kinds: `lane_open` for each start, `alarm`; and where the lane before lost records, `rollback`.
//! What was signed last lies beside the key too ([`place`]): a state that is older, or empty, does not lead to it.
//!
//! *Invariant:* only ever appended to; a record is on the disk when [`Own::append`] returns, and its checkpoint after it. Of one lane
//! never two trees are signed that do not extend each other.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tlog::proof::{self, Subtrees as _};
use tlog::tile::{HEIGHT, Resource, WIDTH, check_origin};
use tlog::{Checkpoint, Hash, Note, Signer as _, SigningKey, bundle};

use super::WitnessError;
use crate::clock::Clock;
use crate::disk;
use crate::program;

mod place;

use place::{Beside, Signed};

pub(super) struct Own {
    signer: SigningKey,
    lane: u16,
    dir: PathBuf,
    beside: Beside,
    clock: Clock,
    tree: Mutex<Tree>,
}

/// What was written.
struct Tree {
    file: File,
    /// Where each record begins in the file, and where the last one ends.
    offsets: Vec<u64>,
    hashes: Vec<Hash>,
    /// What the last write left behind the records is still there: the disk took neither it nor its end.
    is_spoilt: bool,
    epoch: u64,
    at_ns: i64,
    note: String,
}

/// A record to be written.
type Said = (&'static str, Map<String, Value>);

impl Own {
    /// Reads what was written, and writes that a process began. `key` is the witness's own, of which the log's is derived, and `file`
    /// where it lies.
    pub fn open(
        state: &Path,
        file: &Path,
        key: &SigningKey,
        clock: Clock,
    ) -> Result<Self, WitnessError> {
        check_origin(key.verifier().name()).map_err(|cause| WitnessError::Key {
            path: file.to_owned(),
            cause: format!("by its name, {cause}"),
        })?;
        let beside = Beside::of(file);
        let newest = beside.read(key)?;
        let lane = place::lane(state, newest.as_ref());
        let dir = place::dir(state, lane);
        let wrong = |cause: &dyn Display| WitnessError::State {
            path: place::dir(state, lane),
            cause: cause.to_string(),
        };
        let signer = place::derive(key, lane).map_err(|cause| wrong(&cause))?;
        let tree = Tree::open(&dir).map_err(|cause| wrong(&cause))?;
        let own = Self { signer, lane, dir, beside, clock, tree: Mutex::new(tree) };
        own.is_whole(state, newest.as_ref()).map_err(|cause| wrong(&cause))?;
        let ended = own.ended(state, newest.as_ref());
        own.begin(ended).map_err(|cause| wrong(&cause))?;
        Ok(own)
    }

    /// The records are at least those that were signed last, by the state and by what lies beside the key.
    fn is_whole(&self, state: &Path, signed: Option<&Signed>) -> io::Result<()> {
        let tree = self.lock();
        let here = tree.signed(&self.signer)?;
        let beside = signed.filter(|signed| signed.lane == self.lane);
        let both = [here.as_ref(), beside.map(|signed| &signed.checkpoint)];
        if let Some(other) = both.into_iter().flatten().find(|one| !tree.leads_to(one)) {
            return Err(broken(self.missed(state, tree.size(), other.size)));
        }
        tree.settle(both.into_iter().flatten().map(|signed| signed.size).max().unwrap_or(0))
    }

    fn missed(&self, state: &Path, found: u64, signed: u64) -> String {
        format!(
            "the witness's own log `{}` lacks records that it signed, or has other ones: {found} are there, and {signed} were signed (see `{}`). \
             Bring the state back from its newest backup; where the records are gone for good, make the directory `{}`: the witness goes on there with another log, which begins by saying what was lost",
            self.signer.verifier().name(),
            self.beside.path().display(),
            place::dir(state, place::after(self.lane)).display()
        )
    }

    /// What is said of the lane before, where nothing of this one was signed yet.
    fn ended(&self, state: &Path, newest: Option<&Signed>) -> Option<Said> {
        let has_begun = newest.is_some_and(|newest| newest.lane == self.lane);
        if self.lane == 0 || has_begun || !self.lock().note.is_empty() {
            return None;
        }
        newest.and_then(|newest| lost(state, newest)).or_else(|| {
            let ours = self.signer.verifier().name();
            let of = newest.map_or(ours, |newest| &newest.checkpoint.origin);
            let about = "the operator ended the log before: of no records is it known that they were lost, and some may be";
            Some(("alarm", object(json!({ "what": "own_log_ended", "log": of, "about": about }))))
        })
    }

    /// The public key of the log (C2SP vkey).
    pub fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    pub fn size(&self) -> u64 {
        self.lock().size()
    }

    /// The path under which the lane is served: that of its origin.
    pub fn prefix(&self) -> String {
        let origin = self.signer.verifier().name();
        origin.split_once('/').map(|(_, path)| format!("/{path}/")).unwrap_or_default()
    }

    /// Writes a record. Blocks for as long as the disk takes to sync.
    pub fn append(&self, kind: &str, keys: Map<String, Value>) -> io::Result<()> {
        let mut tree = self.lock();
        self.write(&mut tree, kind, keys)?;
        self.sign(&mut tree);
        Ok(())
    }

    fn write(&self, tree: &mut Tree, kind: &str, mut keys: Map<String, Value>) -> io::Result<()> {
        let now_ns = self.clock.unix_ns().max(tree.at_ns + 1);
        let (mut nonce, mut chance) = ([0; 16], [0; 10]);
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        getrandom::fill(&mut chance).map_err(io::Error::other)?;
        let millis = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid();
        for (key, value) in [
            ("v", json!(1)),
            ("kind", json!(kind)),
            ("id", json!(id.to_string())),
            ("lane", json!(self.lane)),
            ("index", json!(tree.hashes.len())),
            ("epoch", json!(tree.epoch)),
            ("at", json!(instant(now_ns)?)),
            ("nonce", json!(STANDARD.encode(nonce))),
        ] {
            keys.insert(key.to_owned(), value);
        }
        let leaf = verdict::canonical(&keys).map_err(io::Error::other)?;
        tree.append(&leaf)?;
        tree.at_ns = now_ns;
        Ok(())
    }

    /// If we stop before it, the record is there, and the next start signs for it; or the next record, when it cannot be signed now.
    fn sign(&self, tree: &mut Tree) {
        if let Err(cause) = tree.sign(&self.dir, &self.beside, &self.signer) {
            tracing::error!(%cause, "the checkpoint of the witness's own log cannot be written");
        }
    }

    /// What is served of it, and whether it stays so for good.
    pub fn get(&self, path: &str) -> Option<(Vec<u8>, bool)> {
        let tree = self.lock();
        if path == "checkpoint" {
            return Some((tree.note.clone().into_bytes(), false));
        }
        tree.resource(path.parse().ok()?).map(|bytes| (bytes, true))
    }

    fn begin(&self, ended: Option<Said>) -> io::Result<()> {
        let mut tree = self.lock();
        tree.epoch += 1;
        let mut keys = object(json!({
            "origin": self.signer.verifier().name(),
            "key": self.vkey(),
            "build": program::BUILD,
            "version": 0,
            "size": tree.size(),
            "root": tree.root().to_string(),
        }));
        let digest = program::digest().map(|digest| Hash(digest).to_string());
        keys.extend(digest.map(|digest| ("build_digest".to_owned(), digest.into())));
        self.write(&mut tree, "lane_open", keys)?;
        if let Some((kind, keys)) = ended {
            tracing::error!(
                of = self.lane,
                "the log of the witness's own that was before this one has ended"
            );
            self.write(&mut tree, kind, keys)?;
        }
        // Not before: until something of this lane is signed, what lies beside the key is of the one that ended.
        self.sign(&mut tree);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    /// As far as records are whole. What follows them stays until [`Own::is_whole`] cuts it off.
    fn open(dir: &Path) -> io::Result<Self> {
        disk::make_directory(dir)?;
        let path = dir.join("entries");
        // Not to append: what is written comes where the records end, and not behind what is half written there.
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        disk::sync_directory(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let note = disk::read_text(&dir.join("checkpoint"))?.unwrap_or_default();
        let (offsets, hashes, is_spoilt) = (vec![0], Vec::new(), false);
        let mut tree = Self { file, offsets, hashes, is_spoilt, epoch: 0, at_ns: 0, note };
        let mut whole = 0;
        for leaf in bundle::leaves(&bytes) {
            let Ok(leaf) = leaf else { break };
            let end = whole + LENGTH + leaf.len() as u64;
            if tree.take(leaf, end).is_err() {
                break;
            }
            whole = end;
        }
        Ok(tree)
    }

    fn take(&mut self, leaf: &[u8], end: u64) -> io::Result<()> {
        let record: Value = serde_json::from_slice(leaf).map_err(io::Error::other)?;
        self.epoch = record
            .get("epoch")
            .and_then(Value::as_u64)
            .ok_or_else(|| broken("a record has no epoch"))?;
        let at = record.get("at").and_then(Value::as_str).and_then(|at| {
            OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339).ok()
        });
        let at_ns = at.and_then(|at| i64::try_from(at.unix_timestamp_nanos()).ok());
        self.at_ns = at_ns.ok_or_else(|| broken("a record has no time"))?;
        self.hashes.push(Hash::leaf(leaf));
        self.offsets.push(end);
        Ok(())
    }

    /// What was signed last, by the state.
    fn signed(&self, signer: &SigningKey) -> io::Result<Option<Checkpoint>> {
        if self.note.is_empty() {
            return Ok(None);
        }
        let note: Note = self.note.parse().map_err(io::Error::other)?;
        note.verify([signer.verifier()]).map_err(io::Error::other)?;
        note.text().parse().map(Some).map_err(io::Error::other)
    }

    fn leads_to(&self, signed: &Checkpoint) -> bool {
        proof::root(&self.hashes, signed.size).is_ok_and(|root| root == signed.root)
    }

    /// What follows the first `signed` records was perhaps never synced, or its sync failed: then the next one says nothing of it, so it
    /// is written again. Behind it may be a record that was cut off with its process, or zeros after the power; it was never signed.
    fn settle(&self, signed: u64) -> io::Result<()> {
        let signed = usize::try_from(signed).ok().and_then(|signed| self.offsets.get(signed));
        let begin = signed.copied().unwrap_or(0);
        let length = usize::try_from(self.end() - begin).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, begin)?;
        self.file.write_all_at(&bytes, begin)?;
        self.cut()
    }

    /// Takes away what is behind the records.
    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end())?;
        self.file.sync_all()
    }

    fn append(&mut self, leaf: &[u8]) -> io::Result<()> {
        if self.is_spoilt {
            self.cut()?;
            self.is_spoilt = false;
        }
        let mut bytes = Vec::with_capacity(leaf.len() + 2);
        bundle::push(&mut bytes, leaf).map_err(io::Error::other)?;
        let begin = self.end();
        let written = self.file.write_all_at(&bytes, begin).and_then(|()| self.file.sync_data());
        if let Err(cause) = written {
            // What was half written would spoil the next record. After a failed sync a later one says nothing of the same pages: those
            // behind the records are gone with what is cut off, and the one in which they end is written again with the next record.
            self.is_spoilt = self.cut().is_err();
            return Err(cause);
        }
        self.hashes.push(Hash::leaf(leaf));
        self.offsets.push(begin + bytes.len() as u64);
        Ok(())
    }

    fn sign(&mut self, dir: &Path, beside: &Beside, signer: &SigningKey) -> io::Result<()> {
        let origin = signer.verifier().name().to_owned();
        let checkpoint = Checkpoint::new(origin, self.size(), self.root());
        let note = checkpoint.sign(signer).map_err(io::Error::other)?.to_string();
        beside.write(&note)?;
        disk::replace(&dir.join("checkpoint"), note.as_bytes())?;
        self.note = note;
        Ok(())
    }

    fn size(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Where the records end in the file.
    fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn root(&self) -> Hash {
        proof::root(&self.hashes, self.size()).unwrap_or(Hash::EMPTY)
    }

    fn resource(&self, resource: Resource) -> Option<Vec<u8>> {
        match resource {
            Resource::Tile { id, width } => {
                let level = u32::from(id.level).checked_mul(HEIGHT).filter(|level| *level < 64)?;
                let first = id.index.checked_mul(WIDTH.into())?;
                let places = first..first.checked_add(width.into())?;
                if places.end.checked_shl(level)? > self.size() {
                    return None;
                }
                let hashes: Option<Vec<Hash>> =
                    places.map(|place| self.hashes.subtree(level, place)).collect();
                Some(Hash::concat(&hashes?))
            }
            Resource::Entries { index, width } => {
                let first = usize::try_from(index.checked_mul(WIDTH.into())?).ok()?;
                let begin = *self.offsets.get(first)?;
                let end = *self.offsets.get(first.checked_add(width.into())?)?;
                let mut bytes = vec![0; usize::try_from(end - begin).ok()?];
                self.file.read_exact_at(&mut bytes, begin).ok()?;
                Some(bytes)
            }
        }
    }
}

/// That records are gone of a lane of which this was signed; nothing where they are there.
fn lost(state: &Path, signed: &Signed) -> Option<Said> {
    let (lane, known) = (signed.lane, &signed.checkpoint);
    let there = Tree::open(&place::dir(state, lane)).ok();
    if there.as_ref().is_some_and(|there| there.leads_to(known)) {
        return None;
    }
    let (found, found_root) = there.map_or((0, Hash::EMPTY), |there| (there.size(), there.root()));
    let said = json!({
        "of": lane,
        "size": known.size,
        "root": known.root.to_string(),
        "found": found,
        "found_root": found_root.to_string(),
    });
    Some(("rollback", object(said)))
}

fn instant(at_ns: i64) -> io::Result<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(at_ns.into()).map_err(io::Error::other)?;
    at.format(INSTANT).map_err(io::Error::other)
}

fn broken(cause: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, cause.into())
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(keys) = value { keys } else { Map::new() }
}

/// Of docs/record.md: always nine digits.
const INSTANT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
/// Of a record's length before it, in the file.
const LENGTH: u64 = 2;

#[cfg(test)]
mod tests;
