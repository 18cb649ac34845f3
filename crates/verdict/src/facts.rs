//! Facts for every candidate site of one request, and the judgement over them: what a record keeps.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

use crate::{
    access::Access,
    decision::{Decision, Outcome},
    question::{Question, Site},
    reason::Reason,
};

/// What is true for one request: one question for all candidate sites. Its canonical bytes are the record's `facts` text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// All facts but `id`, `at` and `site`, which are empty here.
    pub question: Question,
    /// Candidate sites, ordered by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<Site>,
    /// The site the caller insists on: it alone is judged for, the others show what would be permitted instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// By which roles and rows the caller may ask this, or may not. Absent where nobody asked the access model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What could not be established. One gap is enough for DENY.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A fact that could not be established, or a refusal that precedes the rules (access, an unreadable body).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    pub reason: Reason,
    /// A path or id, or one sentence. Never tells a caller without a right to a dataset what the catalogue knows.
    pub what: String,
}

/// The judgement over all candidates. Its canonical bytes are the record's `detail` text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// The best outcome of any candidate, or of the pinned one; DENY when there is a gap or no candidate.
    pub outcome: Outcome,
    /// Sites of that outcome, if it allows, by id: any of them may be chosen.
    pub permitted: Vec<String>,
    /// What the caller is told: the decision of the best candidate (the first by id among equals), its remedies
    /// completed by the other candidates ("use site X" when the caller pinned one that is refused). Only this decision
    /// has remedies.
    pub decision: Decision,
    pub candidates: Vec<Candidate>,
}

impl Judgement {
    /// Whether a rule wants a receipt that witnesses cosigned before anything is forwarded, at any site that may be chosen.
    #[must_use]
    pub fn wants_witnesses(&self) -> bool {
        let wants = |decision: &Decision| {
            decision.obligations.iter().any(|obligation| obligation == WITNESSED_RECEIPT)
        };
        let chosen = |candidate: &&Candidate| self.permitted.contains(&candidate.site);
        wants(&self.decision)
            || self.candidates.iter().filter(chosen).any(|candidate| wants(&candidate.decision))
    }
}

/// The obligation that the gateway itself discharges, before it forwards.
pub const WITNESSED_RECEIPT: &str = "WITNESSED_RECEIPT";

/// One candidate site and what was decided of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub site: String,
    pub decision: Decision,
}
