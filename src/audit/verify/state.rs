//! How far a verification was, in a file, so that an interrupted one goes on there.
//!
//! A line for each part of a lane, appended when the part was looked at: a digest, and JSON. The digest is over the one before it
//! and the JSON. Half a line at the end is what a kill leaves, and is dropped.
//!
//! *Invariant:* nothing is read from a file whose lines do not follow each other; and the file is bound to keys, and by each
//! lane's walk to name, tree and signed root. Whoever may write it can still forge it: it is worth what its keeper is.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tlog::VerifierKey;
use tokio::time::Instant;

use super::rules::Position;
use super::store::HeadState;
use super::tree::Stood;
use super::walk::Walk;
use crate::audit::AuditError;

mod part;

use part::Part;

/// The open file, this process's alone.
pub struct State {
    path: PathBuf,
    /// How long what was looked at may be lost to an interruption.
    every: Duration,
    pen: Mutex<Pen>,
}

struct Pen {
    file: File,
    /// Of the last line.
    digest: [u8; 32],
    /// Of lanes that the walk has not come to yet.
    lanes: BTreeMap<u16, LaneStood>,
}

/// Where the walk of a lane stood, and everything that it had gathered.
pub(super) struct LaneStood {
    pub origin: String,
    pub at: Position,
    pub tree: Stood,
    pub walk: Walk,
}

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    v: u64,
    /// Public keys that were trusted, sorted; none: those that the database states.
    keys: Vec<String>,
}

impl State {
    /// Opens it, or makes it. `from_start` forgets what it holds.
    ///
    /// # Errors
    /// When it is no such file, was changed, was begun under other keys, or another process has it.
    pub fn open(
        path: &Path,
        trusted: &[VerifierKey],
        from_start: bool,
    ) -> Result<Self, AuditError> {
        let wrong = |cause: String| AuditError::State { path: path.display().to_string(), cause };
        let failed = |cause: std::io::Error| wrong(cause.to_string());
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        file.try_lock().map_err(|cause| match cause {
            TryLockError::Error(cause) => failed(cause),
            TryLockError::WouldBlock => {
                wrong("another verification writes it: name another file".to_owned())
            }
        })?;
        let head = Head::new(trusted);
        let mut read = Reader::new(&file);
        let found = read.line().map_err(wrong)?;
        let found = found.map(|json| serde_json::from_slice::<Head>(&json));
        let mut lanes = BTreeMap::new();
        match found {
            Some(Err(_)) => return Err(wrong(NOT_OURS.to_owned())),
            Some(Ok(theirs)) if theirs.format != head.format || theirs.v != head.v => {
                return Err(wrong(NOT_OURS.to_owned()));
            }
            // A first line is written at once or not at all.
            None if read.left > 0 => return Err(wrong(NOT_OURS.to_owned())),
            Some(Ok(theirs)) if !from_start => {
                if theirs != head {
                    return Err(wrong(format!("it was begun under other keys{ANEW}")));
                }
                while let Some(json) = read.line().map_err(wrong)? {
                    let part = serde_json::from_slice::<Part>(&json).ok();
                    let joined = part.and_then(|part| part.join(&mut lanes));
                    joined.ok_or_else(|| wrong(changed(read.number)))?;
                }
            }
            Some(Ok(_)) | None => read.rewind(),
        }
        let Reader { digest, length, .. } = read;
        file.set_len(length).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        let pen = Mutex::new(Pen { file, digest, lanes });
        let state = Self { path: path.to_owned(), every: EVERY, pen };
        if length == 0 {
            state.pen().line(&head).map_err(failed)?;
        }
        Ok(state)
    }

    /// Written after each page of a lane that ends so long after the last.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Where a lane stood. Once: from then on its walk has it.
    pub(super) fn take(&self, lane: u16) -> Option<LaneStood> {
        self.pen().lanes.remove(&lane)
    }

