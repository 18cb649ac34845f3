//! What is counted for each site.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::Failure;

#[derive(Clone)]
pub struct Metrics {
    attempts: Family<Labels, Counter>,
    in_flight: Family<Labels, Gauge>,
    failures: Family<FailureLabels, Counter>,
    first_byte: Family<Labels, Histogram, fn() -> Histogram>,
}

/// The counters of one site, found once.
pub struct Meter {
    pub attempts: Counter,
    pub in_flight: Gauge,
    pub first_byte: Histogram,
    failures: Family<FailureLabels, Counter>,
    site: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    site: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    site: Arc<str>,
    kind: &'static str,
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            attempts: Family::default(),
            in_flight: Family::default(),
            failures: Family::default(),
            first_byte: Family::new_with_constructor(|| Histogram::new(FIRST_BYTE_S)),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        let in_flight = "requests under way to the site";
        let first_byte = "seconds from the request to the head of the answer";
        registry.register(
            "haetae_site_attempts",
            "attempts to send a request to the site",
            self.attempts.clone(),
        );
        registry.register("haetae_site_in_flight", in_flight, self.in_flight.clone());
        registry.register("haetae_site_failures", "failed attempts by kind", self.failures.clone());
        registry.register("haetae_site_first_byte_seconds", first_byte, self.first_byte.clone());
    }

    pub fn meter(&self, site: &Arc<str>) -> Meter {
        let labels = Labels { site: Arc::clone(site) };
        Meter {
            attempts: self.attempts.get_or_create(&labels).clone(),
            in_flight: self.in_flight.get_or_create(&labels).clone(),
            first_byte: self.first_byte.get_or_create(&labels).clone(),
            failures: self.failures.clone(),
            site: Arc::clone(site),
        }
    }
}

impl Meter {
    pub fn failed(&self, failure: Failure) {
        let labels = FailureLabels { site: Arc::clone(&self.site), kind: failure.code() };
        self.failures.get_or_create(&labels).inc();
    }

    pub fn answered(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }
}

/// From a cached prompt in the same room to a long generation that is not streamed.
const FIRST_BYTE_S: [f64; 12] =
    [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
