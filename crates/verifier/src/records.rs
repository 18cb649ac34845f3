//! Second pass: every record once, in the order of the file, against its place, its row and its decision.

use std::{cell::RefCell, collections::BTreeSet, fs::File};

use serde_json::{Map, Value};
use tlog::{Hash, tile};

use crate::{
    ReadError,
    announced::Announced,
    export::{self, Digest, LeafLine, Line, Lines},
    finding::{FileFault, Finding, Place, RecordFault},
    frame::Frame,
    heads::Written,
    horizon::Horizon,
    lane::{Fit, Lane},
    record::Record,
    report::{Open, Report},
    said::{Said, Texts},
};

/// Reads the records; `shelf` is the same file, for tiles and texts out of turn.
pub(crate) fn read(
    file: File,
    shelf: File,
    frame: &Frame,
    announced: Announced,
    report: &mut Report,
) -> Result<(), ReadError> {
    let mut pass = Pass::new(frame, shelf, announced, report);
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
    said: Said,
    announced: Announced,
    horizon: Horizon,
    lane: Option<Lane<'p>>,
    /// Until when that lane was written, and all before it.
    written: Written,
    newest: Option<i64>,
    done: BTreeSet<u16>,
    /// The row that must come next, or must not.
    row: Expected,
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
    fn new(frame: &'p Frame, shelf: File, announced: Announced, report: &'p mut Report) -> Self {
        let shelf = Shelf { frame, file: RefCell::new(shelf), tile: RefCell::new(None) };
        Self {
            frame,
            report,
            shelf,
            said: Said::of_a_file(),
            announced,
            horizon: Horizon::default(),
            lane: None,
            written: Written::default(),
            newest: None,
            done: BTreeSet::new(),
            row: Expected::Loose,
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
        let kept = |index| self.shelf.hash(leaf.lane, index);
        let fault = match lane.seek(leaf.index, kept, self.report) {
            Fit::Next => None,
            Fit::Late { gap: true } => Some(RecordFault::OutOfOrder),
            Fit::Late { gap: false } => Some(RecordFault::Repeated),
            Fit::Outside => Some(RecordFault::Outside),
        };
        if let Some(fault) = fault {
            let id = Record::parse(&bytes).ok().map(|record| record.id_text().to_owned());
            let place = Place { lane: leaf.lane, index: leaf.index, id };
            return self.report.find(Finding::Record(place, fault));
        }
        let kept = self.shelf.hash(leaf.lane, leaf.index);
        let sound = leaf.is_marked(&hash) && kept.is_none_or(|kept| kept == hash);
        let Some((record, place)) = lane.take(&bytes, kept, sound, self.report) else { return };
        self.written.record(&record);
        let projected = record.index < lane.header.projected;
        // Every text that is kept is at hand again.
        self.said.judge.make_room();
        self.said.record(&record, &place, &mut lane.evidence, &self.shelf, self.report);
        if let Some(fault) = self.announced.record(&record, &place, record.at) {
            self.report.find(Finding::Record(place.clone(), fault));
        }
        self.horizon.record(&record, &self.frame.lanes, self.written.is_behind());
        self.row = match record.row().filter(|_| projected) {
            Some(row) => Expected::Row(place, row),
            None => Expected::None(place),
        };
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
        let Some(header) = self.frame.lanes.get(&lane) else { return false };
        if !self.done.insert(lane) {
            return false;
        }
        self.leave();
        self.lane = Some(Lane::open(header, self.frame, self.report));
        true
    }

    fn leave(&mut self) {
        self.newest = self.newest.max(std::mem::take(&mut self.written).until());
        self.horizon.leave();
        if let Some(lane) = self.lane.take() {
            let number = lane.header.lane;
            lane.close(|index| self.shelf.hash(number, index), self.report);
        }
    }

    /// Bundles that decided and that nobody put into force: found where what did is shown if it was ever written (and is not
    /// among the findings), else said.
    fn bundles(&mut self) {
        let Self { announced, horizon, report, .. } = self;
        let is_sound = report.findings.is_empty();
        let late = |place: &Place, _: i64| is_sound && horizon.is_settled(place.lane, place.index);
        for (place, fault) in announced.settle(late) {
            report.find(Finding::Record(place, fault));
        }
        let waiting = announced.waiting();
        if !waiting.is_empty() {
            report.open.push(Open::Bundles(waiting));
        }
    }

    fn close(mut self) {
        self.settle();
        // Lanes of which there is no leaf at all are entered here.
        for lane in self.frame.lanes.keys() {
            self.enter(*lane);
        }
        self.leave();
        self.frame.beyond.close(self.newest, self.report);
        self.bundles();
        let horizon = &self.horizon;
        self.said.joins.close(|lane, index| horizon.covers(lane, index), self.report);
        let (named, kept) = (self.said.named, &self.frame.texts);
        self.report.counts.texts_missing =
            named.iter().filter(|digest| !kept.contains_key(digest)).count() as u64;
        if self.report.findings.is_empty() {
            // Otherwise the decision that names it may be among the findings.
            let spare = kept.keys().filter(|digest| !named.contains(digest));
            for digest in spare {
                let fault = FileFault::SpareText { digest: *digest };
                self.report.find(Finding::File(fault));
            }
        }
        if self.report.counts.not_judgeable > 0 {
            let count = self.report.counts.not_judgeable;
            self.report.open.push(Open::NotJudgeable(count));
        }
        if self.report.counts.unjudged > 0 {
            let count = self.report.counts.unjudged;
            self.report.open.push(Open::Unjudged(count));
        }
        if self.report.counts.texts_missing > 0 {
            let count = self.report.counts.texts_missing;
            self.report.open.push(Open::TextsMissing(count));
        }
    }
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
}

impl Texts for Shelf<'_> {
    fn has(&self, digest: &Digest) -> bool {
        self.frame.texts.contains_key(digest)
    }

    fn kind(&self, digest: &Digest) -> Option<&str> {
        self.frame.texts.get(digest).map(|kept| kept.kind)
    }

    fn text(&self, digest: &Digest) -> Option<Vec<u8>> {
        let kept = self.frame.texts.get(digest)?;
        let line = export::again(&mut self.file.borrow_mut(), kept.span).ok()?;
        match export::parse(&line)? {
            Line::Text(text) => text.bytes(),
            _ => None,
        }
    }
}
