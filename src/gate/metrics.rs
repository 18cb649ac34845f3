//! What the gate counts: decisions by outcome and reason, its own added latency, who was turned away.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use verdict::facts::Judgement;

pub struct Metrics {
    decisions: Family<Decided, Counter>,
    turned_away: Family<Why, Counter>,
    unavailable: Family<Why, Counter>,
    site_failures: Family<Why, Counter>,
    cut: Family<Why, Counter>,
    judged_again: Counter,
    decision_seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    outcome: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            decisions: Family::default(),
            turned_away: Family::default(),
            unavailable: Family::default(),
            site_failures: Family::default(),
            cut: Family::default(),
            judged_again: Counter::default(),
            decision_seconds: Histogram::new(SECONDS),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let all = &mut *registry;
        all.register(
            "haetae_decisions",
            "recorded decisions by outcome and first reason",
            self.decisions.clone(),
        );
        all.register(
            "haetae_turned_away",
            "requests refused before the caller was known",
            self.turned_away.clone(),
        );
        all.register(
            "haetae_unavailable",
            "answers of 503 without a record",
            self.unavailable.clone(),
        );
        all.register(
            "haetae_site_failures",
            "allowed requests that a site did not answer",
            self.site_failures.clone(),
        );
        all.register(
            "haetae_answers_cut",
            "answers under way that were cut because their authority ended or was taken back",
            self.cut.clone(),
        );
        all.register(
            "haetae_answers_judged_again",
            "judgements of answers under way after facts, orders, bundle or dates moved",
            self.judged_again.clone(),
        );
        all.register(
            "haetae_decision_seconds",
            "from the request's head to its durable decision: the latency that the gateway adds",
            self.decision_seconds.clone(),
        );
    }

    pub fn decided(&self, judgement: &Judgement, took: Duration) {
        use verdict::decision::Outcome;
        let outcome = match judgement.outcome {
            Outcome::Allow => "allow",
            Outcome::AllowWithObligations => "allow_with_obligations",
            Outcome::Hold => "hold",
            Outcome::Deny => "deny",
        };
        let reason = judgement
            .decision
            .reasons
            .first()
            .map_or("ALLOWED_BY_RULE", |why| why.code.code())
            .to_owned();
        self.decisions.get_or_create(&Decided { outcome, reason }).inc();
        self.decision_seconds.observe(took.as_secs_f64());
    }

    pub fn turned_away(&self, reason: &'static str) {
        self.turned_away.get_or_create(&Why { reason }).inc();
    }

    pub fn unavailable(&self, reason: &'static str) {
        self.unavailable.get_or_create(&Why { reason }).inc();
    }

    pub fn cut(&self, reason: &'static str) {
        self.cut.get_or_create(&Why { reason }).inc();
    }

    pub fn judged_again(&self) {
        self.judged_again.inc();
    }

    pub fn site_failed(&self, reason: &'static str) {
        self.site_failures.get_or_create(&Why { reason }).inc();
    }
}

/// 50 us to 3 s, a factor of about two each.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1,
    0.2, 0.5, 1.0, 3.0,
];
