//! The witness's own log: what it found, as records that it cannot quietly change either.
//!
//! Leaves and tree are those of docs/record.md (one lane, number 0), so that any of its verifiers reads them, and another
//! witness may watch this one. Kinds: `lane_open` for each start, `alarm`.
//!
//! *Invariant:* only ever appended to; a record is on the disk when [`Own::append`] returns, and its checkpoint after it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tlog::key::Kind;
use tlog::proof::{self, Subtrees as _};
use tlog::tile::{HEIGHT, Resource, WIDTH};
use tlog::{Checkpoint, Hash, Note, Signer as _, SigningKey, bundle};

use super::WitnessError;
use crate::clock::Clock;
use crate::disk;
use crate::program;

pub(super) struct Own {
    signer: SigningKey,
    dir: PathBuf,
    clock: Clock,
    tree: Mutex<Tree>,
}

/// What was written.
struct Tree {
    file: File,
    /// Where each record begins in the file, and where the last one ends.
    offsets: Vec<u64>,
    hashes: Vec<Hash>,
    epoch: u64,
    at_ns: i64,
    note: String,
}

impl Own {
    /// Reads what was written, and writes that a process began. `key` is the witness's own, of which the log's is derived.
    pub fn open(dir: &Path, key: &SigningKey, clock: Clock) -> Result<Self, WitnessError> {
        let wrong = |cause: String| WitnessError::State { path: dir.to_owned(), cause };
        let signer = derive(key).map_err(|cause| wrong(cause.to_string()))?;
        let tree = Tree::open(dir, &signer).map_err(|cause| wrong(cause.to_string()))?;
        let own = Self { signer, dir: dir.to_owned(), clock, tree: Mutex::new(tree) };
        own.begin().map_err(|cause| wrong(cause.to_string()))?;
        Ok(own)
    }

    /// The public key of the log (C2SP vkey).
    pub fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    pub fn size(&self) -> u64 {
        self.lock().hashes.len() as u64
    }

    /// The path under which the lane is served: that of its origin.
    pub fn prefix(&self) -> String {
        let origin = self.signer.verifier().name();
        origin.split_once('/').map(|(_, path)| format!("/{path}/")).unwrap_or_default()
    }

    /// Writes a record. Blocks for as long as the disk takes to sync.
    pub fn append(&self, kind: &str, mut keys: Map<String, Value>) -> io::Result<()> {
        let mut tree = self.lock();
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
            ("lane", json!(0)),
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
        // If we stop here, the record is there, and the next start signs for it; or the next record, when it cannot be signed now.
        if let Err(cause) = tree.sign(&self.dir, &self.signer) {
            tracing::error!(%cause, "the checkpoint of the witness's own log cannot be written");
        }
        Ok(())
    }

    /// What is served of it, and whether it stays so for good.
    pub fn get(&self, path: &str) -> Option<(Vec<u8>, bool)> {
        let tree = self.lock();
        if path == "checkpoint" {
            return Some((tree.note.clone().into_bytes(), false));
        }
        tree.resource(path.parse().ok()?).map(|bytes| (bytes, true))
    }

