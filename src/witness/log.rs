//! One log that is witnessed: what it sends is checked in order, and what it shows is looked at.
//!
//! *Invariant:* the state is locked from the check of the size to its record on the disk.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};
use tlog::{Checkpoint, Hash, Note, Signer as _, VerifierKey, cosignature, proof};

use super::alarms::Alarms;
use super::lost::{self, Mark};
use super::mirror::Tree;
use super::refusal::Refusal;
use super::shelf::{self, Kept, Name, Shelf, Weight};
use super::state::{Refused, State};
use super::submission::Submission;
use super::{Witness, WitnessError};

/// A log that is witnessed.
pub(super) struct Log {
    pub origin: String,
    /// While a log changes its key both are trusted.
    pub keys: Vec<VerifierKey>,
    pub shelf: Shelf,
    /// Locked from the check of the size to its record: two submissions cannot pass each other.
    pub state: Mutex<State>,
    /// The mirrored tree, where there is one.
    pub mirrored: OnceLock<Arc<Mutex<Tree>>>,
    /// Set where it is to be mirrored: nothing of it is cosigned for the first time before what it shows was looked at.
    pub is_shown: OnceLock<()>,
}

/// A checkpoint that keys of the log itself (`by`) have signed.
pub(super) struct Shown<'s> {
    pub note: &'s Note,
    pub checkpoint: &'s Checkpoint,
    pub by: &'s [&'s VerifierKey],
}

/// The tree that is known where another one was shown.
pub(super) struct Other {
    pub refusal: Refusal,
    pub root: Hash,
    /// The signed note that it is of.
    pub note: Option<String>,
}

impl Log {
    /// Reads what is kept of it. A log of which the key has cosigned, by the mark, is not taken for a new one.
    pub fn open(
        dir: &Path,
        origin: &str,
        keys: Vec<VerifierKey>,
        own: &VerifierKey,
        mark: &Mark,
    ) -> Result<Self, WitnessError> {
        let shelf = Shelf::open(dir, origin)?;
        let kept = shelf.read(Name::Cosigned, &keys, own)?;
        let is_known = |lost: &Kept| kept.as_ref().is_some_and(|kept| kept.knows(lost.tree()));
        let lost = shelf.read(Name::Lost, &keys, own)?.filter(|lost| !is_known(lost));
        let twice = shelf.read(Name::Twice, &keys, own)?;
        if kept.is_some() {
            mark.add(shelf.name());
        } else if lost.is_none() && twice.is_none() && mark.has(shelf.name()) {
            let (path, cause) = (shelf.path(Name::Cosigned), mark.missed(origin));
            return Err(WitnessError::State { path, cause });
        }
        let state = Mutex::new(State { kept, lost, twice, ..State::default() });
        let (origin, mirrored, is_shown) = (origin.to_owned(), OnceLock::new(), OnceLock::new());
        Ok(Self { origin, keys, shelf, state, mirrored, is_shown })
    }

    /// The log shows this, with signatures of these keys of its own; nothing when it shows nothing. May wait for the disk.
    pub fn look(&self, shown: Option<(&Note, &Checkpoint)>, own: &VerifierKey, alarms: &Alarms) {
        let mut state = self.state();
        state.looked = true;
        let Some((note, checkpoint)) = shown else { return };
        let Ok(signed) = note.verify(&self.keys) else { return };
        let by: Vec<&VerifierKey> = signed.iter().map(|signature| signature.key).collect();
        let shown = Shown { note, checkpoint, by: &by };
        let other = self.seen_otherwise(&state, checkpoint);
        self.prove(&mut state, &shown, other.is_some(), own, alarms);
    }

