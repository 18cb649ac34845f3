//! The decision again: the same facts under the same rules at the same instant must give the same text, byte for byte.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize as _;
use sha2::{Digest as _, Sha256};
use verdict::{access::Access, decision::Outcome, facts::Judgement, reason::Reason, stamp::Stamp};

use crate::{
    bounds::{self, Budget, Rules, Unjudged},
    evidence,
    export::Digest,
    finding::Judged,
    record::Record,
    said::Texts,
};

/// Judges decisions. What repeats (rules, facts, whole judgements) is kept, up to a limit.
#[derive(Default)]
pub(crate) struct Judge {
    books: BTreeMap<Digest, Result<Arc<Rules>, String>>,
    made: BTreeMap<Question, Result<Arc<Made>, Unjudged>>,
    budget: Budget,
}

/// Bundle, facts and instant (Unix seconds).
type Question = (Digest, Digest, i64);

/// What of a judgement a leaf is held against; the whole would be large.
struct Made {
    /// Digest of its text.
    detail: Digest,
    outcome: Outcome,
    reason: Reason,
    rule: Option<String>,
    /// Whether an allow that goes out wants a witnessed receipt.
    witnessed: bool,
    permitted: Vec<String>,
    /// Unix seconds: the first at which a dated fact changes, at any site.
    until: Option<i64>,
    /// What the kept access rows are about; `None` when the facts keep none.
    access: Option<About>,
}

/// What a caller was let in to, or not.
struct About {
    service: String,
    /// The right: `submit`, `metadata`, `admin`, ...
    operation: String,
}

/// How a decision that is not a finding came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgeable {
    Same(Evidence),
    /// Its facts or rules are no longer kept.
    Purged,
    /// Refused because the two engines disagreed, or one failed: nothing to compare with.
    SecondEngine,
    /// It would take more than the file may ask for.
    TooMuch,
}

/// What the facts of a decision say of its access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    Kept,
    /// None, and it allows.
    Missing,
    /// None, and it does not allow: an unreadable request, for one, was never held against the access rows.
    NotNeeded,
}

impl Judge {
    /// Within what the decisions of one file may take.
    pub(crate) fn of_a_file() -> Self {
        Self { budget: Budget::of_a_file(), ..Self::default() }
    }

    /// Judges a decision again.
    pub(crate) fn again<T: Texts + ?Sized>(
        &mut self,
        record: &Record,
        texts: &T,
    ) -> Result<Judgeable, Judged> {
        let leaf = Leaf::of(record)?;
        leaf.in_time(leaf.until)?;
        self.budget.earn();
        if leaf.outcome == Outcome::Deny && SECOND_ENGINE.contains(&leaf.reason) {
            return Ok(Judgeable::SecondEngine);
        }
        let (bundle, facts, judged) = leaf.question;
        // Each by itself: of a bundle that is known only the facts were asked for.
        let has_book = self.books.contains_key(&bundle) || texts.has(&bundle);
        if !(has_book && (self.made.contains_key(&leaf.question) || texts.has(&facts))) {
            return Ok(Judgeable::Purged);
        }
        if !self.budget.has(1) && !self.made.contains_key(&leaf.question) {
            return Ok(Judgeable::TooMuch);
        }
        let read = |digest: &Digest| texts.text(digest).unwrap_or_default();
        let Self { books, made, budget } = self;
        let made = made.entry(leaf.question).or_insert_with(|| {
            let book = books
                .entry(bundle)
                .or_insert_with(|| bounds::rules(&read(&bundle), budget).map(Arc::new));
            let rules = book.as_ref().map_err(|cause| Unjudged::Unusable(cause.clone()))?;
            make(rules, &read(&facts), judged, budget)
        });
        match made {
            Ok(made) => {
                leaf.compare(made)?;
                Ok(Judgeable::Same(leaf.evidence(made)))
            }
            Err(Unjudged::Unusable(cause)) => Err(Judged::Unusable(cause.clone())),
            Err(Unjudged::Spent) => Ok(Judgeable::TooMuch),
        }
    }

