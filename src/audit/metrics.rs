//! What the room counts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::batch::Batch;

#[derive(Debug)]
pub(super) struct Metrics {
    records: Counter,
    decisions: Counter,
    commits: Counter,
    commit_seconds: Histogram,
    batch_records: Histogram,
    refused: Counter,
    pub dropped: Counter,
    lag: Gauge<i64, AtomicI64>,
    outbox: Gauge<i64, AtomicI64>,
    waiting: Gauge<i64, AtomicI64>,
    lanes: Gauge<i64, AtomicI64>,
    last_commit_us: AtomicU64,
}

impl Metrics {
    pub fn new() -> Self {
        // 0.25 ms doubling to 4 s; 1 record doubling to 2,048.
        let doubling =
            |from: f64, steps: u16| (0..steps).map(move |n| from * f64::from(1_u32 << n));
        Self {
            records: Counter::default(),
            decisions: Counter::default(),
            commits: Counter::default(),
            commit_seconds: Histogram::new(doubling(0.000_25, 15)),
            batch_records: Histogram::new(doubling(1.0, 12)),
            refused: Counter::default(),
            dropped: Counter::default(),
            lag: Gauge::default(),
            outbox: Gauge::default(),
            waiting: Gauge::default(),
            lanes: Gauge::default(),
            last_commit_us: AtomicU64::new(0),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("haetae_audit");
        registry.register("records", "Records committed", self.records.clone());
        registry.register("decisions", "Decisions committed", self.decisions.clone());
        registry.register("commits", "Batches committed", self.commits.clone());
        registry.register("commit_seconds", "Time of a commit", self.commit_seconds.clone());
        registry.register("batch_records", "Records of a batch", self.batch_records.clone());
        registry.register("refused", "Decisions that were not recorded", self.refused.clone());
        registry.register("dropped", "Notices that found no room", self.dropped.clone());
        registry.register("projection_lag_records", "Records not yet projected", self.lag.clone());
        registry.register("outbox_waiting", "Acts waiting to be recorded", self.outbox.clone());
        registry.register("waiting", "Records waiting for a commit", self.waiting.clone());
        registry.register("lanes_held", "Lanes held by this process", self.lanes.clone());
    }

    pub fn commit(&self, took: Duration, batch: &Batch) {
        self.commits.inc();
        self.records.inc_by(batch.records() as u64);
        self.decisions.inc_by(batch.decisions.len() as u64);
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_records.observe(f64::from(u32::try_from(batch.records()).unwrap_or(u32::MAX)));
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_commit_us.store(took, Ordering::Relaxed);
    }

    pub fn refuse(&self) {
        self.refused.inc();
    }

    pub fn look(&self, waiting: usize, lanes: usize) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.lanes.set(i64::try_from(lanes).unwrap_or(i64::MAX));
    }

    pub fn outbox(&self, acts: usize) {
        self.outbox.set(i64::try_from(acts).unwrap_or(i64::MAX));
    }

    pub fn lag(&self, records: u64) {
        self.lag.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    pub fn lag_records(&self) -> u64 {
        u64::try_from(self.lag.get()).unwrap_or(0)
    }

    pub fn last_commit(&self) -> Duration {
        Duration::from_micros(self.last_commit_us.load(Ordering::Relaxed))
    }
}