    /// The tree that was cosigned or mirrored under the size of a checkpoint, where it is another one. May wait for the disk.
    fn seen_otherwise(&self, state: &State, checkpoint: &Checkpoint) -> Option<Other> {
        let (size, root) = (checkpoint.size, checkpoint.root);
        if size == 0 {
            let other = Other { refusal: Refusal::EmptyRoot, root: Hash::EMPTY, note: None };
            return (root != Hash::EMPTY).then_some(other);
        }
        let cosigned = [&state.kept, &state.lost, &state.twice].into_iter().flatten();
        let mut cosigned = cosigned.filter(|cosigned| cosigned.size == size);
        if let Some(other) = cosigned.find(|cosigned| cosigned.root != root) {
            let (root, note) = (other.root, Some(other.note.clone()));
            return Some(Other { refusal: Refusal::Fork, root, note });
        }
        let tree = self.mirrored.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        let mirrored = tree.signed_root(size).filter(|mirrored| *mirrored != root)?;
        let note = Some(tree.head().note.clone());
        Some(Other { refusal: Refusal::Fork, root: mirrored, note })
    }

    /// Remembers what our own cosignature proves, if it is there: that the state does not know all that was cosigned.
    fn prove(
        &self,
        state: &mut State,
        shown: &Shown<'_>,
        is_other: bool,
        own: &VerifierKey,
        alarms: &Alarms,
    ) {
        // What contradicts was not cosigned before what is known, however small it is.
        let known = state.known().filter(|_| !is_other);
        let proven = lost::proven(own, shown.by, shown.note, shown.checkpoint, known);
        let Some(proven) = proven else { return };
        if state.known().is_some_and(|known| known.knows(proven.tree())) {
            self.remember_twice(state, proven, alarms);
        } else {
            self.remember(state, proven, alarms);
        }
    }

    /// From now on nothing of this log is cosigned.
    fn remember(&self, state: &mut State, lost: Kept, alarms: &Alarms) {
        if state.lost.as_ref().is_some_and(|known| known.size >= lost.size) {
            return;
        }
        // In memory it holds at once. If we stop here, whoever showed it shows it again.
        if let Err(cause) = self.shelf.write(Name::Lost, &lost) {
            tracing::error!(%cause, "what shows that the state was lost cannot be kept");
        }
        let known = state.kept.as_ref().map_or(0, |kept| kept.size);
        let about = format!(
            "a checkpoint of {} records bears this witness's cosignature, and its state knows {known}: the state was lost, or is an older one. Nothing of this log is cosigned until it is back from its backup, or key and state are new ones; whoever is sure that nothing later was cosigned takes `.lost` from the name of `{}.lost`, and starts it again",
            lost.size,
            self.shelf.name()
        );
        if state.lost.replace(lost).is_none() {
            alarms.raise(&self.origin, "state_lost", about);
        }
    }

    /// The same where what is known goes further, and is another tree: a larger state in its place would not heal it.
    fn remember_twice(&self, state: &mut State, twice: Kept, alarms: &Alarms) {
        if state.twice.is_some() {
            return;
        }
        if let Err(cause) = self.shelf.write(Name::Twice, &twice) {
            tracing::error!(%cause, "what shows that two trees were cosigned cannot be kept");
        }
        let about = format!(
            "a checkpoint of {} records bears this witness's cosignature, and is no part of the tree that it cosigned or mirrored since: two trees were cosigned, or the log shows two. Nothing of this log is cosigned until key and state are new ones, or somebody who knows better takes `{}.twice` away, and starts it again",
            twice.size,
            self.shelf.name()
        );
        state.twice = Some(twice);
        alarms.raise(&self.origin, "state_lost", about);
    }

