//! Where a lane's walk begins: at its first record, or where an interrupted run stopped.
//!
//! *Invariant:* nothing that was kept is believed before name, tree and signed root were found to be this log's.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::Walker;
use crate::audit::verify::{
    Terms, Walk,
    rules::Position,
    state::LaneStood,
    store::{self, HeadState},
    tree::{self, Tree},
};
use crate::audit::{AuditError, served};

impl Walker {
    /// At the beginning, or where an earlier run stopped.
    pub(super) async fn begin(
        connection: &mut PgConnection,
        head: HeadState,
        terms: Arc<Terms>,
    ) -> Result<Self, AuditError> {
        let lane = head.lane;
        let tiles = store::tiles_above(connection, lane).await?;
        let checkpoints = store::checkpoints(connection, lane).await?;
        let mut walker = Self {
            tree: Tree::new(lane, tiles, checkpoints),
            at: Position::new(lane),
            walk: Walk::default(),
            whole: Walk::default(),
            saved: Instant::now(),
            due: Vec::new(),
            beyond: None,
            head: Arc::new(head),
            terms,
        };
        if walker.terms.state.is_none() {
            walker.walk.reserve(walker.head.size);
        }
        let stood = walker.terms.state.as_ref().and_then(|state| state.take(lane));
        if let Some(stood) = stood {
            walker.resume(connection, stood).await?;
        }
        Ok(walker)
    }

    /// Believes what an earlier run kept only if it is of this very log: same name, same tree, same signed root.
    async fn resume(
        &mut self,
        connection: &mut PgConnection,
        stood: LaneStood,
    ) -> Result<(), AuditError> {
        let Some(state) = &self.terms.state else { return Ok(()) };
        let (lane, size) = (self.head.lane, stood.at.next);
        if stood.origin != self.head.origin {
            let (theirs, ours) = (&stood.origin, &self.head.origin);
            return Err(state.wrong(format!("it is of `{theirs}`, and lane {lane} is `{ours}`")));
        }
        if self.head.size < size {
            let has = self.head.size;
            return Err(state.wrong(format!("lane {lane} had {size} records then, and has {has}")));
        }
        let edge = match served::edge_at(connection, lane, size).await {
            Err(AuditError::Content(cause)) => return Err(state.wrong(cause)),
            edge => edge?,
        };
        let tiles: BTreeMap<_, _> =
            edge.partials().into_iter().map(|(id, hashes)| (id, hashes.to_vec())).collect();
        let root = tlog::proof::root(&tiles, size).ok();
        let Some(frontier) = stood.tree.frontier().filter(|it| Some(it.root()) == root) else {
            return Err(state.wrong(format!(
                "the first {size} records of lane {lane} are not those that were looked at: their tree is another one"
            )));
        };
        let agreed = stood.tree.agreed();
        let signed = stood.walk.roots.get(&(lane, agreed)).copied();
        let now = self.tree.checkpoint_of(agreed);
        let holds = now.is_some_and(|now| {
            tree::holds(now, &self.terms.trusted, &self.head.origin, signed).is_ok()
        });
        if agreed > 0 && !holds {
            return Err(state.wrong(format!(
                "the signed checkpoint of lane {lane} at {agreed} records is gone, or is another one"
            )));
        }
        let tree = std::mem::replace(&mut self.tree, Tree::new(lane, Vec::new(), Vec::new()));
        self.tree = tree.resume(&stood.tree, frontier, edge);
        (self.at, self.whole) = (stood.at, stood.walk);
        self.whole.report.before = self.whole.report.records;
        self.tree.late(&self.terms.trusted, &self.head.origin, &mut self.whole);
        self.terms.resumed(size);
        Ok(())
    }

    /// Writes into the state what was gathered since it was written last. Never past rows that are still to come, which a later
    /// run would not look at, nor past a gap or an edited record.
    pub(super) fn save(&mut self) -> Result<(), AuditError> {
        let Some(state) = &self.terms.state else { return Ok(()) };
        let followed = self.at.next <= self.head.projected;
        let Some(tree) = self.tree.stood().filter(|_| followed && state.is_due(self.saved)) else {
            return Ok(());
        };
        if !state.append(&self.head.origin, &self.at, tree, &self.walk)? {
            return Ok(());
        }
        self.saved = Instant::now();
        let part = self.walk.part();
        self.whole.join(part);
        Ok(())
    }
}
