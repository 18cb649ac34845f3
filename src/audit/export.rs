//! The log as one file that can be verified without us: docs/record.md, "The export file".
//!
//! *Invariant:* one snapshot; what is stored goes out as it is stored, so that the reader sees what we see.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};
use tlog::{Frontier, Hash, tile};

use crate::program;

use super::{
    AuditError, instant,
    row::{Leaf, Row},
    verify::store::{self, HeadState, StoredBatch, StoredCheckpoint},
};

mod published;

use published::Published;

/// Which part of the log: everything by default.
#[derive(Debug, Clone, Copy, Default)]
pub enum Range {
    #[default]
    All,
    /// Indexes are of one lane: the lanes of a file that end at different times contradict each other's heartbeats.
    Lane {
        lane: u16,
        /// First index.
        from: u64,
        /// Index after the last one; taken up to the next published checkpoint, or the next cosigned one when that follows soon.
        to: Option<u64>,
    },
}

impl Range {
    /// The indexes that are wanted of a lane, if any of it is.
    fn of(self, lane: u16) -> Option<(u64, Option<u64>)> {
        match self {
            Self::All => Some((0, None)),
            Self::Lane { lane: wanted, from, to } => (lane == wanted).then_some((from, to)),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    pub lines: u64,
    pub vkeys: u64,
    pub checkpoints: u64,
    pub tiles: u64,
    pub texts: u64,
    pub leaves: u64,
    pub rows: u64,
    /// Records beyond the checkpoint at which their lane ends; they are not in the file.
    pub uncovered: u64,
    /// A lane that ends at a checkpoint which no witness cosigned, and the size of its newest one that some did.
    pub cosigned: Option<(u16, u64)>,
}

/// Writes the log, or a part of it. `created_ns` is the present time.
pub async fn export<W: Write>(
    pool: &PgPool,
    range: Range,
    created_ns: i64,
    out: W,
) -> Result<Exported, AuditError> {
    let mut snapshot = store::snapshot(pool).await?;
    let mut file = File { out, digest: Sha256::new(), done: Exported::default() };
    let mut lanes = Vec::new();
    for head in store::heads(&mut snapshot).await? {
        if let Some(wanted) = range.of(head.lane) {
            lanes.push(Lane::new(&mut snapshot, head, wanted).await?);
        }
    }
    file.done.cosigned = lanes.iter().find_map(|lane| Some((lane.head.lane, lane.cosigned?)));
    file.done.uncovered = lanes.iter().map(|lane| lane.head.size.saturating_sub(lane.to)).sum();
    file.line(&json!({
        "type": "header", "format": "haetae-export", "v": 1, "build": program::BUILD,
        "created": instant::text(created_ns), "lanes": lanes.iter().map(Lane::header).collect::<Vec<_>>(),
    }))?;
    for lane in &lanes {
        file.vkeys(lane)?;
    }
    for lane in &lanes {
        file.checkpoints(lane)?;
    }
    for lane in &lanes {
        let tiles = store::tiles(&mut snapshot, lane.head.lane, 0).await?;
        file.tiles(lane, &tiles)?;
    }
    let mut texts = BTreeSet::new();
    for lane in &lanes {
        lane.texts(&mut snapshot, &mut texts).await?;
    }
    for digest in texts {
        // A text that is gone is not in the file: the reader names it.
        if let Some((kind, bytes)) = store::text(&mut snapshot, &digest).await? {
            file.text(&digest, &kind, &bytes)?;
        }
    }
    for lane in &lanes {
        file.leaves(&mut snapshot, lane).await?;
    }
    file.end()
}

/// The checkpoint of each lane at which an export would end, as a signed note with its cosignatures.
pub async fn checkpoints(pool: &PgPool) -> Result<Vec<String>, AuditError> {
    let mut snapshot = store::snapshot(pool).await?;
    let mut notes = Vec::new();
    for head in store::heads(&mut snapshot).await? {
        let all = published::all(&mut snapshot, head.lane).await?;
        notes.extend(published::end(&all).map(|end| end.stored.note.clone()));
    }
    Ok(notes)
}

/// A lane's part: leaves with `from` <= index < `to`, all under `checkpoints`.
struct Lane {
    head: HeadState,
    from: u64,
    to: u64,
    left: Vec<Hash>,
    checkpoints: Vec<StoredCheckpoint>,
    /// Size of the newest cosigned checkpoint, when this part ends at one that is not.
    cosigned: Option<u64>,
}

impl Lane {
    async fn new(
        connection: &mut PgConnection,
        head: HeadState,
        (from, to): (u64, Option<u64>),
    ) -> Result<Self, AuditError> {
        let all = published::all(connection, head.lane).await?;
        let covering = to.and_then(|wanted| published::covering(&all, wanted));
        let end = covering.or_else(|| published::end(&all));
        let to = end.map_or(0, |end| end.stored.size);
        let from = from.min(to);
        let is_cosigned = |one: &&Published| one.cosignatures > 0;
        let newest = all.iter().rfind(is_cosigned).map(|one| one.stored.size);
        let cosigned = if end.as_ref().is_some_and(is_cosigned) { None } else { newest };
        let checkpoints = all.into_iter().map(|one| one.stored);
        let checkpoints = checkpoints.filter(|one| one.size > from && one.size <= to).collect();
        let left = left(connection, head.lane, from).await?;
        Ok(Self { head, from, to, left, checkpoints, cosigned })
    }

    fn header(&self) -> Value {
        let left: Vec<String> = self.left.iter().map(Hash::to_string).collect();
        json!({
            "lane": self.head.lane, "origin": self.head.origin, "from": self.from, "to": self.to,
            "projected": self.head.projected.clamp(self.from, self.to), "left": left,
        })
    }

    /// The leaves of this part, batch by batch.
    async fn page(
        &self,
        connection: &mut PgConnection,
        next: u64,
    ) -> Result<Vec<StoredBatch>, AuditError> {
        let start = if next == self.from {
            store::batch_of(connection, self.head.lane, next).await?
        } else {
            next
        };
        let mut batches = store::batches(connection, self.head.lane, start, BATCHES).await?;
        batches.retain(|batch| batch.first < self.to);
        Ok(batches)
    }

    /// Digests of the texts that decisions and looks ahead of this part name.
    async fn texts(
        &self,
        connection: &mut PgConnection,
        texts: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), AuditError> {
        let mut next = self.from;
        loop {
            let page = self.page(connection, next).await?;
            let Some(last) = page.last() else { return Ok(()) };
            next = (last.first + last.count).max(next + 1);
            let leaves = page.iter().flat_map(|batch| self.leaves(batch));
            texts.extend(leaves.flat_map(|(_, leaf, _)| named(leaf)));
        }
    }

    /// Index, bytes and mark of the leaves of a batch that belong to this part.
    fn leaves<'b>(&self, batch: &'b StoredBatch) -> Vec<(u64, &'b [u8], &'b [u8])> {
        let all = (batch.first..).zip(batch.marked());
        let all = all.map(|(index, (leaf, mark))| (index, leaf, mark));
        all.filter(|(index, ..)| (self.from..self.to).contains(index)).collect()
    }
}

/// The file under way.
struct File<W> {
    out: W,
    digest: Sha256,
    done: Exported,
}

impl<W: Write> File<W> {
    fn line(&mut self, line: &Value) -> Result<(), AuditError> {
        let mut bytes =
            verdict::canonical(line).map_err(|cause| AuditError::Content(cause.to_string()))?;
        bytes.push(b'\n');
        self.digest.update(&bytes);
        self.out.write_all(&bytes)?;
        self.done.lines += 1;
        Ok(())
    }

