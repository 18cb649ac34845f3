//! What people did, as the database has it, held against what the log tells of it: both ways, where every act was always told.
//!
//! *Invariant:* no honest database differs. An act and its row in `log_outbox` are one transaction, and so are its record and the mark
//! of that row: in one snapshot each act has its record, or waits for it. Left alone are versions of the facts that no record names
//! (lanes pass over some), those without a change (a failover lost it), and orders of a directory (not told before migration 0028).

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Finding, NO_LANE, What, walk::At};
use crate::audit::{AuditError, row::Leaf};

mod store;

/// What records tell of acts and of versions of the facts, each with its place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// As they stand in `log_outbox`.
    events: Vec<(Uuid, At)>,
    /// Version, digest, and whether it is said who, where it must be.
    facts: Vec<(i64, Option<String>, bool, At)>,
    /// Id and version of the facts.
    orders: Vec<((String, i64), At)>,
    /// Versions that brought a bundle into force.
    policies: Vec<(i64, At)>,
    /// Held decisions.
    holds: Vec<(Uuid, At)>,
}

impl Told {
    pub fn gather(&mut self, leaf: &Leaf<'_>, at: &At) {
        let event = leaf.event.as_deref().and_then(|event| event.parse().ok());
        self.events.extend(event.map(|event| (event, at.clone())));
        let act = leaf.act.as_deref().unwrap_or_default();
        match &*leaf.kind {
            "fact_change" => self.fact(leaf, leaf.actor.is_some(), at),
            // It does not say who made the version in which it found the facts, and says no digest where no change of the registry did.
            "lane_open" if leaf.digest.is_some() => self.fact(leaf, true, at),
            "order" if act != "removed" => {
                let order = leaf.order.as_deref().map(ToOwned::to_owned);
                let order = order.zip(leaf.fact_version).filter(|_| event.is_some());
                self.orders.extend(order.map(|order| (order, at.clone())));
            }
            "policy_change" | "override" if ENACTS.contains(&act) => {
                self.policies.extend(leaf.version.map(|version| (version, at.clone())));
            }
            "hold_resolved" => {
                let hold = leaf.hold.as_deref().and_then(|hold| hold.parse().ok());
                self.holds.extend(hold.map(|hold| (hold, at.clone())));
            }
            _ => {}
        }
    }

    fn fact(&mut self, leaf: &Leaf<'_>, is_whole: bool, at: &At) {
        let digest = leaf.digest.as_deref().map(ToOwned::to_owned);
        self.facts.extend(leaf.version.map(|version| (version, digest, is_whole, at.clone())));
    }

    /// Takes over those of another lane, or of a later part.
    pub fn join(&mut self, other: Self) {
        self.events.extend(other.events);
        self.facts.extend(other.facts);
        self.orders.extend(other.orders);
        self.policies.extend(other.policies);
        self.holds.extend(other.holds);
    }

    /// Holds them against what stands in the database in this snapshot.
    pub async fn check(
        self,
        connection: &mut PgConnection,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let kept = store::acts(connection).await?;
        facts(&self.facts, &kept.versions, findings);
        let order = |(id, version): &(String, i64)| format!("order `{id}` of version {version}");
        both(&self.orders, &kept.orders, &kept.waiting.orders, order, findings);
        let policy =
            |version: &i64| format!("the bundle that came into force in version {version}");
        both(&self.policies, &kept.policies, &kept.waiting.policies, policy, findings);
        let hold = |hold: &Uuid| format!("what became of the held decision {hold}");
        both(&self.holds, &kept.holds, &kept.waiting.holds, hold, findings);
        events(&self.events, &kept, findings);
        Ok(())
    }
}

/// What stands in the database, and what of it waits to be told.
#[derive(Debug, Default)]
struct Kept {
    /// Digests of the registry's changes, by version.
    versions: BTreeMap<i64, Vec<u8>>,
    /// Those that were entered or ended by themselves, and (false) those of a directory.
    orders: BTreeMap<(String, i64), bool>,
    policies: BTreeMap<i64, bool>,
    holds: BTreeMap<Uuid, bool>,
    /// Acts, and the lane that each was written into.
    events: BTreeMap<Uuid, Option<u16>>,
    waiting: Waiting,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: BTreeSet<(String, i64)>,
    policies: BTreeSet<i64>,
    holds: BTreeSet<Uuid>,
}

/// The digest beside a change is that which the log told when its version came into force.
fn facts(
    told: &[(i64, Option<String>, bool, At)],
    versions: &BTreeMap<i64, Vec<u8>>,
    findings: &mut Vec<Finding>,
) {
    for (version, digest, who, at) in told {
        let Some(kept) = versions.get(version) else { continue };
        let about = match digest {
            Some(digest) if *digest == STANDARD.encode(kept) && *who => continue,
            Some(_) if *who => format!(
                "the registry has another digest beside version {version} of the facts than this record: its entries are not those that \
                 were applied"
            ),
            _ => format!(
                "the registry has a change that made version {version} of the facts, and this record does not say who made it and what"
            ),
        };
        findings.push(at.finding(What::Row, about));
    }
}

/// Each that stands there (and must be told) is told or waits for it, and each that is told stands there.
fn both<T: Ord>(
    told: &[(T, At)],
    kept: &BTreeMap<T, bool>,
    waiting: &BTreeSet<T>,
    name: impl Fn(&T) -> String,
    findings: &mut Vec<Finding>,
) {
    let known: BTreeSet<&T> = told.iter().map(|(one, _)| one).collect();
    for (one, _) in kept.iter().filter(|(_, must)| **must) {
        if !known.contains(one) && !waiting.contains(one) {
            let about = format!("{}: it stands in the database, and no record tells it", name(one));
            findings.push(missing(NO_LANE, about));
        }
    }
    for (one, at) in told.iter().filter(|(one, _)| !kept.contains_key(one)) {
        let about =
            format!("{}: the record tells it, and the database does not have it", name(one));
        findings.push(at.finding(What::Row, about));
    }
}

/// Each act that is marked as written has a record, and each record of an act its row.
fn events(told: &[(Uuid, At)], kept: &Kept, findings: &mut Vec<Finding>) {
    let known: BTreeSet<&Uuid> = told.iter().map(|(event, _)| event).collect();
    for (event, lane) in &kept.events {
        if let Some(lane) = lane.filter(|_| !known.contains(event)) {
            let about =
                format!("the act {event} is marked as written into it, and no record tells it");
            findings.push(missing(lane, about));
        }
    }
    for (event, at) in told.iter().filter(|(event, _)| !kept.events.contains_key(event)) {
        let about = format!("the act {event} that it tells is not in `log_outbox`");
        findings.push(at.finding(What::Row, about));
    }
}

fn missing(lane: u16, about: String) -> Finding {
    Finding { lane, index: None, id: None, what: What::Missing, about }
}

/// `act` of a record that tells which bundle came into force.
const ENACTS: [&str; 4] = ["activate", "rollback", "break_glass", "fall_back"];
