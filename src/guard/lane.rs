//! One lane of the followed log: whose signatures count, what was seen of it, and what waits to be proven.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use tlog::{Checkpoint, Hash, Note, VerifierKey};
use tokio::sync::Notify;

use super::followed::{Head, Kept};
use super::noted::Noted;

pub(super) struct Lane {
    pub number: u16,
    pub keys: Vec<VerifierKey>,
    state: Mutex<State>,
    /// Trees that were proven to be parts of what was followed.
    pub proven: Cache<(u64, Hash), ()>,
    /// So many trees are noted that they should be proven soon.
    pub many: Notify,
}

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub head: Head,
    pub noted: Noted,
    /// Of the last look that came to something; of the start before the first.
    pub looked_ns: i64,
    pub trouble: Option<String>,
}

impl Lane {
    pub fn new(number: u16, kept: Kept, now_ns: i64) -> Self {
        let state = Mutex::new(State::new(kept, now_ns));
        let (proven, many) = (Cache::new(PROVEN_MAX), Notify::new());
        Self { number, keys: Vec::new(), state, proven, many }
    }

    /// A checkpoint that a trusted key of the lane signed; witnesses are for receipts.
    pub fn read(&self, note: &str) -> Result<Checkpoint, String> {
        let note: Note = note.parse().map_err(|_| "what is published is no signed note")?;
        note.verify(&self.keys)
            .map_err(|_| "no trusted key of the log signed what is published")?;
        let tree: Checkpoint =
            note.text().parse().map_err(|_| "what is published is no checkpoint")?;
        let own = self.keys.iter().any(|key| key.name() == tree.origin);
        if own { Ok(tree) } else { Err("what is published is of another log".to_owned()) }
    }

    /// From now on this is the tree, and these are parts of it.
    pub fn follow(&self, new: (u64, Hash), parts: &[(u64, Hash)]) {
        let mut state = self.state();
        // A fork that was found meanwhile stays one.
        (state.head.size, state.head.root) = new;
        state.noted.remove(parts);
        for part in parts {
            self.proven.insert(*part, ());
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(kept: Kept, now_ns: i64) -> Self {
        Self { head: kept.head, noted: Noted::new(kept.noted), looked_ns: now_ns, trouble: None }
    }

    pub fn looked(&mut self, now_ns: i64) {
        self.looked_ns = now_ns;
        self.trouble = None;
    }

    pub fn kept(&self) -> Kept {
        Kept { head: self.head.clone(), noted: self.noted.kept() }
    }

    /// Since when receipts alone are enough.
    pub fn alone_since_ns(&self) -> i64 {
        self.noted.since_ns().map_or(self.looked_ns, |since_ns| since_ns.min(self.looked_ns))
    }

    /// The same trouble is said once.
    pub fn troubled(&mut self, log: &str, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(log, trouble, "the log is not followed at present");
        }
        self.trouble = Some(trouble);
    }

    pub const fn at(&self) -> (u64, Hash) {
        (self.head.size, self.head.root)
    }
}

/// Older trees that receipts brought along.
const PROVEN_MAX: usize = 4_096;
