//! Steps 5 and 6: access, facts and judgement for one ask, made once for each version of facts and bundle.
//!
//! The memo lies over the whole question (organisation, service, datasets, ...), the policy room's memo over abstract
//! cells. An entry serves only the snapshot and bundle it was made from and only until its first dated boundary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use verdict::decision::{Outcome, Why};
use verdict::facts::{Facts, Judgement};
use verdict::question::Site;
use verdict::reason::Reason;
use verdict::rule::{Obligation, RuleText};
use verdict::stamp::Stamp;
use verdict::told;

use super::beside::Other;
use super::recheck::{Rechecks, Used};
use super::standing::{NO_FACTS, Standing};
use crate::audit::{Held, Retention, Text};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::policy::{Bundle, Policy, Unready};
use crate::registry::{Registry, Resolved, Snapshot};
use crate::reserve::Sought;
use crate::workload::{Claims, NotUnderstood, Operation};

mod again;
mod asked;
mod memo;

pub use again::{Again, More};
pub use asked::actor_node;

use again::sought;
use asked::{Rights, ask, gap, operation, resolve};
use memo::{Key, Memo};

/// A judgement with the texts that its record points to.
#[derive(Debug)]
pub struct Prepared {
    pub judgement: Arc<Judgement>,
    /// Sites of the outcome, if it allows.
    pub permitted: Vec<Arc<str>>,
    pub facts: Arc<Text>,
    pub detail: Arc<Text>,
    pub bundle: Arc<Text>,
    /// What the obligations of any candidate mean.
    pub meanings: Vec<Obligation>,
    /// `sha256:` and hex, as callers see it.
    pub bundle_digest: Arc<str>,
    /// The same over the access sheets, which are no part of the rulebook.
    access_digest: Arc<str>,
    pub version: i64,
    /// Unix seconds: the instant that the judge was given.
    pub judged_at: i64,
    /// Unix seconds; from then on it must be judged again.
    pub valid_until: Option<i64>,
    /// How long the record is kept.
    pub retention: Retention,
    /// Refused only because the organisation's access entries could not be judged with.
    pub unbuilt: bool,
    /// It may use something up, so this judgement alone is no answer: see `uses`.
    pub may_use: bool,
    /// What a release of it would be for, if it is held. The request is the asker's to fill in.
    pub held: Option<Arc<Held>>,
}

pub struct Preparer {
    standing: Standing,
    memo: Memo,
    /// Texts of the bundles in use, by digest; owned by this lock, entries are few.
    bundles: Mutex<BTreeMap<Arc<str>, Arc<Text>>>,
    pub(super) rechecks: Rechecks,
}

impl Preparer {
    pub fn new(
        policy: Arc<Policy>,
        registry: Arc<Registry>,
        entries_max: usize,
        rechecks: Rechecks,
    ) -> Self {
        let (standing, memo) = (Standing::new(policy, registry), memo::of(entries_max));
        Self { standing, memo, bundles: Mutex::default(), rechecks }
    }

    /// The judgement of this claim by this caller at `now` (unix seconds).
    pub fn prepare(&self, caller: &Caller, claims: &Claims, now: i64) -> Arc<Prepared> {
        let snapshot = self.registry().current();
        let bundle = match self.standing.bundle(&snapshot, now) {
            Ok(bundle) => bundle,
            Err(unready) => return Arc::new(self.unready(caller, &unready, &snapshot, now)),
        };
        let key = Key {
            ask: ask(caller, claims),
            operation: operation(claims.operation),
            roles: Arc::clone(&caller.roles),
            actor: Rights::of(&snapshot, caller).actor.map(Arc::from),
        };
        if let Some(prepared) = self.memo.get(&key)
            && !self.rechecks.memo_is_off()
            && prepared.version == snapshot.version()
            && *prepared.bundle_digest == *bundle.digest()
            && *prepared.access_digest == *bundle.access_digest()
            // A clock that was set back: what was judged for a later instant says nothing of this one.
            && prepared.judged_at <= now
            && prepared.valid_until.is_none_or(|until| now < until)
        {
            self.put_aside(&bundle, &prepared);
            return prepared;
        }
        let resolved = resolve(&snapshot, &bundle, caller, claims);
        let prepared = Arc::new(self.judge(&bundle, &resolved, now));
        self.put_aside(&bundle, &prepared);
        // What could not be judged is asked again: the engine may be there by then.
        if !prepared.unbuilt {
            self.memo.insert(key, Arc::clone(&prepared));
        }
        prepared
    }

