//! One cell of one regime to one destination, laid out: its lines, and for how many combinations each of them decides.

use std::collections::BTreeSet;

use verdict::Rulebook;
use verdict::atom::{Atom, Test};
use verdict::cell::{Literal, RowId, Truth};
use verdict::decision::{Flow, Outcome};
use verdict::question::Profile;
use verdict::rule::{Kind, Mode, Regime};

use super::TableError;
use super::destination::Destination;
use super::diagram::{Diagrams, Function, TooLarge};
use super::line::{Line, NON_PERSONAL, Reading, Rest, Wanted, When, lines};
use super::space::{HOLDS, Space, UNKNOWN};

/// Which cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub profile: Profile,
    pub regime: &'a str,
    pub flow: Flow,
    /// The destination, and the number that this book has there.
    pub destination: (&'a Destination, usize),
    /// Unix seconds.
    pub at: i64,
}

/// What is left of every row that can match in the cell.
pub(crate) fn rests(rulebook: &Rulebook, cell: &Cell<'_>) -> Vec<Rest> {
    let rows = rulebook.rows(cell.profile, cell.regime, cell.flow);
    rows.iter().filter_map(|row| rest(rulebook, cell, *row)).collect()
}

fn rest(rulebook: &Rulebook, cell: &Cell<'_>, row: RowId) -> Option<Rest> {
    let mut wanted = Vec::new();
    for literal in rulebook.literals(row) {
        let atom = rulebook.atom(literal.symbol)?;
        match given(rulebook, cell, atom, *literal) {
            Some(Truth::False) => return None,
            Some(Truth::True) => {}
            Some(Truth::Unknown) | None => wanted.push(Wanted::new(atom, literal.negated)),
        }
    }
    wanted.sort_by(|a, b| (a.negated, &a.atom).cmp(&(b.negated, &b.atom)));
    Some(Rest { row, wanted })
}

/// What the destination and the instant settle.
fn given(rulebook: &Rulebook, cell: &Cell<'_>, atom: &Atom, literal: Literal) -> Option<Truth> {
    let truth = match &atom.test {
        Test::To(_) => cell.destination.0.truth(cell.destination.1, &atom.to_string()),
        Test::InForce(rule) => {
            let rule = rulebook.rule(rule)?;
            let begun = rule.from.as_ref().is_none_or(|from| from.starts() <= cell.at);
            let ended = rule.until.as_ref().is_some_and(|until| until.ends() <= cell.at);
            if begun && !ended { Truth::True } else { Truth::False }
        }
        _ => return None,
    };
    Some(match (truth, literal.negated) {
        (Truth::True, true) => Truth::False,
        (Truth::False, true) => Truth::True,
        (same, _) => same,
    })
}

/// Lines with what they decide.
#[derive(Debug)]
pub(crate) struct Section {
    pub lines: Vec<Line>,
    /// For each line the number of combinations that it decides.
    pub decides: Vec<u128>,
}

impl Section {
    /// Lays the rows out and proves that the lines say, for every combination, what the rows say.
    pub(crate) fn new(
        rulebook: &Rulebook,
        regime: Option<&Regime>,
        rests: &[Rest],
    ) -> Result<Self, TableError> {
        let lines = lines(rulebook, regime, rests);
        let mut space = Space::new(&predicates(lines.iter()));
        let possible = space.possible(&[rulebook])?;
        let first = first_fit(&mut space, &lines)?;
        let decided_by = space.diagrams.join(possible, first, &mut |possible, line| {
            if possible == 1 { line } else { IMPOSSIBLE }
        })?;
        let told = space.diagrams.map(decided_by, &|line| outcome_of(&lines, line))?;
        let judged = judged(&mut space, rulebook, regime, rests)?;
        let judged = space.diagrams.join(possible, judged, &mut |possible, outcome| {
            if possible == 1 { outcome } else { IMPOSSIBLE }
        })?;
        if told != judged {
            return Err(TableError::Differs);
        }
        let counts = space.diagrams.count(decided_by);
        let numbers = (0..lines.len()).map(|number| u16::try_from(number).unwrap_or(IMPOSSIBLE));
        let decides = numbers.map(|number| counts.get(&number).copied().unwrap_or(0)).collect();
        Ok(Self { lines, decides })
    }
}

