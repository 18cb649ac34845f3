//! What changes from one bundle to another: every combination of facts with another outcome, and everything in the rules, groups
//! and words that is not the same.
//!
//! The outcomes are compared as diagrams over the predicates of both, so no combination is left out; at an instant, and
//! again after each later date at which something in either bundle turns.
//!
//! *Invariant:* a diff without a difference is between rulebooks with one digest.

mod book;
mod outcome;
mod text;

use std::collections::BTreeSet;

use verdict::Rulebook;
use verdict::decision::Outcome;
use verdict::reason::Reason;

use super::table::{Destination, Scope, TableError, turns};

/// Two rulebooks compared.
#[derive(Debug)]
pub struct Diff<'a> {
    before: &'a Rulebook,
    after: &'a Rulebook,
    /// Between dates at which something turns, from the first instant on; neighbours with the same changes are one.
    pub intervals: Vec<Interval>,
    /// Everything that is written otherwise: `~ rules R05 until: - -> 2027-01-01`.
    pub written: Vec<String>,
}

/// A time in which nothing dated turns, and what changes then.
#[derive(Debug, PartialEq, Eq)]
pub struct Interval {
    /// Unix seconds: the instant asked for, or a later date.
    pub from: i64,
    /// `None`: for good.
    pub until: Option<i64>,
    /// What becomes milder first, from DENY to ALLOW on.
    pub changes: Vec<Change>,
}

/// Combinations whose outcome changes in one way by the same two rules.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Told,
    pub after: Told,
    /// How many combinations, over all cells.
    pub combinations: u128,
    /// Where.
    pub cells: Vec<RegimeCells>,
    /// The shortest list of predicates for which it changes so, whatever else is true: `cat:kr:RRN`, `not keys.in_use`.
    pub example: Vec<String>,
}

/// Cells under one regime.
#[derive(Debug, PartialEq, Eq)]
pub struct RegimeCells {
    pub regime: String,
    pub scopes: Vec<Scope>,
    pub destinations: Vec<Destination>,
}

/// What a rulebook says of a combination: the rule is that of the first line of its table that fits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub outcome: Outcome,
    pub code: Reason,
    pub rule: Option<String>,
    /// All that are asked for, of whichever rule; none with a refusal.
    pub obligations: BTreeSet<String>,
}

impl<'a> Diff<'a> {
    /// Compares two rulebooks from an instant (Unix seconds) on.
    ///
    /// # Errors
    /// When rules depend on each other in more ways than can be laid out.
    pub fn new(before: &'a Rulebook, after: &'a Rulebook, at: i64) -> Result<Self, TableError> {
        let mut starts: BTreeSet<i64> = [at].into();
        starts.extend(turns(before).union(&turns(after)).filter(|turn| **turn > at));
        let mut intervals: Vec<Interval> = Vec::new();
        for from in starts {
            let changes = outcome::changes(before, after, from)?;
            match intervals.last_mut() {
                Some(last) if last.changes == changes => {}
                Some(last) => {
                    last.until = Some(from);
                    intervals.push(Interval { from, until: None, changes });
                }
                None => intervals.push(Interval { from, until: None, changes }),
            }
        }
        Ok(Self { before, after, intervals, written: book::written(before, after) })
    }

    /// Whether nothing at all differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.intervals.iter().all(|it| it.changes.is_empty())
    }
}
