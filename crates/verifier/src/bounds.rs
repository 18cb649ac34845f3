//! How much one decision may take to judge again: its texts come out of the file, and whoever wrote that wants nothing better
//! than a verifier that never ends. What a few bytes can multiply is sites by components by regimes by flows.
//!
//! *Invariant:* what is within the bounds is judged exactly as without them.

use verdict::{
    Rulebook,
    cell::{CellKey, Disagreement, Matcher, Matches, Pure},
    facts::{Facts, Judgement},
    question::{Component, Question, Site},
};

/// Judges, or says that it is too much.
pub(crate) fn judge(book: &Rulebook, facts: &Facts, at: i64) -> Result<Judgement, String> {
    let too_much =
        || "the bundle and the facts multiply to more than any gateway judges".to_owned();
    let cells = Cells::of(facts);
    let rows = book.book().rows.len() as u64;
    let looks = cells.all.saturating_mul(rows);
    if cells.all > CELLS_MAX || cells.of_one_site > SITE_CELLS_MAX || looks > LOOKS_MAX {
        return Err(too_much());
    }
    let piece = PIECE_BYTES.saturating_add(largest(book, facts));
    let left = BYTES_MAX.checked_sub(cells.all.saturating_mul(piece)).ok_or_else(too_much)?;
    let mut bounded = Bounded { left, piece, spent: false };
    let judgement = verdict::judge_with(book, facts, at, &mut bounded);
    if bounded.spent { Err(too_much()) } else { Ok(judgement) }
}

/// How many cells are judged, at most.
struct Cells {
    all: u64,
    of_one_site: u64,
}

impl Cells {
    fn of(facts: &Facts) -> Self {
        let regimes = |component: &Component| component.regimes.len().max(1) as u64;
        let under: u64 = facts.question.components.iter().map(regimes).sum();
        let flows = facts.sites.iter().map(|site| flows(&facts.question, site));
        let of_site = flows.map(|flows| flows.saturating_mul(under));
        of_site.fold(Self { all: 0, of_one_site: 0 }, |cells, site| Self {
            all: cells.all.saturating_add(site),
            of_one_site: cells.of_one_site.max(site),
        })
    }
}

/// Where data goes when the site is used: it itself, the result, and everything that it names.
const fn flows(question: &Question, site: &Site) -> u64 {
    let named = site.backups.len() + site.telemetry.len() + site.control_plane.len();
    let others = site.remote_access.len() + site.sub_processors.len() + question.onward.len();
    2 + named as u64 + others as u64
}

/// Bytes of the largest thing that a reason may quote.
fn largest(book: &Rulebook, facts: &Facts) -> u64 {
    let Facts { question, sites, .. } = facts;
    let components = question.components.iter().map(length);
    let rules = book.book().rules.iter().map(length);
    let rows = book.book().rows.iter().map(length);
    let all = components.chain(sites.iter().map(length)).chain(rules).chain(rows);
    all.max().unwrap_or_default()
}

fn length<T: serde::Serialize>(value: &T) -> u64 {
    serde_json::to_vec(value).map_or(u64::MAX, |text| text.len() as u64)
}

/// The pure matcher, for as long as what it finds can be written down.
struct Bounded {
    /// Bytes that reasons may still take.
    left: u64,
    /// What one takes.
    piece: u64,
    spent: bool,
}

impl Matcher for Bounded {
    fn matches(&mut self, rulebook: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement> {
        let found = Pure.matches(rulebook, key)?;
        let count = (found.sure.len() + found.possible.len()) as u64;
        if let Some(left) = self.left.checked_sub(count.saturating_mul(self.piece)) {
            self.left = left;
            return Ok(found);
        }
        self.spent = true;
        Err(Disagreement { what: String::new() })
    }
}

/// A gateway takes 16 datasets: with 8 regimes each, 8 flows and 20 sites it has 20,480 cells, and seldom more than some 100.
const CELLS_MAX: u64 = 65_536;
/// Reasons of one site are held against each other: two of the site above are 2,048.
const SITE_CELLS_MAX: u64 = 4_096;
/// The reference policy has some hundred rows; a cell looks at those for its regime.
const LOOKS_MAX: u64 = 1 << 26;
/// What a cell and a reason take themselves, with their sentences in two languages: some 6 kB were measured for both.
const PIECE_BYTES: u64 = 2_048;
/// As large as a judgement may become in memory, several times over.
const BYTES_MAX: u64 = 512 << 20;
