//! What the room counts.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::Compared;

#[derive(Debug, Default)]
pub(super) struct Metrics {
    decisions: Family<Label, Counter>,
    running: Gauge<i64, AtomicI64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    result: &'static str,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("haetae_shadow");
        let decisions = "Decisions under a proposed bundle beside the one in force; dropped, moved and uncounted were not compared";
        all.register("decisions", decisions, self.decisions.clone());
        let running = "1 while a proposed bundle is judged beside the one in force";
        all.register("running", running, self.running.clone());
    }

    pub fn running(&self, is: bool) {
        self.running.set(is.into());
    }

    pub fn count(&self, result: Compared) {
        let result = match result {
            Compared::Same => "same",
            Compared::Dropped => "dropped",
            Compared::Moved => "moved",
            Compared::Uncounted => "uncounted",
        };
        self.decisions.get_or_create(&Label { result }).inc();
    }

    pub fn differs(&self) {
        self.decisions.get_or_create(&Label { result: "differs" }).inc();
    }
}
