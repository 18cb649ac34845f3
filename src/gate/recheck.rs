//! A memo is trusted and checked: one in so many judgements is made anew, past every memo, and held against what was used.
//!
//! Off the path of the reply: a full queue skips, and one task does one after another, with a pause ([`PAUSES`]). What
//! differs is an alarm: a record of its own, a metric, a line in the log; and from then on nothing comes from a memo in this
//! process.
//!
//! *Invariant:* a check changes no answer that was given; what it switches off stays off until a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Map, json};
use uuid::Uuid;
use verdict::facts::Facts;

use super::later::Later;
use crate::audit::{Act, ActKind, Audit};
use crate::policy::Bundle;

/// A judgement that was used, with what it was made from.
#[derive(Debug)]
pub struct Used {
    pub bundle: Arc<Bundle>,
    /// Canonical bytes of the facts, as recorded.
    pub facts: Bytes,
    /// Canonical bytes of the judgement, as recorded.
    pub detail: Bytes,
    /// Unix seconds of the instant it was judged for.
    pub at_s: i64,
}

/// Which judgements are checked, and whether the memos may still be used.
#[derive(Debug)]
pub struct Rechecks {
    one_in: u64,
    seen: AtomicU64,
    is_off: AtomicBool,
    later: Later<Used>,
    results: Family<Label, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    result: &'static str,
}

impl Rechecks {
    /// One in `one_in` judgements is checked; none when it is 0.
    #[must_use]
    pub fn new(one_in: u64) -> Self {
        Self {
            one_in,
            seen: AtomicU64::new(0),
            is_off: AtomicBool::new(false),
            later: Later::new(WAITING_MAX),
            results: Family::default(),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "haetae_memo_rechecks",
            "judgements made anew and held against what a memo gave; `differs` calls for a person",
            self.results.clone(),
        );
    }

    /// Whether a memo gave a wrong answer: then none is asked any more.
    pub fn memo_is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    /// A judgement is about to be used; one in so many is put aside to be checked.
    pub fn used(&self, used: impl FnOnce() -> Used) {
        if self.one_in == 0 || self.memo_is_off() {
            return;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen.is_multiple_of(self.one_in) && !self.later.put(used()) {
            self.count("skipped");
        }
    }

    /// Checks what was put aside, until it is dropped. The second caller has nothing to do.
    pub async fn run(&self, audit: &Audit) {
        let Some(mut receiver) = self.later.take() else { return };
        while let Some(used) = receiver.recv().await {
            let began = Instant::now();
            let same = is_same(&used);
            let pause = began.elapsed() * PAUSES;
            if same {
                self.count("same");
            } else {
                self.differs(audit, &used).await;
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn differs(&self, audit: &Audit, used: &Used) {
        self.count("differs");
        self.is_off.store(true, Ordering::Relaxed);
        used.bundle.turn_memo_off();
        let (facts, detail) = (verdict::digest(&used.facts), verdict::digest(&used.detail));
        tracing::error!(
            bundle = used.bundle.digest(),
            facts,
            detail,
            "a memo gave another judgement than its facts: memos are off until a restart"
        );
        let body = json!({
            "what": "memo_mismatch",
            "about": "a judgement from a memo is not that of its facts; memos are off in this process",
            "bundle_digest": used.bundle.digest(),
            "facts_digest": facts,
            "detail_digest": detail,
        });
        let body: Map<_, _> = body.as_object().cloned().unwrap_or_default();
        let act = Act { event: event(&detail), kind: ActKind::Alarm, people: Vec::new(), body };
        if let Err(error) = audit.tell(&act).await {
            tracing::error!(%error, "the alarm could not be recorded");
            audit.alarm(
                "memo_mismatch",
                "a judgement from a memo is not that of its facts".into(),
                None,
            );
        }
    }

    fn count(&self, result: &'static str) {
        self.results.get_or_create(&Label { result }).inc();
    }
}

/// The judgement is that of its facts, byte for byte.
fn is_same(used: &Used) -> bool {
    let Ok(facts) = serde_json::from_slice::<Facts>(&used.facts) else { return false };
    let anew = used.bundle.judge_anew(&facts, used.at_s);
    verdict::canonical(&anew).is_ok_and(|bytes| bytes == *used.detail)
}

/// One alarm for one wrong judgement, however often it is told.
fn event(digest: &str) -> Uuid {
    let hex = digest.rsplit(':').next().unwrap_or_default();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or(0);
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Judgements put aside at once: about 15 kB each.
const WAITING_MAX: usize = 64;
/// A check takes 0.5 ms and more: with so many times as long a pause, at most 2 % of one core.
const PAUSES: u32 = 49;
