//! A decision as `haetae decide` prints it: every key stands there, `null` where a record leaves it out.

use serde::Serialize;
use verdict::decision::{CellOutcome, CellRef, Decision, Outcome, Remedy, Text, Why};
use verdict::reason::Reason;
use verdict::stamp::Stamp;

/// The decision of one question, in the order in which it is read.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: Option<String>,
    outcome: Outcome,
    reasons: Vec<ShownWhy>,
    obligations: Vec<String>,
    cells: Vec<CellOutcome>,
    remedy: Vec<Remedy>,
    valid_until: Option<Stamp>,
    bundle: String,
    facts_digest: String,
}

#[derive(Debug, Serialize)]
struct ShownWhy {
    code: Reason,
    rule: Option<String>,
    basis: Vec<String>,
    cell: Option<CellRef>,
    text: Text,
    citation: Option<String>,
    missing: Vec<String>,
    ground: Option<String>,
}

impl From<Decision> for Shown {
    fn from(decision: Decision) -> Self {
        Self {
            id: decision.id,
            outcome: decision.outcome,
            reasons: decision.reasons.into_iter().map(ShownWhy::from).collect(),
            obligations: decision.obligations,
            cells: decision.cells,
            remedy: decision.remedy,
            valid_until: decision.valid_until,
            bundle: decision.bundle,
            facts_digest: decision.facts_digest,
        }
    }
}

impl From<Why> for ShownWhy {
    fn from(why: Why) -> Self {
        Self {
            code: why.code,
            rule: why.rule,
            basis: why.basis,
            cell: why.cell,
            text: why.text,
            citation: why.citation,
            missing: why.missing,
            ground: why.ground,
        }
    }
}
