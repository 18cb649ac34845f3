//! What records say of each other over all lanes: no id twice, a `started` or `ended` fits its decision, and an answer was
//! cut by a judgement of that very decision.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

use sha2::{Digest as _, Sha256};

use crate::{
    finding::{Contradiction, Finding, Place, RecordFault},
    record::{self, Id, Record},
    report::Report,
};

/// Everything seen so far: 48 bytes a record, 64 more for each `started` and `ended`.
#[derive(Clone, Default)]
pub(crate) struct Joins {
    seen: Vec<Seen>,
    follows: Vec<Follow>,
    cuts: Vec<Cut>,
    /// A refusal and the decision that it judged again.
    again: BTreeMap<Id, Id>,
    /// Of identities that are a choice of several keys, each of them: a few, since a record has room for thousands.
    choices: BTreeMap<Mark, BTreeSet<Mark>>,
}

/// Stands for a TLS identity: who could make two of one mark could as well write the right one.
type Mark = NonZeroU64;

/// An `ended` that names the refusal for which its answer was cut.
#[derive(Clone)]
struct Cut {
    by: Id,
    decision: Id,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    id: Id,
    lane: u16,
    index: u64,
    at: i64,
    role: Role,
    /// Of an allow: the identity that its site must show.
    identity: Option<Mark>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Allow,
    Refuse,
    Other,
}

/// A `started` (not `ended`) or an `ended` of a decision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Follow {
    decision: Id,
    ended: bool,
    lane: u16,
    index: u64,
    at: i64,
    id: Id,
    /// Of a `started`: what the site showed.
    identity: Option<Mark>,
}

impl Joins {
    pub(crate) fn add(&mut self, record: &Record, lane: u16) {
        let (id, index, at) = (record.id, record.index, record.at);
        let role = match (record.kind.as_str(), record.text("outcome")) {
            ("decision", Some("ALLOW" | "ALLOW_WITH_OBLIGATIONS")) => Role::Allow,
            ("decision", _) => Role::Refuse,
            _ => Role::Other,
        };
        let identity = record.text("identity").filter(|identity| !is_long(identity)).map(mark);
        self.seen.push(Seen { id, lane, index, at, role, identity });
        if role == Role::Allow {
            self.choose(record.text("identity").unwrap_or_default());
        }
        let named = |key| record.text(key).and_then(record::id);
        if let (Role::Refuse, Some(of)) = (role, named("judges_again")) {
            self.again.insert(id, of);
        }
        if let (Some(by), Some(decision)) = (named("cut_by"), named("decision")) {
            self.cuts.push(Cut { by, decision, place: place(lane, index, &id) });
        }
        let ended = match record.kind.as_str() {
            "started" => false,
            "ended" => true,
            _ => return,
        };
        if let Some(decision) = named("decision") {
            self.follows.push(Follow { decision, ended, lane, index, at, id, identity });
        }
    }

    /// Keys that take turns are written one after the other, and one of them is shown.
    fn choose(&mut self, identity: &str) {
        if identity.contains(',') && !is_long(identity) && identity.split(',').all(is_key) {
            self.choices.insert(mark(identity), identity.split(',').map(mark).collect());
        }
    }

    /// Forgets the oldest when there are more than twice as many records as `recent`. What a forgotten decision said is no
    /// longer held against anything.
    pub(crate) fn trim(&mut self, recent: usize) {
        if self.seen.len() > recent.saturating_mul(2) {
            self.seen.drain(..self.seen.len() - recent);
            self.follows.drain(..self.follows.len().saturating_sub(recent));
            self.cuts.drain(..self.cuts.len().saturating_sub(recent));
            let seen: BTreeSet<Id> = self.seen.iter().map(|seen| seen.id).collect();
            self.again.retain(|id, _| seen.contains(id));
            let named: BTreeSet<Mark> = self.seen.iter().filter_map(|seen| seen.identity).collect();
            self.choices.retain(|mark, _| named.contains(mark));
        }
    }

