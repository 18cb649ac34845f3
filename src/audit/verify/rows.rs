//! The rows of the query tables as they were kept, each held against the bytes that its leaf asks for.

use uuid::Uuid;

use super::{At, Id, Walk, What, seen::Hot};

pub(super) mod store;

/// The rows of one table with indexes of one range, in their order, as `COPY ... (format binary)` gives them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// Where the next tuple begins.
    at: usize,
}

/// The rows of a range of a lane.
#[derive(Debug)]
pub(super) struct Rows {
    pub decision: Kept,
    pub started: Kept,
    pub ended: Kept,
}

impl Rows {
    /// Holds the row of a leaf against what follows from it, and names those before it that no leaf asked for.
    pub fn compare(&mut self, kind: Hot, index: u64, due: &[u8], at: &At, walk: &mut Walk) {
        let kept = match kind {
            Hot::Decision => &mut self.decision,
            Hot::Started => &mut self.started,
            Hot::Ended => &mut self.ended,
        };
        kept.skip_to(index, at.lane, walk);
        match kept.next_if(index) {
            Some(row) if row == due => walk.report.rows += 1,
            Some(_) => {
                walk.report.rows += 1;
                walk.find(at, What::Row, "the row in the query tables is not what the record says");
            }
            None => walk.find(at, What::Row, "the row in the query tables is missing"),
        }
    }

    /// What is left when all leaves of the range have been seen.
    pub fn close(&mut self, lane: u16, walk: &mut Walk) {
        for kept in [&mut self.decision, &mut self.started, &mut self.ended] {
            kept.skip_to(u64::MAX, lane, walk);
        }
    }
}

impl Kept {
    /// From what the server sent: a signature of 11 bytes, flags, the length of an extension, then tuples.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: HEADER_BYTES }
    }

    fn skip_to(&mut self, index: u64, lane: u16, walk: &mut Walk) {
        while let Some((first, id)) = self.peek().filter(|(first, _)| *first < index) {
            self.next_if(first);
            walk.report.rows += 1;
            let at = At { lane, index: first, id: id.map(Id::Uuid) };
            walk.find(&at, What::Row, "a row in the query tables has no record of its kind");
        }
    }

    /// The next tuple, if it is of this index.
    fn next_if(&mut self, index: u64) -> Option<&[u8]> {
        let (first, _) = self.place()?;
        if first != index {
            return None;
        }
        let start = self.at;
        let columns = u16::from_be_bytes(*self.bytes.get(start..)?.first_chunk()?);
        let mut end = start + 2;
        for _ in 0..columns {
            let length = i32::from_be_bytes(*self.bytes.get(end..)?.first_chunk()?);
            end += 4 + usize::try_from(length).unwrap_or(0);
        }
        self.at = end;
        self.bytes.get(start..end)
    }

    /// Index and record id of the next tuple.
    fn peek(&self) -> Option<(u64, Option<Uuid>)> {
        let (index, id) = self.place()?;
        Some((index, Some(Uuid::from_bytes(id))))
    }

    /// The first columns are `lane` (4 bytes), `index` (8), `id` (16), each after its length; -1 columns end the data.
    fn place(&self) -> Option<(u64, [u8; 16])> {
        let tuple = self.bytes.get(self.at..)?;
        let index = i64::from_be_bytes(*tuple.get(INDEX_AT..)?.first_chunk()?);
        Some((index.unsigned_abs(), *tuple.get(ID_AT..)?.first_chunk()?))
    }
}

const HEADER_BYTES: usize = 11 + 4 + 4;
/// Columns (2), `lane` (4 + 4), length (4).
const INDEX_AT: usize = 2 + 8 + 4;
const ID_AT: usize = INDEX_AT + 8 + 4;
