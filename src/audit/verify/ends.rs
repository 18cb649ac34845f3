//! Over all lanes: every `started` and `ended` belongs to an ALLOW, and an ALLOW has at most one of each.

use uuid::Uuid;

use super::{At, Finding, What};

/// In the order in which they were read: lists, which cost a walk less than maps.
#[derive(Debug, Default)]
pub(super) struct Ends {
    decisions: Vec<(Uuid, bool)>,
    started: Vec<(Uuid, At)>,
    ended: Vec<(Uuid, At)>,
}

impl Ends {
    pub fn decision(&mut self, id: Uuid, allows: bool) {
        self.decisions.push((id, allows));
    }

    pub fn started(&mut self, decision: Uuid, at: At) {
        self.started.push((decision, at));
    }

    pub fn ended(&mut self, decision: Uuid, at: At) {
        self.ended.push((decision, at));
    }

    pub fn decisions(&self) -> &[(Uuid, bool)] {
        &self.decisions
    }

    pub fn all_started(&self) -> &[(Uuid, At)] {
        &self.started
    }

    pub fn all_ended(&self) -> &[(Uuid, At)] {
        &self.ended
    }

    /// Room for those of so many records.
    pub fn reserve(&mut self, records: usize) {
        self.decisions.reserve(records);
        self.started.reserve(records / 3);
        self.ended.reserve(records / 3);
    }

    /// Takes over those of another lane, or of a later part.
    pub fn join(&mut self, other: Self) {
        if self.decisions.is_empty() && self.started.is_empty() && self.ended.is_empty() {
            *self = other;
            return;
        }
        self.decisions.extend(other.decisions);
        self.started.extend(other.started);
        self.ended.extend(other.ended);
    }

    /// By decision, and of each the first comes first. Of what is sorted in parts the parts are merged.
    pub fn sort(&mut self) {
        self.decisions.sort();
        for list in [&mut self.started, &mut self.ended] {
            list.sort_by_key(|(decision, at)| (*decision, at.lane, at.index));
        }
    }

    /// ALLOWs without an `ended`, with an id of before this second: how many, and the first. After `check`, which sorts.
    pub fn open(&self, before_s: i64) -> (u64, Option<Uuid>) {
        let young_ms = u128::try_from(before_s).unwrap_or(0) * 1_000;
        let mut ended = self.ended.iter().map(|(decision, _)| *decision).peekable();
        // A UUIDv7 begins with its milliseconds, 48 bits.
        let old = self.decisions.iter().take_while(|(id, _)| id.as_u128() >> 80 < young_ms);
        let mut open = old.filter_map(|(id, allows)| {
            while ended.next_if(|end| end < id).is_some() {}
            (*allows && ended.peek() != Some(id)).then_some(*id)
        });
        let first = open.next();
        (u64::from(first.is_some()) + open.count() as u64, first)
    }

    pub fn check(&mut self, findings: &mut Vec<Finding>) {
        self.sort();
        for (list, name) in [(&self.started, "started"), (&self.ended, "ended")] {
            let mut decisions = self.decisions.as_slice();
            let mut before = None;
            for (decision, at) in list {
                let of = seek(&mut decisions, *decision);
                let second = before.replace(*decision) == Some(*decision);
                let fault = fault(*decision, of, name, second);
                findings.extend(fault.map(|about| at.finding(What::Rule, about)));
            }
        }
    }
}

/// Whether the decision allowed, if it is there; what is before it is left behind.
fn seek(decisions: &mut &[(Uuid, bool)], wanted: Uuid) -> Option<bool> {
    let before = decisions.iter().take_while(|(id, _)| *id < wanted).count();
    *decisions = decisions.get(before..).unwrap_or_default();
    decisions.first().filter(|(id, _)| *id == wanted).map(|(_, allows)| *allows)
}

fn fault(decision: Uuid, allows: Option<bool>, name: &str, second: bool) -> Option<String> {
    match allows {
        None => Some(format!("`{name}` of a decision {decision} that is not in the log")),
        Some(false) => Some(format!("`{name}` of a decision {decision} that did not allow")),
        Some(true) if second => Some(format!("a second `{name}` of decision {decision}")),
        Some(true) => None,
    }
}
