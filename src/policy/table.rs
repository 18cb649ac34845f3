//! The policy as a regulator reads it: for every regime every combination that facts can make, and its outcome.
//!
//! A combination is what the predicates of a cell are. There are far too many to list, and most of them differ in what no rule
//! asks: a page has one line for all that one rule decides. Read from the top, the first line that fits decides (hit policy
//! FIRST of the OMG's Decision Model and Notation); for each line the number of combinations that it decides is counted, and
//! that the lines say what the rows say is proven for all of them whenever a table is made.
//!
//! *Invariant:* the same rulebook in the same interval between two dates gives the same bytes.

mod destination;
mod diagram;
mod line;
mod page;
mod scope;
mod section;
mod sheet;
mod space;
mod text;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use verdict::Rulebook;
use verdict::atom::Test;
use verdict::cell::{CellKey, RowId, Truth};
use verdict::decision::Outcome;
use verdict::reason::Reason;
use verdict::rule::Mode;

pub use destination::Destination;
pub use line::{Reading, Wanted, When};
pub use scope::Scope;

pub(crate) use destination::destinations;
pub(crate) use diagram::{Diagrams, Function, TooLarge};
pub(crate) use line::{Line as Draft, Rest, lines};
pub(crate) use scope::{Spot, scopes, spots};
pub(crate) use section::{Cell, IMPOSSIBLE, first_fit, predicates, rests};
pub(crate) use space::Space;
pub(crate) use text::count;

use section::Section;

/// A whole rulebook laid out as of an instant.
#[derive(Debug)]
pub struct Table<'a> {
    rulebook: &'a Rulebook,
    /// The dates between which nothing dated in the rulebook turns, in Unix seconds; `None` is open.
    pub from: Option<i64>,
    pub until: Option<i64>,
    pub pages: Vec<Page>,
}

/// One regime; `-` for data under none.
#[derive(Debug)]
pub struct Page {
    pub regime: String,
    pub destinations: Vec<Destination>,
    pub lines: Vec<Line>,
    /// Rows (`R18/5`) that can match under this regime at some other time or place, and decide nothing now.
    pub idle: Vec<String>,
}

/// A line of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub outcome: Outcome,
    pub code: Reason,
    pub rule: Option<String>,
    pub scope: Scope,
    pub when: When,
    pub obligations: Vec<String>,
    /// How many combinations it decides, over all cells of its scope; the greatest number when they are more than that.
    pub combinations: u128,
}

/// A table cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Large(#[from] TooLargeError),
    #[error(
        "the table would not say what the rules say: this is a defect of the program, so there is no table"
    )]
    Differs,
}

/// The rules depend on each other in too many ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct TooLargeError(TooLarge);

impl From<TooLarge> for TableError {
    fn from(error: TooLarge) -> Self {
        Self::Large(TooLargeError(error))
    }
}

impl<'a> Table<'a> {
    /// Lays out every regime as of an instant (Unix seconds).
    ///
    /// # Errors
    /// When the rules depend on each other in more ways than can be laid out.
    pub fn new(rulebook: &'a Rulebook, at: i64) -> Result<Self, TableError> {
        let known = rulebook.book().regimes.iter().map(|regime| regime.id.as_str());
        let mut sections = Sections::new();
        let pages = known.chain([NO_REGIME]);
        let pages = pages.map(|regime| page(rulebook, regime, at, &mut sections));
        let turns = turns(rulebook);
        Ok(Self {
            rulebook,
            from: turns.range(..=at).next_back().copied(),
            until: turns.range(at + 1..).next().copied(),
            pages: pages.collect::<Result<_, _>>()?,
        })
    }

    /// The line that decides a cell of this rulebook within the dates of this table. `declared` says whether the component is
    /// declared non-personal, which no symbol of the cell need say.
    #[must_use]
    pub fn line(&self, key: &CellKey, declared: Truth) -> Option<&Line> {
        let page = self.pages.iter().find(|page| page.regime == key.regime)?;
        let atoms: BTreeMap<String, (Truth, bool)> = self
            .rulebook
            .symbols(key.profile, &key.regime, key.flow)
            .iter()
            .filter_map(|symbol| Some((*symbol, self.rulebook.atom(*symbol)?)))
            .map(|(symbol, atom)| {
                (atom.to_string(), (key.truth(symbol), matches!(atom.test, Test::To(_))))
            })
            .collect();
        let is_there = |destination: &&Destination| {
            let mut ends = atoms.iter().filter(|(_, (_, is_end))| *is_end);
            ends.all(|(text, (truth, _))| destination.truth(0, text) == *truth)
        };
        let number = page.destinations.iter().position(|it| is_there(&it))?;
        let truth = |text: &str| match atoms.get(text) {
            _ if text == line::NON_PERSONAL => declared,
            Some((truth, _)) => *truth,
            None => Truth::False,
        };
        page.lines
            .iter()
            .find(|line| line.scope.has(&(key.profile, key.flow, number)) && line.when.fits(&truth))
    }

