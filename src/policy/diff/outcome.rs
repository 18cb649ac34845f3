//! Every combination of facts whose outcome is another: over every regime, profile, flow and destination.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use verdict::Rulebook;
use verdict::decision::Outcome;
use verdict::reason::Reason;
use verdict::rule::{Kind, Mode, Out, Regime};

use super::{Change, RegimeCells, Told};
use crate::policy::table::{
    Cell, Destination, Diagrams, Draft, Function, IMPOSSIBLE, NO_REGIME, Rest, Space, Spot,
    TooLarge, Wanted, destinations, first_fit, lines, predicates, rests, scopes, spots,
};

/// The changes at an instant, what becomes milder first.
pub(super) fn changes(
    before: &Rulebook,
    after: &Rulebook,
    at: i64,
) -> Result<Vec<Change>, TooLarge> {
    let mut found = Found::default();
    let mut known = BTreeMap::new();
    for regime in regimes(before, after) {
        let destinations = destinations(&[before, after], &regime, at);
        for spot @ (profile, flow, number) in spots(destinations.len()) {
            let Some(destination) = destinations.get(number) else { continue };
            let cell = |book| Cell {
                profile,
                regime: &regime,
                flow,
                destination: (destination, book),
                at,
            };
            let (old, new) = (Side::new(before, &cell(0)), Side::new(after, &cell(1)));
            let key = (old.says(), new.says());
            if key.0 == key.1 {
                continue;
            }
            let compared = match known.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => free.insert(compared(&old, &new)?),
            };
            for change in compared.iter() {
                found.add(change, &regime, spot);
            }
        }
        found.destinations.insert(regime, destinations);
    }
    Ok(found.finish())
}

fn regimes(before: &Rulebook, after: &Rulebook) -> BTreeSet<String> {
    let of = |book: &Rulebook| {
        book.book().regimes.iter().map(|regime| regime.id.clone()).collect::<Vec<_>>()
    };
    of(before).into_iter().chain(of(after)).chain([NO_REGIME.to_owned()]).collect()
}

/// One book's rows for a cell.
struct Side<'a> {
    book: &'a Rulebook,
    regime: Option<&'a Regime>,
    /// The book does not know the regime: data under it is refused.
    absent: bool,
    rests: Vec<Rest>,
}

/// All that the outcome of a cell depends on, whatever its rows are numbered.
type Says = (bool, Option<(Mode, Option<String>)>, Option<String>, Vec<RowSays>);
type RowSays = (Kind, Out, String, Vec<String>, Vec<Wanted>);

impl<'a> Side<'a> {
    fn new(book: &'a Rulebook, cell: &Cell<'_>) -> Self {
        let regime = book.regime(cell.regime);
        let absent = regime.is_none() && cell.regime != NO_REGIME;
        let rests = if absent { Vec::new() } else { rests(book, cell) };
        Self { book, regime, absent, rests }
    }

    fn says(&self) -> Says {
        let default = self.regime.map(|regime| (regime.mode, regime.requires.clone()));
        let row = |rest: &Rest| {
            let row = self.book.row(rest.row)?;
            let obligations = row.obligations.clone();
            Some((row.kind, row.out, row.rule.clone(), obligations, rest.wanted.clone()))
        };
        let missing = self.book.book().missing_rule.clone();
        (self.absent, default, missing, self.rests.iter().filter_map(row).collect())
    }

    fn lines(&self) -> Vec<Draft> {
        if self.absent { Vec::new() } else { lines(self.book, self.regime, &self.rests) }
    }

