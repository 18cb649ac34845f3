//! Facts to symbols: one cell with all its ids and dates becomes a key without any, and what compose needs to find its
//! way back.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use crate::{
    atom::Test,
    cell::{CellKey, Literal, RowId, Symbol, Truth},
    evaluate::Scene,
    finding::Finding,
    question::Profile,
    rule::{Kind, Out, Rulebook},
};

/// One cell made abstract: its key, and beside it what the key must not contain.
pub(crate) struct Abstract {
    pub key: CellKey,
    findings: Vec<(Symbol, Finding)>,
}

/// Facts to symbols: only the atoms that some row for this regime and flow uses.
pub(crate) fn make_abstract(scene: &Scene<'_>, profile: Profile) -> Abstract {
    let rulebook = scene.view.rulebook;
    let (mut holds, mut unknown, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for &symbol in rulebook.symbols(profile, scene.regime, scene.leg.flow) {
        let Some(atom) = rulebook.atom(symbol) else { continue };
        let finding = scene.evaluate(atom);
        match finding.truth {
            Truth::True => holds.push(symbol),
            Truth::Unknown => unknown.push(symbol),
            Truth::False => {}
        }
        findings.push((symbol, finding));
    }
    let (regime, flow) = (scene.regime.into(), scene.leg.flow);
    Abstract { key: CellKey { profile, regime, flow, holds, unknown }, findings }
}

impl Abstract {
    fn finding(&self, symbol: Symbol) -> Option<&Finding> {
        let place = self.findings.binary_search_by_key(&symbol, |(symbol, _)| *symbol).ok()?;
        self.findings.get(place).map(|(_, finding)| finding)
    }

    /// The unknown facts of a row.
    pub(crate) fn missing(&self, rulebook: &Rulebook, id: RowId) -> Vec<String> {
        let literals = rulebook.literals(id).iter();
        let findings = literals.filter_map(|literal| self.finding(literal.symbol));
        let paths: BTreeSet<_> =
            findings.flat_map(|finding| finding.missing.iter().cloned()).collect();
        paths.into_iter().collect()
    }

    /// The ground by which a row holds that asks for one: its id, or where it stands.
    pub(crate) fn ground(&self, scene: &Scene<'_>, id: RowId) -> Option<String> {
        let rulebook = scene.view.rulebook;
        let asked = rulebook.literals(id).iter().filter(|literal| {
            let atom = rulebook.atom(literal.symbol);
            !literal.negated && atom.is_some_and(|atom| matches!(atom.test, Test::Ground(..)))
        });
        let mut carrier = None;
        for literal in asked {
            let finding = self.finding(literal.symbol)?;
            if finding.truth != Truth::True {
                return None;
            }
            carrier = carrier.or(finding.ground);
        }
        let number = carrier?;
        let id = scene.view.question.grounds.get(number)?.id.clone();
        Some(id.unwrap_or_else(|| format!("grounds[{number}]")))
    }

    /// The first instant at which a date changes the truth of a row that counts. A row that something undated makes
    /// false does not; nor does another permit while the chosen one allows.
    pub(crate) fn turns(&self, rulebook: &Rulebook, chosen: Option<RowId>) -> Option<i64> {
        let ids = rulebook.rows(self.key.profile, &self.key.regime, self.key.flow);
        let settled =
            chosen.and_then(|id| rulebook.row(id)).is_some_and(|row| row.out == Out::Allow);
        let counts = |id: &&RowId| {
            let permit = rulebook.row(**id).is_some_and(|row| row.kind == Kind::Permit);
            let waits = |literal: &Literal| {
                literal.truth(&self.key) != Truth::False
                    || self.finding(literal.symbol).is_some_and(|finding| finding.turns.is_some())
            };
            (!permit || !settled || chosen == Some(**id))
                && rulebook.literals(**id).iter().all(waits)
        };
        let literals = ids.iter().filter(counts).flat_map(|id| rulebook.literals(*id));
        literals.filter_map(|literal| self.finding(literal.symbol)?.turns).min()
    }
}
