//! Decisions that were made and recorded, judged again with a bundle on trial ([`crate::shadow`]).
//!
//! Off the path of the reply: a full queue drops and counts. One task does one after another and rests after each four times
//! as long as it took ([`REST`]), so that it takes at most a fifth of one core; a question that came before costs one lookup.
//!
//! *Invariant:* it compares what was recorded with what the other bundle gives on the same facts at the same instant, or it
//! says that it did not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;
use verdict::decision::Why;
use verdict::facts::Judgement;
use verdict::reason::Reason;

use super::Known;
use super::later::Later;
use super::prepare::{More, Prepared, Preparer};
use crate::audit::Proof;
use crate::clock::Clock;
use crate::shadow::{Compared, Running, Shadow, Way};
use crate::workload::Claims;

/// The queue to the one task that compares.
#[derive(Debug)]
pub struct Beside {
    shadow: Shadow,
    later: Later<Decided>,
}

/// A decision, with what it was made from.
struct Decided {
    running: Arc<Running>,
    known: Arc<Known>,
    claims: Arc<Claims>,
    prepared: Arc<Prepared>,
    more: Option<Arc<More>>,
    /// Where it went, if it was allowed.
    site: Option<Arc<str>>,
    record: Arc<str>,
    /// Unix seconds.
    at_s: i64,
}

/// What one decision was made from, as the gate has it when the record is there.
#[derive(Clone, Copy)]
pub struct Made<'a> {
    pub known: &'a Arc<Known>,
    pub claims: &'a Arc<Claims>,
    pub prepared: &'a Arc<Prepared>,
    pub more: Option<&'a Arc<More>>,
    pub site: Option<&'a Arc<str>>,
}

/// What another bundle gives.
pub enum Other {
    Judged {
        judgement: Arc<Judgement>,
        /// Unix seconds; from then on it must be judged again.
        valid_until: Option<i64>,
    },
    /// The facts were replaced, or ran out.
    Moved,
    /// It counts what was not looked at.
    Uncounted,
}

/// Judgements that were made for a prepared one: the gate's memo gives the same one to everybody who asks the same.
struct Memo {
    trial: Uuid,
    by_prepared: HashMap<usize, Remembered>,
}

struct Remembered {
    /// Keeps the address from being used for another.
    _prepared: Arc<Prepared>,
    judgement: Arc<Judgement>,
    from: i64,
    until: Option<i64>,
}

impl Beside {
    #[must_use]
    pub fn new(shadow: Shadow) -> Self {
        Self { shadow, later: Later::new(WAITING_MAX) }
    }

    /// A decision was recorded.
    pub fn decided(&self, made: Made<'_>, proof: &Proof, at_s: i64) {
        let Some(running) = self.shadow.running(at_s) else { return };
        let differs = |why: &Why| OWN_FAULTS.contains(&why.code);
        if made.prepared.judgement.decision.reasons.iter().any(differs) {
            return;
        }
        let decided = Decided {
            running: Arc::clone(&running),
            known: Arc::clone(made.known),
            claims: Arc::clone(made.claims),
            prepared: Arc::clone(made.prepared),
            more: made.more.cloned(),
            site: made.site.cloned(),
            record: Arc::clone(&proof.id),
            at_s,
        };
        if !self.later.put(decided) {
            self.shadow.count(&running, Compared::Dropped);
        }
    }

    /// Compares what was put aside, until it is dropped. The second caller has nothing to do.
    pub async fn run(&self, preparer: &Preparer, clock: &Clock) {
        let Some(mut receiver) = self.later.take() else { return };
        let mut memo = Memo { trial: Uuid::nil(), by_prepared: HashMap::new() };
        while let Some(decided) = receiver.recv().await {
            if let Some(known) = memo.get(&decided) {
                self.compare(&decided, &known);
                continue;
            }
            preparer.build_beside(&decided.running.bundle, &decided.known.caller.org).await;
            let began = Instant::now();
            self.judge(&decided, preparer, clock.unix_s(), &mut memo);
            tokio::time::sleep(began.elapsed() * REST).await;
        }
    }

    fn judge(&self, decided: &Decided, preparer: &Preparer, now: i64, memo: &mut Memo) {
        let Decided { running, known, claims, prepared, at_s, .. } = decided;
        // A dated fact turned since: the registry's facts of now are not those it was decided on.
        let over = prepared.valid_until.is_some_and(|until| until <= now);
        let more = decided.more.as_deref();
        let other = if over {
            Other::Moved
        } else {
            preparer.beside(&running.bundle, (&known.caller, claims), prepared, more, *at_s)
        };
        match other {
            Other::Moved => self.shadow.count(running, Compared::Moved),
            Other::Uncounted => self.shadow.count(running, Compared::Uncounted),
            Other::Judged { judgement, valid_until } => {
                self.compare(decided, &judgement);
                memo.keep(decided, judgement, valid_until);
            }
        }
    }

    fn compare(&self, decided: &Decided, would: &Judgement) {
        let was = &decided.prepared.judgement;
        match Way::between(was, would, decided.site.as_deref()) {
            None => self.shadow.count(&decided.running, Compared::Same),
            Some(way) => {
                // Ids are ours and always of this form.
                let record = Uuid::parse_str(&decided.record).unwrap_or_default();
                self.shadow.differs(&decided.running, way, record, decided.at_s);
            }
        }
    }
}

impl Memo {
    fn get(&self, decided: &Decided) -> Option<Arc<Judgement>> {
        let known = self.by_prepared.get(&address(&decided.prepared))?;
        let holds = self.trial == decided.running.trial
            && known.from <= decided.at_s
            && known.until.is_none_or(|until| decided.at_s < until);
        holds.then(|| Arc::clone(&known.judgement))
    }

    /// Not where something was used up: that is another question each time.
    fn keep(&mut self, decided: &Decided, judgement: Arc<Judgement>, until: Option<i64>) {
        if self.trial != decided.running.trial || self.by_prepared.len() >= REMEMBERED_MAX {
            self.by_prepared.clear();
            self.trial = decided.running.trial;
        }
        if decided.more.is_some() {
            return;
        }
        let (prepared, from) = (Arc::clone(&decided.prepared), decided.at_s);
        let known = Remembered { _prepared: prepared, judgement, from, until };
        self.by_prepared.insert(address(&decided.prepared), known);
    }
}

fn address(prepared: &Arc<Prepared>) -> usize {
    Arc::as_ptr(prepared).addr()
}

/// Judged by no bundle, or not by both engines: there is nothing to compare with.
const OWN_FAULTS: [Reason; 3] =
    [Reason::EngineDisagreement, Reason::EngineError, Reason::PolicyUnavailable];
/// What waits at once: mostly what the gate's memo holds anyway, else about 20 kB each.
const WAITING_MAX: usize = 512;
/// Judgements of about 10 kB beside what they were made for, of 20 kB.
const REMEMBERED_MAX: usize = 512;
/// A judgement takes 0.1 to 1 ms, so a thousand new questions a second at least are compared with this rest.
const REST: u32 = 4;
