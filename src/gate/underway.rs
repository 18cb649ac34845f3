//! Continuing authority: an answer that is under way is judged again when the facts, an order or the bundle change, or when
//! a date in its decision is reached, and is cut when it is no longer allowed or its credential has ended.
//!
//! Each change is followed by one sweep over the answers that were judged on something older. Changes that come during a
//! sweep are one change, and sweeps keep a distance, so that the work is bounded however often the facts move; equal asks
//! share one judgement. An answer is one entry here, so there are no more than requests under way.
//!
//! An answer is judged for the site that it was sent to, on what others had used up when it was allowed: what it used up
//! itself is its own. A refusal is recorded as a decision of its own (it can be judged again by anybody) and then named by
//! the end of the answer; when it cannot be recorded the answer is cut without. A new allow is never written.
//!
//! *Invariant:* without news from the database nothing is judged again but dates: an answer then lasts as long as its
//! credential and the limits of its site.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};
use verdict::decision::Why;
use verdict::reason::Reason;

use super::prepare::{More, Prepared};
use super::{Gate, JUDGE_AGAIN_MAX, Known, answer, draft, uses};
use crate::audit::{Keeps, Proof, RecordError, Recorded, Withdrawn};
use crate::forward::{Cutter, Failure};
use crate::workload::Claims;

/// The answers under way, by decision. Owned by this lock; held to look or to change one entry, never to cut.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<BTreeMap<Arc<str>, Arc<Open>>>);

/// An answer under way, and everything that is needed to judge it again.
pub(super) struct Open {
    /// Of the decision that allowed it.
    pub id: Arc<str>,
    pub cutter: Cutter,
    known: Arc<Known>,
    claims: Arc<Claims>,
    site: Arc<str>,
    more: Option<Arc<More>>,
    /// The version on which it was last judged.
    version: AtomicI64,
    /// Unix seconds; from then on it must be judged again.
    until: AtomicI64,
    refused: OnceLock<Refused>,
}

/// It was judged again, and refused.
struct Refused {
    withdrawn: Arc<Withdrawn>,
    /// For the caller.
    message: String,
}

/// What an allow was given for.
pub(super) struct Given {
    pub known: Arc<Known>,
    pub claims: Arc<Claims>,
    pub site: Arc<str>,
    /// What others had used up, when it uses something up itself.
    pub more: Option<Arc<More>>,
}

impl UnderWay {
    /// From here on the answer of this decision is watched, until [`UnderWay::close`].
    pub(super) fn open(&self, id: &Arc<str>, given: Given, prepared: &Prepared) -> Arc<Open> {
        let Given { known, claims, site, more } = given;
        let open = Arc::new(Open {
            id: Arc::clone(id),
            cutter: Cutter::default(),
            known,
            claims,
            site,
            more,
            version: AtomicI64::new(prepared.version),
            until: AtomicI64::new(prepared.valid_until.unwrap_or(i64::MAX)),
            refused: OnceLock::new(),
        });
        self.lock().insert(Arc::clone(id), Arc::clone(&open));
        open
    }

    pub(super) fn close(&self, id: &Arc<str>) {
        self.lock().remove(id);
    }

    /// Those that must be looked at.
    fn due(&self, version: i64, now: i64) -> Vec<Arc<Open>> {
        self.lock().values().filter(|open| open.is_due(version, now)).map(Arc::clone).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Arc<Open>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn is_due(&self, version: i64, now: i64) -> bool {
        self.is_expired(now)
            || self.version.load(Ordering::Relaxed) != version
            || self.until.load(Ordering::Relaxed) <= now
    }

    fn is_expired(&self, now: i64) -> bool {
        self.known.caller.expires_at <= now
    }

    /// Judged again, it is still allowed.
    fn stands(&self, prepared: &Prepared, now: i64) {
        let until = prepared.valid_until.unwrap_or(i64::MAX);
        self.version.store(prepared.version, Ordering::Relaxed);
        // What ran out stays in the snapshot until there is a new one: once a second is enough.
        self.until.store(until.max(now.saturating_add(1)), Ordering::Relaxed);
    }

    /// For the record of its end.
    pub(super) fn withdrawn(&self) -> Option<Arc<Withdrawn>> {
        self.refused.get().map(|refused| Arc::clone(&refused.withdrawn))
    }

    /// What its caller is told of this failure.
    pub(super) fn message(&self, failure: Failure) -> String {
        match self.refused.get() {
            Some(refused) if failure == Failure::NoLongerAllowed => refused.message.clone(),
            _ => format!("{failure} [decision {}]", self.id),
        }
    }

    /// The last event of its stream, when it is cut.
    pub(super) fn last_event(&self, failure: Failure) -> Bytes {
        answer::last_event(self.known.protocol(), failure, &self.message(failure), &self.id)
    }

    fn refuse(&self, prepared: &Prepared, by: Option<&Proof>) {
        let first = prepared.judgement.decision.reasons.first();
        let withdrawn = Withdrawn {
            by: by.map(|proof| Arc::clone(&proof.id)),
            fact_version: prepared.version,
            reason: first.map_or(Reason::NoSite, |why: &Why| why.code),
            rule: first.and_then(|why| why.rule.as_deref()).map(Arc::from),
        };
        let id = by.map_or(&self.id, |proof| &proof.id);
        let text = answer::explain(&self.known, prepared, id, None);
        let message = format!("{}: {text}", Failure::NoLongerAllowed);
        // Only the sweep judges again, and it judges each answer once at a time: the first refusal is the only one.
        let _ = self.refused.set(Refused { withdrawn: Arc::new(withdrawn), message });
        self.cutter.cut(Failure::NoLongerAllowed);
    }
}

impl Gate {
    /// Watches over the answers under way. Cancel-safe: what was not cut yet ends with the process.
    pub async fn watch(self: Arc<Self>) {
        let mut changed = self.registry.changed();
        loop {
            tokio::select! {
                news = changed.changed() => if news.is_err() { return },
                () = sleep(LOOK) => {}
            }
            let (version, now) = (self.registry.current().version(), self.clock.unix_s());
            for some in self.underway.due(version, now).chunks(AT_ONCE) {
                join_all(some.iter().map(|open| self.look_again(open))).await;
                tokio::task::yield_now().await;
            }
            sleep(APART).await;
        }
    }

