//! What is kept of one log: the checkpoint that was cosigned last, the one that shows that this is not known any more, and signed
//! ones that contradicted it.
//!
//! *Invariant:* a file is replaced whole or not at all, and is on the disk when [`Shelf::write`] returns.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tlog::note::Signature;
use tlog::{Checkpoint, Hash, Note, VerifierKey};

use super::WitnessError;
use crate::disk;

/// The checkpoint that was cosigned last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub size: u64,
    pub root: Hash,
    /// Of the cosignature, Unix seconds.
    pub at_s: u64,
    /// The note with the log's signatures and ours.
    pub note: String,
}

impl Kept {
    /// Only with signatures that were verified: the log's (`by`), and `ours`.
    pub fn new(
        note: &Note,
        checkpoint: &Checkpoint,
        by: &[&VerifierKey],
        ours: &Signature,
        at_s: u64,
    ) -> Self {
        let mut text = note.text().to_owned();
        text.push('\n');
        // One of each key: a submission may repeat a line.
        let of = |key: &&VerifierKey| note.signatures().iter().find(|one| one.is_of(key));
        for signature in by.iter().filter_map(of).chain([ours]) {
            text.push_str(&signature.to_string());
            text.push('\n');
        }
        Self { size: checkpoint.size, root: checkpoint.root, at_s, note: text }
    }

    pub const fn tree(&self) -> (u64, Hash) {
        (self.size, self.root)
    }

    /// Whether that tree may have been cosigned before this one, as far as sizes tell.
    pub fn knows(&self, (size, root): (u64, Hash)) -> bool {
        self.size > size || (self.size == size && self.root == root)
    }
}

/// As what a checkpoint is kept. All have one form: moved to the place of what was cosigned last, each is that.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    /// It was cosigned last.
    Cosigned,
    /// It was cosigned, and is not known any more.
    Lost,
    /// It was cosigned, and is no part of what was cosigned last.
    Twice,
}

#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    /// SHA-256 of the origin, hex: also the path under which it is shown.
    name: String,
}

impl Shelf {
    pub fn open(dir: &Path, origin: &str) -> Result<Self, WitnessError> {
        disk::make_directory(dir).map_err(|cause| WitnessError::State {
            path: dir.to_owned(),
            cause: cause.to_string(),
        })?;
        Ok(Self { dir: dir.to_owned(), name: hex::encode(Sha256::digest(origin)) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept under a name; `None` where nothing is. A file that does not bear our own signature is refused.
    pub fn read(
        &self,
        name: Name,
        keys: &[VerifierKey],
        own: &VerifierKey,
    ) -> Result<Option<Kept>, WitnessError> {
        let path = self.path(name);
        let wrong = |cause: String| WitnessError::State { path: path.clone(), cause };
        // Also what a killed process left to the page cache is on the disk before it counts.
        let note = disk::read_text(&path).map_err(|cause| wrong(cause.to_string()))?;
        let Some(note) = note else { return Ok(None) };
        let parsed: Note = note.parse().map_err(|_| wrong("it is not a note".to_owned()))?;
        let signed = parsed.verify(keys.iter().chain([own]));
        let ours = signed.ok().and_then(|all| all.into_iter().find(|one| one.key == own)?.at);
        let at_s =
            ours.ok_or_else(|| wrong("it does not bear this witness's signature".to_owned()))?;
        let checkpoint: Checkpoint =
            parsed.text().parse().map_err(|_| wrong("it is not a checkpoint".to_owned()))?;
        Ok(Some(Kept { size: checkpoint.size, root: checkpoint.root, at_s, note }))
    }

    pub fn write(&self, name: Name, kept: &Kept) -> std::io::Result<()> {
        disk::replace(&self.path(name), kept.note.as_bytes())
    }

    /// Keeps a signed checkpoint that contradicts what was cosigned `before`, beside that; the first ones of each log, so that nobody
    /// fills the disk. Whether it is on the disk then.
    pub fn evidence(&self, note: &str, before: Option<&str>, now_s: i64, weight: Weight) -> bool {
        let signed = signed(note);
        let number = self.evidences();
        // Not looked for then: there are many, and it is asked for again and again.
        if number >= weight.places() {
            return false;
        }
        let kept = (0..number).map(|number| disk::read_text(&self.evidence_path(number)));
        let known = kept.filter_map(|kept| kept.ok().flatten()).any(|kept| {
            kept.split("\n\ncosigned before:").next().is_some_and(|kept| kept.contains(signed))
        });
        if known {
            return true;
        }
        let before = before.map(|before| format!("\n\ncosigned before:\n\n{before}"));
        let said =
            format!("received at {now_s} (Unix seconds)\n\n{note}{}", before.unwrap_or_default());
        let written = disk::replace(&self.evidence_path(number), said.as_bytes());
        if let Err(cause) = &written {
            tracing::error!(%cause, "evidence cannot be kept");
        }
        written.is_ok()
    }

    /// How many were kept.
    pub fn evidences(&self) -> usize {
        (0..EVIDENCE_MAX).take_while(|number| self.evidence_path(*number).exists()).count()
    }

    fn evidence_path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("{}.evidence-{number}", self.name))
    }

    pub fn path(&self, name: Name) -> PathBuf {
        let ending = match name {
            Name::Cosigned => "",
            Name::Lost => ".lost",
            Name::Twice => ".twice",
        };
        self.dir.join(format!("{}{ending}", self.name))
    }
}

/// Who can make evidence, and so how many places it may take: the fewer for the more who can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// What came without a proof.
    Anybodys,
    /// Tiles that are not of a tree that is signed: whoever serves them makes as many as he likes.
    Tiles,
    /// Signed trees that contradict each other.
    Tree,
}

