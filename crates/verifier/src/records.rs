//! Second pass: every record once, in the order of the file, against its place, its row and its decision.

use std::{cell::RefCell, collections::BTreeSet, fs::File};

use serde_json::{Map, Value};
use tlog::{Hash, tile};

use crate::{
    ReadError,
    export::{self, Digest, LeafLine, Line, Lines},
    finding::{FileFault, Finding, Place, RecordFault, TreeFault},
    frame::Frame,
    joins::Joins,
    judge::Judge,
    lane::{Fit, Lane},
    record::Record,
    report::{Open, Report},
};

/// Reads the records; `shelf` is the same file, for tiles and texts out of turn.
pub(crate) fn read(
    file: File,
    shelf: File,
    frame: &Frame,
    report: &mut Report,
) -> Result<(), ReadError> {
    let mut pass = Pass::new(frame, shelf, report);
    if let Some(place) = frame.records {
        let mut lines = Lines::from(file, place)?;
        while let Some((place, line)) = lines.read()? {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            match export::parse(text) {
                Some(Line::Leaf(leaf)) => pass.leaf(&leaf, place.number),
                Some(Line::Row(row)) => pass.row(&row, place.number),
                Some(Line::End(_)) => break,
                // Named in the first pass.
                _ => pass.settle(),
            }
        }
    }
    pass.close();
    Ok(())
}

struct Pass<'p> {
    frame: &'p Frame,
    report: &'p mut Report,
    shelf: Shelf<'p>,
    judge: Judge<'p>,
    joins: Joins,
    lane: Option<Lane<'p>>,
    done: BTreeSet<u16>,
    /// The row that must come next, or must not.
    row: Expected,
    named: BTreeSet<Digest>,
}

/// What may follow a leaf.
enum Expected {
    Row(Place, Map<String, Value>),
    None(Place),
    /// The leaf itself was a finding: whatever its row is, it says nothing more.
    Any,
    /// No leaf came before.
    Loose,
}

impl<'p> Pass<'p> {
    fn new(frame: &'p Frame, shelf: File, report: &'p mut Report) -> Self {
        let shelf = Shelf { frame, file: RefCell::new(shelf), tile: RefCell::new(None) };
        Self {
            frame,
            report,
            shelf,
            judge: Judge::new(frame),
            joins: Joins::default(),
            lane: None,
            done: BTreeSet::new(),
            row: Expected::Loose,
            named: BTreeSet::new(),
        }
    }

    fn leaf(&mut self, leaf: &LeafLine<'_>, number: u64) {
        self.settle();
        self.row = Expected::Any;
        if !self.enter(leaf.lane) {
            let fault = FileFault::Lane { line: number, lane: leaf.lane };
            return self.report.find(Finding::File(fault));
        }
        let Some(lane) = &mut self.lane else { return };
        let bytes = leaf.bytes().unwrap_or_default();
        let hash = Hash::leaf(&bytes);
        let record = Record::parse(&bytes);
        let id = record.as_ref().ok().map(|record| record.id_text().to_owned());
        let place = Place { lane: leaf.lane, index: leaf.index, id };
        let kept = |index| self.shelf.hash(leaf.lane, index);
        let fault = match lane.seek(leaf.index, kept, self.report) {
            Fit::Next => None,
            Fit::Late { gap: true } => Some(RecordFault::OutOfOrder),
            Fit::Late { gap: false } => Some(RecordFault::Repeated),
            Fit::Outside => Some(RecordFault::Outside),
        };
        if let Some(fault) = fault {
            return self.report.find(Finding::Record(place, fault));
        }
        let kept = self.shelf.hash(leaf.lane, leaf.index);
        let sound = leaf.is_marked(&hash) && kept.is_none_or(|kept| kept == hash);
        match record {
            Ok(record) if moved(&record, leaf).is_none() && sound => {
                for fault in lane.order(&record) {
                    self.report.find(Finding::Record(place.clone(), fault));
                }
                lane.push(hash, self.report);
                self.record(&record, place);
            }
            // In the tree as it stands, so nobody changed it: what is wrong with it was wrong from the start.
            Err(key) if sound => {
                lane.push(hash, self.report);
                self.report.find(Finding::Record(place, RecordFault::Unreadable(key)));
            }
            record => {
                lane.push_damaged(hash, kept, self.report);
                let moved = record.ok().and_then(|record| moved(&record, leaf));
                let fault = moved.unwrap_or(RecordFault::Edited);
                self.report.find(Finding::Record(place, fault));
            }
        }
    }