    async fn look_again(&self, open: &Open) {
        if open.is_expired(self.clock.unix_s()) {
            self.metrics.cut(Failure::AuthorityEnded.code());
            open.cutter.cut(Failure::AuthorityEnded);
            return;
        }
        let claims = Claims { site: Some(Arc::clone(&open.site)), ..Claims::clone(&open.claims) };
        let mut refused: Option<(Arc<Prepared>, Instant)> = None;
        for _ in 0..JUDGE_AGAIN_MAX {
            let now = self.clock.unix_s();
            if self.preparer.awaits_bundle(now) {
                return; // it is being swapped: the next sweep judges with the new one
            }
            let prepared = self.judged_again(open, &claims, now).await;
            self.metrics.judged_again();
            if prepared.permitted.contains(&open.site) {
                return open.stands(&prepared, now);
            }
            // For all tries: facts that never rest buy a refused answer no more time than a database that hangs.
            let first = || Instant::now() + RECORD_WAIT;
            let until = refused.as_ref().map_or_else(first, |(_, until)| *until);
            let moved = match self.record_refusal(open, &claims, &prepared, until).await {
                Err(RecordError::FactsMoved { now }) => now,
                recorded => return self.cut(open, &prepared, recorded.ok().as_ref()),
            };
            refused = Some((prepared, until));
            if timeout_at(until, self.facts(moved)).await.is_err() {
                break;
            }
        }
        // Refused each time, and the facts moved before it could be recorded: whoever moves them keeps nothing running.
        if let Some((prepared, _)) = refused {
            self.cut(open, &prepared, None);
        }
    }

    fn cut(&self, open: &Open, prepared: &Prepared, by: Option<&Proof>) {
        self.metrics.cut(Failure::NoLongerAllowed.code());
        open.refuse(prepared, by);
    }

    async fn judged_again(&self, open: &Open, claims: &Claims, now: i64) -> Arc<Prepared> {
        let caller = &open.known.caller;
        let prepared = self.prepared(caller, claims, now).await;
        match &open.more {
            Some(more) if prepared.may_use || !more.releases.is_empty() => {
                self.preparer.again(caller, claims, now, more).prepared
            }
            _ => prepared,
        }
    }

    async fn record_refusal(
        &self,
        open: &Open,
        claims: &Claims,
        prepared: &Prepared,
        until: Instant,
    ) -> Result<Proof, RecordError> {
        let held = uses::held(prepared, &open.known, &open.claims);
        let keeps = Keeps { reserved: None, held };
        let draft = draft::build(&open.known, Some(claims), prepared, None, keeps);
        let draft = crate::audit::Draft { judges_again: Some(Arc::clone(&open.id)), ..draft };
        let recorded = timeout_at(until, self.audit.record(draft)).await;
        match recorded.unwrap_or(Err(RecordError::Timeout))? {
            Recorded::Refusal(proof) => Ok(proof),
            // A draft that names no site cannot have become this. Never use it.
            Recorded::Permit(_) => Err(RecordError::Malformed("a refusal became a permit")),
        }
    }
}

/// How long a date that is reached, or an answer that began while the facts moved, waits at most.
const LOOK: Duration = Duration::from_millis(500);
/// Between two sweeps: facts that never rest cost at most five sweeps a second.
const APART: Duration = Duration::from_millis(200);
/// Judged, and their refusals recorded in one batch or two, before others get their turn: 4,096 answers are 64 rounds, some
/// 10 ms each when all of them are refused.
const AT_ONCE: usize = 64;
/// Then a refused answer is cut without: with a database that hangs, 64 rounds of this are 32 s, and a minute is promised.
const RECORD_WAIT: Duration = Duration::from_millis(500);
