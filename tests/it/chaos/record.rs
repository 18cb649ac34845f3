//! The log as the judge reads it: straight from the committed batches, not from the query tables.

use std::collections::BTreeMap;

use serde::Deserialize;
use sqlx::PgPool;

/// What the judge needs of a leaf.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Leaf {
    pub kind: String,
    pub id: String,
    pub lane: u16,
    pub epoch: u64,
    pub outcome: String,
    pub site: String,
    /// SHA-256 of the request's body, base64.
    pub body: String,
    pub request: Upstream,
    pub decision: String,
    pub how: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Upstream {
    pub path: String,
}

/// The whole log.
#[derive(Debug, Default)]
pub struct Log {
    pub decisions: BTreeMap<String, Leaf>,
    /// Decision to how it ended, each time.
    pub ends: BTreeMap<String, Vec<String>>,
    /// Kinds of the first and the last leaf of each epoch, by lane and number.
    pub epochs: BTreeMap<(u16, u64), (String, String)>,
}

impl Log {
    pub async fn read(pool: &PgPool) -> Self {
        let mut log = Self::default();
        let (mut lane, mut first) = (0, -1);
        loop {
            let select = "select lane, first_index, leaves from log_batch
                          where (lane, first_index) > ($1, $2) order by lane, first_index limit 1000";
            let batches: Vec<(i32, i64, Vec<u8>)> =
                sqlx::query_as(select).bind(lane).bind(first).fetch_all(pool).await.unwrap();
            let Some(last) = batches.last() else { return log };
            (lane, first) = (last.0, last.1);
            let leaves = batches.iter().flat_map(|(_, _, leaves)| tlog::bundle::leaves(leaves));
            leaves.for_each(|leaf| log.add(serde_json::from_slice(leaf.unwrap()).unwrap()));
        }
    }

    fn add(&mut self, leaf: Leaf) {
        let kinds = self.epochs.entry((leaf.lane, leaf.epoch));
        kinds.or_insert_with(|| (leaf.kind.clone(), String::new())).1.clone_from(&leaf.kind);
        match leaf.kind.as_str() {
            "decision" => assert!(self.decisions.insert(leaf.id.clone(), leaf).is_none()),
            "ended" => self.ends.entry(leaf.decision).or_default().push(leaf.how),
            _ => {}
        }
    }

    pub fn allows(&self) -> impl Iterator<Item = &Leaf> {
        self.decisions.values().filter(|leaf| leaf.outcome.starts_with("ALLOW"))
    }
}
