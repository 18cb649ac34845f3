//! What the memos of the bundles at hand hold, and how often they answered, for Prometheus.
//!
//! *Invariant:* read when somebody asks; no request pays for it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::memo::{Kept, MemoCounts};
use super::shelf::{Policy, Shelved};

impl Policy {
    /// `haetae_policy_memo_...`: added up over the bundles that this process has ready, so a counter falls when a bundle
    /// leaves the shelf.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Memos(Arc::clone(self))));
    }

    fn memos(&self) -> Vec<MemoCounts> {
        let staged = self.all_staged().into_iter().filter_map(|(_, one)| match one {
            Shelved::Ready(bundle) => Some(bundle),
            Shelved::Bad(_) => None,
        });
        staged.chain(self.own().ok()).map(|bundle| bundle.memo()).collect()
    }
}

#[derive(Debug)]
struct Memos(Arc<Policy>);

impl Collector for Memos {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.0.memos();
        let sum = |of: fn(&MemoCounts) -> u64| all.iter().map(of).sum::<u64>();
        let answered = [
            ("hits", "cells that the memo knew", sum(|it| it.hits)),
            ("misses", "cells for which both engines were asked", sum(|it| it.misses)),
            (
                "disagreements",
                "cells refused because the engines differed",
                sum(|it| it.disagreements),
            ),
        ];
        for (name, help, count) in answered {
            let metric = ConstCounter::new(count);
            let name = format!("haetae_policy_memo_{name}");
            metric.encode(to.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        let cells: Vec<Kept> = all.iter().map(|it| it.cells).collect();
        let judgements: Vec<Kept> = all.iter().map(|it| it.judgements).collect();
        for (what, kept) in [("cells", cells), ("judgements", judgements)] {
            let all = || kept.iter();
            let held = [
                ("entries", "entries kept", all().map(|it| it.entries).sum::<u64>()),
                ("bytes", "bytes they are reckoned at", all().map(|it| it.bytes).sum()),
                ("bytes_max", "bytes they may have", all().map(|it| it.bytes_max).sum()),
            ];
            for (name, help, count) in held {
                let metric = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                let name = format!("haetae_policy_memo_{what}_{name}");
                metric.encode(to.encode_descriptor(&name, help, None, metric.metric_type())?)?;
            }
        }
        Ok(())
    }
}