    /// How many combinations have which outcome on a page.
    #[must_use]
    pub fn sums(page: &Page) -> BTreeMap<Outcome, u128> {
        let mut sums: BTreeMap<Outcome, u128> = BTreeMap::new();
        for line in &page.lines {
            let sum = sums.entry(line.outcome).or_default();
            *sum = sum.saturating_add(line.combinations);
        }
        sums
    }
}

/// Every instant at which something dated in a rulebook turns.
pub(crate) fn turns(rulebook: &Rulebook) -> BTreeSet<i64> {
    let book = rulebook.book();
    let rules = book.rules.iter().map(|rule| (&rule.from, &rule.until));
    let groups = book.groups.iter().map(|group| (&group.from, &group.until));
    let dates = rules.chain(groups).flat_map(|(from, until)| {
        let from = from.as_ref().map(verdict::stamp::Stamp::starts);
        [from, until.as_ref().map(verdict::stamp::Stamp::ends)]
    });
    dates.flatten().collect()
}

/// Sections that were laid out, by what the regime gives when nothing else does and by what is left of the rows.
type Sections = BTreeMap<(Option<(Mode, Option<String>)>, Vec<Rest>), Rc<Section>>;

fn page(
    rulebook: &Rulebook,
    regime: &str,
    at: i64,
    known: &mut Sections,
) -> Result<Page, TableError> {
    let destinations = destinations(&[rulebook], regime, at);
    let default = rulebook.regime(regime).map(|regime| (regime.mode, regime.requires.clone()));
    let mut drafts: Vec<(Draft, BTreeMap<Spot, u128>)> = Vec::new();
    let (mut rows, mut deciding) = (BTreeSet::new(), BTreeSet::new());
    for spot @ (profile, flow, number) in spots(destinations.len()) {
        rows.extend(rulebook.rows(profile, regime, flow));
        let Some(destination) = destinations.get(number) else { continue };
        let cell = Cell { profile, regime, flow, destination: (destination, 0), at };
        let rests = rests(rulebook, &cell);
        deciding.extend(rests.iter().map(|rest| rest.row));
        let section = match known.entry((default.clone(), rests)) {
            Entry::Occupied(known) => Rc::clone(known.get()),
            Entry::Vacant(free) => {
                let rests = &free.key().1;
                let made = Section::new(rulebook, rulebook.regime(regime), rests)?;
                Rc::clone(free.insert(Rc::new(made)))
            }
        };
        let lines = section.lines.iter().zip(&section.decides);
        for (line, decides) in lines.filter(|(_, decides)| **decides > 0) {
            keep(&mut drafts, line, spot, *decides);
        }
    }
    let idle = rows.difference(&deciding).filter_map(|id: &RowId| rulebook.row(*id));
    let idle = idle.map(|row| format!("{}/{}", row.rule, row.number)).collect();
    Ok(Page { regime: regime.to_owned(), destinations, lines: spread(drafts), idle })
}

/// Cells in which a line says the same share it.
fn keep(drafts: &mut Vec<(Draft, BTreeMap<Spot, u128>)>, line: &Draft, spot: Spot, decides: u128) {
    match drafts.iter_mut().find(|(known, _)| known.says(line)) {
        Some((known, spots)) => {
            known.row = known.row.min(line.row);
            spots.insert(spot, decides);
        }
        None => drafts.push((line.clone(), [(spot, decides)].into())),
    }
}

/// Each draft as lines whose profiles, flows and destinations are plain lists.
fn spread(mut drafts: Vec<(Draft, BTreeMap<Spot, u128>)>) -> Vec<Line> {
    drafts.sort_by(|(a, _), (b, _)| (a.step, a.row, &a.when).cmp(&(b.step, b.row, &b.when)));
    let mut lines = Vec::new();
    for (draft, spots) in drafts {
        for scope in scopes(spots.keys()) {
            let counts = spots.iter().filter(|(spot, _)| scope.has(spot)).map(|(_, count)| *count);
            let combinations = counts.fold(0, u128::saturating_add);
            lines.push(Line {
                outcome: draft.outcome,
                code: draft.code,
                rule: draft.rule.clone(),
                scope,
                when: draft.when.clone(),
                obligations: draft.obligations.clone(),
                combinations,
            });
        }
    }
    lines
}

impl Table<'_> {
    const fn rulebook(&self) -> &Rulebook {
        self.rulebook
    }
}

/// The page of data that no regime covers.
pub(crate) const NO_REGIME: &str = "-";
