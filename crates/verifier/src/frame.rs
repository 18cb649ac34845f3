//! First pass: the file as a whole (order, counts, digest), and of it what the second pass needs at hand: signed
//! roots, where tiles and texts stand, and what heartbeats say of other lanes.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs::File,
};

use sha2::{Digest as _, Sha256};
use tlog::{Hash, VerifierKey, tile};

use crate::{
    ReadError,
    export::{
        self, CheckpointLine, Digest, End, FORMAT, LaneHeader, LeafLine, Line, Lines, Order,
        TextLine, TileLine,
    },
    finding::{FileFault, Finding, Place, TreeFault},
    heads::Beyond,
    known,
    record::{Head, Record},
    report::{Open, Report, Shown},
    trust::{Doubt, Trust, Unwitnessed},
};

/// What the second pass needs.
#[derive(Default)]
pub(crate) struct Frame {
    pub lanes: BTreeMap<u16, LaneHeader>,
    /// Roots that trees must have, by lane and size.
    pub wanted: BTreeMap<(u16, u64), Vec<Wanted>>,
    /// Where the full tiles of level 0 stand, by lane and number.
    pub tiles: BTreeMap<(u16, u64), Span>,
    pub texts: BTreeMap<Digest, Kept>,
    /// The first record.
    pub records: Option<export::Place>,
    /// Heads that the file does not reach.
    pub beyond: Beyond,
}

/// First byte and length of a line.
pub(crate) type Span = (u64, usize);

pub(crate) struct Wanted {
    pub root: Hash,
    /// The heartbeat that says so; a signed checkpoint otherwise.
    pub heartbeat: Option<Place>,
}

pub(crate) struct Kept {
    /// One of [`TEXT_KINDS`]; empty for any other, by which nobody names it.
    pub kind: &'static str,
    pub span: Span,
}

/// Reads the whole file once.
pub(crate) fn read(
    file: File,
    trust: &Trust,
    kept: &[String],
    report: &mut Report,
) -> Result<Frame, ReadError> {
    let mut lines = Lines::from(file, Lines::start())?;
    let mut reader = Reader::new(trust, report);
    reader.header(lines.read()?)?;
    let mut last = 1;
    while let Some((place, line)) = lines.read()? {
        if reader.ended {
            reader.find(FileFault::After { line: place.number });
            break;
        }
        let Some(text) = line.strip_suffix(b"\n") else {
            // The file ends in the middle of a line: the line before was the last whole one.
            break;
        };
        last = place.number;
        reader.line(place, text);
        reader.bytes += line.len() as u64;
    }
    reader.close(last);
    reader.known(kept);
    Ok(reader.frame)
}

struct Reader<'r> {
    trust: &'r Trust,
    report: &'r mut Report,
    frame: Frame,
    /// The keys that the file states of itself.
    stated: Vec<VerifierKey>,
    sha256: Sha256,
    bytes: u64,
    counts: End,
    /// Where the line before stands in the order of the format.
    order: Order,
    ended: bool,
    /// Roots of full tiles so far, by lane, level and number.
    roots: BTreeMap<(u16, u8, u64), Hash>,
    /// The last checkpoint line of each lane: its size, and its note if it counts.
    last: BTreeMap<u16, (u64, Option<String>)>,
    untrusted: BTreeSet<u16>,
    /// Lanes whose last checkpoint counts.
    signed: BTreeSet<u16>,
    /// Lanes that heartbeats name; after the last line those of which there is no checkpoint.
    seen: BTreeSet<u16>,
}

