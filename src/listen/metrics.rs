//! Counters of the wire, labelled by listener.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::places::Full;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    listener: &'static str,
    kind: &'static str,
}

/// The families of all listeners; register them once.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    open: Family<Of, Gauge>,
    accepted: Family<Of, Counter>,
    refused: Family<Of, Counter>,
    over_share: Family<Of, Counter>,
    stalled: Family<Of, Counter>,
    handshake_failures: Family<Kind, Counter>,
    faults: Family<Kind, Counter>,
    reloads: Family<Kind, Counter>,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("haetae_connections_open", "connections now open", self.open.clone());
        registry.register("haetae_connections_accepted", "accepted", self.accepted.clone());
        registry.register(
            "haetae_connections_refused",
            "closed at once because the cap was reached",
            self.refused.clone(),
        );
        registry.register(
            "haetae_connections_over_share",
            "closed at once because their network had its share",
            self.over_share.clone(),
        );
        registry.register(
            "haetae_streams_stalled",
            "HTTP/2 streams reset because their client took nothing of the answer",
            self.stalled.clone(),
        );
        registry.register(
            "haetae_handshake_failures",
            "TLS handshakes that failed, by kind",
            self.handshake_failures.clone(),
        );
        registry.register(
            "haetae_framing_faults",
            "requests refused below HTTP, by rule",
            self.faults.clone(),
        );
        registry.register(
            "haetae_certificate_reloads",
            "new certificate files taken or rejected",
            self.reloads.clone(),
        );
    }

    pub(super) fn of(&self, listener: &'static str) -> Counters {
        let of = Of { listener };
        Counters {
            open: self.open.get_or_create_owned(&of),
            accepted: self.accepted.get_or_create_owned(&of),
            refused: self.refused.get_or_create_owned(&of),
            over_share: self.over_share.get_or_create_owned(&of),
            stalled: self.stalled.get_or_create_owned(&of),
            listener,
            families: self.clone(),
        }
    }
}

/// One listener's own: looked up once, so that counting is an atomic add.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    pub open: Gauge,
    pub accepted: Counter,
    refused: Counter,
    over_share: Counter,
    pub stalled: Counter,
    listener: &'static str,
    families: Metrics,
}

impl Counters {
    pub fn refused(&self, full: Full) {
        match full {
            Full::All => self.refused.inc(),
            Full::Network => self.over_share.inc(),
        };
    }

    pub fn handshake_failure(&self, kind: &'static str) {
        self.count(&self.families.handshake_failures, kind);
    }

    pub fn fault(&self, kind: &'static str) {
        self.count(&self.families.faults, kind);
    }

    pub fn reload(&self, kind: &'static str) {
        self.count(&self.families.reloads, kind);
    }

    fn count(&self, family: &Family<Kind, Counter>, kind: &'static str) {
        family.get_or_create(&Kind { listener: self.listener, kind }).inc();
    }
}