    pub fn add(
        &self,
        witness: &Witness,
        submission: &Submission<'_>,
        shown: &Shown<'_>,
    ) -> Result<String, Refusal> {
        let (note, checkpoint) = (shown.note, shown.checkpoint);
        let mut state = self.state();
        // Not before it is our turn: who is cosigned later bears no earlier time.
        let now_s = witness.clock.unix_s();
        // First of all, and whatever else is wrong with it: what the log signed beside what is known says it against the log.
        let other = self.seen_otherwise(&state, checkpoint);
        let own = witness.signer.verifier();
        self.prove(&mut state, shown, other.is_some(), own, &witness.alarms);
        if let Err(answer) = self.check(&state, submission, checkpoint, other.as_ref()) {
            // What contradicts is counted and kept as that, also where the answer is about the size.
            let refusal = other.as_ref().map_or(answer, |other| other.refusal);
            let refused = Refused { refusal, submission, checkpoint, other, now_s };
            self.refused(&mut state, refused, &witness.alarms);
            return Err(answer);
        }
        let at = state.time_s(now_s)?;
        let behind = state.clock_behind(now_s);
        let line = cosignature::cosign(note, &witness.signer, at).map_err(|_| Refusal::Disk)?;
        let answer = format!("{line}\n");
        let kept = Kept::new(note, checkpoint, shown.by, &line, at);
        // If we stop here, nothing was cosigned; after it, the log asks again and gets the same tree cosigned.
        self.shelf.write(Name::Cosigned, &kept).map_err(|cause| {
            tracing::error!(%cause, "a checkpoint cannot be kept, so it is not cosigned");
            Refusal::Disk
        })?;
        witness.mark.add(self.shelf.name());
        state.kept = Some(kept);
        if let Some(about) = behind {
            witness.alarms.raise(&self.origin, "clock_behind", about);
        }
        Ok(answer)
    }

    /// The answers of the specification, in its order: first about the size, as far as that is known.
    fn check(
        &self,
        state: &State,
        submission: &Submission<'_>,
        checkpoint: &Checkpoint,
        other: Option<&Other>,
    ) -> Result<(), Refusal> {
        let size = state.size(self.is_shown.get().is_some());
        submission.follows(size.ok(), checkpoint.size)?;
        if let Some(other) = other {
            return Err(other.refusal);
        }
        size?;
        if state.twice.is_some() {
            return Err(Refusal::Lost);
        }
        grew(state.kept.as_ref(), submission, checkpoint)
    }

    /// Counts a refusal, and keeps what shows why.
    fn refused(&self, state: &mut State, refused: Refused<'_>, alarms: &Alarms) {
        let alarm = state.refused(&refused);
        let Refused { refusal, submission, other, now_s, .. } = refused;
        let weight = if refusal == Refusal::Proof { Weight::Anybodys } else { Weight::Tree };
        // What contradicts is tried again until it is on the disk: the alarm is raised once.
        if refusal.is_about_the_tree() && (alarm.is_some() || weight == Weight::Tree) {
            let kept = || state.kept.as_ref().map(|kept| kept.note.clone());
            let before = other.and_then(|other| other.note).or_else(kept);
            self.evidence(state, submission.note, before.as_deref(), now_s, weight);
        }
        if let Some((what, about)) = alarm {
            alarms.raise(&self.origin, what, about);
        }
    }

    /// Keeps a signed note as evidence, once. Under the lock: what is mirrored and what is submitted may be evidence at once.
    pub fn evidence(
        &self,
        state: &mut State,
        note: &str,
        before: Option<&str>,
        now_s: i64,
        weight: Weight,
    ) {
        let signed: [u8; 32] = Sha256::digest(shelf::signed(note)).into();
        if state.evident.contains(&signed) {
            return;
        }
        // As many as there are places: it stays small.
        if self.shelf.evidence(note, before, now_s, weight) {
            state.evident.insert(signed);
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the checkpoint, which contradicts nothing by itself and is said to follow what is kept, extends it.
fn grew(
    kept: Option<&Kept>,
    submission: &Submission<'_>,
    checkpoint: &Checkpoint,
) -> Result<(), Refusal> {
    let (size, root) = kept.map_or((0, Hash::EMPTY), |kept| (kept.size, kept.root));
    let new = (checkpoint.size, &checkpoint.root);
    proof::verify_consistency((size, &root), new, &submission.proof).map_err(|_| Refusal::Proof)
}
