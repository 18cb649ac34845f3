//! What comes out: an outcome, every reason for it, and what would change it.

use alloc::{string::String, vec::Vec};
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{question::Scope, reason::Reason, stamp::Stamp};

/// Ordered from best to worst: over cells the worst wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    Allow,
    AllowWithObligations,
    Hold,
    Deny,
}

impl Outcome {
    /// From best to worst.
    pub const ALL: [Self; 4] = [Self::Allow, Self::AllowWithObligations, Self::Hold, Self::Deny];

    /// As written in JSON and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::AllowWithObligations => "ALLOW_WITH_OBLIGATIONS",
            Self::Hold => "HOLD",
            Self::Deny => "DENY",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// The place of a change to `after` in a list of changes: what becomes milder first, from DENY to ALLOW on; then what
    /// becomes stricter, from ALLOW to DENY on.
    #[must_use]
    pub fn change_rank(self, after: Self) -> impl Ord {
        let milder = (after < self).then_some((after, Reverse(self)));
        let stricter = (after > self).then_some((Reverse(after), self));
        (milder.is_none(), stricter.is_none(), milder, stricter)
    }
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub outcome: Outcome,
    /// Why, worst first, then in the order of cells; an ALLOW lists the rules that allow.
    pub reasons: Vec<Why>,
    pub obligations: Vec<String>,
    pub cells: Vec<CellOutcome>,
    /// The smallest sufficient changes that would turn a refusal into an allow, best first.
    pub remedy: Vec<Remedy>,
    /// The first instant at which a dated fact changes; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Stamp>,
    /// `sha256:` and hex: the digest of the bundle's content.
    pub bundle: String,
    /// `sha256:` and hex: the digest of the question's canonical bytes without `id` and `at`.
    pub facts_digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    pub code: Reason,
    /// Rule id, e.g. `R04`; absent for reasons that no rule of a pack gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub basis: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellRef>,
    pub text: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citation: Option<String>,
    /// Facts that were unknown, as paths into the question (`site.operator.seat`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The ground (its id) that carried an allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<String>,
    /// The facts by which it was refused or held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

/// A fact that decided: where it stands, what it says, who says so and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// A path into the question: `site.remote_access[1].place`.
    pub path: String,
    /// What stands there, in words of the question.
    pub value: String,
    /// Who says so: an authority, the level and evidence of a ground; absent: the catalogue or registry that the question
    /// was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Since when it says so, where it is dated. A decision is the same at every instant for which it holds, so how old the
    /// fact was is said from this and the instant for which it was judged ([`crate::told`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Stamp>,
}

/// One data component under one regime in one flow to one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellRef {
    /// The component's dataset id.
    pub component: String,
    /// `-` for a component without a regime.
    pub regime: String,
    pub flow: Flow,
    /// Where the flow ends; `?` when unknown.
    pub to: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    Compute,
    Copy,
    Telemetry,
    ControlPlane,
    OperatorAccess,
    SubProcessor,
    Result,
    Onward,
}

impl Flow {
    /// Every flow, in the order of its declaration.
    pub const ALL: [Self; 8] = [
        Self::Compute,
        Self::Copy,
        Self::Telemetry,
        Self::ControlPlane,
        Self::OperatorAccess,
        Self::SubProcessor,
        Self::Result,
        Self::Onward,
    ];

    /// As written in rows and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Copy => "copy",
            Self::Telemetry => "telemetry",
            Self::ControlPlane => "control_plane",
            Self::OperatorAccess => "operator_access",
            Self::SubProcessor => "sub_processor",
            Self::Result => "result",
            Self::Onward => "onward",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellOutcome {
    #[serde(rename = "cell")]
    pub at: CellRef,
    pub outcome: Outcome,
    pub rules: Vec<String>,
}

/// One sentence in English and in Korean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub en: String,
    pub ko: String,
}

/// A change that is enough, alone or with those in `and`: tried before it is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    pub kind: RemedyKind,
    /// A site id, a ground type, the path of a missing fact, or the rules that hold, separated by spaces.
    pub value: String,
    pub text: Text,
    /// What the ground must cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// A value of the fact, as JSON, with which it would be enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// What is needed besides: it alone is not enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub and: Vec<Remedy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemedyKind {
    UseSite,
    RegisterGround,
    SupplyFact,
    AskApproval,
}
