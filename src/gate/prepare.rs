//! Steps 5 and 6: access, facts and judgement for one ask, made once for each version of facts and bundle.
//!
//! The memo lies over the whole question (organisation, service, datasets, ...), the policy room's memo over abstract
//! cells. An entry serves only the snapshot and bundle it was made from and only until its first dated boundary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::{Weighter, sync::Cache};
use verdict::facts::{Facts, Gap, Judgement};
use verdict::reason::Reason;
use verdict::stamp::Stamp;

use crate::audit::Text;
use crate::caller::Caller;
use crate::policy::{Bundle, Policy};
use crate::registry::{Ask, Registry, Resolved};
use crate::workload::{Claims, NotUnderstood, Operation};

/// A judgement with the texts that its record points to.
#[derive(Debug)]
pub struct Prepared {
    pub judgement: Arc<Judgement>,
    /// Sites of the outcome, if it allows.
    pub permitted: Vec<Arc<str>>,
    pub facts: Arc<Text>,
    pub detail: Arc<Text>,
    pub bundle: Arc<Text>,
    /// `sha256:` and hex, as callers see it.
    pub bundle_digest: Arc<str>,
    /// The same over the access sheets, which are no part of the rulebook.
    access_digest: Arc<str>,
    pub version: i64,
    /// Unix seconds: the instant that the judge was given.
    pub judged_at: i64,
    /// Unix seconds; from then on it must be judged again.
    pub valid_until: Option<i64>,
}

pub struct Preparer {
    policy: Arc<Policy>,
    registry: Arc<Registry>,
    memo: Cache<Key, Arc<Prepared>, Bytes>,
    /// Texts of the bundles in use, by digest; owned by this lock, entries are few.
    bundles: Mutex<BTreeMap<Arc<str>, Arc<Text>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    ask: Ask,
    operation: &'static str,
    roles: Arc<[Arc<str>]>,
}

/// What an entry of the memo takes. A caller's own words are part of the key (datasets, hosts of images), so entries
/// are made at will and only their bytes can be bounded.
#[derive(Debug, Clone, Copy)]
struct Bytes {
    /// So that there are no more entries than the configuration says, however small.
    least: u64,
}

impl Weighter<Key, Arc<Prepared>> for Bytes {
    fn weight(&self, _: &Key, prepared: &Arc<Prepared>) -> u64 {
        // The judgement itself is about as large as its text.
        let texts = prepared.facts.bytes.len() + 2 * prepared.detail.bytes.len();
        (texts as u64 + ENTRY_BYTES).max(self.least)
    }
}

impl Preparer {
    pub fn new(policy: Arc<Policy>, registry: Arc<Registry>, entries_max: usize) -> Self {
        let entries_max = entries_max.max(1);
        let least = MEMO_BYTES_MAX / entries_max as u64;
        let memo = Cache::with_weighter(entries_max, MEMO_BYTES_MAX, Bytes { least });
        Self { policy, registry, memo, bundles: Mutex::default() }
    }

    /// The judgement of this claim by this caller at `now` (unix seconds).
    pub fn prepare(&self, caller: &Caller, claims: &Claims, now: i64) -> Arc<Prepared> {
        let snapshot = self.registry.current();
        let bundle = self.policy.current();
        let key = Key {
            ask: ask(caller, claims),
            operation: operation(claims.operation),
            roles: Arc::clone(&caller.roles),
        };
        if let Some(prepared) = self.memo.get(&key)
            && prepared.version == snapshot.version()
            && *prepared.bundle_digest == *bundle.digest()
            && *prepared.access_digest == *bundle.access_digest()
            // A clock that was set back: what was judged for a later instant says nothing of this one.
            && prepared.judged_at <= now
            && prepared.valid_until.is_none_or(|until| now < until)
        {
            return prepared;
        }
        let mut resolved = snapshot.resolve(&key.ask);
        let access = bundle.access(&caller.org, &caller.roles, &claims.model, key.operation);
        if access.is_err() {
            resolved.facts = refused_access(caller, claims);
        }
        let prepared = Arc::new(self.judge(&bundle, &resolved, now));
        self.memo.insert(key, Arc::clone(&prepared));
        prepared
    }

    /// The refusal of a known caller whose request could not be read.
    pub fn not_understood(&self, caller: &Caller, why: &NotUnderstood, now: i64) -> Arc<Prepared> {
        let facts = gap(caller, why.reason, why.message.clone());
        let version = self.registry.current().version();
        Arc::new(self.judge(
            &self.policy.current(),
            &Resolved { facts, version, valid_until: None },
            now,
        ))
    }

