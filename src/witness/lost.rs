//! What this witness's key has cosigned and its state does not know: the state was lost, or an older one came back.
//!
//! It is noticed where it can be. A mark beside the key names the logs of which the key has cosigned, so a state that lacks one is
//! not taken for a new one. A checkpoint that bears our own cosignature, published by the log or submitted by anybody who kept
//! it, is a proof; and where it is of a tree that is no part of what is known, a proof that two were cosigned, which no backup heals.
//! That a log believes more to be cosigned than is known is a hint, and an alarm.
//!
//! *Invariant:* what is proven to be lost is not cosigned over: the log could show a second tree. What we know of the first is kept,
//! for the operator to go on from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tlog::{Checkpoint, Note, VerifierKey};

use super::WitnessError;
use super::shelf::Kept;
use crate::disk;

/// What a note proves to be lost, if it does: `log` has verified the log's own signatures.
pub(super) fn proven(
    own: &VerifierKey,
    log: &[&VerifierKey],
    note: &Note,
    checkpoint: &Checkpoint,
    kept: Option<&Kept>,
) -> Option<Kept> {
    if kept.is_some_and(|kept| kept.knows((checkpoint.size, checkpoint.root))) {
        return None;
    }
    // A line that only says that it is ours proves nothing.
    let signed = note.verify([own]).ok()?;
    let at_s = signed.first()?.at?;
    let ours = note.signatures().iter().find(|one| one.is_of(own))?;
    Some(Kept::new(note, checkpoint, log, ours, at_s))
}

/// The logs of which a key has cosigned, named in a file beside it: another place than the state.
pub(super) struct Mark {
    path: PathBuf,
    vkey: String,
    names: Mutex<BTreeSet<String>>,
}

impl Mark {
    /// `key` is the file of the secret key. A mark of another key, which had its place before, does not count.
    pub fn open(key: &Path, own: &VerifierKey) -> Result<Self, WitnessError> {
        let mut path = key.as_os_str().to_owned();
        path.push(SUFFIX);
        let (path, vkey) = (PathBuf::from(path), own.to_string());
        let text = disk::read_text(&path)
            .map_err(|cause| WitnessError::Read { path: path.clone(), cause })?
            .unwrap_or_default();
        let mut lines = text.lines();
        let is_ours = lines.next() == Some(&*vkey);
        let names = lines.filter(|_| is_ours).map(str::to_owned).collect();
        Ok(Self { path, vkey, names: Mutex::new(names) })
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Blocks for as long as the disk takes to sync, the first time.
    pub fn add(&self, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.insert(name.to_owned()) {
            return;
        }
        let mut text = format!("{}\n", self.vkey);
        names.iter().for_each(|name| text.extend([name.as_str(), "\n"]));
        // Keys may lie where nobody writes. Nothing is less safe then than without a mark, so it is cosigned all the same.
        if let Err(cause) = disk::replace(&self.path, text.as_bytes()) {
            let path = self.path.display();
            tracing::warn!(%path, %cause, "a state that is lost will not be missed at the start");
            // What is cosigned next tries it again.
            names.remove(name);
        }
    }

    /// Why a state that is new to a log of which the key has cosigned is not used.
    pub fn missed(&self, origin: &str) -> String {
        format!(
            "it is not there, and `{}` says that this key has cosigned `{origin}`: bring the state back from its backup, or take a new key (`haetae witness keygen`) and a new, empty state; \
             whoever goes on without could cosign a second tree",
            self.path.display()
        )
    }
}

const SUFFIX: &str = ".cosigned";

#[cfg(test)]
mod tests {
    use tlog::key::Kind;
    use tlog::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn a_mark_counts_when_it_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let signer =
            SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap();
        Mark::open(&key, signer.verifier()).unwrap().add("name");
        let path = dir.path().join("key.cosigned");
        disk::faults::each(&path, || Mark::open(&key, signer.verifier()).is_err());
        assert!(Mark::open(&key, signer.verifier()).unwrap().has("name"));
    }
}
