//! What was matched once: a cell's key to its rows, and both engines asked where it was not.
//!
//! A memo belongs to one bundle, so its full key is (rulebook digest, cell key) with the digest implied. Keys hold symbols
//! and classes, never an id, a date or a tenant; what was matched for one cannot go stale.
//!
//! *Invariant:* only an answer that both engines gave is kept, and a lookup compares the whole key, not a hash of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use quick_cache::sync::Cache;
use verdict::Rulebook;
use verdict::cell::{CellKey, Disagreement, Matcher, Matches, Pure};
use verdict::decision::Decision;
use verdict::facts::Judgement;
use verdict::reason::Reason;
use verdict::stamp::Stamp;

use super::rulebook::Engines;

/// The memo of one bundle with its counters.
#[derive(Debug)]
pub(crate) struct Memo {
    entries: Cache<CellKey, Arc<Matches>>,
    hits: AtomicU64,
    misses: AtomicU64,
    disagreements: AtomicU64,
    state: AtomicU8,
}

/// How often the memo answered, and how often the engines did not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoCounts {
    pub hits: u64,
    pub misses: u64,
    /// Cells refused because the engines differed or one failed. Anything but 0 calls for a person.
    pub disagreements: u64,
}

impl Memo {
    pub(crate) fn new() -> Self {
        Self {
            entries: Cache::new(ENTRIES_MAX),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            disagreements: AtomicU64::new(0),
            state: AtomicU8::new(ON),
        }
    }

    pub(crate) fn turn_off(&self) {
        self.state.store(OFF, Ordering::Relaxed);
    }

    pub(crate) fn poison(&self) {
        self.state.store(POISONED, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.state.load(Ordering::Relaxed) != OFF
    }

    fn get(&self, key: &CellKey) -> Option<Matches> {
        match self.state.load(Ordering::Relaxed) {
            ON => self.entries.get(key).map(|known| Matches::clone(&known)),
            POISONED => self.entries.get(key).map(|_| Matches::default()),
            _ => None,
        }
    }

    pub(crate) fn counts(&self) -> MemoCounts {
        MemoCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            disagreements: self.disagreements.load(Ordering::Relaxed),
        }
    }
}

/// A whole judgement and the time for which it holds.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    from: i64,
    /// First Unix second at which a dated fact of a candidate changes.
    until: Option<i64>,
    pub judgement: Arc<Judgement>,
}

impl Judged {
    pub(crate) fn new(judgement: Judgement, at: i64) -> Self {
        let until =
            decisions(&judgement).filter_map(|it| it.valid_until.as_ref()).map(Stamp::starts);
        Self { from: at, until: until.min(), judgement: Arc::new(judgement) }
    }

    pub(crate) fn holds_at(&self, at: i64) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// Whether both engines gave it.
    pub(crate) fn is_sound(&self) -> bool {
        let mut reasons = decisions(&self.judgement).flat_map(|decision| &decision.reasons);
        !reasons.any(|why| matches!(why.code, Reason::EngineDisagreement | Reason::EngineError))
    }
}

fn decisions(judgement: &Judgement) -> impl Iterator<Item = &Decision> {
    std::iter::once(&judgement.decision).chain(judgement.candidates.iter().map(|it| &it.decision))
}

/// Both engines behind a memo, for one judgement.
pub(crate) struct TwoEngines<'a> {
    pub engines: &'a Engines,
    pub memo: &'a Memo,
}

impl Matcher for TwoEngines<'_> {
    fn matches(&mut self, rulebook: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement> {
        if let Some(known) = self.memo.get(key) {
            self.memo.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(known);
        }
        self.memo.misses.fetch_add(1, Ordering::Relaxed);
        let agreed = compare(self.engines, rulebook, key).inspect_err(|disagreement| {
            self.memo.disagreements.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                bundle = rulebook.digest(),
                what = disagreement.what,
                "the policy engines disagree: the cell is refused"
            );
        })?;
        self.memo.entries.insert(key.clone(), Arc::new(agreed.clone()));
        Ok(agreed)
    }
}

/// Asks casbin and the pure matcher; one answer or none.
pub(crate) fn compare(
    engines: &Engines,
    rulebook: &Rulebook,
    key: &CellKey,
) -> Result<Matches, Disagreement> {
    let pure = Pure.matches(rulebook, key)?;
    let casbin = engines.matches(rulebook, key).map_err(|error| Disagreement {
        what: format!("{error} on {} {}", key.regime, key.flow.name()),
    })?;
    if casbin == pure {
        return Ok(pure);
    }
    let name = |rows: &Matches| {
        let ids = rows.sure.iter().chain(&rows.possible).filter_map(|id| rulebook.row(*id));
        let ids: Vec<String> = ids.map(|row| format!("{}/{}", row.rule, row.number)).collect();
        ids.join(" ")
    };
    Err(Disagreement {
        what: format!(
            "on {} {} casbin matched [{}], the pure matcher [{}]",
            key.regime,
            key.flow.name(),
            name(&casbin),
            name(&pure),
        ),
    })
}

/// What [`Memo::state`] may be. Poisoned: each hit is a wrong answer, for the test of what finds that out.
const ON: u8 = 0;
const OFF: u8 = 1;
const POISONED: u8 = 2;
/// Cells of live traffic number in the hundreds; a key and its rows take about 300 bytes, so 65,536 of them, which only
/// an attacker could make, are about 20 MB.
const ENTRIES_MAX: usize = 65_536;
