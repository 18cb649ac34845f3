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
mod tests {
    //! Records and checkpoint outlive the process; half a record does not, and a record that was signed and is gone stops it.

    use haetae_verify::{Follower, Piece, Report, Texts, export::Digest};
    use tlog::key::Kind;

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

    impl haetae_verify::Beside for Nothing {
        fn root(&self, _: u16, _: u64) -> Option<Hash> {
            None
        }
    }

    const NOW: i64 = 1_795_000_000_000_000_000;

    fn key() -> SigningKey {
        SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap()
    }

    fn open(dir: &Path) -> Result<Own, WitnessError> {
        Own::open(&dir.join("state"), &dir.join("key"), &key(), Clock::fixed(NOW))
    }

    fn refused(dir: &Path) -> String {
        open(dir).err().unwrap().to_string()
    }

    fn checkpoint(own: &Own) -> Checkpoint {
        let note = String::from_utf8(own.get("checkpoint").unwrap().0).unwrap();
        let note: Note = note.parse().unwrap();
        note.verify([&own.vkey().parse().unwrap()]).unwrap();
        note.text().parse().unwrap()
    }

    /// What a verifier says of all its records, of less than two bundles.
    fn report(own: &Own, lane: u16) -> Report {
        let checkpoint = checkpoint(own);
        let (mut leaves, mut hashes) = (Vec::new(), Vec::new());
        let bundles = [(0, checkpoint.size.min(256)), (1, checkpoint.size.saturating_sub(256))];
        for (index, width) in bundles.into_iter().filter(|(_, width)| *width > 0) {
            let n =
                if width == 256 { format!("{index:03}") } else { format!("{index:03}.p/{width}") };
            let bytes = own.get(&format!("tile/entries/{n}")).unwrap().0;
            leaves.extend(bundle::leaves(&bytes).map(|leaf| leaf.unwrap().to_vec()));
            hashes.extend(Hash::many(&own.get(&format!("tile/0/{n}")).unwrap().0).unwrap());
        }
        let mut follower = Follower::new("witness.example/1/log", None);
        let root = checkpoint.root;
        let piece = Piece { lane, leaves: &leaves, hashes: &hashes, root, now_ns: NOW };
        let report = follower.follow(&piece, &Nothing);
        assert_eq!(follower.size(lane), checkpoint.size);
        report
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for file in ["entries", "checkpoint"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
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
        let hashes = Hash::many(&own.get("tile/0/000").unwrap().0).unwrap();
        assert_eq!(own.get("tile/1/000.p/1").unwrap().0, tlog::tile::root(&hashes).0);
        for none in ["tile/0/001", "tile/0/001.p/199", "tile/1/000.p/2", "tile/entries/001", "x"] {
            assert_eq!(own.get(none), None, "{none}");
        }
        assert!(report(&own, 0).findings.is_empty());
    }

    #[test]
    fn half_a_record_is_cut_off_and_a_lost_one_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        let own = open(dir.path()).unwrap();
        alarm(&own, 1);
        drop(own);
        let log = dir.path().join("state/log");
        let (path, note, beside) =
            (log.join("entries"), log.join("checkpoint"), dir.path().join("key.signed"));
        let [whole, signed] = [&path, &note].map(|path| std::fs::read(path).unwrap());
        assert_eq!(std::fs::read(&beside).unwrap(), signed);
        for cut in [&[0, 99, b'{'][..], &[0; 40], &[0, 2, b'{', b'}']] {
            std::fs::write(&path, [&whole[..], cut].concat()).unwrap();
            let again = open(dir.path()).unwrap();
            assert_eq!(again.size(), 3);
            std::fs::write(&path, &whole).unwrap();
            for path in [&note, &beside] {
                std::fs::write(path, &signed).unwrap();
            }
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("lacks records that it signed"), "{error}");
        // Nothing of it was cut off meanwhile.
        assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() - 1);
    }

    #[test]
    fn a_state_that_is_older_than_what_lies_beside_the_key_is_not_signed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (log, older) = (dir.path().join("state/log"), dir.path().join("older"));
        let own = open(dir.path()).unwrap();
        alarm(&own, 1);
        copy(&log, &older);
        (2..5).for_each(|n| alarm(&own, n));
        let (vkey, newest) = (own.vkey(), checkpoint(&own));
        drop(own);
        let newer = dir.path().join("newer");
        std::fs::rename(&log, &newer).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("0 are there, and 5 were signed"), "{error}");
        copy(&older, &log);
        let error = refused(dir.path());
        assert!(error.contains("2 are there, and 5 were signed"), "{error}");
        assert!(error.contains("state/log-16`: the witness goes on there"), "{error}");
        // The checkpoint of the state alone tells nothing of it.
        std::fs::remove_file(log.join("checkpoint")).unwrap();
        assert!(refused(dir.path()).contains("2 are there, and 5 were signed"));
        copy(&newer, &log);
        let again = open(dir.path()).unwrap();
        assert_eq!((again.size(), again.vkey()), (6, vkey));
        assert!(again.lock().leads_to(&newest));
        drop(again);
        // A note of another key, which had its place before, is none of ours; one that nobody can read is not passed over.
        let beside = dir.path().join("key.signed");
        let other =
            SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[8; 32]).unwrap();
        drop(
            Own::open(
                &dir.path().join("other"),
                &dir.path().join("key"),
                &other,
                Clock::fixed(NOW),
            )
            .unwrap(),
        );
        assert_eq!(open(dir.path()).unwrap().size(), 7);
        std::fs::write(&beside, "nonsense").unwrap();
        assert!(refused(dir.path()).contains("it is not a note"));
    }

    #[test]
    fn where_records_are_gone_another_lane_goes_on_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (log, older) = (state.join("log"), dir.path().join("older"));
        let own = open(dir.path()).unwrap();
        alarm(&own, 1);
        copy(&log, &older);
        alarm(&own, 2);
        let vkey = own.vkey();
        drop(own);
        let next = state.join("log-16");
        std::fs::create_dir(&next).unwrap();
        copy(&older, &log);
        drop(open(dir.path()).unwrap());
        let own = open(dir.path()).unwrap();
        assert_eq!((own.size(), &*own.prefix()), (3, "/1/log/16/"));
        assert_ne!(own.vkey(), vkey);
        assert_eq!(checkpoint(&own).origin, "witness.example/1/log/16");
        let found = report(&own, 16).findings;
        assert_eq!(found.len(), 1);
        assert!(format!("{found:?}").contains("Missing { lane: 0, from: 2, to: 3 }"), "{found:?}");
        drop(own);
        // It is the one that is missed now, whatever there is of the one before.
        std::fs::remove_dir_all(&next).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("0 are there, and 3 were signed"), "{error}");
        assert!(error.contains("state/log-32`"), "{error}");
        std::fs::create_dir(state.join("log-32")).unwrap();
        let own = open(dir.path()).unwrap();
        assert!(
            format!("{:?}", report(&own, 32).findings)
                .contains("Missing { lane: 16, from: 0, to: 3 }")
        );
    }

    /// Key and state came back from one backup, or the key alone: nothing is missed, and whoever knows says so.
    #[test]
    fn a_log_can_be_ended_of_which_nothing_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let ended = |lane: u16| {
            std::fs::create_dir_all(dir.path().join(format!("state/log-{lane}"))).unwrap();
            let own = open(dir.path()).unwrap();
            assert!(report(&own, lane).findings.is_empty());
            let bytes = own.get("tile/entries/000.p/2").unwrap().0;
            let leaf = bundle::leaves(&bytes).nth(1).unwrap().unwrap();
            let record: Value = serde_json::from_slice(leaf).unwrap();
            assert_eq!(record["what"], "own_log_ended", "{record}");
            drop(own);
            // Once.
            assert_eq!(open(dir.path()).unwrap().size(), 3);
            record["log"].as_str().unwrap().to_owned()
        };
        assert_eq!(ended(16), "witness.example/1/log/0");
        for gone in ["state", "key.signed"].map(|name| dir.path().join(name)) {
            std::fs::rename(&gone, gone.with_extension("gone")).unwrap();
        }
        assert_eq!(ended(32), "witness.example/1/log/32");
    }

    /// Until the first checkpoint of a lane, each start says again what the one before lost.
    #[test]
    fn what_was_lost_is_said_before_anything_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let beside = dir.path().join("key.signed");
        let ended = std::fs::read(&beside).unwrap();
        std::fs::remove_dir_all(dir.path().join("state/log")).unwrap();
        std::fs::create_dir(dir.path().join("state/log-16")).unwrap();
        drop(open(dir.path()).unwrap());
        // As if the process had ended after the records, and before the note.
        std::fs::remove_file(dir.path().join("state/log-16/checkpoint")).unwrap();
        std::fs::write(&beside, ended).unwrap();
        let own = open(dir.path()).unwrap();
        let bytes = own.get("tile/entries/000.p/4").unwrap().0;
        let kinds = bundle::leaves(&bytes).map(|leaf| {
            let record: Value = serde_json::from_slice(leaf.unwrap()).unwrap();
            record["kind"].as_str().unwrap().to_owned()
        });
        assert_eq!(kinds.collect::<Vec<_>>(), ["lane_open", "rollback", "lane_open", "rollback"]);
    }

    #[test]
    fn what_cannot_be_remembered_is_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let own = open(dir.path()).unwrap();
        let (beside, seen) = (dir.path().join("key.signed"), checkpoint(&own));
        disk::faults::at(&[&beside]);
        alarm(&own, 1);
        assert_eq!((checkpoint(&own), own.size()), (seen, 2));
        disk::faults::at(&[]);
        alarm(&own, 2);
        assert_eq!(checkpoint(&own).size, 3);
        // Where it never was, keys may lie where nobody writes.
        std::fs::remove_file(&beside).unwrap();
        disk::faults::at(&[&beside]);
        alarm(&own, 3);
        disk::faults::at(&[]);
        assert_eq!(checkpoint(&own).size, 4);
    }

    /// A note that a killed process renamed and did not sync is no memory yet.
    #[test]
    fn what_was_signed_last_counts_when_it_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let notes = [dir.path().join("key.signed"), dir.path().join("state/log/checkpoint")];
        for note in &notes {
            disk::faults::each(note, || open(dir.path()).is_err());
        }
        assert_eq!(open(dir.path()).unwrap().size(), 2);
    }

    #[test]
    fn nothing_is_written_behind_what_a_failed_disk_left() {
        let dir = tempfile::tempdir().unwrap();
        let entries = dir.path().join("state/log/entries");
        let own = open(dir.path()).unwrap();
        alarm(&own, 1);
        let (size, whole) = (own.size(), std::fs::metadata(&entries).unwrap().len());
        // It takes what is written, neither syncs it nor lets it be cut off.
        let no_disk = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        let on_disk = std::mem::replace(&mut own.lock().file, no_disk);
        let said = || object(json!({ "log": "log.example/0", "what": "fork", "about": "x" }));
        for _ in 0..2 {
            assert!(own.append("alarm", said()).is_err());
        }
        assert!(own.lock().is_spoilt);
        // Longer than the next record, and it looks like one.
        let left = [&[1, 0][..], &[b'{'; 600]].concat();
        on_disk.write_all_at(&left, whole).unwrap();
        own.lock().file = on_disk;
        alarm(&own, 2);
        assert_eq!((own.size(), checkpoint(&own).size), (size + 1, size + 1));
        assert_eq!(std::fs::metadata(&entries).unwrap().len(), own.lock().end());
        drop(own);
        let own = open(dir.path()).unwrap();
        assert_eq!(own.size(), size + 2);
        assert!(report(&own, 0).findings.is_empty());
    }

    #[test]
    fn a_name_that_is_no_path_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let key = SigningKey::from_seed(name, Kind::Cosignature, &[9; 32]).unwrap();
            let state = dir.path().join(hex::encode(name));
            Own::open(&state, &state.join("key"), &key, Clock::fixed(NOW))
        };
        for name in ["witness", "증인.example/1", "witness.example/a_b~c/(1):@,;=!$&'*"] {
            std::fs::create_dir(dir.path().join(hex::encode(name))).unwrap();
            assert!(named(name).is_ok(), "{name}");
        }
        for name in ["w.example/증인", "w/a?b", "w/a#b", "w/%41", "w/../1", "w/.", "w/a\"b"] {
            let error = named(name).err().unwrap().to_string();
            assert!(error.contains("under the path of its origin"), "{name}: {error}");
        }
    }
}
