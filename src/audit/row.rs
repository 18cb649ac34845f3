//! A leaf read back, and the row that repeats it in a query table (docs/record.md, "Rows").
//!
//! *Invariant:* a row is a function of its leaf alone; flows are a function of their `detail` and `facts` alone.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use uuid::Uuid;
use verdict::{
    decision::{CellOutcome, Flow},
    facts::{Facts, Judgement},
    question::{Component, Entity, Site},
};

use super::instant;

/// A leaf of any kind, as far as this program reads leaves. Keys it does not know are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Leaf {
    pub v: u64,
    pub kind: String,
    pub id: String,
    pub lane: u64,
    pub index: u64,
    pub epoch: u64,
    pub at: String,
    pub version: Option<i64>,
    pub fact_version: Option<i64>,
    pub key: Option<String>,
    pub heads: Vec<HeadRow>,
    /// Of a `rollback`: the lane that ended, what was known of it, what was found.
    pub of: Option<u16>,
    pub size: Option<u64>,
    pub found: Option<u64>,
    pub decision: Option<String>,
    org: Option<String>,
    actor: Option<String>,
    pub outcome: Option<String>,
    reason: Option<String>,
    rule: Option<String>,
    site: Option<String>,
    service: Option<String>,
    operation: Option<String>,
    issuer: Option<String>,
    pub facts: Option<String>,
    pub detail: Option<String>,
    pub bundle: Option<String>,
    identity: Option<String>,
    how: Option<String>,
    status: Option<i32>,
    bytes_out: Option<i64>,
    bytes_back: Option<i64>,
    duration_ms: Option<i64>,
    why: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct HeadRow {
    pub lane: u16,
    pub size: u64,
    pub root: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Decision(DecisionRow),
    Started(StartedRow),
    Ended(EndedRow),
}

/// Where the row's leaf stands, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub lane: i32,
    pub index: i64,
    pub id: Uuid,
    pub at_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecisionRow {
    pub place: Place,
    pub org: String,
    pub actor: Vec<u8>,
    pub outcome: String,
    pub reason: String,
    pub rule: Option<String>,
    pub site: Option<String>,
    pub service: String,
    pub operation: String,
    pub issuer: Option<String>,
    pub facts: Vec<u8>,
    pub detail: Vec<u8>,
    pub bundle: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartedRow {
    pub place: Place,
    pub decision: Uuid,
    pub identity: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndedRow {
    pub place: Place,
    pub decision: Uuid,
    pub how: String,
    pub status: Option<i32>,
    pub bytes_out: i64,
    pub bytes_back: i64,
    pub duration_ms: i64,
    pub why: Option<String>,
}

/// One cell of a decision as a movement: what goes from where to where, to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowRow {
    pub component: String,
    pub regime: String,
    pub flow: String,
    pub from: Option<String>,
    pub to: String,
    pub entity: Option<String>,
    pub outcome: String,
}

impl Leaf {
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|cause| cause.to_string())
    }

    /// The row of this leaf; `Ok(None)` for kinds that have none, an error when a key that the row needs is absent.
    pub fn row(self) -> Result<Option<Row>, String> {
        match self.kind.as_str() {
            "decision" => self.decision_row().map(|row| Some(Row::Decision(row))),
            "started" => self.started_row().map(|row| Some(Row::Started(row))),
            "ended" => self.ended_row().map(|row| Some(Row::Ended(row))),
            _ => Ok(None),
        }
    }

    fn place(&self) -> Result<Place, String> {
        Ok(Place {
            lane: i32::try_from(self.lane).map_err(|_| "`lane` is too large")?,
            index: i64::try_from(self.index).map_err(|_| "`index` is too large")?,
            id: self.id.parse().map_err(|_| "`id` is not a UUID")?,
            at_ns: instant::read(&self.at).ok_or("`at` is not an instant")?,
        })
    }

    fn decision_row(self) -> Result<DecisionRow, String> {
        Ok(DecisionRow {
            place: self.place()?,
            org: need(self.org, "org")?,
            actor: digest(self.actor, "actor")?,
            outcome: need(self.outcome, "outcome")?,
            reason: need(self.reason, "reason")?,
            rule: self.rule,
            site: self.site,
            service: need(self.service, "service")?,
            operation: need(self.operation, "operation")?,
            issuer: self.issuer,
            facts: digest(self.facts, "facts")?,
            detail: digest(self.detail, "detail")?,
            bundle: digest(self.bundle, "bundle")?,
        })
    }

    fn started_row(self) -> Result<StartedRow, String> {
        Ok(StartedRow {
            place: self.place()?,
            decision: uuid(self.decision)?,
            identity: need(self.identity, "identity")?,
        })
    }

    fn ended_row(self) -> Result<EndedRow, String> {
        Ok(EndedRow {
            place: self.place()?,
            decision: uuid(self.decision)?,
            how: need(self.how, "how")?,
            status: self.status,
            bytes_out: need(self.bytes_out, "bytes_out")?,
            bytes_back: need(self.bytes_back, "bytes_back")?,
            duration_ms: need(self.duration_ms, "duration_ms")?,
            why: self.why,
        })
    }
}