    /// Every lane that it speaks of is there.
    pub(super) fn knows_only(&self, heads: &[HeadState]) -> Result<(), AuditError> {
        let pen = self.pen();
        let gone = pen.lanes.iter().find(|(lane, _)| heads.iter().all(|head| head.lane != **lane));
        match gone {
            Some((lane, stood)) => Err(self.wrong(format!(
                "it is of a log with a lane {lane}, `{}`, which is not in this database",
                stood.origin
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn is_due(&self, last: Instant) -> bool {
        last.elapsed() >= self.every
    }

    /// Appends a part of a lane; false when it holds what cannot be kept, and so is looked at again after an interruption.
    pub(super) fn append(
        &self,
        origin: &str,
        at: &Position,
        tree: Stood,
        walk: &Walk,
    ) -> Result<bool, AuditError> {
        let Some(part) = Part::of(origin, at, tree, walk) else { return Ok(false) };
        self.pen().line(&part).map_err(|cause| self.failed(&cause))?;
        Ok(true)
    }

    /// All is verified: there is nothing to go on with.
    pub(super) fn done(&self) -> Result<(), AuditError> {
        std::fs::remove_file(&self.path).map_err(|cause| self.failed(&cause))
    }

    /// It does not fit the log.
    pub(super) fn wrong(&self, cause: String) -> AuditError {
        AuditError::State { path: self.path.display().to_string(), cause: cause + ANEW }
    }

    /// The disk does not take it, which nothing but another file changes.
    fn failed(&self, cause: &std::io::Error) -> AuditError {
        AuditError::State { path: self.path.display().to_string(), cause: cause.to_string() }
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    fn new(trusted: &[VerifierKey]) -> Self {
        let mut keys: Vec<String> = trusted.iter().map(ToString::to_string).collect();
        keys.sort_unstable();
        Self { format: "haetae-verify-state".to_owned(), v: 2, keys }
    }
}

impl Pen {
    /// If we stop in the middle of it, the next run drops what is there of it.
    fn line<T: Serialize>(&mut self, value: &T) -> std::io::Result<()> {
        let json = serde_json::to_vec(value)?;
        self.digest = follows(&self.digest, &json);
        let mut line = hex::encode(self.digest).into_bytes();
        line.push(b' ');
        line.extend_from_slice(&json);
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Reads whole lines, each held against the one before.
struct Reader<'f> {
    lines: BufReader<&'f File>,
    digest: [u8; 32],
    number: u64,
    /// Bytes of the whole lines so far, and of what follows the last of them.
    length: u64,
    left: u64,
}

impl<'f> Reader<'f> {
    fn new(file: &'f File) -> Self {
        Self { lines: BufReader::new(file), digest: [0; 32], number: 0, length: 0, left: 0 }
    }

    /// The JSON of the next line; `None` at the end, and when that is half a line.
    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line).map_err(|cause| cause.to_string())?;
        if line.pop() != Some(b'\n') {
            self.left = read as u64;
            return Ok(None);
        }
        self.number += 1;
        let Some((digest, json)) =
            line.split_at_checked(64).filter(|(_, rest)| rest.first() == Some(&b' '))
        else {
            return Err(if self.number == 1 { NOT_OURS.to_owned() } else { changed(self.number) });
        };
        let json = json.get(1..).unwrap_or_default();
        self.digest = follows(&self.digest, json);
        if digest != hex::encode(self.digest).as_bytes() {
            return Err(changed(self.number));
        }
        self.length += read as u64;
        Ok(Some(json.to_vec()))
    }

    fn rewind(&mut self) {
        (self.digest, self.length) = ([0; 32], 0);
    }
}

fn follows(before: &[u8; 32], json: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(before).chain_update(json).finalize().into()
}

fn changed(line: u64) -> String {
    format!("its line {line} was changed, or a line before it was taken out{ANEW}")
}

const NOT_OURS: &str =
    "it is no state of `haetae log verify`; it is left as it is: name another file";
/// What helps where the file is ours and does not fit.
const ANEW: &str = "; `--from-start` begins anew";
/// What an interruption may cost of each lane.
const EVERY: Duration = Duration::from_secs(1);