    fn vkeys(&mut self, lane: &Lane) -> Result<(), AuditError> {
        let keys: BTreeSet<&str> = lane.checkpoints.iter().map(|one| one.vkey.as_str()).collect();
        for vkey in keys {
            self.done.vkeys += 1;
            self.line(&json!({"type": "vkey", "lane": lane.head.lane, "vkey": vkey}))?;
        }
        Ok(())
    }

    fn checkpoints(&mut self, lane: &Lane) -> Result<(), AuditError> {
        for one in &lane.checkpoints {
            self.done.checkpoints += 1;
            let lane = lane.head.lane;
            self.line(
                &json!({"type": "checkpoint", "lane": lane, "size": one.size, "note": one.note}),
            )?;
        }
        Ok(())
    }

    fn tiles(&mut self, lane: &Lane, tiles: &[((u8, u64), Vec<u8>)]) -> Result<(), AuditError> {
        for ((level, n), hashes) in tiles {
            // 256^(level + 1) leaves lie below a full tile.
            let below =
                u64::from(tile::WIDTH).checked_pow(u32::from(*level) + 1).unwrap_or(u64::MAX);
            let (first, end) = (n.saturating_mul(below), n.saturating_add(1).saturating_mul(below));
            if first < lane.from || end > lane.to {
                continue;
            }
            self.done.tiles += 1;
            let hashes = STANDARD.encode(hashes);
            self.line(&json!({"type": "tile", "lane": lane.head.lane, "level": level, "n": n, "hashes": hashes}))?;
        }
        Ok(())
    }

