//! A part of a lane as it is kept: what was gathered of it, and where the walk stood at its end. About 70 bytes a record.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tlog::Hash;
use uuid::Uuid;

use super::LaneStood;
use crate::audit::verify::{
    Finding, Report,
    acts::Told,
    ends::Ends,
    rules::Position,
    tree::Stood,
    walk::{At, Id, Walk},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    origin: String,
    at: Position,
    tree: Stood,
    records: u64,
    checkpoints: u64,
    rows: u64,
    findings: Vec<Finding>,
    beats: Vec<(At, (u16, u64, String))>,
    /// Digest in base64, kind, where it is named first.
    texts: Vec<(String, String, At)>,
    /// Digests of a `detail` and of its `facts`.
    details: Vec<(String, String)>,
    /// Base64 of what follows each other: size, root.
    roots: String,
    /// Id, index.
    ids: String,
    /// Id, 1 for a decision that allows.
    decisions: String,
    /// Id of the decision, index, id of the record.
    started: String,
    ended: String,
    told: Told,
}

impl Part {
    /// `None` when something in it has no id that could be kept: such a part is looked at again.
    pub fn of(origin: &str, at: &Position, tree: Stood, walk: &Walk) -> Option<Self> {
        let report = &walk.report;
        let root =
            |((_, size), root): (&(u16, u64), &Hash)| join::<40>(&[&size.to_be_bytes(), &root.0]);
        let id = |(id, (_, index)): &(Uuid, (u16, u64))| {
            join::<24>(&[id.as_bytes(), &index.to_be_bytes()])
        };
        let decision =
            |(id, allows): &(Uuid, bool)| join::<17>(&[id.as_bytes(), &[u8::from(*allows)]]);
        let texts = walk
            .texts
            .iter()
            .map(|(digest, (kind, at))| (STANDARD.encode(digest), (*kind).to_owned(), at.clone()));
        let details = walk.details.iter();
        let details =
            details.map(|(detail, facts)| (STANDARD.encode(detail), STANDARD.encode(facts)));
        Some(Self {
            origin: origin.to_owned(),
            at: at.clone(),
            tree,
            records: report.records,
            checkpoints: report.checkpoints,
            rows: report.rows,
            findings: report.findings.clone(),
            beats: walk.beats.clone(),
            texts: texts.collect(),
            details: details.collect(),
            roots: pack(walk.roots.iter().map(root)),
            ids: pack(walk.ids.iter().map(id)),
            decisions: pack(walk.ends.decisions().iter().map(decision)),
            started: ends(walk.ends.all_started())?,
            ended: ends(walk.ends.all_ended())?,
            told: walk.told.clone(),
        })
    }

    /// Puts it behind the parts of its lane before it; `None` when it does not fit there.
    pub fn join(self, lanes: &mut BTreeMap<u16, LaneStood>) -> Option<()> {
        let lane = self.at.lane;
        let walk = self.gathered()?;
        let begins = lanes.get(&lane).map_or(0, |before| before.at.next);
        let fits = lanes.get(&lane).is_none_or(|before| before.origin == self.origin)
            && self.at.next >= begins
            && self.tree.frontier().is_some_and(|it| it.size() == self.at.next);
        if !fits {
            return None;
        }
        let Self { origin, at, tree, .. } = self;
        let before = lanes.remove(&lane).map(|before| before.walk);
        let mut whole = before.unwrap_or_default();
        whole.join(walk);
        lanes.insert(lane, LaneStood { origin, at, tree, walk: whole });
        Some(())
    }

    fn gathered(&self) -> Option<Walk> {
        let lane = self.at.lane;
        let mut walk = Walk {
            report: Report {
                records: self.records,
                checkpoints: self.checkpoints,
                rows: self.rows,
                findings: self.findings.clone(),
                ..Report::default()
            },
            beats: self.beats.clone(),
            told: self.told.clone(),
            ..Walk::default()
        };
        for root in unpack::<40>(&self.roots)? {
            let (size, root) = root.split_first_chunk()?;
            walk.roots.insert((lane, u64::from_be_bytes(*size)), Hash::from_slice(root)?);
        }
        for id in unpack::<24>(&self.ids)? {
            let (id, index) = id.split_first_chunk()?;
            let index = u64::from_be_bytes(index.try_into().ok()?);
            walk.ids.push((Uuid::from_bytes(*id), (lane, index)));
        }
        for decision in unpack::<17>(&self.decisions)? {
            let (id, allows) = decision.split_first_chunk()?;
            walk.ends.decision(Uuid::from_bytes(*id), allows == [1]);
        }
        each_end(&self.started, lane, &mut walk.ends, Ends::started)?;
        each_end(&self.ended, lane, &mut walk.ends, Ends::ended)?;
        for (digest, kind, at) in &self.texts {
            let kind = KINDS.into_iter().find(|known| known == kind)?;
            walk.texts.insert(STANDARD.decode(digest).ok()?, (kind, at.clone()));
        }
        for (detail, facts) in &self.details {
            let facts = STANDARD.decode(facts).ok()?;
            walk.details.insert(STANDARD.decode(detail).ok()?, facts);
        }
        Some(walk)
    }
}

fn ends(all: &[(Uuid, At)]) -> Option<String> {
    let mut bytes = Vec::with_capacity(all.len() * 40);
    for (decision, at) in all {
        let Some(Id::Uuid(id)) = &at.id else { return None };
        bytes.extend(join::<40>(&[decision.as_bytes(), &at.index.to_be_bytes(), id.as_bytes()]));
    }
    Some(STANDARD.encode(bytes))
}

fn each_end(packed: &str, lane: u16, ends: &mut Ends, add: fn(&mut Ends, Uuid, At)) -> Option<()> {
    for end in unpack::<40>(packed)? {
        let (decision, rest) = end.split_first_chunk()?;
        let (index, id) = rest.split_first_chunk()?;
        let id = Some(Id::Uuid(Uuid::from_slice(id).ok()?));
        let at = At { lane, index: u64::from_be_bytes(*index), id };
        add(ends, Uuid::from_bytes(*decision), at);
    }
    Some(())
}

/// Pieces that together are `N` bytes.
fn join<const N: usize>(pieces: &[&[u8]]) -> [u8; N] {
    let mut all = [0; N];
    let bytes = pieces.iter().flat_map(|piece| piece.iter());
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

fn pack<const N: usize>(items: impl Iterator<Item = [u8; N]>) -> String {
    STANDARD.encode(items.flatten().collect::<Vec<u8>>())
}

fn unpack<const N: usize>(text: &str) -> Option<Vec<[u8; N]>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (items, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| items.to_vec())
}

/// Of the texts that a decision names.
const KINDS: [&str; 3] = ["facts", "detail", "bundle"];