    /// A record that is what was written: what it says.
    fn record(&mut self, record: &Record, place: Place) {
        if !record.canonical {
            self.report.find(Finding::Record(place.clone(), RecordFault::NotCanonical));
        }
        if !KINDS.contains(&record.kind.as_str()) {
            self.report.counts.unknown_kinds += 1;
        }
        self.joins.add(record, place.lane);
        match record.kind.as_str() {
            "decision" | "preflight" => self.decision(record, &place),
            "rollback" => self.rollback(record, &place),
            _ => {}
        }
        let projected = self.lane.as_ref().is_some_and(|lane| record.index < lane.header.projected);
        self.row = match record.row().filter(|_| projected) {
            Some(row) => Expected::Row(place, row),
            None => Expected::None(place),
        };
    }

    /// The log itself says that records of a lane were lost.
    fn rollback(&mut self, record: &Record, place: &Place) {
        let lane = record.number("of").and_then(|lane| u16::try_from(lane).ok());
        let (Some(lane), Some(size), Some(found)) =
            (lane, record.number("size"), record.number("found"))
        else {
            let fault = RecordFault::Unreadable("of");
            return self.report.find(Finding::Record(place.clone(), fault));
        };
        let fault = if size > found {
            TreeFault::Missing { lane, from: found, to: size }
        } else {
            TreeFault::Root { lane, from: 0, to: size }
        };
        self.report.find(Finding::Tree(fault));
    }

    fn decision(&mut self, record: &Record, place: &Place) {
        self.report.counts.decisions += 1;
        for kind in ["facts", "detail", "bundle"] {
            let Some(digest) = record.digest(kind) else {
                let fault = RecordFault::Unreadable(kind);
                self.report.find(Finding::Record(place.clone(), fault));
                continue;
            };
            let other = self.frame.texts.get(&digest).is_some_and(|kept| kept.kind != kind);
            if self.named.insert(digest) && other {
                self.report.find(Finding::File(FileFault::TextKind { digest }));
            }
        }
        let counts = &mut self.report.counts;
        match self.judge.again(record, |digest| self.shelf.text(digest)) {
            Ok(crate::judge::Judgeable::Same) => counts.judged += 1,
            Ok(crate::judge::Judgeable::Purged) => counts.not_judgeable += 1,
            Ok(crate::judge::Judgeable::SecondEngine) => counts.second_engine += 1,
            Err(judged) => {
                let fault = RecordFault::Judged(judged);
                self.report.find(Finding::Record(place.clone(), fault));
            }
        }
    }

    fn row(&mut self, row: &Map<String, Value>, number: u64) {
        match std::mem::replace(&mut self.row, Expected::Loose) {
            Expected::Row(place, expected) => {
                if let Some(key) = first_difference(&expected, row) {
                    self.report.find(Finding::Record(place, RecordFault::RowDiffers(key)));
                }
            }
            Expected::None(place) => {
                self.report.find(Finding::Record(place, RecordFault::SpareRow));
            }
            Expected::Any => {}
            Expected::Loose => {
                self.report.find(Finding::File(FileFault::LooseRow { line: number }));
            }
        }
    }

    /// Before the next line: a row that did not come.
    fn settle(&mut self) {
        if let Expected::Row(place, _) = std::mem::replace(&mut self.row, Expected::Loose) {
            self.report.find(Finding::Record(place, RecordFault::RowMissing));
        }
    }

