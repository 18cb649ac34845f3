//! One thread's share: each recorded decision looked up or judged, and counted by the way in which it would change.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use verdict::Rulebook;
use verdict::decision::Outcome;
use verdict::facts::{Facts, Judgement};
use verdict::reason::Reason;
use verdict::stamp::Stamp;

use super::{Recorded, Span};
use crate::policy::memo::Judged;

/// What was found, added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Decisions within the span.
    pub decisions: u64,
    /// The outcome would be the same, at a site that is still permitted.
    pub same: u64,
    /// Of those, with another first reason or rule.
    pub other_reason: u64,
    /// Refused for a cause of the gateway's own (a site that did not answer, ...): no rule decided it.
    pub own_causes: u64,
    /// Facts that are not kept any more, or that this bundle cannot read.
    pub not_judgeable: Group,
    pub changes: BTreeMap<Change, Group>,
}

/// Decisions that would change in one way.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Group {
    pub count: u64,
    /// The first by id, which is by time: at most [`IDS_MAX`].
    pub ids: BTreeSet<String>,
}

/// In which way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub before: Told,
    pub after: Told,
    /// It would be allowed as before, but not at the site that was chosen.
    pub elsewhere: bool,
}

/// An outcome, the code of its first reason, and that reason's rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub outcome: Outcome,
    pub reason: String,
    pub rule: Option<String>,
}

impl Ways {
    pub(super) fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.same += other.same;
        self.other_reason += other.other_reason;
        self.own_causes += other.own_causes;
        self.not_judgeable.add(other.not_judgeable);
        for (change, group) in other.changes {
            self.changes.entry(change).or_default().add(group);
        }
    }

    /// How many would change.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changes.values().map(|group| group.count).sum()
    }
}

impl Group {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.ids.extend(other.ids);
        while self.ids.len() > IDS_MAX {
            self.ids.pop_last();
        }
    }

    fn one(&mut self, id: &str) {
        self.count += 1;
        let full = self.ids.len() >= IDS_MAX;
        if full && self.ids.last().is_some_and(|last| id >= last.as_str()) {
            return;
        }
        self.ids.insert(id.to_owned());
        if full {
            self.ids.pop_last();
        }
    }
}

/// A leaf as far as it matters here.
#[derive(Deserialize)]
struct Leaf<'l> {
    #[serde(borrow)]
    kind: Word<'l>,
    #[serde(borrow)]
    id: Word<'l>,
    #[serde(borrow)]
    at: Word<'l>,
    judged: Option<i64>,
    #[serde(borrow)]
    facts: Option<Word<'l>>,
    outcome: Option<Outcome>,
    #[serde(borrow)]
    reason: Option<Word<'l>>,
    #[serde(borrow)]
    rule: Option<Word<'l>>,
    #[serde(borrow)]
    site: Option<Word<'l>>,
}

/// A string that is copied only where it has escapes. (serde copies every `Option<Cow<str>>`.)
#[derive(Deserialize)]
#[serde(transparent)]
struct Word<'l>(#[serde(borrow)] Cow<'l, str>);

impl Deref for Word<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// What one text of facts gives under the new bundle.
enum Known {
    Judged(Judged),
    Not,
}

pub(super) struct Tally<'a> {
    rulebook: &'a Rulebook,
    /// As leaves write them, without the fraction and the `Z`: longer texts sort after them.
    span: (String, String),
    recorded: &'a dyn Recorded,
    known: HashMap<[u8; 32], Known>,
    pub ways: Ways,
}

impl<'a> Tally<'a> {
    pub(super) fn new(
        rulebook: &'a Rulebook,
        span: Span,
        recorded: &'a dyn Recorded,
    ) -> Result<Self, String> {
        let second = |at: i64| {
            Stamp::at(at)
                .map(|stamp| stamp.as_str().trim_end_matches('Z').to_owned())
                .map_err(|error| error.to_string())
        };
        let span = (second(span.since)?, second(span.until)?);
        Ok(Self { rulebook, span, recorded, known: HashMap::new(), ways: Ways::default() })
    }

    pub(super) fn piece(&mut self, piece: &[u8]) -> Result<(), String> {
        let recorded = self.recorded;
        let mut failed = Ok(());
        recorded.leaves(piece, &mut |leaf| {
            if failed.is_ok() {
                failed = self.leaf(leaf);
            }
        })?;
        failed
    }

