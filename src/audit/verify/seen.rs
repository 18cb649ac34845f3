//! A leaf as the walk needs it, without a copy: for the kinds of which a log is made. All others take the slow reader.

use uuid::Uuid;

use super::canonical::{Value, members};
use super::tuple::{self, Tuple};
use crate::audit::instant;

/// A decision, its start or its end, in canonical form and of version 1.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub what: Hot,
    pub id: Uuid,
    pub lane: u64,
    pub index: u64,
    pub epoch: u64,
    pub at_ns: i64,
    /// Of a decision.
    pub fact_version: Option<i64>,
    fields: Fields<'a>,
}

/// The kinds that have rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hot {
    Decision,
    Started,
    Ended,
}

#[derive(Debug, Default)]
struct Fields<'a> {
    v: Option<u64>,
    kind: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    lane: Option<u64>,
    index: Option<u64>,
    epoch: Option<u64>,
    at: Option<&'a [u8]>,
    fact_version: Option<u64>,
    decision: Option<&'a [u8]>,
    org: Option<&'a [u8]>,
    actor: Option<&'a [u8]>,
    outcome: Option<&'a [u8]>,
    reason: Option<&'a [u8]>,
    rule: Option<&'a [u8]>,
    site: Option<&'a [u8]>,
    service: Option<&'a [u8]>,
    operation: Option<&'a [u8]>,
    issuer: Option<&'a [u8]>,
    facts: Option<&'a [u8]>,
    detail: Option<&'a [u8]>,
    bundle: Option<&'a [u8]>,
    identity: Option<&'a [u8]>,
    how: Option<&'a [u8]>,
    status: Option<u64>,
    bytes_out: Option<u64>,
    bytes_back: Option<u64>,
    duration_ms: Option<u64>,
    why: Option<&'a [u8]>,
    /// A key that is needed has a value that only the slow reader reads.
    odd: bool,
}

impl<'a> Seen<'a> {
    /// `None`: let the slow reader look at it.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::default();
        members(bytes, |key, value| fields.take(key, value))?;
        if fields.odd || fields.v != Some(1) {
            return None;
        }
        let what = match fields.kind? {
            b"decision" => Hot::Decision,
            b"started" => Hot::Started,
            b"ended" => Hot::Ended,
            _ => return None,
        };
        Some(Self {
            what,
            id: Uuid::try_parse_ascii(fields.id?).ok()?,
            lane: fields.lane?,
            index: fields.index?,
            epoch: fields.epoch?,
            at_ns: instant::read(std::str::from_utf8(fields.at?).ok()?)?,
            fact_version: fields.fact_version.and_then(|version| i64::try_from(version).ok()),
            fields,
        })
    }

    /// The decision that a start or an end is of.
    pub fn of(&self) -> Option<Uuid> {
        Uuid::try_parse_ascii(self.fields.decision?).ok()
    }

    pub fn allows(&self) -> bool {
        self.fields.outcome.is_some_and(|outcome| outcome.starts_with(b"ALLOW"))
    }

    /// Digests of `facts`, `detail` and `bundle` as they stand: base64.
    pub fn texts(&self) -> [&'a [u8]; 3] {
        [self.fields.facts, self.fields.detail, self.fields.bundle].map(Option::unwrap_or_default)
    }

    /// The row that follows from the leaf, as `COPY ... (format binary)` writes it; `None` when a key that it needs is absent.
    pub fn row(&self, out: &mut Vec<u8>) -> Option<()> {
        let fields = &self.fields;
        let columns = match self.what {
            Hot::Decision => tuple::DECISION,
            Hot::Started => tuple::STARTED,
            Hot::Ended => tuple::ENDED,
        };
        let mut row = Tuple::new(out, columns);
        row.int4(i32::try_from(self.lane).ok()?);
        row.int8(i64::try_from(self.index).ok()?);
        row.bytes(self.id.as_bytes());
        row.int8(self.at_ns);
        match self.what {
            Hot::Decision => {
                row.bytes(fields.org?);
                row.digest(fields.actor?)?;
                row.bytes(fields.outcome?);
                row.bytes(fields.reason?);
                row.maybe(fields.rule);
                row.maybe(fields.site);
                row.bytes(fields.service?);
                row.bytes(fields.operation?);
                row.maybe(fields.issuer);
                row.digest(fields.facts?)?;
                row.digest(fields.detail?)?;
                row.digest(fields.bundle?)?;
            }
            Hot::Started => {
                row.bytes(self.of()?.as_bytes());
                row.bytes(fields.identity?);
            }
            Hot::Ended => {
                row.bytes(self.of()?.as_bytes());
                row.bytes(fields.how?);
                match fields.status {
                    Some(status) => row.int4(i32::try_from(status).ok()?),
                    None => row.maybe(None),
                }
                row.int8(i64::try_from(fields.bytes_out?).ok()?);
                row.int8(i64::try_from(fields.bytes_back?).ok()?);
                row.int8(i64::try_from(fields.duration_ms?).ok()?);
                row.maybe(fields.why);
            }
        }
        Some(())
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self, key: &[u8], value: Value<'a>) {
        if let Some(field) = self.number(key) {
            match value {
                Value::Number(number) => *field = Some(number),
                Value::Text(_) | Value::Other => self.odd = true,
            }
        } else if let Some(field) = self.text(key) {
            match value {
                Value::Text(text) => *field = Some(text),
                Value::Number(_) | Value::Other => self.odd = true,
            }
        }
    }

    fn number(&mut self, key: &[u8]) -> Option<&mut Option<u64>> {
        Some(match key {
            b"v" => &mut self.v,
            b"lane" => &mut self.lane,
            b"index" => &mut self.index,
            b"epoch" => &mut self.epoch,
            b"fact_version" => &mut self.fact_version,
            b"status" => &mut self.status,
            b"bytes_out" => &mut self.bytes_out,
            b"bytes_back" => &mut self.bytes_back,
            b"duration_ms" => &mut self.duration_ms,
            _ => return None,
        })
    }

    fn text(&mut self, key: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match key {
            b"kind" => &mut self.kind,
            b"id" => &mut self.id,
            b"at" => &mut self.at,
            b"decision" => &mut self.decision,
            b"org" => &mut self.org,
            b"actor" => &mut self.actor,
            b"outcome" => &mut self.outcome,
            b"reason" => &mut self.reason,
            b"rule" => &mut self.rule,
            b"site" => &mut self.site,
            b"service" => &mut self.service,
            b"operation" => &mut self.operation,
            b"issuer" => &mut self.issuer,
            b"facts" => &mut self.facts,
            b"detail" => &mut self.detail,
            b"bundle" => &mut self.bundle,
            b"identity" => &mut self.identity,
            b"how" => &mut self.how,
            b"why" => &mut self.why,
            _ => return None,
        })
    }
}
