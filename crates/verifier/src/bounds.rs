//! How much one decision may take to judge again, and how much all of a file: its texts come out of the file, and whoever
//! wrote that wants nothing better than a verifier that never ends. What a few bytes can multiply is sites by components by
//! regimes by flows, terms by vocabulary and roles by access rows; what many records can is judging itself.
//!
//! *Invariant:* what is within the bounds is judged exactly as without them.

use verdict::{
    Rulebook,
    atom::{Atom, Test},
    cell::{CellKey, Disagreement, Matcher, Matches, Pure},
    facts::{Facts, Judgement},
    question::{Component, Question, Site},
    rule::Book,
};

/// Rules, and how many bytes their text has.
pub(crate) struct Rules {
    pub book: Rulebook,
    bytes: u64,
}

/// Why there is no judgement.
#[derive(Debug, Clone)]
pub(crate) enum Unjudged {
    /// The texts cannot be judged with: their own words.
    Unusable(String),
    /// The file asks for more than its records may.
    Spent,
}

/// What judging may still take, in looks at a row: some nanoseconds each.
#[derive(Default)]
pub(crate) struct Budget {
    /// `None` sets no limit.
    left: Option<u64>,
}

impl Budget {
    pub(crate) const fn of_a_file() -> Self {
        Self { left: Some(FILE_LOOKS) }
    }

    /// Each decision brings what an honest one may take, so that an honest file of any size is judged whole.
    pub(crate) fn earn(&mut self) {
        self.left = self.left.map(|left| left.saturating_add(DECISION_LOOKS));
    }

    pub(crate) fn has(&self, looks: u64) -> bool {
        self.left.is_none_or(|left| left >= looks)
    }

    fn spend(&mut self, looks: u64) {
        self.left = self.left.map(|left| left.saturating_sub(looks));
    }
}

/// Reads rules.
pub(crate) fn rules(text: &[u8], budget: &mut Budget) -> Result<Rules, String> {
    let bytes = text.len() as u64;
    budget.spend(bytes);
    let book: Book = serde_json::from_slice(text).map_err(|cause| unreadable("bundle", &cause))?;
    // A row for any regime is filed under each, with what it asks for.
    let filed = asked(&book).saturating_mul(book.regimes.len() as u64 + 1);
    let looks = to_read(&book, bytes);
    if filed > FILED_MAX || looks > LOOKS_MAX {
        return Err(TOO_MUCH.to_owned());
    }
    budget.spend(looks);
    let book = Rulebook::new(book).map_err(|_| "bundle: not consistent".to_owned())?;
    Ok(Rules { book, bytes })
}

/// Reads facts and judges them, or says why not.
pub(crate) fn judge(
    rules: &Rules,
    text: &[u8],
    at: i64,
    budget: &mut Budget,
) -> Result<(Facts, Judgement), Unjudged> {
    let bytes = text.len() as u64;
    budget.spend(bytes.saturating_add(rules.bytes));
    let facts: Facts = serde_json::from_slice(text)
        .map_err(|cause| Unjudged::Unusable(unreadable("facts", &cause)))?;
    let too_much = || Unjudged::Unusable(TOO_MUCH.to_owned());
    let (book, cells) = (&rules.book, Cells::of(&facts));
    let rows = book.book().rows.len() as u64;
    let looks = cells.all.saturating_mul(rows);
    if cells.all > CELLS_MAX || cells.of_one_site > SITE_CELLS_MAX || looks > LOOKS_MAX {
        return Err(too_much());
    }
    let piece = PIECE_BYTES.saturating_add(largest(book, &facts));
    // Each gap is a reason, and quotes a rule.
    let reasons = cells.all.saturating_add(facts.gaps.len() as u64);
    let left = BYTES_MAX.checked_sub(reasons.saturating_mul(piece)).ok_or_else(too_much)?;
    let work = Work::of(book, &facts, bytes, &cells);
    if work.checking > LOOKS_MAX {
        return Err(too_much());
    }
    if !budget.has(work.all()) {
        return Err(Unjudged::Spent);
    }
    let mut bounded = Bounded { left, piece, spent: false };
    let judgement = verdict::judge_with(book, &facts, at, &mut bounded);
    budget.spend(work.taken(&judgement).saturating_add(left.saturating_sub(bounded.left)));
    if bounded.spent { Err(too_much()) } else { Ok((facts, judgement)) }
}

/// Where it cannot be read; never what stands there, which may be anything, and personal.
fn unreadable(what: &str, cause: &serde_json::Error) -> String {
    let (line, column) = (cause.line(), cause.column());
    format!("{what}: not what docs/record.md says at line {line}, column {column}")
}