impl Weight {
    const fn places(self) -> usize {
        match self {
            Self::Anybodys => ANYBODYS_MAX,
            Self::Tiles => TILES_MAX,
            Self::Tree => EVIDENCE_MAX,
        }
    }
}

/// The text that was signed: another line of a signature that nobody knows makes no other evidence.
pub(super) fn signed(note: &str) -> &str {
    note.rsplit_once("\n\n").map_or(note, |(signed, _)| signed)
}

/// Takes the state for this process, as long as the file is open: two would cosign two trees.
pub(super) fn lock(dir: &Path) -> Result<File, WitnessError> {
    let path = dir.join("lock");
    let wrong = |cause: String| WitnessError::State { path: path.clone(), cause };
    let opened = disk::make_directory(dir).and_then(|()| File::create(&path));
    let file = opened.map_err(|cause| wrong(cause.to_string()))?;
    file.try_lock().map_err(|cause| match cause {
        TryLockError::Error(cause) => wrong(cause.to_string()),
        TryLockError::WouldBlock => wrong("another witness has this state".to_owned()),
    })?;
    if let Err(cause) = disk::clear(dir) {
        tracing::warn!(%cause, "files that a killed process left half written may still be there");
    }
    Ok(file)
}

/// 320 KiB each at most.
const EVIDENCE_MAX: usize = 16;
/// Of them for checkpoints that came without a proof.
const ANYBODYS_MAX: usize = 4;
/// And for those of which the tiles were wrong: half of all is left for what contradicts.
const TILES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use tlog::key::Kind;
    use tlog::{Signer as _, SigningKey};

    use super::*;

    /// As after a kill between the rename and the sync of the directory: the next power cut could bring the old one back.
    #[test]
    fn what_was_cosigned_counts_when_it_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let of = |kind, name, seed| SigningKey::from_seed(name, kind, &[seed; 32]).unwrap();
        let log = of(Kind::Ed25519, "log.example/0", 1);
        let ours = of(Kind::Cosignature, "witness.example/1", 9);
        let root = Hash::leaf(b"x");
        let checkpoint = Checkpoint::new(log.verifier().name().to_owned(), 1, root);
        let note = checkpoint.sign(&log).unwrap();
        let line = tlog::cosignature::cosign(&note, &ours, 7).unwrap();
        let kept = Kept::new(&note, &checkpoint, &[log.verifier()], &line, 7);
        let shelf = Shelf::open(dir.path(), "log.example/0").unwrap();
        let read = |name| shelf.read(name, &[log.verifier().clone()], ours.verifier());
        for name in [Name::Cosigned, Name::Lost, Name::Twice] {
            assert_eq!(read(name).unwrap(), None);
            shelf.write(name, &kept).unwrap();
            disk::faults::each(&shelf.path(name), || read(name).is_err());
            assert_eq!(read(name).unwrap().as_ref(), Some(&kept));
        }
    }

    #[test]
    fn what_contradicts_has_places_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path(), "log.example/0").unwrap();
        let note = |number: usize| format!("log.example/0\n{number}\nroot\n\n\u{2014} a AA==\n");
        let keep = |number, weight| shelf.evidence(&note(number), None, 1, weight);
        let kept = (0..40).filter(|number| keep(*number, Weight::Tiles)).count();
        assert_eq!((kept, shelf.evidences()), (TILES_MAX, TILES_MAX));
        assert!(!keep(50, Weight::Anybodys));
        // The same one again is there, and takes no place.
        assert!(keep(0, Weight::Tree));
        assert_eq!(shelf.evidences(), TILES_MAX);
        let kept = (100..140).filter(|number| keep(*number, Weight::Tree)).count();
        assert_eq!((kept, shelf.evidences()), (EVIDENCE_MAX - TILES_MAX, EVIDENCE_MAX));
    }
}
