//! The rows that some batches of a lane come to.
//!
//! *Invariant:* a record that cannot be read, or is not there, has no row and stops no other's: whoever spoils one record must
//! not keep the rest of the log from those who ask it.

use super::Lag;
use crate::audit::row::{self, Leaf, Row};

/// Rows of one lane, and what had none.
#[derive(Debug)]
pub(super) struct Made<'l> {
    lag: Lag,
    pub rows: Vec<Row<'l>>,
    /// The index after the last record that was looked at.
    seen: i64,
    /// How many records cannot be read or are missing, and what of the first.
    unread: Option<(i64, String)>,
}

impl<'l> Made<'l> {
    pub const fn new(lag: Lag) -> Self {
        Self { lag, rows: Vec::new(), seen: lag.next, unread: None }
    }

    /// The records of a batch that begins at `first`, up to the index `end`. Batches come in order.
    pub fn batch(&mut self, (first, end): (i64, i64), leaves: &'l [u8]) {
        self.missing(first);
        let end = end.min(self.lag.size);
        let mut next = first;
        for leaf in tlog::bundle::leaves(leaves) {
            let Ok(leaf) = leaf else { break };
            if next >= end {
                break;
            }
            match self.row(next, leaf) {
                Ok(row) => self.rows.extend(row),
                Err(cause) => self.note(next, 1, &cause),
            }
            next += 1;
        }
        if next < end {
            self.note(next, end - next, "the bytes of its batch end before it");
        }
        self.seen = self.seen.max(end);
    }

    /// No batch begins before this index.
    pub fn missing(&mut self, until: i64) {
        let until = until.min(self.lag.size);
        if until > self.seen {
            self.note(self.seen, until - self.seen, "it is not there");
            self.seen = until;
        }
    }

    /// Up to which index the lane is projected with this.
    pub const fn until(&self) -> i64 {
        self.seen
    }

    /// One sentence about the records without a row, if there are any that should have one.
    pub fn trouble(&self) -> Option<String> {
        let lane = self.lag.lane;
        self.unread.as_ref().map(|(count, first)| {
            format!(
                "of lane {lane}, {count} records cannot be read and have no row, the first {first}: run `haetae log verify`"
            )
        })
    }

    fn row(&self, index: i64, leaf: &'l [u8]) -> Result<Option<Row<'l>>, String> {
        // Not the reader's words: they repeat what it stumbled over, which may be anything.
        let leaf = Leaf::read(leaf).map_err(|_| "it is no record that can be read".to_owned())?;
        let is_here = i64::try_from(leaf.lane) == Ok(self.lag.lane.into())
            && i64::try_from(leaf.index) == Ok(index);
        if !is_here {
            return Err(format!("it says that it is record {} of lane {}", leaf.index, leaf.lane));
        }
        let row = leaf.row()?;
        if row.as_ref().is_some_and(|row| !row.texts().all(row::is_kept)) {
            return Err("it has a text that no query table takes".to_owned());
        }
        Ok(row)
    }

    fn note(&mut self, index: i64, records: i64, cause: &str) {
        let first = || (0, format!("with index {index}: {cause}"));
        let (count, _) = self.unread.get_or_insert_with(first);
        *count += records;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Lag = Lag { lane: 3, next: 10, size: 1_000 };

    fn started(index: i64) -> String {
        format!(
            r#"{{"at":"2026-01-01T00:00:00.000000000Z","decision":"01890a5d-ac96-774b-bcce-b302099a8057","id":"01890a5d-ac96-774b-bcce-b302099a8057","identity":"site","index":{index},"kind":"started","lane":3,"v":1}}"#
        )
    }

    fn bundle(leaves: &[&str]) -> Vec<u8> {
        let leaf = |leaf: &&str| {
            let length = u16::try_from(leaf.len()).unwrap().to_be_bytes();
            [&length, leaf.as_bytes()].concat()
        };
        leaves.iter().flat_map(leaf).collect()
    }

    fn indexes(made: &Made<'_>) -> Vec<i64> {
        made.rows.iter().map(|row| row.place().index).collect()
    }

    #[test]
    fn a_spoilt_record_has_no_row_and_costs_no_other_its_own() {
        let nul = started(13).replace("\"site\"", "\"si\\u0000te\"");
        let long = started(15).replace("site", &"s".repeat(5_000));
        let elsewhere = started(500);
        let leaves: [&str; 7] =
            [&started(10), "{}garbage", &started(12), &nul, &elsewhere, &long, &started(16)];
        let bytes = bundle(&leaves);
        let mut made = Made::new(LAG);
        made.batch((10, 17), &bytes);
        assert_eq!((indexes(&made), made.until()), (vec![10, 12, 16], 17));
        let said = made.trouble().unwrap();
        assert!(said.contains("of lane 3, 4 records cannot be read"), "{said}");
        assert!(said.contains("the first with index 11: "), "{said}");
    }

    #[test]
    fn what_is_not_there_is_stepped_over_and_said() {
        let (first, second) = (bundle(&[&started(10)]), bundle(&[&started(20)]));
        let mut made = Made::new(LAG);
        made.batch((10, 11), &first);
        made.batch((20, 23), &second);
        assert_eq!((indexes(&made), made.until()), (vec![10, 20], 23));
        let said = made.trouble().unwrap();
        assert!(said.contains("11 records cannot be read"), "{said}");
        assert!(said.contains("the first with index 11: it is not there"), "{said}");
    }

    #[test]
    fn nothing_is_projected_beyond_the_end_of_the_lane() {
        let mut made = Made::new(Lag { size: 12, ..LAG });
        made.missing(40);
        assert_eq!(made.until(), 12);
        let bytes = bundle(&[&started(10), &started(11), &started(12)]);
        let mut made = Made::new(Lag { size: 12, ..LAG });
        made.batch((10, i64::MAX), &bytes);
        assert_eq!((indexes(&made), made.until()), (vec![10, 11], 12));
    }
}
