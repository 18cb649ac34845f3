//! The abstract cell and its matching: symbols in, rows out. Nothing here has ids, dates or a tenant, so what was
//! matched once for a key holds for as long as the rulebook does.
//!
//! *Invariant:* a [`CellKey`] is all that a [`Matcher`] sees; two engines given one key must give one answer.

use alloc::{string::String, vec::Vec};

use crate::{decision::Flow, question::Profile, rule::Rulebook};

/// The number of an atom in its rulebook ([`Rulebook::atom`]).
pub type Symbol = u16;
/// The number of a row in its rulebook ([`Rulebook::row`]).
pub type RowId = u16;

/// Three-valued: ordered so that *and* is the least and *or* the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Truth {
    False,
    Unknown,
    True,
}

/// One cell as symbols of one rulebook: every atom that a row for this (profile, regime, flow) uses is known to hold,
/// unknown, or (when in neither list) known not to hold. The full key of a memo.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellKey {
    pub profile: Profile,
    /// `-` for a component without a regime.
    pub regime: String,
    pub flow: Flow,
    /// Ascending.
    pub holds: Vec<Symbol>,
    /// Ascending.
    pub unknown: Vec<Symbol>,
}

impl CellKey {
    #[must_use]
    pub fn truth(&self, symbol: Symbol) -> Truth {
        if self.holds.binary_search(&symbol).is_ok() {
            Truth::True
        } else if self.unknown.binary_search(&symbol).is_ok() {
            Truth::Unknown
        } else {
            Truth::False
        }
    }
}

/// An atom that must hold, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Literal {
    pub symbol: Symbol,
    pub negated: bool,
}

impl Literal {
    #[must_use]
    pub fn truth(self, key: &CellKey) -> Truth {
        match (key.truth(self.symbol), self.negated) {
            (Truth::Unknown, _) => Truth::Unknown,
            (Truth::True, false) | (Truth::False, true) => Truth::True,
            (Truth::True, true) | (Truth::False, false) => Truth::False,
        }
    }
}

/// The rows of a cell, ascending. A row is in one list at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// Every literal holds (the pass that reads unknown as false).
    pub sure: Vec<RowId>,
    /// No literal is false and at least one is unknown (what the pass that reads unknown as true adds).
    pub possible: Vec<RowId>,
}

/// What finds the rows of a cell: the pure matcher, or an engine held against it.
pub trait Matcher {
    /// # Errors
    /// When two engines disagree or one fails: the cell is DENY `ENGINE_DISAGREEMENT`.
    fn matches(&mut self, rulebook: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement>;
}

/// The engines did not give one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// One sentence for the alarm record and the explanation.
    pub what: String,
}

/// The pure matcher: a conjunction over columns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pure;

impl Matcher for Pure {
    fn matches(&mut self, rulebook: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement> {
        let mut found = Matches::default();
        for row in rulebook.candidates(key) {
            let literals = rulebook.literals(row).iter().map(|literal| literal.truth(key));
            match literals.min().unwrap_or(Truth::True) {
                Truth::True => found.sure.push(row),
                Truth::Unknown => found.possible.push(row),
                Truth::False => {}
            }
        }
        Ok(found)
    }
}
