//! A leaf read back, and the row that repeats it in a query table (docs/record.md, "Rows").
//!
//! *Invariant:* a row is a function of its leaf alone; flows are a function of their `detail` and `facts` alone.

use std::{borrow::Cow, ops::Deref};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tlog::Hash;
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
pub(super) struct Leaf<'l> {
    pub v: u64,
    #[serde(borrow)]
    pub kind: Text<'l>,
    #[serde(borrow)]
    pub id: Text<'l>,
    pub lane: u64,
    pub index: u64,
    pub epoch: u64,
    #[serde(borrow)]
    pub at: Text<'l>,
    pub version: Option<i64>,
    pub fact_version: Option<i64>,
    #[serde(borrow)]
    pub key: Option<Text<'l>>,
    pub heads: Vec<HeadRow>,
    /// Of a `rollback`: the lane that ended, what was known of it, what was found.
    pub of: Option<u16>,
    pub size: Option<u64>,
    pub found: Option<u64>,
    #[serde(borrow)]
    pub decision: Option<Text<'l>>,
    /// Of an act, and of a `fact_change`.
    #[serde(borrow)]
    pub event: Option<Text<'l>>,
    #[serde(borrow)]
    pub act: Option<Text<'l>>,
    #[serde(borrow)]
    pub order: Option<Text<'l>>,
    #[serde(borrow)]
    pub hold: Option<Text<'l>>,
    /// Of a `lane_open` too.
    #[serde(borrow)]
    pub digest: Option<Text<'l>>,
    #[serde(borrow)]
    org: Option<Text<'l>>,
    #[serde(borrow)]
    pub actor: Option<Text<'l>>,
    #[serde(borrow)]
    pub outcome: Option<Text<'l>>,
    #[serde(borrow)]
    reason: Option<Text<'l>>,
    #[serde(borrow)]
    rule: Option<Text<'l>>,
    #[serde(borrow)]
    site: Option<Text<'l>>,
    #[serde(borrow)]
    service: Option<Text<'l>>,
    #[serde(borrow)]
    operation: Option<Text<'l>>,
    #[serde(borrow)]
    issuer: Option<Text<'l>>,
    #[serde(borrow)]
    pub facts: Option<Text<'l>>,
    #[serde(borrow)]
    pub detail: Option<Text<'l>>,
    #[serde(borrow)]
    pub bundle: Option<Text<'l>>,
    #[serde(borrow)]
    identity: Option<Text<'l>>,
    #[serde(borrow)]
    how: Option<Text<'l>>,
    status: Option<i32>,
    bytes_out: Option<i64>,
    bytes_back: Option<i64>,
    duration_ms: Option<i64>,
    #[serde(borrow)]
    why: Option<Text<'l>>,
}