    fn leaf(&mut self, bytes: &[u8]) -> Result<(), String> {
        let leaf: Leaf<'_> =
            serde_json::from_slice(bytes).map_err(|error| format!("a record: {error}"))?;
        let at = &*leaf.at;
        if &*leaf.kind != "decision" || at < self.span.0.as_str() || at >= self.span.1.as_str() {
            return Ok(());
        }
        self.ways.decisions += 1;
        let needed = (leaf.facts.as_deref(), leaf.judged, leaf.outcome, leaf.reason.as_deref());
        let (Some(facts), Some(judged), Some(outcome), Some(reason)) = needed else {
            return Err(format!("record {}: it lacks what a decision needs", &*leaf.id));
        };
        if outcome == Outcome::Deny && OWN_CAUSES.iter().any(|own| own.code() == reason) {
            self.ways.own_causes += 1;
            return Ok(());
        }
        let mut digest = [0; 32];
        let decoded = STANDARD.decode_slice(facts, &mut digest);
        if decoded != Ok(digest.len()) {
            return Err(format!("record {}: `{facts}` is no digest", &*leaf.id));
        }
        self.know(digest, judged)?;
        let Some(Known::Judged(known)) = self.known.get(&digest) else {
            self.ways.not_judgeable.one(&leaf.id);
            return Ok(());
        };
        let before = (outcome, reason, leaf.rule.as_deref());
        count(&mut self.ways, &leaf, before, &known.judgement);
        Ok(())
    }

    /// Afterwards the facts are known as judged for this instant, if they can be judged.
    fn know(&mut self, digest: [u8; 32], at: i64) -> Result<(), String> {
        match self.known.get(&digest) {
            Some(Known::Judged(known)) if known.holds_at(at) => return Ok(()),
            Some(Known::Not) => return Ok(()),
            _ => {}
        }
        let facts = self.recorded.facts(&digest)?;
        let facts = facts.and_then(|text| serde_json::from_slice::<Facts>(&text).ok());
        let judged = facts.map_or(Known::Not, |facts| {
            Known::Judged(short(Judged::new(verdict::judge(self.rulebook, &facts, at), at)))
        });
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(digest, judged);
        Ok(())
    }
}

/// Only what is counted: a hundredth of the whole judgement.
fn short(mut judged: Judged) -> Judged {
    let mut judgement = Judgement::clone(&judged.judgement);
    judgement.candidates.clear();
    judgement.decision.cells.clear();
    judgement.decision.remedy.clear();
    judgement.decision.reasons.truncate(1);
    judged.judgement = Arc::new(judgement);
    judged
}

fn count(
    ways: &mut Ways,
    leaf: &Leaf<'_>,
    before: (Outcome, &str, Option<&str>),
    judgement: &Judgement,
) {
    let first = judgement.decision.reasons.first();
    // as the gateway writes it: an allow without a reason is allowed by no rule in particular
    let (code, rule) =
        first.map_or((Reason::AllowedByRule, None), |why| (why.code, why.rule.as_deref()));
    let permitted =
        leaf.site.as_deref().is_none_or(|site| judgement.permitted.iter().any(|it| it == site));
    let (outcome, reason, before_rule) = before;
    if judgement.outcome == outcome && permitted {
        ways.same += 1;
        ways.other_reason += u64::from((code.code(), rule) != (reason, before_rule));
        return;
    }
    let told = |outcome, reason: &str, rule: Option<&str>| Told {
        outcome,
        reason: reason.to_owned(),
        rule: rule.map(str::to_owned),
    };
    let change = Change {
        before: told(outcome, reason, before_rule),
        after: told(judgement.outcome, code.code(), rule),
        elsewhere: !permitted && judgement.outcome <= Outcome::AllowWithObligations,
    };
    ways.changes.entry(change).or_default().one(&leaf.id);
}

/// Causes for which the gateway refuses what the rules may allow (docs/record.md, "Judged again").
const OWN_CAUSES: [Reason; 7] = [
    Reason::SiteUnavailable,
    Reason::SiteIdentityMismatch,
    Reason::SiteTimeout,
    Reason::Overloaded,
    Reason::Draining,
    Reason::EngineDisagreement,
    Reason::EngineError,
];
/// Of a group the report names so many.
pub(super) const IDS_MAX: usize = 20;
/// Each about 1 kB: 100 MB a thread at most.
const KNOWN_MAX: usize = 100_000;