/// What a judgement takes, in looks.
struct Work {
    /// Before any cell: terms and access rows.
    checking: u64,
    judging: u64,
    /// Of a refusal: what would help is tried out, each time on the facts as a whole.
    remedies: u64,
}

impl Work {
    fn of(book: &Rulebook, facts: &Facts, bytes: u64, cells: &Cells) -> Self {
        let question = &facts.question;
        let papers = question.grounds.len() + question.orders.len() + question.lists.len();
        let papers = papers + question.counters.len() + question.releases.len();
        let asking = book.atoms().iter().filter(|atom| asks_for_papers(atom)).count() as u64;
        let of_cell = (book.book().rows.len() as u64)
            .saturating_add(asking.saturating_mul(papers as u64))
            .saturating_add(CELL_LOOKS);
        let of_try = cells.of_one_site.saturating_mul(of_cell).saturating_add(bytes);
        Self {
            checking: to_check(book.book(), facts),
            judging: cells.all.saturating_mul(of_cell),
            remedies: of_try.saturating_mul(TRIES_MAX),
        }
    }

    const fn all(&self) -> u64 {
        self.checking.saturating_add(self.judging).saturating_add(self.remedies)
    }

    const fn taken(&self, judgement: &Judgement) -> u64 {
        if judgement.candidates.is_empty() {
            self.checking // refused before any cell
        } else if judgement.permitted.is_empty() {
            self.all()
        } else {
            self.checking.saturating_add(self.judging)
        }
    }
}

/// Before any cell each term is looked for in the vocabulary, and the role of each access row among those of the caller.
fn to_check(book: &Book, facts: &Facts) -> u64 {
    let terms = facts.sites.iter().map(terms).fold(terms(&facts.question), u64::saturating_add);
    let held = facts.access.as_ref().map_or(0, |access| {
        let rows = access.rows.len() as u64 + length(&access.rows) / COMPARED_BYTES;
        rows.saturating_mul(access.roles.len() as u64)
    });
    terms.saturating_mul(words(book)).saturating_add(held)
}

/// Rules are read by looking for each name in the list that it is of.
fn to_read(book: &Book, bytes: u64) -> u64 {
    let names = asked(book) + book.regimes.len() as u64 + bytes / COMPARED_BYTES;
    let listed = book.rules.len() + book.groups.len() + book.limits.thresholds.len();
    names.saturating_mul(listed as u64 + words(book))
}

/// Rows, and all that they ask for.
fn asked(book: &Book) -> u64 {
    book.rows.iter().map(|row| 2 + row.when.len() as u64).sum()
}

/// Whatever a term may be.
fn words(book: &Book) -> u64 {
    let words = &book.vocabulary;
    let of_data = words.categories.len() + words.purposes.len() + book.regimes.len();
    let of_parties = words.sectors.len() + words.supervisors.len() + words.laws.len();
    let of_papers = words.schemes.len() + words.measures.len() + words.grounds.len();
    (of_data + of_parties + of_papers) as u64
}

/// How many strings this has at most, long ones counted several times.
fn terms<T: serde::Serialize>(value: &T) -> u64 {
    let Ok(text) = serde_json::to_vec(value) else { return u64::MAX };
    let ends = text.array_windows().filter(|two| matches!(two, [b'"', b',' | b']' | b'}']));
    ends.count() as u64 + text.len() as u64 / COMPARED_BYTES
}

/// Whether an atom goes through what is on file.
const fn asks_for_papers(atom: &Atom) -> bool {
    let test = &atom.test;
    matches!(test, Test::Ground(..) | Test::Order(_) | Test::Listed(_) | Test::Volume(_))
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
/// The reference policy has some hundred rows that ask for some things each, and 17 regimes: some 10,000.
const FILED_MAX: u64 = 1 << 22;
/// So many changes are tried in search of a remedy, at most.
const TRIES_MAX: u64 = 96;
/// So many bytes are compared in the time of a look.
const COMPARED_BYTES: u64 = 128;
/// What a cell takes beside its rows: some microseconds.
const CELL_LOOKS: u64 = 1_024;
/// Of a whole file, beside what its decisions bring: half a minute.
const FILE_LOOKS: u64 = 1 << 33;
/// In the demo an allow over 30 cells takes 40,000, and a refusal with its remedies 1.5 million; ten times as much leaves room for
/// deployments that are larger. And what was judged before takes nothing.
const DECISION_LOOKS: u64 = 1 << 24;
const TOO_MUCH: &str = "the bundle and the facts multiply to more than any gateway judges";