    fn text(&mut self, digest: &[u8], kind: &str, bytes: &[u8]) -> Result<(), AuditError> {
        self.done.texts += 1;
        let (digest, bytes) = (STANDARD.encode(digest), STANDARD.encode(bytes));
        self.line(&json!({"type": "text", "kind": kind, "digest": digest, "bytes": bytes}))
    }

    async fn leaves(
        &mut self,
        connection: &mut PgConnection,
        lane: &Lane,
    ) -> Result<(), AuditError> {
        let mut next = lane.from;
        loop {
            let page = lane.page(connection, next).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let end = last.first + last.count;
            let projected = (next, end.min(lane.to).min(lane.head.projected));
            let rows = store::rows(connection, lane.head.lane, projected).await?;
            let mut rows: BTreeMap<i64, Row<'_>> =
                rows.into_iter().map(|row| (row.place().index, row)).collect();
            for (index, leaf, mark) in page.iter().flat_map(|batch| lane.leaves(batch)) {
                let row = i64::try_from(index).ok().and_then(|index| rows.remove(&index));
                self.leaf(lane.head.lane, index, (leaf, mark), row.as_ref())?;
            }
            next = end.max(next + 1);
        }
    }

    fn leaf(
        &mut self,
        lane: u16,
        index: u64,
        (bytes, mark): (&[u8], &[u8]),
        row: Option<&Row<'_>>,
    ) -> Result<(), AuditError> {
        self.done.leaves += 1;
        let (bytes, mark) = (STANDARD.encode(bytes), STANDARD.encode(mark));
        self.line(
            &json!({"type": "leaf", "lane": lane, "index": index, "mark": mark, "bytes": bytes}),
        )?;
        let Some(row) = row else { return Ok(()) };
        self.done.rows += 1;
        self.line(&json!({"type": "row", "row": row.json()}))
    }

    fn end(mut self) -> Result<Exported, AuditError> {
        let done = self.done;
        let sha256 = STANDARD.encode(self.digest.clone().finalize());
        self.line(&json!({
            "type": "end", "lines": done.lines, "vkeys": done.vkeys, "checkpoints": done.checkpoints,
            "tiles": done.tiles, "texts": done.texts, "leaves": done.leaves, "rows": done.rows, "sha256": sha256,
        }))?;
        self.out.flush()?;
        Ok(self.done)
    }
}

/// Digests of the texts on which a leaf rests. An act on the policy has a `bundle` too, and rests on none.
fn named(leaf: &[u8]) -> Vec<Vec<u8>> {
    let Ok(leaf) = Leaf::read(leaf) else { return Vec::new() };
    if !matches!(&*leaf.kind, "decision" | "preflight") {
        return Vec::new();
    }
    let names = [leaf.facts, leaf.detail, leaf.bundle].into_iter().flatten();
    names.filter_map(|name| name.parse::<Hash>().ok()).map(|hash| hash.0.to_vec()).collect()
}

/// The roots of the perfect subtrees of the first `size` leaves, largest first.
async fn left(
    connection: &mut PgConnection,
    lane: u16,
    size: u64,
) -> Result<Vec<Hash>, AuditError> {
    let mut frontier = Frontier::new();
    while frontier.size() < size {
        let batches = store::batches(connection, lane, frontier.size(), BATCHES).await?;
        let before = frontier.size();
        for batch in &batches {
            let missing = size.saturating_sub(batch.first);
            let leaves = tlog::bundle::leaves(batch.leaves()).flatten();
            let leaves = leaves.take(usize::try_from(missing).unwrap_or(usize::MAX));
            leaves.for_each(|leaf| frontier.append(Hash::leaf(leaf)));
        }
        if frontier.size() == before {
            return Err(AuditError::Content(format!(
                "lane {lane} has a gap at {before}: export from 0"
            )));
        }
    }
    let bytes = frontier.to_bytes();
    let peaks = bytes.get(size_of::<u64>()..).and_then(Hash::many);
    Ok(peaks.unwrap_or_default())
}

/// Batches in memory at once: at most 64 MiB.
const BATCHES: i64 = 64;