    /// What is known is forgotten when it is too much. Not between [`Judge::wants`] and the judging of what was asked: of what is
    /// known then nobody brings the texts.
    pub(crate) fn make_room(&mut self) {
        if self.made.len() > MADE_MAX || self.books.len() > BOOKS_MAX {
            self.made.clear();
            self.books.clear();
        }
    }

    /// The texts that judging this decision wants and that are not at hand from an earlier one.
    pub(crate) fn wants(&self, record: &Record) -> Vec<Digest> {
        let Ok(Leaf { question, .. }) = Leaf::of(record) else { return Vec::new() };
        let (bundle, facts, _) = question;
        let book = (!self.books.contains_key(&bundle)).then_some(bundle);
        let facts = (!self.made.contains_key(&question)).then_some(facts);
        book.into_iter().chain(facts).collect()
    }
}

/// What of a decision's leaf must follow from the judgement.
struct Leaf<'r> {
    question: Question,
    /// Nanoseconds since 1970.
    at: i64,
    /// Unix seconds: as the gateway said, which knows what else changes.
    until: Option<i64>,
    detail: Digest,
    outcome: Outcome,
    reason: Reason,
    rule: Option<&'r str>,
    site: Option<&'r str>,
    /// What the receipt had to be worth; only an allow says it.
    grade: Option<&'r str>,
    forwards: bool,
    service: Option<&'r str>,
    /// The right that its operation needs, where that is known.
    right: Option<&'static str>,
}

impl<'r> Leaf<'r> {
    fn of(record: &'r Record) -> Result<Self, Judged> {
        let unusable = |key: &str| Judged::Unusable(format!("`{key}` is missing or wrong"));
        let digest = |key| record.digest(key).ok_or_else(|| unusable(key));
        let seconds = |key| record.number(key).and_then(|seconds| i64::try_from(seconds).ok());
        let asked = record.text("protocol").zip(record.text("operation"));
        let named = |key| record.values.get(key).ok_or_else(|| unusable(key));
        let leaf = Self {
            question: (
                digest("bundle")?,
                digest("facts")?,
                seconds("judged").ok_or_else(|| unusable("judged"))?,
            ),
            at: record.at,
            until: seconds("valid_until"),
            detail: digest("detail")?,
            outcome: Outcome::deserialize(named("outcome")?).map_err(|_| unusable("outcome"))?,
            reason: Reason::deserialize(named("reason")?).map_err(|_| unusable("reason"))?,
            rule: record.text("rule"),
            site: record.text("site"),
            grade: record.text("grade"),
            forwards: record.values.contains_key("site"),
            service: record.text("service"),
            right: asked.and_then(|(protocol, operation)| evidence::right(protocol, operation)),
        };
        let there = |key: &&str| record.values.contains_key(*key);
        let shape = if allows(leaf.outcome) && record.kind != "preflight" {
            SITE_KEYS.iter().all(there)
        } else {
            !SITE_KEYS.iter().any(there)
        };
        if shape { Ok(leaf) } else { Err(Judged::SiteShape) }
    }

    /// Recorded before a dated fact changed. The gateway holds its own `valid_until` against `at` when it writes the record, of
    /// refusals too, wherever its clock is: what is over by then is judged anew.
    fn in_time(&self, until: Option<i64>) -> Result<(), Judged> {
        let over = until.filter(|until| until.saturating_mul(NS) <= self.at);
        over.map_or(Ok(()), |until| Err(Judged::RanOut { until }))
    }