/// The predicates of the lines in the order in which they stand: what one rule asks for stays together, so that a diagram
/// need not remember one rule's state through the predicates of another.
pub(crate) fn predicates<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<Atom> {
    let all = lines.flat_map(|line| line.when.any.iter().chain(&line.when.unless));
    let mut seen = BTreeSet::new();
    let new = all.flatten().filter(|wanted| seen.insert(wanted.atom.as_str()));
    new.filter_map(|wanted| Atom::parse(&wanted.atom).ok()).collect()
}

/// The number of the first line that takes a combination.
pub(crate) fn first_fit(space: &mut Space, lines: &[Line]) -> Result<Function, TooLarge> {
    let mut first = Diagrams::constant(IMPOSSIBLE);
    for (number, line) in lines.iter().enumerate().rev() {
        let number = u16::try_from(number).map_err(|_| TooLarge)?;
        let fits = fits(space, &line.when)?;
        first = space.diagrams.join(fits, first, &mut |fits, later| {
            if fits == 1 { number } else { later }
        })?;
    }
    Ok(first)
}

/// 1 where the line takes the combination.
fn fits(space: &mut Space, when: &When) -> Result<Function, TooLarge> {
    let reading = when.reading;
    let takes = move |truth: u16| {
        u16::from(match reading {
            Reading::Sure => truth == HOLDS,
            Reading::NotRefuted => truth >= UNKNOWN,
            Reading::Unsure => truth == UNKNOWN,
        })
    };
    let mut fits = Diagrams::constant(0);
    for all in &when.any {
        let truth = space.conjunction(all)?;
        let fit = space.diagrams.map(truth, &takes)?;
        fits = space.diagrams.join(fits, fit, &mut u16::max)?;
    }
    for all in &when.unless {
        fits = space.where_it_holds(all, fits, &mut |_| 0)?;
    }
    Ok(fits)
}

/// The outcome straight from the rows, as `verdict` composes it: of the restrictions the worst, of the permits the best.
fn judged(
    space: &mut Space,
    rulebook: &Rulebook,
    regime: Option<&Regime>,
    rests: &[Rest],
) -> Result<Function, TooLarge> {
    let (allow, deny) = (rank(Outcome::Allow), rank(Outcome::Deny));
    let (mut worst, mut best) = (Diagrams::constant(allow), Diagrams::constant(deny));
    for rest in rests {
        let Some(row) = rulebook.row(rest.row) else { continue };
        let out = rank(row.out.into());
        if row.kind == Kind::Permit {
            best = space.where_it_holds(&rest.wanted, best, &mut |best| best.min(out))?;
            continue;
        }
        let truth = space.conjunction(&rest.wanted)?;
        worst = space.diagrams.join(worst, truth, &mut |worst, truth| match truth {
            HOLDS => worst.max(out),
            UNKNOWN => deny,
            _ => worst,
        })?;
    }
    match regime.map(|regime| regime.mode) {
        Some(Mode::Transfer) => space.diagrams.join(worst, best, &mut u16::max),
        Some(Mode::Floor) => Ok(worst),
        None => {
            let declared = Wanted { atom: NON_PERSONAL.into(), negated: false, unsure: true };
            let truth = space.conjunction(&[declared])?;
            space.diagrams.join(worst, truth, &mut |worst, truth| {
                if truth == HOLDS { worst } else { deny }
            })
        }
    }
}

fn outcome_of(lines: &[Line], number: u16) -> u16 {
    lines.get(usize::from(number)).map_or(IMPOSSIBLE, |line| rank(line.outcome))
}

/// Outcomes as numbers, the worst the greatest.
const fn rank(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Allow => 0,
        Outcome::AllowWithObligations => 1,
        Outcome::Hold => 2,
        Outcome::Deny => 3,
    }
}

/// No facts make the combination.
pub(crate) const IMPOSSIBLE: u16 = u16::MAX;
