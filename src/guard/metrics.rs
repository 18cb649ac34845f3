//! What the guard counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::{Refused, Stands};
use crate::telemetry::Why;

/// Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    consumed: Counter,
    refused: Family<Why, Counter>,
    followed: Family<OfLog, Gauge>,
    age: Family<OfLog, Gauge>,
    open: Family<OfLog, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLog {
    log: String,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("haetae_guard");
        registry.register("consumed", "Receipts used: requests let in", self.consumed.clone());
        registry.register("refused", "Requests not let in", self.refused.clone());
        registry.register(
            "followed_records",
            "Records up to which a lane was followed",
            self.followed.clone(),
        );
        registry.register(
            "followed_age_seconds",
            "Since the last look at a lane",
            self.age.clone(),
        );
        registry.register("log_open", "1 when receipts of a lane open anything", self.open.clone());
    }

    pub fn follows(&self, stands: &Stands) {
        let of = OfLog { log: stands.origin.clone() };
        self.followed.get_or_create(&of).set(i64::try_from(stands.size).unwrap_or(i64::MAX));
        self.age.get_or_create(&of).set(stands.age_s);
        self.open.get_or_create(&of).set(stands.open.into());
    }

    pub fn consumed(&self) {
        self.consumed.inc();
    }

    pub fn refused(&self, refused: Refused) {
        self.refused.get_or_create(&Why { why: refused.code() }).inc();
    }
}