    fn compare(&self, made: &Made) -> Result<(), Judged> {
        if self.detail != made.detail {
            return Err(Judged::Detail);
        }
        self.in_time(made.until)?;
        if let Some(about) = &made.access {
            if self.service != Some(&about.service) {
                return Err(Judged::Access);
            }
            if self.right.is_some_and(|right| right != about.operation) {
                return Err(Judged::AccessOperation);
            }
        }
        let judged = made.outcome;
        // The gateway may refuse for a cause of its own what the rules allow; never the other way round.
        let stricter = self.outcome == Outcome::Deny && OWN_CAUSES.contains(&self.reason);
        if stricter && allows(judged) {
            return Ok(());
        }
        if self.outcome != judged {
            return Err(Judged::Outcome { stated: Some(self.outcome), judged });
        }
        if made.reason != self.reason {
            return Err(Judged::Reason);
        }
        if made.rule.as_deref() != self.rule {
            return Err(Judged::Rule);
        }
        let grade = (self.forwards && made.witnessed).then_some(WITNESSED);
        if grade != self.grade {
            return Err(Judged::Grade);
        }
        let permitted = |site: &str| made.permitted.iter().any(|known| known == site);
        if self.site.is_none_or(permitted) { Ok(()) } else { Err(Judged::Site) }
    }

    const fn evidence(&self, made: &Made) -> Evidence {
        match (&made.access, allows(self.outcome)) {
            (Some(_), _) => Evidence::Kept,
            (None, true) => Evidence::Missing,
            (None, false) => Evidence::NotNeeded,
        }
    }
}

/// Whether a decision was judged for an instant that lies well after its record. No finding: a gateway wrote that, before it held
/// `judged` against `at`, when its clock had jumped ahead while it judged.
pub(crate) fn is_ahead(record: &Record) -> bool {
    let judged = record.number("judged").and_then(|seconds| i64::try_from(seconds).ok());
    judged.is_some_and(|judged| judged.saturating_mul(NS).saturating_sub(record.at) > AHEAD_MAX_NS)
}

const fn allows(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Allow | Outcome::AllowWithObligations)
}

fn make(rules: &Rules, facts: &[u8], at: i64, budget: &mut Budget) -> Result<Arc<Made>, Unjudged> {
    let (facts, judgement) = bounds::judge(rules, facts, at, budget)?;
    let text =
        verdict::canonical(&judgement).map_err(|cause| Unjudged::Unusable(cause.to_string()))?;
    // An allow that no rule was needed for gives no reason; its leaf says so with the code alone.
    let first = judgement.decision.reasons.first();
    let (reason, rule) =
        first.map_or((Reason::AllowedByRule, None), |why| (why.code, why.rule.clone()));
    let about = |access: Access| About { service: access.service, operation: access.operation };
    Ok(Arc::new(Made {
        detail: Digest(Sha256::digest(text).into()),
        outcome: judgement.outcome,
        reason,
        rule,
        witnessed: judgement.wants_witnesses(),
        until: earliest(&judgement),
        permitted: judgement.permitted,
        access: facts.access.map(about),
    }))
}

/// The first second at which the decision for any site may change.
fn earliest(judgement: &Judgement) -> Option<i64> {
    let candidates = judgement.candidates.iter().map(|candidate| &candidate.decision);
    let all = candidates.chain([&judgement.decision]);
    all.filter_map(|decision| decision.valid_until.as_ref().map(Stamp::starts)).min()
}

/// The grade that a rule can demand.
const WITNESSED: &str = "witnessed";
/// Present with an allow, absent with a refusal.
const SITE_KEYS: [&str; 3] = ["site", "identity", "request"];
/// Causes for which the gateway refuses what the rules allow.
const OWN_CAUSES: [Reason; 5] = [
    Reason::SiteUnavailable,
    Reason::SiteIdentityMismatch,
    Reason::SiteTimeout,
    Reason::Overloaded,
    Reason::Draining,
];
const SECOND_ENGINE: [Reason; 2] = [Reason::EngineDisagreement, Reason::EngineError];
/// A clock that is set back between judging and recording leaves `at` behind `judged`, but not behind the lane's last record. A lane
/// is silent for 160 s at most: sixteen have heartbeats every ten seconds by turns.
const AHEAD_MAX_NS: i64 = 600 * NS;
const NS: i64 = 1_000_000_000;
/// Some hundred bytes each.
const MADE_MAX: usize = 1024;
/// Some hundred kB each, and one is in force at a time.
const BOOKS_MAX: usize = 32;
