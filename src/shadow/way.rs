//! In which way a decision would have been another: what it was, what it would be, and the cell and the rules that make the
//! difference.

use sha2::{Digest, Sha256};
use verdict::decision::{CellRef, Decision, Outcome};
use verdict::facts::Judgement;
use verdict::reason::Reason;

/// One way; equal ones are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Digest of the rules in force, as decisions name them.
    pub in_force: String,
    pub what: What,
    /// The cell that decides the stricter of the two: regime, flow, place. `-` where no cell does (access, a gap).
    pub regime: String,
    pub flow: String,
    pub place: String,
    pub was: Told,
    pub would: Told,
}

/// What would be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Outcome,
    /// Allowed as before, but not at the site that it was sent to.
    Site,
    /// Allowed as before, on other obligations.
    Obligations,
}

/// One side: the code of the first reason, and the rules that decide the cell (`-`: none does).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub outcome: Outcome,
    pub reason: String,
    pub rule: String,
}

impl Way {
    /// `None` when both come to the same. `site` is where the request went, if it was allowed.
    #[must_use]
    pub fn between(was: &Judgement, would: &Judgement, site: Option<&str>) -> Option<Self> {
        let (mut after, mut what) = (&would.decision, What::Outcome);
        if was.outcome == would.outcome {
            let elsewhere = site.filter(|site| !would.permitted.iter().any(|one| one == site));
            if let Some(site) = elsewhere {
                what = What::Site;
                after = would
                    .candidates
                    .iter()
                    .find(|one| one.site == site)
                    .map_or(after, |one| &one.decision);
            } else if would.outcome <= Outcome::AllowWithObligations
                && obligations(was, site) != obligations(would, site)
            {
                what = What::Obligations;
            } else {
                return None;
            }
        }
        let before = &was.decision;
        let milder = would.outcome < was.outcome;
        let stricter = if milder { before } else { after };
        let cell = stricter.reasons.first().and_then(|why| why.cell.as_ref());
        // Its first reason is what decided; of the other side it says what that cell came to there.
        let (here, there) = if milder { (None, cell) } else { (cell, None) };
        let text = |part: Option<&str>| part.unwrap_or(NONE).to_owned();
        Some(Self {
            in_force: before.bundle.clone(),
            what,
            regime: text(cell.map(|cell| cell.regime.as_str())),
            flow: text(cell.map(|cell| cell.flow.name())),
            place: text(cell.map(|cell| cell.to.as_str())),
            was: Told::of(was.outcome, before, here),
            would: Told::of(would.outcome, after, there),
        })
    }

    /// SHA-256 over all of it.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let [was, would] = [&self.was, &self.would];
        for part in [
            &self.in_force,
            self.what.name(),
            &self.regime,
            &self.flow,
            &self.place,
            was.outcome.name(),
            &was.reason,
            &was.rule,
            would.outcome.name(),
            &would.reason,
            &would.rule,
        ] {
            hash.update(part);
            hash.update([0]);
        }
        hash.finalize().into()
    }

    /// For a list: from DENY to ALLOW first.
    #[must_use]
    pub fn rank(&self) -> impl Ord + use<> {
        (self.was.outcome.change_rank(self.would.outcome), self.clone())
    }
}

impl What {
    const ALL: [Self; 3] = [Self::Outcome, Self::Site, Self::Obligations];

    /// As in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Site => "site",
            Self::Obligations => "obligations",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Told {
    /// The rules are those of a cell, where one is given and this side judged it too; else that of the first reason.
    fn of(outcome: Outcome, decision: &Decision, cell: Option<&CellRef>) -> Self {
        let first = decision.reasons.first();
        let here = decision.cells.iter().find(|one| Some(&one.at) == cell);
        let rules = here.map(|one| one.rules.join(" ")).filter(|rules| !rules.is_empty());
        let rule = rules.or_else(|| first.and_then(|why| why.rule.clone()));
        Self {
            outcome,
            reason: first.map_or(Reason::AllowedByRule, |why| why.code).code().to_owned(),
            rule: rule.unwrap_or_else(|| NONE.to_owned()),
        }
    }
}

/// Those of the site that it went to; an answer that was not sent has none.
fn obligations<'a>(judgement: &'a Judgement, site: Option<&str>) -> Option<&'a [String]> {
    let one = judgement.candidates.iter().find(|one| Some(one.site.as_str()) == site)?;
    Some(&one.decision.obligations)
}

const NONE: &str = "-";
