//! One line of a table: an outcome, the rule that gives it, and when. Read from the top, the first line that fits decides.

use std::fmt;

use verdict::Rulebook;
use verdict::atom::{Atom, Test};
use verdict::cell::{RowId, Truth};
use verdict::decision::Outcome;
use verdict::reason::Reason;
use verdict::rule::{Kind, Mode, Out, Regime, Row};

use super::space::can_be_unknown;

/// A predicate that must hold, or must not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// In its one spelling: `cat:kr:RRN`.
    pub atom: String,
    pub negated: bool,
    /// Whether it may be that nobody can tell.
    pub unsure: bool,
}

/// Which combinations a line takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct When {
    pub reading: Reading,
    /// One of these conjunctions; the empty conjunction always holds.
    pub any: Vec<Vec<Wanted>>,
    /// And none of these holds for sure.
    pub unless: Vec<Vec<Wanted>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// Everything it asks for is so.
    Sure,
    /// Nothing it asks for is known not to be so: what nobody can tell counts as so.
    NotRefuted,
    /// Not refuted, and something it asks for is not known.
    Unsure,
}

/// A line before it is known where it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Lines of a lower step come first.
    pub step: Step,
    /// The first row that it stands for, which orders lines within a step.
    pub row: RowId,
    pub outcome: Outcome,
    pub code: Reason,
    pub rule: Option<String>,
    pub obligations: Vec<String>,
    pub when: When,
}

/// The order in which restrictions and permits are weighed so that the first line that fits has the worst outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Refused,
    NotKnown,
    NoRegime,
    NoGround,
    Held,
    HeldAtBest,
    Obliged,
    ObligedAtBest,
    Allowed,
}

/// What is left of a row where its destination and its dates are given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rest {
    pub row: RowId,
    pub wanted: Vec<Wanted>,
}

impl Line {
    /// Whether the other says the same, of whichever row.
    pub(crate) fn says(&self, other: &Self) -> bool {
        (self.step, self.outcome, self.code) == (other.step, other.outcome, other.code)
            && (&self.rule, &self.when, &self.obligations)
                == (&other.rule, &other.when, &other.obligations)
    }
}

impl When {
    /// Whether the line takes a cell in which predicates are so.
    pub fn fits(&self, truth: &dyn Fn(&str) -> Truth) -> bool {
        let of = |all: &[Wanted]| {
            let truths = all.iter().map(|it| match (truth(&it.atom), it.negated) {
                (Truth::True, true) => Truth::False,
                (Truth::False, true) => Truth::True,
                (same, _) => same,
            });
            truths.min().unwrap_or(Truth::True)
        };
        let best = self.any.iter().map(|all| of(all)).max().unwrap_or(Truth::False);
        let fits = match self.reading {
            Reading::Sure => best == Truth::True,
            Reading::NotRefuted => best != Truth::False,
            Reading::Unsure => self.any.iter().any(|all| of(all) == Truth::Unknown),
        };
        fits && !self.unless.iter().any(|all| of(all) == Truth::True)
    }
}

/// The lines of one cell's rows in their order; together they say what the judge says.
pub(crate) fn lines(rulebook: &Rulebook, regime: Option<&Regime>, rests: &[Rest]) -> Vec<Line> {
    let rows: Vec<(&Rest, &Row)> =
        rests.iter().filter_map(|rest| Some((rest, rulebook.row(rest.row)?))).collect();
    let permits = |outs: &[Out]| -> Vec<Vec<Wanted>> {
        let listed =
            rows.iter().filter(|(_, row)| row.kind == Kind::Permit && outs.contains(&row.out));
        listed.map(|(rest, _)| rest.wanted.clone()).collect()
    };
    let mut lines: Vec<Line> = Vec::new();
    for (rest, row) in &rows {
        for (step, outcome, reading) in steps(row) {
            let unless = match step {
                Step::HeldAtBest => permits(&[Out::Allow, Out::Oblige]),
                Step::ObligedAtBest => permits(&[Out::Allow]),
                _ => Vec::new(),
            };
            let unsure = rest.wanted.iter().any(|wanted| wanted.unsure);
            if reading != Reading::Unsure || unsure {
                let line = line(rulebook, rest, row, (step, outcome, reading), unless);
                add(&mut lines, line, row, rulebook);
            }
        }
    }
    lines.extend(by_default(rulebook, regime, permits(&[Out::Allow, Out::Oblige, Out::Hold])));
    lines.sort_by_key(|line| (line.step, line.row));
    lines
}

/// What one row says, as lines: a restriction of which something is not known refuses.
fn steps(row: &Row) -> Vec<(Step, Outcome, Reading)> {
    let outcome = Outcome::from(row.out);
    let unknown = (Step::NotKnown, Outcome::Deny, Reading::Unsure);
    match (row.kind, row.out) {
        (Kind::Restrict, Out::Deny) => vec![(Step::Refused, outcome, Reading::NotRefuted)],
        (Kind::Restrict, Out::Hold) => vec![unknown, (Step::Held, outcome, Reading::Sure)],
        (Kind::Restrict, _) => vec![unknown, (Step::Obliged, outcome, Reading::Sure)],
        (Kind::Permit, Out::Hold) => vec![(Step::HeldAtBest, outcome, Reading::Sure)],
        (Kind::Permit, Out::Oblige) => vec![(Step::ObligedAtBest, outcome, Reading::Sure)],
        (Kind::Permit, _) => vec![(Step::Allowed, outcome, Reading::Sure)],
    }
}

