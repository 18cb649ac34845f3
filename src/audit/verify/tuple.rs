//! A row as `COPY ... (format binary)` writes it: the number of columns, then a length before each value, -1 for none.

use tlog::Hash;

use crate::audit::row::{DecisionRow, EndedRow, Place, Row, StartedRow};

/// Writes one tuple.
pub(super) struct Tuple<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Tuple<'o> {
    pub fn new(out: &'o mut Vec<u8>, columns: i16) -> Self {
        out.clear();
        out.extend_from_slice(&columns.to_be_bytes());
        Self { out }
    }

    pub fn bytes(&mut self, value: &[u8]) {
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(value);
    }

    pub fn maybe(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    pub fn int4(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn int8(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// 32 bytes that stand in base64.
    pub fn digest(&mut self, text: &[u8]) -> Option<()> {
        let digest: Hash = std::str::from_utf8(text).ok()?.parse().ok()?;
        self.bytes(&digest.0);
        Some(())
    }

    fn place(&mut self, place: &Place) {
        self.int4(place.lane);
        self.int8(place.index);
        self.bytes(place.id.as_bytes());
        self.int8(place.at_ns);
    }
}

/// Columns of `row_decision`, `row_started`, `row_ended`, in the order in which they are read.
pub(super) const DECISION: i16 = 16;
pub(super) const STARTED: i16 = 6;
pub(super) const ENDED: i16 = 11;

/// The tuple of a row that was read the slow way.
pub(super) fn of_row(row: &Row<'_>, out: &mut Vec<u8>) {
    match row {
        Row::Decision(row) => decision(row, out),
        Row::Started(row) => started(row, out),
        Row::Ended(row) => ended(row, out),
    }
}

fn decision(row: &DecisionRow<'_>, out: &mut Vec<u8>) {
    let mut tuple = Tuple::new(out, DECISION);
    tuple.place(&row.place);
    tuple.bytes(row.org.as_bytes());
    tuple.bytes(&row.actor);
    tuple.bytes(row.outcome.as_bytes());
    tuple.bytes(row.reason.as_bytes());
    tuple.maybe(row.rule.as_deref().map(str::as_bytes));
    tuple.maybe(row.site.as_deref().map(str::as_bytes));
    tuple.bytes(row.service.as_bytes());
    tuple.bytes(row.operation.as_bytes());
    tuple.maybe(row.issuer.as_deref().map(str::as_bytes));
    tuple.bytes(&row.facts);
    tuple.bytes(&row.detail);
    tuple.bytes(&row.bundle);
}

fn started(row: &StartedRow<'_>, out: &mut Vec<u8>) {
    let mut tuple = Tuple::new(out, STARTED);
    tuple.place(&row.place);
    tuple.bytes(row.decision.as_bytes());
    tuple.bytes(row.identity.as_bytes());
}

fn ended(row: &EndedRow<'_>, out: &mut Vec<u8>) {
    let mut tuple = Tuple::new(out, ENDED);
    tuple.place(&row.place);
    tuple.bytes(row.decision.as_bytes());
    tuple.bytes(row.how.as_bytes());
    tuple.maybe(row.status.map(i32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
    tuple.int8(row.bytes_out);
    tuple.int8(row.bytes_back);
    tuple.int8(row.duration_ms);
    tuple.maybe(row.why.as_deref().map(str::as_bytes));
}
