//! What the guard counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;

use super::Refused;

#[derive(Debug, Default)]
pub(super) struct Counters {
    consumed: Counter,
    refused: Family<Why, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("haetae_guard");
        registry.register("consumed", "Receipts used: requests let in", self.consumed.clone());
        registry.register("refused", "Requests not let in", self.refused.clone());
    }

    pub fn consumed(&self) {
        self.consumed.inc();
    }

    pub fn refused(&self, refused: Refused) {
        self.refused.get_or_create(&Why { why: refused.code() }).inc();
    }
}
