//! What the witness counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;

#[derive(Debug, Default)]
pub(super) struct Counters {
    cosigned: Counter,
    refused: Family<Why, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("haetae_witness");
        registry.register("cosigned", "Checkpoints cosigned", self.cosigned.clone());
        registry.register("refused", "Checkpoints not cosigned", self.refused.clone());
    }

    pub fn cosigned(&self) {
        self.cosigned.inc();
    }

    pub fn refused(&self, why: &'static str) {
        self.refused.get_or_create(&Why { why }).inc();
    }
}
