//! What the room counts.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub swaps: Counter,
    pub refused: Counter,
    unready: Gauge<i64, AtomicI64>,
    glass: Gauge<i64, AtomicI64>,
    version: Gauge<i64, AtomicI64>,
    staged: Family<Bundle, Gauge<i64, AtomicI64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bundle {
    digest: String,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("haetae_policy");
        all.register("swaps", "Bundles that came into force here", self.swaps.clone());
        all.register("bad", "Bundles that could not be loaded or used", self.refused.clone());
        let unready = "1 while the bundle in force is not here: everything is refused";
        all.register("unready", unready, self.unready.clone());
        let glass = "1 while a bundle is in force by a break-glass";
        all.register("break_glass", glass, self.glass.clone());
        let since = "Version of the facts that put the bundle in force; 0: the directory's";
        all.register("since_version", since, self.version.clone());
        let staged = "Bundles at hand: 1 can be judged with, 0 cannot";
        all.register("staged", staged, self.staged.clone());
    }

    pub fn look(&self, since: i64, unready: bool, glass: bool) {
        self.version.set(since);
        self.unready.set(unready.into());
        self.glass.set(glass.into());
    }

    pub fn shelf<'a>(&self, bundles: impl Iterator<Item = (&'a str, bool)>) {
        self.staged.clear();
        for (digest, good) in bundles {
            let label = Bundle { digest: digest.to_owned() };
            self.staged.get_or_create(&label).set(good.into());
        }
    }
}
