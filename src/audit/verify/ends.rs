//! Over all lanes: every `started` and `ended` belongs to an ALLOW, and an ALLOW has at most one of each.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{At, Finding, What};

#[derive(Debug, Default)]
pub(super) struct Ends {
    allows: HashMap<Uuid, bool>,
    started: Vec<(Uuid, At)>,
    ended: Vec<(Uuid, At)>,
}

impl Ends {
    pub fn decision(&mut self, id: Uuid, allows: bool) {
        self.allows.insert(id, allows);
    }

    pub fn started(&mut self, decision: Uuid, at: At) {
        self.started.push((decision, at));
    }

    pub fn ended(&mut self, decision: Uuid, at: At) {
        self.ended.push((decision, at));
    }

    /// Takes over those of another lane.
    pub fn join(&mut self, other: Self) {
        self.allows.extend(other.allows);
        self.started.extend(other.started);
        self.ended.extend(other.ended);
    }

    pub fn check(&self, findings: &mut Vec<Finding>) {
        for (list, name) in [(&self.started, "started"), (&self.ended, "ended")] {
            let mut seen = HashSet::new();
            for (decision, at) in list {
                let first = seen.insert(decision);
                let fault = self.fault(*decision, name, first);
                findings.extend(fault.map(|about| at.finding(What::Rule, about)));
            }
        }
    }

    fn fault(&self, decision: Uuid, name: &str, first: bool) -> Option<String> {
        match self.allows.get(&decision) {
            None => Some(format!("`{name}` of a decision {decision} that is not in the log")),
            Some(false) => Some(format!("`{name}` of a decision {decision} that did not allow")),
            Some(true) if !first => Some(format!("a second `{name}` of decision {decision}")),
            Some(true) => None,
        }
    }
}