impl Row {
    pub const fn place(&self) -> &Place {
        match self {
            Self::Decision(row) => &row.place,
            Self::Started(row) => &row.place,
            Self::Ended(row) => &row.place,
        }
    }

    /// The row under the leaf's own keys, for the export.
    pub fn json(&self) -> serde_json::Value {
        let place = self.place();
        let mut row = serde_json::json!({
            "lane": place.lane, "index": place.index, "id": place.id.to_string(), "at": instant::text(place.at_ns),
        });
        let more = match self {
            Self::Decision(row) => serde_json::json!({
                "kind": "decision", "org": row.org, "actor": STANDARD.encode(&row.actor), "outcome": row.outcome,
                "reason": row.reason, "rule": row.rule, "site": row.site, "service": row.service,
                "operation": row.operation, "issuer": row.issuer, "facts": STANDARD.encode(&row.facts),
                "detail": STANDARD.encode(&row.detail), "bundle": STANDARD.encode(&row.bundle),
            }),
            Self::Started(row) => serde_json::json!({
                "kind": "started", "decision": row.decision.to_string(), "identity": row.identity,
            }),
            Self::Ended(row) => serde_json::json!({
                "kind": "ended", "decision": row.decision.to_string(), "how": row.how, "status": row.status,
                "bytes_out": row.bytes_out, "bytes_back": row.bytes_back, "duration_ms": row.duration_ms,
                "why": row.why,
            }),
        };
        if let (Some(row), serde_json::Value::Object(more)) = (row.as_object_mut(), more) {
            row.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
        }
        row
    }
}

/// The flows of a judgement, from the facts it was made of. Empty when the texts are not what they should be: the
/// verifier says so where it judges again.
pub(super) fn flows(detail: &[u8], facts: &[u8]) -> Vec<FlowRow> {
    let (Ok(detail), Ok(facts)) =
        (serde_json::from_slice::<Judgement>(detail), serde_json::from_slice::<Facts>(facts))
    else {
        return Vec::new();
    };
    let told = &detail.decision;
    let same = |facts_digest: &str| facts_digest == told.facts_digest;
    let chosen = detail.candidates.iter().find(|candidate| same(&candidate.decision.facts_digest));
    let is_chosen = |site: &&Site| site.id.as_deref() == chosen.map(|one| one.site.as_str());
    let site = facts.sites.iter().find(is_chosen);
    let mut rows: Vec<_> = told.cells.iter().map(|cell| flow(cell, &facts, site)).collect();
    rows.sort();
    rows.dedup();
    rows
}

fn flow(cell: &CellOutcome, facts: &Facts, site: Option<&Site>) -> FlowRow {
    let of_cell = |component: &&Component| component.dataset.as_deref() == Some(&cell.at.component);
    let component = facts.question.components.iter().find(of_cell);
    let from = component.and_then(|one| one.from.clone().or_else(|| one.origins.first().cloned()));
    let question = &facts.question;
    let entity = match cell.at.flow {
        Flow::Result => question.recipient.entity.clone(),
        Flow::Onward => {
            let there =
                |one: &&verdict::question::Onward| one.place.as_deref() == Some(&cell.at.to);
            question.onward.iter().find(there).and_then(|one| one.entity.as_ref()).and_then(name)
        }
        Flow::SubProcessor => site.and_then(|site| {
            let mut there = site.sub_processors.iter();
            there
                .find(|one| one.place.as_deref() == Some(&cell.at.to))
                .and_then(|one| one.entity.clone())
        }),
        Flow::OperatorAccess => site.and_then(|site| {
            let mut there = site.remote_access.iter();
            let found = there.find(|one| one.place.as_deref() == Some(&cell.at.to));
            found.and_then(|one| one.entity.as_ref()).and_then(name)
        }),
        Flow::Compute | Flow::Copy | Flow::Telemetry | Flow::ControlPlane => site
            .and_then(|site| site.operator.as_ref())
            .and_then(|operator| operator.entity.clone()),
    };
    FlowRow {
        component: cell.at.component.clone(),
        regime: cell.at.regime.clone(),
        flow: published(&cell.at.flow),
        from,
        to: cell.at.to.clone(),
        entity,
        outcome: published(&cell.outcome),
    }
}

fn name(entity: &Entity) -> Option<String> {
    match entity {
        Entity::Name(name) => Some(name.clone()),
        Entity::Party(party) => party.entity.clone(),
    }
}

/// A unit variant under its published name.
fn published<T: serde::Serialize>(value: &T) -> String {
    let text = serde_json::to_value(value).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("`{key}` is missing"))
}

fn uuid(value: Option<String>) -> Result<Uuid, String> {
    need(value, "decision")?.parse().map_err(|_| "`decision` is not a UUID".to_owned())
}

fn digest(value: Option<String>, key: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(need(value, key)?).ok().filter(|bytes| bytes.len() == 32);
    bytes.ok_or_else(|| format!("`{key}` is not a digest"))
}