impl<'r> Reader<'r> {
    fn new(trust: &'r Trust, report: &'r mut Report) -> Self {
        let sha256 = Digest([0; 32]);
        let (lines, leaves, texts, checkpoints, rows, tiles, vkeys) = (0, 0, 0, 0, 0, 0, 0);
        Self {
            trust,
            report,
            frame: Frame::default(),
            stated: Vec::new(),
            sha256: Sha256::new(),
            bytes: 0,
            counts: End { lines, leaves, texts, checkpoints, rows, tiles, vkeys, sha256 },
            order: Order::Header,
            ended: false,
            roots: BTreeMap::new(),
            last: BTreeMap::new(),
            untrusted: BTreeSet::new(),
            signed: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    fn header(&mut self, first: Option<(export::Place, &[u8])>) -> Result<(), ReadError> {
        let line = first.map(|(_, line)| line).unwrap_or_default();
        let Some(Line::Header(header)) = export::parse(line) else {
            return Err(ReadError::NotAnExport);
        };
        if (header.format.as_str(), header.v) != FORMAT {
            return Err(ReadError::NotAnExport);
        }
        self.sha256.update(line);
        self.bytes = line.len() as u64;
        self.counts.lines = 1;
        if !self.frame.beyond.created(&header.created) {
            self.find(FileFault::Created);
        }
        for lane in header.lanes {
            let number = lane.lane;
            // Else two lanes of the header could be one log, and what is known of it would be held against the wrong one.
            if !is_named_by_its_number(&lane) {
                let origin = lane.origin.clone();
                self.find(FileFault::Origin { lane: number, origin });
            }
            let Entry::Vacant(place) = self.frame.lanes.entry(number) else {
                self.find(FileFault::Lane { line: 1, lane: number });
                continue;
            };
            place.insert(lane);
        }
        Ok(())
    }

    fn line(&mut self, place: export::Place, text: &[u8]) {
        let Some(line) = export::parse(text) else {
            self.count(text);
            return self.find(FileFault::NotALine { line: place.number });
        };
        if let Line::End(end) = &line {
            return self.end(end);
        }
        self.count(text);
        let order = line.order();
        // A lane may have had several keys, and a record is followed by its row.
        let once = !matches!(order, Order::Vkey(_) | Order::Record);
        let repeats = once && order == self.order;
        if order < self.order || repeats {
            self.find(FileFault::Order { line: place.number });
        }
        self.order = self.order.max(order);
        let span = (place.offset, text.len());
        match line {
            Line::Header(_) | Line::End(_) => {}
            Line::Vkey(line) => {
                self.counts.vkeys += 1;
                self.stated.extend(line.vkey.parse().ok());
            }
            Line::Checkpoint(line) => self.checkpoint(&line, place.number),
            Line::Tile(line) => self.tile(&line, span, place.number),
            Line::Text(line) => self.text(&line, span, place.number),
            Line::Leaf(line) => {
                self.counts.leaves += 1;
                self.frame.records.get_or_insert(place);
                self.heartbeat(&line);
            }
            Line::Row(_) => {
                self.counts.rows += 1;
                self.frame.records.get_or_insert(place);
            }
        }
    }

    fn checkpoint(&mut self, found: &CheckpointLine<'_>, number: u64) {
        self.counts.checkpoints += 1;
        let (lane, size) = (found.lane, found.size);
        let Some(origin) = self.frame.lanes.get(&lane).map(|header| header.origin.clone()) else {
            return self.find(FileFault::Lane { line: number, lane });
        };
        let read = self.trust.read(&found.note, &origin, &self.stated).and_then(|checkpoint| {
            let stated = checkpoint.size;
            if stated == size { Ok(checkpoint.root) } else { Err(Doubt::Size(stated)) }
        });
        let note = read.is_ok().then(|| found.note.clone().into_owned());
        self.last.insert(lane, (size, note));
        match read {
            Ok(root) => self.want((lane, size), root, None),
            Err(Doubt::Unknown) => {
                if self.untrusted.insert(lane) {
                    self.report.open.push(Open::Untrusted { lane, origin });
                }
            }
            Err(doubt) => {
                let fault = TreeFault::Checkpoint { lane, size, doubt };
                self.report.find(Finding::Tree(fault));
            }
        }
    }

    fn tile(&mut self, line: &TileLine<'_>, span: Span, number: u64) {
        self.counts.tiles += 1;
        let &TileLine { lane, level, n, .. } = line;
        let Some(hashes) = line.hashes() else {
            return self.find(FileFault::NotALine { line: number });
        };
        if level == 0 {
            self.frame.tiles.insert((lane, n), span);
        }
        self.roots.insert((lane, level, n), tile::root(&hashes));
        let Some(below) = level.checked_sub(1) else { return };
        let first = n.saturating_mul(u64::from(tile::WIDTH));
        for (at, hash) in hashes.iter().enumerate() {
            let root = self.roots.get(&(lane, below, first.saturating_add(at as u64)));
            if root.is_some_and(|root| root != hash) {
                self.report.find(Finding::Tree(TreeFault::Tile { lane, level, n, at }));
            }
        }
    }

    fn text(&mut self, line: &TextLine<'_>, span: Span, number: u64) {
        self.counts.texts += 1;
        let digest = line.digest;
        let sound = line.bytes().is_some_and(|bytes| Sha256::digest(bytes).as_slice() == digest.0);
        if !sound {
            return self.find(FileFault::Text { line: number, digest });
        }
        let kind = TEXT_KINDS.into_iter().find(|kind| line.kind == *kind).unwrap_or_default();
        self.frame.texts.insert(digest, Kept { kind, span });
    }

    /// What a heartbeat says of the lanes of this file. One whose bytes were changed is the second pass's finding.
    fn heartbeat(&mut self, leaf: &LeafLine<'_>) {
        let Some(bytes) = leaf.bytes() else { return };
        let named = str::from_utf8(&bytes).is_ok_and(|text| text.contains(HEARTBEAT));
        if !named || !leaf.is_marked(&Hash::leaf(&bytes)) {
            return;
        }
        let Ok(record) = Record::parse(&bytes) else { return };
        for head in record.heads() {
            let id = Some(record.id_text().to_owned());
            let place = Place { lane: leaf.lane, index: leaf.index, id };
            self.head(&head, place, record.at);
        }
    }

    fn head(&mut self, head: &Head, place: Place, at: i64) {
        let &Head { lane, size, root } = head;
        self.seen.insert(lane);
        let Some(&LaneHeader { from, to, .. }) = self.frame.lanes.get(&lane) else { return };
        if (from..=to).contains(&size) {
            self.want((lane, size), root, Some(place));
        } else if size > to {
            self.frame.beyond.add(head, place, at, to);
        }
    }

    fn end(&mut self, end: &End) {
        self.ended = true;
        let found = self.counts.clone();
        for (what, stated, found) in [
            ("lines", end.lines, found.lines),
            ("leaves", end.leaves, found.leaves),
            ("texts", end.texts, found.texts),
            ("checkpoints", end.checkpoints, found.checkpoints),
            ("rows", end.rows, found.rows),
            ("tiles", end.tiles, found.tiles),
            ("vkeys", end.vkeys, found.vkeys),
        ] {
            if stated != found {
                self.find(FileFault::Count { what, stated, found });
            }
        }
        let sha256 = core::mem::take(&mut self.sha256).finalize();
        if sha256.as_slice() != end.sha256.0 {
            self.find(FileFault::Sha256);
        }
    }

    /// After the last line: what is not there.
    fn close(&mut self, last: u64) {
        if !self.ended {
            self.find(FileFault::Cut { line: last });
        }
        if matches!(self.trust, Trust::File) {
            self.report.open.insert(0, Open::OwnKeys);
        }
        let lanes = core::mem::take(&mut self.frame.lanes);
        for header in lanes.values() {
            let &LaneHeader { lane, from, to, .. } = header;
            self.covered(header);
            self.tiled(header);
            let signed = self.signed.contains(&lane);
            let origin = header.origin.clone();
            self.report.shown.push(Shown { lane, origin, from, to, signed });
        }
        self.frame.lanes = lanes;
        let counts = &mut self.report.counts;
        counts.bytes = self.bytes;
        counts.lines = self.counts.lines + u64::from(self.ended);
        counts.lanes = self.frame.lanes.len() as u64;
        counts.records = self.counts.leaves;
        counts.rows = self.counts.rows;
        counts.texts = self.counts.texts;
        counts.tiles = self.counts.tiles;
    }

    /// What the reviewer knows besides.
    fn known(&mut self, kept: &[String]) {
        // One that some checkpoint speaks of was checked, or is said to be untrusted, or is a finding.
        self.seen.retain(|lane| !self.last.contains_key(lane));
        let Self { trust, report, frame, stated, .. } = self;
        known::absent((&self.seen, &self.signed), trust, &frame.lanes, report);
        for (lane, size, root) in known::roots(kept, (trust, stated), &frame.lanes, report) {
            self.want((lane, size), root, None);
        }
    }

    /// Every record shown is under a checkpoint, and the last one has its witnesses. What comes before the first was signed
    /// with it and may say anything, so it is said that nobody looked at it.
    fn covered(&mut self, header: &LaneHeader) {
        let &LaneHeader { lane, from, to, .. } = header;
        if from > to {
            self.report.find(Finding::Tree(TreeFault::Range { lane, from, to }));
        }
        if from > 0 {
            // Each lane is there once.
            self.report.open.push(Open::NotFromStart { lane, from });
        }
        let last = self.last.get(&lane);
        // Without any checkpoint nothing may be shown; with one all that it covers must be.
        let covers = last.map_or(from == to, |(size, _)| *size == to);
        let (size, note) = last.cloned().unwrap_or_default();
        if !covers {
            let fault = TreeFault::Uncovered { lane, to, last: size };
            self.report.find(Finding::Tree(fault));
        }
        let Some(note) = note else { return };
        self.signed.insert(lane);
        let fault = match self.trust.unwitnessed(&note) {
            None => return,
            Some(Unwitnessed::Few(cosigned)) => TreeFault::Quorum { lane, size, cosigned },
            Some(Unwitnessed::Doubt(doubt)) => TreeFault::Checkpoint { lane, size, doubt },
        };
        self.report.find(Finding::Tree(fault));
    }

    /// Every full tile within the records shown is there; the first that is not is named.
    fn tiled(&mut self, header: &LaneHeader) {
        let &LaneHeader { lane, from, to, .. } = header;
        for level in 0..8 {
            let Some(span) = 256_u64.checked_pow(u32::from(level) + 1) else { return };
            let missing = |n: &u64| !self.roots.contains_key(&(lane, level, *n));
            // A header that lies about `to` ends this at the first tile that is not there.
            if let Some(n) = (from.div_ceil(span)..to / span).find(missing) {
                return self.report.find(Finding::Tree(TreeFault::TileMissing { lane, level, n }));
            }
        }
    }

    fn want(&mut self, at: (u16, u64), root: Hash, heartbeat: Option<Place>) {
        let wanted = self.frame.wanted.entry(at).or_default();
        let alike = |known: &&Wanted| known.heartbeat.is_some() == heartbeat.is_some();
        let mut said = wanted.iter().filter(alike);
        // One lane's root is said by many; the same said again is not worth keeping. Of two different ones one is a finding.
        if !said.clone().any(|known| known.root == root) && said.nth(ROOTS_MAX - 1).is_none() {
            wanted.push(Wanted { root, heartbeat });
        }
    }

    fn count(&mut self, text: &[u8]) {
        self.sha256.update(text);
        self.sha256.update(b"\n");
        self.counts.lines += 1;
    }

    fn find(&mut self, fault: FileFault) {
        self.report.find(Finding::File(fault));
    }
}

/// Whether a lane's origin ends in its number, as docs/record.md says.
fn is_named_by_its_number(header: &LaneHeader) -> bool {
    let last = header.origin.rsplit_once('/').map(|(_, last)| last);
    last == Some(header.lane.to_string().as_str())
}

const TEXT_KINDS: [&str; 3] = ["facts", "detail", "bundle"];
/// In canonical form a heartbeat has these bytes; other records seldom do.
const HEARTBEAT: &str = r#""kind":"heartbeat""#;
/// Different roots of one lane and size: where there are two, one of them is wrong.
const ROOTS_MAX: usize = 8;
