//! Over all lanes: every `started` and `ended` belongs to an ALLOW, and an ALLOW has at most one of each.

use std::collections::HashMap;

use uuid::Uuid;

use super::{At, Finding, What};

#[derive(Debug, Default)]
pub(super) struct Ends {
    allows: HashMap<Uuid, bool>,
    starts: Vec<(Uuid, At)>,
    ends: Vec<(Uuid, At)>,
}

impl Ends {
    pub fn decision(&mut self, id: Uuid, allows: bool) {
        self.allows.insert(id, allows);
    }

    pub fn started(&mut self, decision: Uuid, at: At) {
        self.starts.push((decision, at));
    }

    pub fn ended(&mut self, decision: Uuid, at: At) {
        self.ends.push((decision, at));
    }

    pub fn check(&self, findings: &mut Vec<Finding>) {
        for (list, name) in [(&self.starts, "started"), (&self.ends, "ended")] {
            let mut seen = std::collections::HashSet::new();
            for (decision, at) in list {
                let about = match self.allows.get(decision) {
                    None => format!("`{name}` of a decision {decision} that is not in the log"),
                    Some(false) => format!("`{name}` of a decision {decision} that did not allow"),
                    Some(true) if !seen.insert(decision) => {
                        format!("a second `{name}` of decision {decision}")
                    }
                    Some(true) => continue,
                };
                findings.push(at.finding(What::Rule, about));
            }
        }
    }
}