    /// The obligations of all restrictions that hold, and of the best permit; by number in `sets`.
    fn obligations(&self, space: &mut Space, sets: &mut Sets) -> Result<Function, TooLarge> {
        let mut permit = Diagrams::constant(NO_OBLIGATION);
        let mut all = Diagrams::constant(NO_OBLIGATION);
        // of equal permits the first counts, and an allow before any of them
        for (rest, row) in self.rows(Kind::Permit, Out::Oblige).rev() {
            let own = sets.number(&row.obligations);
            permit = space.where_it_holds(&rest.wanted, permit, &mut |_| own)?;
        }
        for (rest, _) in self.rows(Kind::Permit, Out::Allow) {
            permit = space.where_it_holds(&rest.wanted, permit, &mut |_| NO_OBLIGATION)?;
        }
        for (rest, row) in self.rows(Kind::Restrict, Out::Oblige) {
            let own = sets.number(&row.obligations);
            all = space.where_it_holds(&rest.wanted, all, &mut |others| sets.union(own, others))?;
        }
        space.diagrams.join(all, permit, &mut |one, other| sets.union(one, other))
    }

    fn rows(
        &self,
        kind: Kind,
        out: Out,
    ) -> impl DoubleEndedIterator<Item = (&Rest, &verdict::rule::Row)> {
        let rows = self.rests.iter().filter_map(|rest| Some((rest, self.book.row(rest.row)?)));
        rows.filter(move |(_, row)| (row.kind, row.out) == (kind, out))
    }
}

/// Sets of obligations by number; the first is the empty one.
#[derive(Default)]
struct Sets(Vec<BTreeSet<String>>);

impl Sets {
    fn new() -> Self {
        Self(vec![BTreeSet::new()])
    }

    fn number(&mut self, obligations: &[String]) -> u16 {
        self.keep(obligations.iter().cloned().collect())
    }

    fn union(&mut self, one: u16, other: u16) -> u16 {
        let both = self.get(one).union(&self.get(other)).cloned().collect();
        self.keep(both)
    }

    fn get(&self, number: u16) -> BTreeSet<String> {
        self.0.get(usize::from(number)).cloned().unwrap_or_default()
    }

    fn keep(&mut self, set: BTreeSet<String>) -> u16 {
        let found = self.0.iter().position(|known| *known == set);
        let number = found.unwrap_or(self.0.len());
        if found.is_none() {
            self.0.push(set);
        }
        u16::try_from(number).unwrap_or(NO_OBLIGATION)
    }
}

/// What one cell's rows change: told before and after, how many combinations, and the shortest example.
type Compared = ((Told, Told), u128, Vec<String>);

fn compared(old: &Side<'_>, new: &Side<'_>) -> Result<Vec<Compared>, TooLarge> {
    let (old_lines, new_lines) = (old.lines(), new.lines());
    let mut space = Space::new(&predicates(old_lines.iter().chain(&new_lines)));
    let possible = space.possible(&[old.book, new.book])?;
    let first = [first_fit(&mut space, &old_lines)?, first_fit(&mut space, &new_lines)?];
    let mut sets = Sets::new();
    let asked = [old.obligations(&mut space, &mut sets)?, new.obligations(&mut space, &mut sets)?];
    let mut pairs = Pairs::default();
    let lines = space.diagrams.join(first[0], first[1], &mut |a, b| pairs.number((a, b)))?;
    let mut obligations = Pairs::default();
    let asked = space.diagrams.join(asked[0], asked[1], &mut |a, b| obligations.number((a, b)))?;
    let mut different: Vec<(Told, Told)> = Vec::new();
    let both = space.diagrams.join(lines, asked, &mut |lines, asked| {
        let ((a, b), (c, d)) = (pairs.get(lines), obligations.get(asked));
        let pair = (told(&old_lines, a, sets.get(c)), told(&new_lines, b, sets.get(d)));
        if (pair.0.outcome, &pair.0.obligations) == (pair.1.outcome, &pair.1.obligations) {
            return SAME;
        }
        let found = different.iter().position(|known| *known == pair);
        let number = found.unwrap_or(different.len());
        if found.is_none() {
            different.push(pair);
        }
        u16::try_from(number).unwrap_or(SAME)
    })?;
    let both = space.diagrams.join(possible, both, &mut |possible, pair| {
        if possible == 1 { pair } else { SAME }
    })?;
    let counts = space.diagrams.count(both);
    let mut compared = Vec::new();
    for (number, pair) in different.into_iter().enumerate() {
        let number = u16::try_from(number).map_err(|_| TooLarge)?;
        let Some(count) = counts.get(&number) else { continue };
        let path = space.diagrams.shortest(both, &|it| it == number).unwrap_or_default();
        compared.push((pair, *count, space.words(&path)));
    }
    Ok(compared)
}

