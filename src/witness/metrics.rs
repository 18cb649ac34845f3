//! What the witness counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::mirror::Seen;
use super::room::Share;
use super::trouble::Kind;
use crate::telemetry::Why;

/// Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    cosigned: Counter,
    refused: Family<Why, Counter>,
    alarms: Family<Why, Counter>,
    mirrored: Family<OfLog, Gauge>,
    judged: Family<OfLog, Gauge>,
    published: Family<OfLog, Gauge>,
    age: Family<OfLog, Gauge>,
    room_bytes: Gauge,
    room_short: Gauge,
    used: Family<OfLog, Gauge>,
    share: Family<OfLog, Gauge>,
    over_share: Family<OfLog, Gauge>,
    trouble: Family<OfTrouble, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLog {
    log: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrouble {
    log: String,
    kind: &'static str,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("haetae_witness");
        registry.register("cosigned", "Checkpoints cosigned", self.cosigned.clone());
        registry.register("refused", "Checkpoints not cosigned", self.refused.clone());
        registry.register("alarms", "What was found wrong", self.alarms.clone());
        registry.register("published_records", "Newest published size", self.published.clone());
        registry.register("mirrored_records", "Records in the mirror", self.mirrored.clone());
        registry.register("judged_records", "Records read and judged", self.judged.clone());
        registry.register("mirror_age_seconds", "Since a round without trouble", self.age.clone());
        registry.register("room_bytes", "Free where the state lies", self.room_bytes.clone());
        registry.register("room_short", "1 while mirrors wait for room", self.room_short.clone());
        registry.register("room_used_bytes", "Taken by the mirror of a log", self.used.clone());
        let about = "What the mirror of a log may take of the room of all";
        registry.register("room_share_bytes", about, self.share.clone());
        let about = "1 while the mirror of a log waits, having more than its share";
        registry.register("room_over_share", about, self.over_share.clone());
        let about = "1 while this keeps a log from being mirrored";
        registry.register("mirror_trouble", about, self.trouble.clone());
    }

    pub fn cosigned(&self) {
        self.cosigned.inc();
    }

    pub fn refused(&self, why: &'static str) {
        self.refused.get_or_create(&Why { why }).inc();
    }

    pub fn alarms(&self) -> Family<Why, Counter> {
        self.alarms.clone()
    }

    pub fn room(&self, free_bytes: u64, is_short: bool) {
        self.room_bytes.set(number(free_bytes));
        self.room_short.set(is_short.into());
    }

    pub fn share(&self, log: &str, share: Share) {
        let of = OfLog { log: log.to_owned() };
        self.used.get_or_create(&of).set(number(share.used_bytes));
        self.share.get_or_create(&of).set(number(share.max_bytes));
        self.over_share.get_or_create(&of).set(share.is_over.into());
    }

    pub fn mirrored(&self, log: &str, seen: &Seen, now_s: i64) {
        let of = OfLog { log: log.to_owned() };
        self.published.get_or_create(&of).set(number(seen.published));
        self.mirrored.get_or_create(&of).set(number(seen.mirrored));
        self.judged.get_or_create(&of).set(number(seen.judged));
        if let Some(checked) = seen.checked_s {
            self.age.get_or_create(&of).set(now_s - checked);
        }
        let standing = seen.trouble.as_ref().map(|standing| standing.trouble.kind);
        for kind in Kind::ALL {
            let of = OfTrouble { log: log.to_owned(), kind: kind.code() };
            self.trouble.get_or_create(&of).set((standing == Some(kind)).into());
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