    /// The same refusal on the facts now in force.
    pub fn renew(&self, prepared: &Prepared) -> Arc<Prepared> {
        Arc::new(Prepared {
            judgement: Arc::clone(&prepared.judgement),
            permitted: prepared.permitted.clone(),
            facts: Arc::clone(&prepared.facts),
            detail: Arc::clone(&prepared.detail),
            bundle: Arc::clone(&prepared.bundle),
            bundle_digest: Arc::clone(&prepared.bundle_digest),
            access_digest: Arc::clone(&prepared.access_digest),
            version: self.registry.current().version(),
            judged_at: prepared.judged_at,
            valid_until: prepared.valid_until,
        })
    }

    /// Waits until the registry shows `version`, without what has run out by `now`; at most [`FACTS_WAIT_MAX`].
    pub async fn wait_for(&self, version: i64, now: i64) {
        let holds = || self.registry.current().valid_until().is_none_or(|until| now < until);
        let mut changed = self.registry.changed();
        let seen = changed.wait_for(|seen| *seen >= version && holds());
        // Nothing to do on either failure: the commit checks the version again.
        let _ = tokio::time::timeout(FACTS_WAIT_MAX, seen).await;
    }

    /// May this caller see `service` in a list of models?
    pub fn may_list(&self, caller: &Caller, service: &str) -> bool {
        let bundle = self.policy.current();
        bundle.access(&caller.org, &caller.roles, service, operation(Operation::Metadata)).is_ok()
    }

    fn judge(&self, bundle: &Bundle, resolved: &Resolved, now: i64) -> Prepared {
        let facts = text(&resolved.facts);
        let judgement = bundle.judge_known(facts.digest, &resolved.facts, now);
        let valid_until = earliest(&judgement).into_iter().chain(resolved.valid_until).min();
        Prepared {
            facts: Arc::new(facts),
            detail: Arc::new(text(&*judgement)),
            bundle: self.bundle_text(bundle),
            bundle_digest: Arc::from(bundle.digest()),
            access_digest: Arc::from(bundle.access_digest()),
            version: resolved.version,
            judged_at: now,
            valid_until,
            permitted: judgement.permitted.iter().map(|site| Arc::from(site.as_str())).collect(),
            judgement,
        }
    }

    fn bundle_text(&self, bundle: &Bundle) -> Arc<Text> {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = bundles.get(bundle.digest()) {
            return Arc::clone(known);
        }
        let bytes = bytes::Bytes::copy_from_slice(bundle.texts());
        let text = Arc::new(Text::new(bytes));
        bundles.insert(Arc::from(bundle.digest()), Arc::clone(&text));
        text
    }
}

fn ask(caller: &Caller, claims: &Claims) -> Ask {
    Ask {
        org: Arc::clone(&caller.org),
        service: Arc::clone(&claims.model),
        actor_kind: caller.actor_kind,
        place: caller.place.clone(),
        workload: claims.workload,
        datasets: claims.datasets.clone(),
        purpose: claims.purpose.clone(),
        no_data: claims.no_data,
        site: claims.site.clone(),
        onward: claims.onward.iter().map(|one| (Arc::clone(&one.what), one.host.clone())).collect(),
    }
}

/// What a caller without access is told: nothing of the catalogue.
fn refused_access(caller: &Caller, claims: &Claims) -> Facts {
    let roles: Vec<&str> = caller.roles.iter().map(AsRef::as_ref).collect();
    let what = format!(
        "roles `{}` of `{}` may not do `{}` on `{}`",
        roles.join("`, `"),
        caller.org,
        operation(claims.operation),
        claims.model
    );
    gap(caller, Reason::AccessDenied, what)
}

fn gap(caller: &Caller, reason: Reason, what: String) -> Facts {
    let mut facts = Facts::default();
    facts.question.subject.org = Some(caller.org.to_string());
    facts.gaps.push(Gap { reason, what });
    facts
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

const fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Submit => "submit",
        Operation::Metadata => "metadata",
    }
}

/// Longer than one poll of the registry (1 s), shorter than a caller's patience.
const FACTS_WAIT_MAX: Duration = Duration::from_millis(1_500);
/// The whole memo: some 2,000 entries of 3 sites, or all of those that only refuse.
const MEMO_BYTES_MAX: u64 = 48 << 20;
/// Key, keeping and the fields of an entry, about.
const ENTRY_BYTES: u64 = 1_024;