    /// Holds everything against everything. `covered`: whether all that was written before the record in this lane and index is
    /// among what was seen.
    pub(crate) fn close(mut self, covered: impl Fn(u16, u64) -> bool, report: &mut Report) {
        self.seen.sort_unstable();
        self.follows.sort_unstable();
        for [first, second] in self.seen.array_windows() {
            if first.id == second.id {
                let fault = RecordFault::SameId { lane: first.lane, index: first.index };
                report.find(Finding::Record(place(second.lane, second.index, &second.id), fault));
            }
        }
        let (mut ended, mut before) = (0, None);
        let mut lost: Vec<&Follow> = Vec::new();
        for follow in &self.follows {
            let Some(decision) = self.decision(&follow.decision) else {
                lost.extend(covered(follow.lane, follow.index).then_some(follow));
                continue;
            };
            let key = Some((follow.decision, follow.ended));
            let wrong = match () {
                () if decision.role != Role::Allow => Some(Contradiction::Refused),
                () if before == key => Some(Contradiction::Twice),
                () if follow.at <= decision.at => Some(Contradiction::Early),
                () if !self.shows(decision, follow) => Some(Contradiction::Identity),
                () => None,
            };
            before = key;
            ended += u64::from(follow.ended && wrong.is_none());
            if let Some(wrong) = wrong {
                report.find(follow.finding(wrong));
            }
        }
        for cut in &self.cuts {
            let shown = self.decision(&cut.by).is_some();
            if shown && self.again.get(&cut.by) != Some(&cut.decision) {
                let fault = RecordFault::Follows(Contradiction::NotItsCut);
                report.find(Finding::Record(cut.place.clone(), fault));
            }
        }
        if report.findings.is_empty() {
            // Otherwise the decision may be among the findings.
            for follow in lost {
                report.find(follow.finding(Contradiction::Nowhere));
            }
        }
        let allows = self.seen.iter().filter(|seen| seen.role == Role::Allow).count() as u64;
        report.counts.without_end = allows.saturating_sub(ended);
    }

    /// Whether the site showed what the decision asks for.
    fn shows(&self, decision: &Seen, follow: &Follow) -> bool {
        let Some(wanted) = decision.identity.filter(|_| !follow.ended) else { return true };
        let shown = |shown: Mark| {
            shown == wanted || self.choices.get(&wanted).is_some_and(|keys| keys.contains(&shown))
        };
        follow.identity.is_some_and(shown)
    }

    /// The record of this id, in the sorted list; it may lie outside the file.
    fn decision(&self, id: &Id) -> Option<&Seen> {
        let at = self.seen.partition_point(|seen| seen.id < *id);
        self.seen.get(at).filter(|seen| seen.id == *id)
    }
}

impl Follow {
    fn finding(&self, wrong: Contradiction) -> Finding {
        let place = place(self.lane, self.index, &self.id);
        Finding::Record(place, RecordFault::Follows(wrong))
    }
}

fn mark(identity: &str) -> Mark {
    let digest: [u8; 32] = Sha256::digest(identity).into();
    let (first, _) = digest.as_chunks::<8>();
    first.first().and_then(|bytes| Mark::new(u64::from_be_bytes(*bytes))).unwrap_or(Mark::MIN)
}

/// More keys than are kept: who wrote them all may as well have written the right one, so nothing is held against them.
fn is_long(identity: &str) -> bool {
    identity.split(',').nth(KEYS_MAX).is_some() && identity.split(',').all(is_key)
}

/// A key and no name: a digest of 32 bytes in base64.
fn is_key(identity: &str) -> bool {
    let digest = identity.strip_prefix("spki:sha256/").unwrap_or_default().as_bytes();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(digest, [digits @ .., b'='] if digits.len() == 43 && digits.iter().all(is_base64))
}

/// Keys that take turns are two or three.
const KEYS_MAX: usize = 8;

fn place(lane: u16, index: u64, id: &Id) -> Place {
    Place { lane, index, id: Some(record::id_text(id)) }
}