fn line(
    rulebook: &Rulebook,
    rest: &Rest,
    row: &Row,
    (step, outcome, reading): (Step, Outcome, Reading),
    unless: Vec<Vec<Wanted>>,
) -> Line {
    let order = rulebook.literals(rest.row).iter().any(|literal| {
        let atom = rulebook.atom(literal.symbol);
        !literal.negated && atom.is_some_and(|atom| matches!(atom.test, Test::Order(_)))
    });
    let code = match (reading, outcome) {
        (Reading::Unsure, _) => Reason::MissingFact,
        (_, Outcome::Deny) if order => Reason::OrderInForce,
        (_, Outcome::Deny) => Reason::DeniedByRule,
        (_, Outcome::Hold) => Reason::HeldByRule,
        _ => Reason::AllowedByRule,
    };
    let obligations = if reading == Reading::Unsure { Vec::new() } else { row.obligations.clone() };
    let when = When { reading, any: vec![rest.wanted.clone()], unless };
    Line { step, row: rest.row, outcome, code, rule: Some(row.rule.clone()), obligations, when }
}

/// Rows of one rule that differ only in their predicates are alternatives of one line.
fn add(lines: &mut Vec<Line>, line: Line, row: &Row, rulebook: &Rulebook) {
    let columns = |row: &Row| (row.regime.clone(), row.flow.clone(), row.profiles.clone());
    let same = |known: &&mut Line| {
        (known.step, &known.rule, &known.obligations) == (line.step, &line.rule, &line.obligations)
            && known.code == line.code
            && rulebook.row(known.row).is_some_and(|known| columns(known) == columns(row))
    };
    match lines.iter_mut().find(same) {
        Some(known) => known.when.any.extend(line.when.any),
        None => lines.push(line),
    }
}

/// What is so when no row decides.
fn by_default(
    rulebook: &Rulebook,
    regime: Option<&Regime>,
    permits: Vec<Vec<Wanted>>,
) -> Vec<Line> {
    let missing = rulebook.book().missing_rule.clone();
    let always = || When { reading: Reading::Sure, any: vec![Vec::new()], unless: Vec::new() };
    let line = |step, outcome, code, rule, when| Line {
        step,
        row: RowId::MAX,
        outcome,
        code,
        rule,
        obligations: Vec::new(),
        when,
    };
    let allowed = line(Step::Allowed, Outcome::Allow, Reason::AllowedByRule, None, always());
    match regime {
        Some(regime) if regime.mode == Mode::Transfer => {
            let (when, rule) = (When { unless: permits, ..always() }, regime.requires.clone());
            vec![line(Step::NoGround, Outcome::Deny, Reason::NoGround, rule, when)]
        }
        Some(_) => vec![allowed],
        None => {
            let declared = Wanted { atom: NON_PERSONAL.into(), negated: true, unsure: true };
            let reading = Reading::NotRefuted;
            let when = When { reading, any: vec![vec![declared]], unless: Vec::new() };
            let refused = line(Step::NoRegime, Outcome::Deny, Reason::MissingFact, missing, when);
            vec![refused, allowed]
        }
    }
}

impl Wanted {
    pub(crate) fn new(atom: &Atom, negated: bool) -> Self {
        Self { atom: atom.to_string(), negated, unsure: can_be_unknown(&atom.test) }
    }
}

/// `a and not b`; with `?` after a predicate that counts as fitting also when nobody can tell.
impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = self.reading == Reading::NotRefuted;
        let any = alternatives(&self.any, doubt);
        match (self.reading, any.as_str(), self.unless.is_empty()) {
            (Reading::Unsure, any, _) => write!(out, "not known whether {any}")?,
            (_, "", true) => out.write_str("otherwise")?,
            (_, any, _) => out.write_str(any)?,
        }
        if !self.unless.is_empty() {
            let gap = if any.is_empty() { "" } else { " " };
            write!(out, "{gap}unless {}", alternatives(&self.unless, false))?;
        }
        Ok(())
    }
}

/// What all alternatives share stands before them.
fn alternatives(any: &[Vec<Wanted>], doubt: bool) -> String {
    let word = |it: &Wanted| {
        let not = if it.negated { "not " } else { "" };
        let doubt = if doubt && it.unsure { "?" } else { "" };
        format!("{not}{}{doubt}", it.atom)
    };
    let all = |list: &[&Wanted]| list.iter().map(|it| word(it)).collect::<Vec<_>>().join(" and ");
    let Some((first, rest)) = any.split_first() else { return "never".to_owned() };
    let shared: Vec<&Wanted> =
        first.iter().filter(|it| rest.iter().all(|other| other.contains(it))).collect();
    let own = |list: &Vec<Wanted>| {
        all(&list.iter().filter(|it| !shared.contains(it)).collect::<Vec<_>>())
    };
    let mut parts: Vec<String> = any.iter().map(own).collect();
    // one that asks for nothing more swallows the others
    if parts.iter().any(String::is_empty) {
        return all(&shared);
    }
    parts.dedup();
    if parts.len() > 1 {
        for part in parts.iter_mut().filter(|part| part.contains(" and ")) {
            *part = format!("({part})");
        }
    }
    let parts = parts.join(" or ");
    if shared.is_empty() { parts } else { format!("{} and ({parts})", all(&shared)) }
}

/// What a component without a regime must be declared.
pub(crate) const NON_PERSONAL: &str = "identifiability:non_personal";
