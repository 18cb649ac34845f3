//! Counters of this room. No caller, token or organisation is a label.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::CallerError;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fetch {
    issuer: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    hits: Counter,
    refused: Family<Code, Counter>,
    fetches: Family<Fetch, Counter>,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "haetae_caller_cache_hits",
            "credentials known from before",
            self.hits.clone(),
        );
        registry.register(
            "haetae_caller_refused",
            "callers not known, by code",
            self.refused.clone(),
        );
        registry.register(
            "haetae_issuer_key_fetches",
            "reads of an issuer's key set, by outcome",
            self.fetches.clone(),
        );
    }

    pub fn hit(&self) {
        self.hits.inc();
    }

    pub fn refused(&self, error: CallerError) {
        self.refused.get_or_create(&Code { code: error.code() }).inc();
    }

    pub fn fetched(&self, issuer: &str, outcome: &'static str) {
        self.fetches.get_or_create(&Fetch { issuer: issuer.to_owned(), outcome }).inc();
    }
}
