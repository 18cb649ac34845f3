//! What was matched once: a cell's key to its rows, and both engines asked where it was not.
//!
//! A memo belongs to one bundle, so its full key is (rulebook digest, cell key) with the digest implied. Keys hold symbols
//! and classes, never an id, a date or a tenant; what was matched for one cannot go stale.
//!
//! *Invariant:* only an answer that both engines gave is kept, and a lookup compares the whole key, not a hash of it. What is
//! kept has a bound in entries and one in bytes, whatever callers ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use quick_cache::{Weighter, sync::Cache};
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
    entries: Cache<CellKey, Arc<Matches>, CellBytes>,
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
    pub cells: Kept,
    pub judgements: Kept,
}

/// What a memo holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    pub entries: u64,
    /// As they are reckoned: at least what they take, and no entry less than its share of the bound.
    pub bytes: u64,
    pub bytes_max: u64,
}

/// What a cell takes. With a least weight there are never more than [`ENTRIES_MAX`].
#[derive(Debug, Clone, Copy)]
struct CellBytes;

impl Weighter<CellKey, Arc<Matches>> for CellBytes {
    fn weight(&self, key: &CellKey, rows: &Arc<Matches>) -> u64 {
        let numbers = key.holds.len() + key.unknown.len() + rows.sure.len() + rows.possible.len();
        let bytes = ENTRY_BYTES + key.regime.len() + 2 * numbers;
        (bytes as u64).max(BYTES_MAX / ENTRIES_MAX as u64)
    }
}

impl Memo {
    pub(crate) fn new() -> Self {
        Self {
            entries: Cache::with_weighter(ENTRIES_MAX, BYTES_MAX, CellBytes),
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

    pub(crate) fn counts(&self, judgements: Kept) -> MemoCounts {
        MemoCounts {
            cells: Kept {
                entries: self.entries.len() as u64,
                bytes: self.entries.weight(),
                bytes_max: BYTES_MAX,
            },
            judgements,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            disagreements: self.disagreements.load(Ordering::Relaxed),
        }
    }
}

/// Judgements by the digest of their facts.
#[derive(Debug)]
pub(crate) struct Judgements(Cache<[u8; 32], Judged, JudgedBytes>);

#[derive(Debug, Clone, Copy)]
struct JudgedBytes;

impl Weighter<[u8; 32], Judged> for JudgedBytes {
    fn weight(&self, _: &[u8; 32], judged: &Judged) -> u64 {
        (judged.bytes + ENTRY_BYTES as u64).max(JUDGED_BYTES_MAX / JUDGED_MAX as u64)
    }
}

impl Judgements {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(JUDGED_MAX, JUDGED_BYTES_MAX, JudgedBytes))
    }

    pub(crate) fn get(&self, digest: &[u8; 32]) -> Option<Judged> {
        self.0.get(digest)
    }

    pub(crate) fn keep(&self, digest: [u8; 32], mut judged: Judged) {
        let mut written = Written(0);
        if serde_json::to_writer(&mut written, &*judged.judgement).is_ok() {
            // in memory a string has a length, a capacity and a place of its own
            judged.bytes = 2 * written.0;
            self.0.insert(digest, judged);
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        let (entries, bytes) = (self.0.len() as u64, self.0.weight());
        Kept { entries, bytes, bytes_max: JUDGED_BYTES_MAX }
    }
}

/// Counts what would be written.
struct Written(u64);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A whole judgement and the time for which it holds.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    from: i64,
    /// First Unix second at which a dated fact of a candidate changes.
    until: Option<i64>,
    pub judgement: Arc<Judgement>,
    /// What it takes; known where it is kept.
    bytes: u64,
}

impl Judged {
    pub(crate) fn new(judgement: Judgement, at: i64) -> Self {
        let until =
            decisions(&judgement).filter_map(|it| it.valid_until.as_ref()).map(Stamp::starts);
        Self { from: at, until: until.min(), judgement: Arc::new(judgement), bytes: 0 }
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
/// Cells of live traffic number in the hundreds; 65,536 of them only an attacker could make.
const ENTRIES_MAX: usize = 65_536;
/// A key and its rows take about 300 bytes: 65,536 x 320 are 20 MiB.
const BYTES_MAX: u64 = 20 << 20;
/// A judgement over three sites takes about 20 kB. There is one for each service with its data and sites, not one for each
/// request.
const JUDGED_MAX: usize = 2_048;
/// 2,048 x 20 KiB.
const JUDGED_BYTES_MAX: u64 = 40 << 20;
/// Of any entry: key and value themselves, their places on the heap, and what the cache keeps beside (about 200 together).
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    //! Proves that what is kept stays within its bounds, in entries and in bytes, whatever is asked.

    use super::*;
    use verdict::decision::Flow;
    use verdict::facts::Facts;
    use verdict::question::Profile;

    fn key(number: usize, regime: &str) -> CellKey {
        let profile = Profile::Statutory;
        let low = u16::try_from(number % 60_000).unwrap_or_default();
        let high = u16::try_from(number / 60_000).unwrap_or_default();
        let (holds, unknown) = (vec![low], vec![high]);
        CellKey { profile, regime: regime.to_owned(), flow: Flow::Copy, holds, unknown }
    }

    #[test]
    fn cells_are_bounded_by_entries_and_by_bytes() {
        let memo = Memo::new();
        for number in 0..ENTRIES_MAX + 10_000 {
            memo.entries.insert(key(number, "KR.PIPA"), Arc::default());
        }
        let small = memo.counts(Kept::default()).cells;
        assert!(small.entries <= ENTRIES_MAX as u64 && small.bytes <= BYTES_MAX, "{small:?}");
        assert!(small.entries > ENTRIES_MAX as u64 / 2, "{small:?}");
        let long = "x".repeat(20_000);
        for number in 0..4_000 {
            memo.entries.insert(key(number, &long), Arc::default());
        }
        let large = memo.counts(Kept::default()).cells;
        assert!(large.bytes <= BYTES_MAX, "{large:?}");
        assert!(large.entries < small.entries, "long keys drove short ones out: {large:?}");
    }

    #[test]
    fn judgements_are_bounded_by_bytes() {
        let (rules, kept) = (Rulebook::none(), Judgements::new());
        let mut judgement = verdict::judge(&rules, &Facts::default(), 0);
        judgement.permitted = vec!["x".repeat(100_000)];
        for number in 0..1_000_u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            kept.keep(digest, Judged::new(judgement.clone(), 0));
        }
        let all = kept.kept();
        assert!(all.bytes <= all.bytes_max && all.entries > 0, "{all:?}");
        assert!(all.entries * 200_000 <= all.bytes_max, "each is reckoned by its size: {all:?}");
    }
}