    /// Has what the caller's organisation granted itself made into an engine, if that was not done yet; waits at most
    /// [`FACTS_WAIT_MAX`], after which its requests are refused.
    pub async fn build_access(&self, org: &str, now: i64) {
        let snapshot = self.registry().current();
        let Ok(bundle) = self.standing.bundle(&snapshot, now) else { return };
        let Some(own) = snapshot.own_access(org).filter(|own| !bundle.has_access(own)) else {
            return;
        };
        let _ = tokio::time::timeout(FACTS_WAIT_MAX, bundle.build_access(own)).await;
    }

    /// Builds the engines of organisations whose entries changed, before anybody asks.
    pub async fn follow_access(&self, clock: &Clock) {
        let mut changed = self.registry().changed();
        loop {
            let snapshot = self.registry().current();
            let bundle = self.standing.bundle(&snapshot, clock.unix_s());
            // Without a bundle each engine is built when its organisation asks.
            if let Ok(bundle) = bundle {
                build_all(&bundle, &snapshot).await;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// To be checked after the reply, one in so many. Where the engines did not agree there is an alarm already.
    fn put_aside(&self, bundle: &Arc<Bundle>, prepared: &Prepared) {
        let differs = |why: &Why| why.code == Reason::EngineDisagreement;
        if prepared.judgement.decision.reasons.iter().any(differs) {
            return;
        }
        self.rechecks.used(|| Used {
            bundle: Arc::clone(bundle),
            facts: prepared.facts.bytes.clone(),
            detail: prepared.detail.bytes.clone(),
            at_s: prepared.judged_at,
        });
    }

    /// What must be locked before this claim can be judged again.
    pub fn sought(&self, caller: &Caller, claims: &Claims, now: i64) -> Sought {
        let snapshot = self.registry().current();
        let Ok(bundle) = self.standing.bundle(&snapshot, now) else { return Sought::default() };
        sought(&bundle, &resolve(&snapshot, &bundle, caller, claims).facts, now)
    }

    /// The judgement of this claim when others have used up so much. Never from the memo, and not kept in it.
    pub fn again(&self, caller: &Caller, claims: &Claims, now: i64, more: &More) -> Again {
        let snapshot = self.registry().current();
        let bundle = match self.standing.bundle(&snapshot, now) {
            Ok(bundle) => bundle,
            Err(unready) => {
                let prepared = Arc::new(self.unready(caller, &unready, &snapshot, now));
                return Again { prepared, bundle: None, facts: Facts::default() };
            }
        };
        let mut resolved = resolve(&snapshot, &bundle, caller, claims);
        more.say(&mut resolved.facts.question);
        let prepared = Arc::new(self.judge(&bundle, &resolved, now));
        Again { prepared, bundle: Some(bundle), facts: resolved.facts }
    }

    /// What another bundle gives for a claim that was decided, at an instant for which that decision holds (unix seconds).
    pub fn beside(
        &self,
        bundle: &Bundle,
        (caller, claims): (&Caller, &Claims),
        prepared: &Prepared,
        more: Option<&More>,
        at: i64,
    ) -> Other {
        let snapshot = self.registry().current();
        let in_force = self.standing.bundle(&snapshot, at);
        let Some(in_force) = in_force.ok().filter(|_| snapshot.version() == prepared.version)
        else {
            return Other::Moved;
        };
        let mut resolved = resolve(&snapshot, bundle, caller, claims);
        let needed = sought(bundle, &resolved.facts, at).countings;
        if !needed.is_empty() {
            let looked_at =
                sought(&in_force, &resolve(&snapshot, &in_force, caller, claims).facts, at);
            let all = needed.iter().all(|one| looked_at.countings.contains(one));
            if more.is_none() || !all {
                return Other::Uncounted;
            }
        }
        if let Some(more) = more {
            more.say(&mut resolved.facts.question);
        }
        let judgement = Arc::new(bundle.judge(&resolved.facts, at));
        let valid_until = earliest(&judgement).into_iter().chain(resolved.valid_until).min();
        Other::Judged { judgement, valid_until }
    }

    /// Has the engine of an organisation's entries made for a bundle that is not in force, if it is not there.
    pub async fn build_beside(&self, bundle: &Bundle, org: &str) {
        let snapshot = self.registry().current();
        if let Some(own) = snapshot.own_access(org).filter(|own| !bundle.has_access(own)) {
            bundle.build_access(own).await;
        }
    }

    /// The refusal of a known caller whose request could not be read.
    pub fn not_understood(&self, caller: &Caller, why: &NotUnderstood, now: i64) -> Arc<Prepared> {
        let facts = gap(caller, why.reason, why.message.clone());
        let snapshot = self.registry().current();
        let version = snapshot.version();
        Arc::new(match self.standing.bundle(&snapshot, now) {
            Ok(bundle) => self.judge(&bundle, &Resolved { facts, version, valid_until: None }, now),
            Err(_) => self.refused(&facts, version, now),
        })
    }

    /// Waits until the registry shows `version`, without what has run out by `now`; at most [`FACTS_WAIT_MAX`].
    pub async fn wait_for(&self, version: i64, now: i64) {
        let holds = || self.registry().current().valid_until().is_none_or(|until| now < until);
        let mut changed = self.registry().changed();
        let seen = changed.wait_for(|seen| *seen >= version && holds());
        // Nothing to do on either failure: the commit checks the version again.
        let _ = tokio::time::timeout(FACTS_WAIT_MAX, seen).await;
    }

    /// Whether there is no bundle to judge with, but it may come.
    pub fn awaits_bundle(&self, now: i64) -> bool {
        self.standing.awaits(now)
    }

    /// Waits, a little, for the bundle in force.
    pub async fn settle(&self, clock: &Clock) {
        self.standing.settle(clock).await;
    }

    /// Those of the services that this caller may see in a list of models.
    ///
    /// # Errors
    /// When there is no bundle to ask.
    pub fn may_list(
        &self,
        caller: &Caller,
        mut services: Vec<Arc<str>>,
        now: i64,
    ) -> Result<Vec<Arc<str>>, Unready> {
        let snapshot = self.registry().current();
        let bundle = self.standing.bundle(&snapshot, now)?;
        let metadata = operation(Operation::Metadata);
        let rights = Rights::of(&snapshot, caller);
        let may = |service: &Arc<str>| bundle.may(&rights.asker(), service, metadata).is_ok();
        services.retain(may);
        Ok(services)
    }

    /// The bundle in force, for whoever looks at its access rows.
    ///
    /// # Errors
    /// When there is none to ask.
    pub fn bundle(&self, now: i64) -> Result<Arc<Bundle>, Unready> {
        self.standing.bundle(&self.registry().current(), now)
    }

    fn registry(&self) -> &Registry {
        &self.standing.registry
    }

    /// The refusal while the bundle in force is not here, or there are no facts to judge with it.
    fn unready(
        &self,
        caller: &Caller,
        unready: &Unready,
        snapshot: &Snapshot,
        now: i64,
    ) -> Prepared {
        if snapshot.is_without_facts() {
            let gap = gap(caller, Reason::MissingFact, NO_FACTS.to_owned());
            return self.refused(&gap, snapshot.version(), now);
        }
        // Why it is not is for operators (/readyz): it may name files and lines.
        let what = match &*unready.digest {
            "" => String::new(),
            digest if unready.why.is_none() => format!("{digest} is being loaded"),
            digest => format!("{digest} cannot be used"),
        };
        self.refused(&gap(caller, Reason::PolicyUnavailable, what), snapshot.version(), now)
    }

    /// Facts with a gap, judged without any rule.
    fn refused(&self, facts: &Facts, version: i64, now: i64) -> Prepared {
        let none = &self.standing.none;
        let judgement = verdict::judge(none, facts, now);
        Prepared {
            facts: Arc::new(text(facts)),
            detail: Arc::new(text(&judgement)),
            bundle: Arc::clone(&self.standing.none_text),
            meanings: Vec::new(),
            bundle_digest: Arc::from(none.digest()),
            access_digest: Arc::from(""),
            version,
            judged_at: now,
            valid_until: None,
            retention: Retention::of([]),
            unbuilt: false,
            may_use: false,
            held: None,
            permitted: Vec::new(),
            judgement: Arc::new(judgement),
        }
    }

    /// May this caller do `admin` on a service of the gateway's own, in its organisation?
    ///
    /// # Errors
    /// When there is no bundle to ask; inside, why not.
    pub fn may_manage(
        &self,
        caller: &Caller,
        service: &str,
        now: i64,
    ) -> Result<Result<(), Box<Why>>, Unready> {
        let snapshot = self.registry().current();
        let bundle = self.standing.bundle(&snapshot, now)?;
        let rights = Rights::of(&snapshot, caller);
        let admin = operation(Operation::Admin);
        Ok(bundle.may(&rights.asker(), service, admin).map_err(Box::new))
    }

    fn judge(&self, bundle: &Bundle, resolved: &Resolved, now: i64) -> Prepared {
        let facts = text(&resolved.facts);
        let judgement = bundle.judge_known(facts.digest, &resolved.facts, now);
        let valid_until = earliest(&judgement).into_iter().chain(resolved.valid_until).min();
        Prepared {
            facts: Arc::new(facts),
            detail: Arc::new(text(&*judgement)),
            bundle: self.bundle_text(bundle),
            meanings: meanings(bundle, &judgement),
            bundle_digest: Arc::from(bundle.digest()),
            access_digest: Arc::from(bundle.access_digest()),
            version: resolved.version,
            judged_at: now,
            valid_until,
            retention: retention(&judgement),
            unbuilt: resolved.facts.gaps.iter().any(|gap| gap.reason == Reason::EngineError),
            may_use: !sought(bundle, &resolved.facts, now).is_nothing(),
            held: held(bundle, &resolved.facts, &judgement).map(Arc::new),
            permitted: judgement.permitted.iter().map(|site| Arc::from(site.as_str())).collect(),
            judgement,
        }
    }

    fn bundle_text(&self, bundle: &Bundle) -> Arc<Text> {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        if bundles.len() >= BUNDLE_TEXTS_MAX && !bundles.contains_key(bundle.digest()) {
            bundles.clear();
        }
        if let Some(known) = bundles.get(bundle.digest()) {
            return Arc::clone(known);
        }
        let bytes = bytes::Bytes::copy_from_slice(bundle.texts());
        let text = Arc::new(Text::new(bytes));
        bundles.insert(Arc::from(bundle.digest()), Arc::clone(&text));
        text
    }
}

async fn build_all(bundle: &Bundle, snapshot: &Snapshot) {
    for own in snapshot.all_access().filter(|own| !bundle.has_access(own)) {
        bundle.build_access(own).await;
    }
}

/// What a release of this judgement would be for.
fn held(bundle: &Bundle, facts: &Facts, judgement: &Judgement) -> Option<Held> {
    let decision = &judgement.decision;
    let same = |site: &&Site| {
        judgement.candidates.iter().any(|one| {
            Some(one.site.as_str()) == site.id.as_deref()
                && one.decision.facts_digest == decision.facts_digest
        })
    };
    let site = facts.sites.iter().find(same).filter(|_| judgement.outcome == Outcome::Hold)?;
    let holding = decision.reasons.iter().filter(|why| why.code == Reason::HeldByRule);
    let mut rules: Vec<String> = holding.filter_map(|why| why.rule.clone()).collect();
    rules.sort_unstable();
    rules.dedup();
    let persons = rules.iter().filter_map(|id| bundle.rule(id)).map(RuleText::persons).max()?;
    Some(Held {
        request: [0; 32],
        rules,
        persons,
        facts: verdict::held_digest(&facts.question, site),
        bundle: bundle.digest().into(),
    })
}

fn text<T: serde::Serialize>(value: &T) -> Text {
    // Facts and judgements have string keys only, so they can always be written.
    Text::new(verdict::canonical(value).unwrap_or_default().into())
}

/// The first second at which any candidate's decision may change.
fn earliest(judgement: &Judgement) -> Option<i64> {
    let candidates = judgement.candidates.iter().map(|candidate| &candidate.decision);
    candidates
        .chain([&judgement.decision])
        .filter_map(|decision| decision.valid_until.as_ref().map(Stamp::starts))
        .min()
}

/// Of everything that an allow of any candidate asks for.
fn meanings(bundle: &Bundle, judgement: &Judgement) -> Vec<Obligation> {
    let candidates = judgement.candidates.iter().map(|candidate| &candidate.decision);
    let codes = candidates.chain([&judgement.decision]).flat_map(|one| &one.obligations);
    told::meanings(codes, &bundle.rules().book().vocabulary.obligations)
}

/// By the regimes that any candidate was judged under.
fn retention(judgement: &Judgement) -> Retention {
    let candidates = judgement.candidates.iter().map(|candidate| &candidate.decision);
    let cells = candidates.chain([&judgement.decision]).flat_map(|decision| &decision.cells);
    Retention::of(cells.map(|cell| &*cell.at.regime))
}

/// As many as may be on the shelf, and those of before that requests under way still hold: 32 of 0.3 MB.
const BUNDLE_TEXTS_MAX: usize = 32;
/// Longer than one poll of the registry (1 s), shorter than a caller's patience.
const FACTS_WAIT_MAX: Duration = Duration::from_millis(1_500);