/// What a line says; no line is a regime that the book does not know.
fn told(lines: &[Draft], number: u16, obligations: BTreeSet<String>) -> Told {
    let line = lines.get(usize::from(number));
    let outcome = line.map_or(Outcome::Deny, |line| line.outcome);
    Told {
        outcome,
        code: line.map_or(Reason::MissingFact, |line| line.code),
        rule: line.and_then(|line| line.rule.clone()),
        obligations: if outcome == Outcome::Deny { BTreeSet::new() } else { obligations },
    }
}

/// Pairs of numbers as one.
#[derive(Default)]
struct Pairs(Vec<(u16, u16)>);

impl Pairs {
    fn number(&mut self, pair: (u16, u16)) -> u16 {
        let found = self.0.iter().position(|known| *known == pair);
        let number = found.unwrap_or(self.0.len());
        if found.is_none() {
            self.0.push(pair);
        }
        // 65,535 pairs are 255 lines against 255
        u16::try_from(number).unwrap_or(SAME)
    }

    fn get(&self, number: u16) -> (u16, u16) {
        self.0.get(usize::from(number)).copied().unwrap_or((IMPOSSIBLE, IMPOSSIBLE))
    }
}

/// How many combinations, the shortest example, and the cells.
type Sum = (u128, Vec<String>, BTreeSet<(String, Spot)>);

/// Changes as they add up over cells.
#[derive(Default)]
struct Found {
    changes: BTreeMap<(Told, Told), Sum>,
    destinations: BTreeMap<String, Vec<Destination>>,
}

impl Found {
    fn add(&mut self, (told, count, example): &Compared, regime: &str, spot: Spot) {
        let (sum, shortest, cells) = self
            .changes
            .entry(told.clone())
            .or_insert_with(|| (0, example.clone(), BTreeSet::new()));
        *sum = sum.saturating_add(*count);
        if example.len() < shortest.len() {
            shortest.clone_from(example);
        }
        cells.insert((regime.to_owned(), spot));
    }

    fn finish(self) -> Vec<Change> {
        let destinations = &self.destinations;
        let mut changes: Vec<Change> = self
            .changes
            .into_iter()
            .map(|((before, after), (combinations, example, spots))| {
                let mut by_regime: BTreeMap<String, BTreeSet<Spot>> = BTreeMap::new();
                for (regime, spot) in spots {
                    by_regime.entry(regime).or_default().insert(spot);
                }
                let cells = by_regime.into_iter().map(|(regime, spots)| RegimeCells {
                    destinations: destinations.get(&regime).cloned().unwrap_or_default(),
                    scopes: scopes(spots.iter()),
                    regime,
                });
                Change { before, after, combinations, cells: cells.collect(), example }
            })
            .collect();
        changes.sort_by(|a, b| order(a).cmp(&order(b)));
        changes
    }
}

/// What becomes milder first, the mildest and of those what was strictest before; then what becomes stricter, the strictest
/// and of those what was mildest; then what only asks for other obligations.
fn order(change: &Change) -> impl Ord {
    let ends = change.before.outcome.change_rank(change.after.outcome);
    (ends, change.before.clone(), change.after.clone())
}

const NO_OBLIGATION: u16 = 0;
/// Nothing changes.
const SAME: u16 = u16::MAX;
