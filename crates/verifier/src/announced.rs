//! Which bundles may have decided: those that the log itself says came into force and, when the reviewer was told which were
//! approved, none but those.

use std::{collections::BTreeSet, sync::LazyLock};

use sha2::{Digest as _, Sha256};
use verdict::Rulebook;

use crate::{
    export::Digest,
    finding::{Place, RecordFault},
    record::Record,
};

#[derive(Default)]
pub(crate) struct Announced {
    approved: Option<BTreeSet<Digest>>,
    in_force: BTreeSet<Digest>,
    /// Decided before it was announced, as far as is known: perhaps another lane says it.
    waiting: Vec<(Digest, Place, i64)>,
    /// Said once each, as far as they are remembered.
    told: BTreeSet<Digest>,
}

impl Announced {
    pub(crate) fn new(approved: Option<Vec<Digest>>) -> Self {
        let approved = approved.map(|all| all.into_iter().collect());
        Self { approved, ..Self::default() }
    }

    pub(crate) fn learn(&mut self, digest: Digest) {
        if self.in_force.len() < BUNDLES_MAX {
            self.in_force.insert(digest);
        }
        let before = self.waiting.len();
        self.waiting.retain(|(waits, ..)| *waits != digest);
        if self.waiting.len() < before && self.in_force.contains(&digest) {
            self.told.remove(&digest); // makes room for one that nobody announces
        }
    }

    pub(crate) fn known(&self) -> impl Iterator<Item = &Digest> {
        self.in_force.iter()
    }

    /// Learns from a record that puts a bundle into force; doubts a decision under one that is not approved.
    pub(crate) fn record(
        &mut self,
        record: &Record,
        place: &Place,
        now_ns: i64,
    ) -> Option<RecordFault> {
        let digest = record.digest("bundle")?;
        match record.kind.as_str() {
            "policy_change" | "override" if puts_into_force(record) => {
                self.learn(digest);
                None
            }
            "decision" | "preflight" if !needs_none(record, &digest) => {
                self.decided(digest, place, now_ns)
            }
            _ => None,
        }
    }

    /// What was decided under a bundle that nobody announced, since long enough.
    pub(crate) fn settle(
        &mut self,
        late: impl Fn(&Place, i64) -> bool,
    ) -> Vec<(Place, RecordFault)> {
        let late = self.waiting.extract_if(.., |(_, place, since)| late(place, *since));
        late.map(|(digest, place, _)| (place, RecordFault::BundleUnknown { digest })).collect()
    }

    /// Bundles that are not announced, as far as is known.
    pub(crate) fn waiting(&self) -> Vec<Digest> {
        self.waiting.iter().map(|(digest, ..)| *digest).collect()
    }

    fn decided(&mut self, digest: Digest, place: &Place, now_ns: i64) -> Option<RecordFault> {
        let approved = self.approved.as_ref().is_none_or(|approved| approved.contains(&digest));
        if !approved {
            return self.tell(digest).then_some(RecordFault::BundleNotApproved { digest });
        }
        let unknown = !self.in_force.contains(&digest) && !self.told.contains(&digest);
        if unknown && self.waiting.len() < BUNDLES_MAX {
            self.tell(digest);
            self.waiting.push((digest, place.clone(), now_ns));
        }
        None
    }

    /// Whether it was not told. Of very many some are told again: none is passed over because of others.
    fn tell(&mut self, digest: Digest) -> bool {
        if self.told.contains(&digest) {
            return false;
        }
        if self.told.len() >= BUNDLES_MAX {
            self.told.pop_first();
        }
        self.told.insert(digest)
    }
}

/// An act that has no `act`, or one of those after which decisions rest on the bundle.
fn puts_into_force(record: &Record) -> bool {
    record.text("act").is_none_or(|act| IN_FORCE.contains(&act))
}

/// A refusal without a bundle: none was at hand, be that its reason or not (what cannot be read is refused either way).
fn needs_none(record: &Record, digest: &Digest) -> bool {
    let unavailable = || record.text("reason") == Some(NO_BUNDLE);
    record.text("outcome") == Some(DENY) && (*digest == *NONE || unavailable())
}

/// Of the rulebook that has no rule.
static NONE: LazyLock<Digest> = LazyLock::new(|| {
    let text = verdict::canonical(Rulebook::none().book()).unwrap_or_default();
    Digest(Sha256::digest(text).into())
});
const DENY: &str = "DENY";
const IN_FORCE: [&str; 4] = ["activate", "rollback", "break_glass", "fall_back"];
/// The reason of a refusal that no bundle was at hand for.
const NO_BUNDLE: &str = "POLICY_UNAVAILABLE";
/// More than a deployment sees in ten years of a change a day.
const BUNDLES_MAX: usize = 4_096;