    fn begin(&self) -> io::Result<()> {
        let (size, root) = {
            let mut tree = self.lock();
            tree.epoch += 1;
            (tree.hashes.len() as u64, tree.root())
        };
        let Value::Object(mut keys) = json!({
            "origin": self.signer.verifier().name(),
            "key": self.vkey(),
            "build": program::BUILD,
            "version": 0,
            "size": size,
            "root": root.to_string(),
        }) else {
            return Ok(());
        };
        let digest = program::digest().map(|digest| Hash(digest).to_string());
        keys.extend(digest.map(|digest| ("build_digest".to_owned(), digest.into())));
        self.append("lane_open", keys)
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn open(dir: &Path, signer: &SigningKey) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("entries");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        disk::sync_directory(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let note = read(&dir.join("checkpoint"))?;
        let (offsets, hashes) = (vec![0], Vec::new());
        let mut tree = Self { file, offsets, hashes, epoch: 0, at_ns: 0, note };
        let mut whole = 0;
        for leaf in bundle::leaves(&bytes) {
            // The last one may have been cut off with its process, or be zeros after the power; it was never signed.
            let Ok(leaf) = leaf else { break };
            let end = whole + LENGTH + leaf.len() as u64;
            if tree.take(leaf, end).is_err() {
                break;
            }
            whole = end;
        }
        tree.is_signed(signer)?;
        tree.file.set_len(whole)?;
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

    /// The records are at least those that were signed last.
    fn is_signed(&self, signer: &SigningKey) -> io::Result<()> {
        if self.note.is_empty() {
            return Ok(());
        }
        let note: Note = self.note.parse().map_err(io::Error::other)?;
        note.verify([signer.verifier()]).map_err(io::Error::other)?;
        let checkpoint: Checkpoint = note.text().parse().map_err(io::Error::other)?;
        let root = proof::root(&self.hashes, checkpoint.size).ok();
        if root == Some(checkpoint.root) {
            Ok(())
        } else {
            Err(broken("the witness's own log lacks records that it signed, or has other ones"))
        }
    }

    fn append(&mut self, leaf: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(leaf.len() + 2);
        bundle::push(&mut bytes, leaf).map_err(io::Error::other)?;
        let begin = self.offsets.last().copied().unwrap_or(0);
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(cause) = written {
            // What was half written would spoil the next record.
            self.file.set_len(begin)?;
            return Err(cause);
        }
        self.hashes.push(Hash::leaf(leaf));
        self.offsets.push(begin + bytes.len() as u64);
        Ok(())
    }

    fn sign(&mut self, dir: &Path, signer: &SigningKey) -> io::Result<()> {
        let origin = signer.verifier().name().to_owned();
        let checkpoint = Checkpoint::new(origin, self.hashes.len() as u64, self.root());
        let note = checkpoint.sign(signer).map_err(io::Error::other)?.to_string();
        disk::replace(&dir.join("checkpoint"), note.as_bytes())?;
        self.note = note;
        Ok(())
    }

    fn root(&self) -> Hash {
        proof::root(&self.hashes, self.hashes.len() as u64).unwrap_or(Hash::EMPTY)
    }

    fn resource(&self, resource: Resource) -> Option<Vec<u8>> {
        match resource {
            Resource::Tile { id, width } => {
                let level = u32::from(id.level).checked_mul(HEIGHT).filter(|level| *level < 64)?;
                let first = id.index.checked_mul(WIDTH.into())?;
                let places = first..first.checked_add(width.into())?;
                if places.end.checked_shl(level)? > self.hashes.len() as u64 {
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

/// The key of the log: of its own, so that a trust file can list both, and from the same secret.
fn derive(key: &SigningKey) -> Result<SigningKey, tlog::key::KeyError> {
    let name = format!("{}/log/0", key.verifier().name());
    let seed = Sha256::new().chain_update(DERIVE).chain_update(key.to_skey());
    SigningKey::from_seed(&name, Kind::Ed25519, &seed.finalize().into())
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn instant(at_ns: i64) -> io::Result<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(at_ns.into()).map_err(io::Error::other)?;
    at.format(INSTANT).map_err(io::Error::other)
}

fn broken(cause: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, cause)
}

/// Of docs/record.md: always nine digits.
const INSTANT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
/// Sets this key apart from any other use of the secret.
const DERIVE: &[u8] = b"haetae witness log key v1\0";
/// Of a record's length before it, in the file.
const LENGTH: u64 = 2;

#[cfg(test)]
mod tests {
    //! Records and checkpoint outlive the process; half a record does not, and a record that was signed and is gone stops it.

    use haetae_verify::{Beside, Follower, Piece, Texts, export::Digest};

    use super::*;

    struct Nothing;

    impl Texts for Nothing {
        fn has(&self, _: &Digest) -> bool {
            false
        }

        fn text(&self, _: &Digest) -> Option<Vec<u8>> {
            None
        }
    }

    impl Beside for Nothing {
        fn root(&self, _: u16, _: u64) -> Option<Hash> {
            None
        }
    }

    const NOW: i64 = 1_795_000_000_000_000_000;

    fn key() -> SigningKey {
        SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap()
    }

    fn open(dir: &Path) -> Result<Own, WitnessError> {
        Own::open(dir, &key(), Clock::fixed(NOW))
    }

    fn alarm(own: &Own, n: u64) {
        let Value::Object(keys) = json!({ "what": "fork", "about": format!("number {n}") }) else {
            return;
        };
        own.append("alarm", keys).unwrap();
    }

    #[test]
    fn it_is_a_log_that_the_verifier_finds_whole() {
        let dir = tempfile::tempdir().unwrap();
        for start in 0..3 {
            let own = open(dir.path()).unwrap();
            (0..150).for_each(|n| alarm(&own, start * 1_000 + n));
        }
        let own = open(dir.path()).unwrap();
        assert_eq!((own.size(), &*own.prefix()), (454, "/1/log/0/"));
        let (note, _) = own.get("checkpoint").unwrap();
        let note: Note = String::from_utf8(note).unwrap().parse().unwrap();
        note.verify([&own.vkey().parse().unwrap()]).unwrap();
        let checkpoint: Checkpoint = note.text().parse().unwrap();
        let (mut leaves, mut hashes) = (Vec::new(), Vec::new());
        for n in ["000", "001.p/198"] {
            let bytes = own.get(&format!("tile/entries/{n}")).unwrap().0;
            leaves.extend(bundle::leaves(&bytes).map(|leaf| leaf.unwrap().to_vec()));
            hashes.extend(Hash::many(&own.get(&format!("tile/0/{n}")).unwrap().0).unwrap());
        }
        assert_eq!(own.get("tile/1/000.p/1").unwrap().0, tlog::tile::root(&hashes[..256]).0);
        for none in ["tile/0/001", "tile/0/001.p/199", "tile/1/000.p/2", "tile/entries/001", "x"] {
            assert_eq!(own.get(none), None, "{none}");
        }
        let mut follower = Follower::new("witness.example/1/log", None);
        let root = checkpoint.root;
        let piece = Piece { lane: 0, leaves: &leaves, hashes: &hashes, root, now_ns: NOW };
        let report = follower.follow(&piece, &Nothing);
        assert_eq!((report.findings.len(), follower.size(0)), (0, 454), "{:?}", report.findings);
    }

    #[test]
    fn half_a_record_is_cut_off_and_a_lost_one_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        let own = open(dir.path()).unwrap();
        alarm(&own, 1);
        drop(own);
        let path = dir.path().join("entries");
        let whole = std::fs::read(&path).unwrap();
        let note = std::fs::read(dir.path().join("checkpoint")).unwrap();
        for cut in [&[0, 99, b'{'][..], &[0; 40], &[0, 2, b'{', b'}']] {
            std::fs::write(&path, [&whole[..], cut].concat()).unwrap();
            let again = open(dir.path()).unwrap();
            assert_eq!(again.size(), 3);
            std::fs::write(&path, &whole).unwrap();
            std::fs::write(dir.path().join("checkpoint"), &note).unwrap();
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let error = open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("lacks records that it signed"), "{error}");
    }
}