    /// Goes over to a lane. False when the header does not name it or it is over already.
    fn enter(&mut self, lane: u16) -> bool {
        if self.lane.as_ref().is_some_and(|open| open.header.lane == lane) {
            return true;
        }
        let Some(header) = self.frame.lanes.iter().find(|header| header.lane == lane) else {
            return false;
        };
        if !self.done.insert(lane) {
            return false;
        }
        self.leave();
        self.lane = Some(Lane::open(header, self.frame, self.report));
        true
    }

    fn leave(&mut self) {
        if let Some(lane) = self.lane.take() {
            let number = lane.header.lane;
            lane.close(|index| self.shelf.hash(number, index), self.report);
        }
    }

    fn close(mut self) {
        self.settle();
        // Lanes of which there is no leaf at all are entered here.
        for header in &self.frame.lanes {
            self.enter(header.lane);
        }
        self.leave();
        self.joins.close(self.report);
        if self.report.findings.is_empty() {
            // Otherwise the decision that names it may be among the findings.
            let spare = self.frame.texts.keys().filter(|digest| !self.named.contains(digest));
            for digest in spare {
                let fault = FileFault::SpareText { digest: *digest };
                self.report.find(Finding::File(fault));
            }
        }
        if self.report.counts.not_judgeable > 0 {
            let count = self.report.counts.not_judgeable;
            self.report.open.push(Open::NotJudgeable(count));
        }
    }
}

fn moved(record: &Record, leaf: &LeafLine<'_>) -> Option<RecordFault> {
    let (lane, index) = (record.lane, record.index);
    let here = (lane, index) == (u64::from(leaf.lane), leaf.index);
    (!here).then_some(RecordFault::Moved { lane, index })
}

/// The first key, in order, in which two rows are not the same.
fn first_difference(expected: &Map<String, Value>, row: &Map<String, Value>) -> Option<String> {
    let keys: BTreeSet<&String> = expected.keys().chain(row.keys()).collect();
    keys.into_iter().find(|key| expected.get(*key) != row.get(*key)).cloned()
}

/// Lines of the file read out of turn: the tile of the leaves at hand, and texts.
struct Shelf<'p> {
    frame: &'p Frame,
    file: RefCell<File>,
    /// The tile last read, by lane and number.
    tile: RefCell<Option<Tile>>,
}

struct Tile {
    at: (u16, u64),
    /// `None` when the file has no such full tile.
    hashes: Option<Vec<Hash>>,
}

impl Shelf<'_> {
    /// The hash that a full tile keeps of a leaf.
    fn hash(&self, lane: u16, index: u64) -> Option<Hash> {
        let width = u64::from(tile::WIDTH);
        let (at, key) = (usize::try_from(index % width).ok()?, (lane, index / width));
        let mut tile = self.tile.borrow_mut();
        if tile.as_ref().is_none_or(|tile| tile.at != key) {
            *tile = Some(Tile { at: key, hashes: self.read_tile(key) });
        }
        tile.as_ref()?.hashes.as_ref()?.get(at).copied()
    }

    fn read_tile(&self, key: (u16, u64)) -> Option<Vec<Hash>> {
        let line = export::again(&mut self.file.borrow_mut(), *self.frame.tiles.get(&key)?).ok()?;
        match export::parse(&line)? {
            Line::Tile(tile) => tile.hashes(),
            _ => None,
        }
    }

    fn text(&self, digest: Digest) -> Option<Vec<u8>> {
        let kept = self.frame.texts.get(&digest)?;
        let line = export::again(&mut self.file.borrow_mut(), kept.span).ok()?;
        match export::parse(&line)? {
            Line::Text(text) => text.bytes(),
            _ => None,
        }
    }
}

/// Kinds of version 1, the reserved ones included.
const KINDS: [&str; 26] = [
    "decision",
    "preflight",
    "started",
    "ended",
    "unauthenticated",
    "lane_open",
    "lane_close",
    "fact_change",
    "policy_change",
    "clock",
    "alarm",
    "heartbeat",
    "hold_vote",
    "hold_resolved",
    "order",
    "override",
    "access_change",
    "obligation_closed",
    "read",
    "export",
    "review",
    "legal_hold",
    "purge",
    "erase",
    "key_event",
    "rollback",
];