/// A text of a leaf: where it stands in the leaf's bytes, unless something in it is escaped.
// In a type of its own, because serde copies an `Option<Cow<str>>`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Text<'l>(#[serde(borrow)] pub Cow<'l, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct HeadRow {
    pub lane: u16,
    pub size: u64,
    pub root: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<'l> {
    Decision(DecisionRow<'l>),
    Started(StartedRow<'l>),
    Ended(EndedRow<'l>),
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
pub(super) struct DecisionRow<'l> {
    pub place: Place,
    pub org: Cow<'l, str>,
    pub actor: Vec<u8>,
    pub outcome: Cow<'l, str>,
    pub reason: Cow<'l, str>,
    pub rule: Option<Cow<'l, str>>,
    pub site: Option<Cow<'l, str>>,
    pub service: Cow<'l, str>,
    pub operation: Cow<'l, str>,
    pub issuer: Option<Cow<'l, str>>,
    pub facts: Vec<u8>,
    pub detail: Vec<u8>,
    pub bundle: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartedRow<'l> {
    pub place: Place,
    pub decision: Uuid,
    pub identity: Cow<'l, str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndedRow<'l> {
    pub place: Place,
    pub decision: Uuid,
    pub how: Cow<'l, str>,
    pub status: Option<i32>,
    pub bytes_out: i64,
    pub bytes_back: i64,
    pub duration_ms: i64,
    pub why: Option<Cow<'l, str>>,
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

impl<'l> Leaf<'l> {
    pub fn read(bytes: &'l [u8]) -> Result<Self, String> {
        // One look at the encoding for all of its texts.
        let text = std::str::from_utf8(bytes).map_err(|cause| cause.to_string())?;
        serde_json::from_str(text).map_err(|cause| cause.to_string())
    }

    /// Whether it says that it is of this organisation.
    pub fn is_of(&self, org: &str) -> bool {
        self.org.as_deref() == Some(org)
    }

    /// The row of this leaf; `Ok(None)` for kinds that have none, an error when a key that the row needs is absent.
    pub fn row(self) -> Result<Option<Row<'l>>, String> {
        match &*self.kind {
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

    fn decision_row(self) -> Result<DecisionRow<'l>, String> {
        Ok(DecisionRow {
            place: self.place()?,
            org: need(self.org, "org")?.0,
            actor: digest(self.actor.as_ref(), "actor")?,
            outcome: need(self.outcome, "outcome")?.0,
            reason: need(self.reason, "reason")?.0,
            rule: self.rule.map(|text| text.0),
            site: self.site.map(|text| text.0),
            service: need(self.service, "service")?.0,
            operation: need(self.operation, "operation")?.0,
            issuer: self.issuer.map(|text| text.0),
            facts: digest(self.facts.as_ref(), "facts")?,
            detail: digest(self.detail.as_ref(), "detail")?,
            bundle: digest(self.bundle.as_ref(), "bundle")?,
        })
    }

    fn started_row(self) -> Result<StartedRow<'l>, String> {
        Ok(StartedRow {
            place: self.place()?,
            decision: uuid(self.decision.as_ref())?,
            identity: need(self.identity, "identity")?.0,
        })
    }

    fn ended_row(self) -> Result<EndedRow<'l>, String> {
        Ok(EndedRow {
            place: self.place()?,
            decision: uuid(self.decision.as_ref())?,
            how: need(self.how, "how")?.0,
            status: self.status,
            bytes_out: need(self.bytes_out, "bytes_out")?,
            bytes_back: need(self.bytes_back, "bytes_back")?,
            duration_ms: need(self.duration_ms, "duration_ms")?,
            why: self.why.map(|text| text.0),
        })
    }
}

impl Row<'_> {
    pub const fn place(&self) -> &Place {
        match self {
            Self::Decision(row) => &row.place,
            Self::Started(row) => &row.place,
            Self::Ended(row) => &row.place,
        }
    }

    /// Every text of the row.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::Decision(row) => [
                Some(&row.org),
                Some(&row.outcome),
                Some(&row.reason),
                Some(&row.service),
                Some(&row.operation),
                row.rule.as_ref(),
                row.site.as_ref(),
                row.issuer.as_ref(),
            ],
            Self::Started(row) => [Some(&row.identity), None, None, None, None, None, None, None],
            Self::Ended(row) => {
                [Some(&row.how), row.why.as_ref(), None, None, None, None, None, None]
            }
        };
        texts.into_iter().flatten().map(|text| &**text)
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
    // Both places share an index entry.
    let places = |row: &FlowRow| row.to.len() + row.from.as_ref().map_or(0, String::len);
    rows.retain(|row| row.texts().all(is_kept) && places(row) <= TEXT_MAX);
    rows.sort();
    rows.dedup();
    rows
}

/// Whether a query table takes a text: none that is written is longer, Postgres has none with a NUL, and of its indexes an entry
/// is not to be longer than 2,700 bytes.
pub(super) fn is_kept(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.contains('\0')
}

/// Bytes: a SPIFFE id has at most so many.
const TEXT_MAX: usize = 2_048;

impl FlowRow {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let whole = [&self.component, &self.regime, &self.flow, &self.to, &self.outcome];
        let others = [self.from.as_ref(), self.entity.as_ref()];
        whole.into_iter().chain(others.into_iter().flatten()).map(String::as_str)
    }
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

fn uuid(value: Option<&Text<'_>>) -> Result<Uuid, String> {
    need(value, "decision")?.parse().map_err(|_| "`decision` is not a UUID".to_owned())
}

fn digest(value: Option<&Text<'_>>, key: &str) -> Result<Vec<u8>, String> {
    let hash = need(value, key)?.parse::<Hash>();
    hash.map(|hash| hash.0.to_vec()).map_err(|_| format!("`{key}` is not a digest"))
}
