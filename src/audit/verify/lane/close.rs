//! The end of a lane: what is left over, and whether all of it is under a signed checkpoint.

use std::sync::Arc;

use sqlx::PgConnection;
use tlog::{Checkpoint, VerifierKey};

use super::Walker;
use crate::audit::verify::{
    Finding, Newest, Unwitnessed, Walk, What, cosignatures, rows, store, tree::is_trusted,
};
use crate::audit::{AuditError, generation, instant, key::lane_origin, prove::leaves, row::Leaf};

impl Walker {
    pub(super) async fn close(mut self, connection: &mut PgConnection) -> Result<Walk, AuditError> {
        let head = Arc::clone(&self.head);
        let (lane, end) = (head.lane, self.at.next);
        let beyond = (end, i64::MAX.unsigned_abs());
        rows::store::kept(connection, lane, beyond).await?.close(lane, &mut self.walk);
        if head.projected > end {
            let about = format!("rows are said to go to {}, the lane to {end}", head.projected);
            self.walk.find_lane(lane, What::Row, about);
        }
        self.walk.report.unprojected = end.saturating_sub(head.projected);
        self.walk.sizes.insert(lane, end);
        self.walk.broken.extend(self.tree.is_broken().then_some(lane));
        self.walk.report.newest.push(Newest { lane, at_ns: self.at.last_ns() });
        self.unread(connection).await?;
        self.covered(connection).await?;
        self.witnessed(connection).await?;
        let beyond = end / u64::from(tlog::tile::WIDTH);
        let tiles = store::numbered_tiles(connection, lane, 0, beyond, u64::MAX).await?;
        self.tree.keep(tiles.into_iter().map(|(n, hashes)| ((0, n), hashes)).collect());
        self.tree.close(&head, &mut self.walk);
        self.whole.join(self.walk);
        Ok(self.whole)
    }

    /// That no two batches begin at one index is a constraint, which is its owner's to drop. Pages begin behind the batch that the one
    /// before ended with, so that one which begins where that did is in none.
    async fn unread(&mut self, connection: &mut PgConnection) -> Result<(), AuditError> {
        let lane = self.head.lane;
        let Some(read) = self.at.batches() else { return Ok(()) };
        let kept = store::batches_kept(connection, lane).await?;
        if kept <= read {
            return Ok(());
        }
        let index = store::batches_at_one(connection, lane).await?;
        let about = format!(
            "{kept} batches are kept, and {read} follow each other: others begin where one of these does"
        );
        let (id, what) = (None, What::Misplaced);
        self.walk.report.findings.push(Finding { lane, index, id, what, about });
        Ok(())
    }

    /// Whoever deletes checkpoints could rewrite what they covered without a key: so what is under none must be young. By the records
    /// themselves, because everything beside them can be written anew, and by our clock, because the database's is its owner's.
    async fn covered(&mut self, connection: &mut PgConnection) -> Result<(), AuditError> {
        let (lane, end, signed) = (self.head.lane, self.at.next, self.tree.signed());
        self.walk.report.uncovered = end.saturating_sub(signed);
        if !is_trusted(&self.terms.trusted, &self.head.origin) {
            let about = no_key(&self.terms.trusted, &self.head.origin, lane);
            self.walk.find_lane(lane, What::Checkpoint, about);
            return Ok(());
        }
        if signed >= end {
            return Ok(());
        }
        let seen = self.beyond.filter(|(index, _)| *index == signed);
        let first = match seen {
            Some((_, at_ns)) => Some(at_ns),
            // An earlier run saw it, or nobody.
            None => at_of(connection, lane, signed).await?,
        };
        let age_s = |at_ns: i64| self.terms.now_ns.saturating_sub(at_ns) / 1_000_000_000;
        let records = format!("records {signed} to {end} are under no signed checkpoint");
        let about = match (first.map(age_s), self.at.last_ns().map(age_s)) {
            (Some(oldest), _) if oldest > COVERED_S => format!(
                "{records}, the oldest for {oldest} s: checkpoints follow within a second, or when a gateway that died is \
                 started again"
            ),
            (_, Some(latest)) if latest < -COVERED_S => format!(
                "{records}, and say that they were written {} s from now: whose clock is wrong, theirs or this one?",
                latest.unsigned_abs()
            ),
            _ => return Ok(()),
        };
        self.walk.find_lane(lane, What::Checkpoint, about);
        Ok(())
    }

    /// What a quorum of witnesses vouches for not even who has the log's key writes anew. How much is beyond that is said, and a lane
    /// of which they vouch for nothing is found: it may be another one than they saw.
    async fn witnessed(&mut self, connection: &mut PgConnection) -> Result<(), AuditError> {
        let (lane, end, terms) = (self.head.lane, self.at.next, Arc::clone(&self.terms));
        let root = |size| {
            let roots = [&self.walk.roots, &self.whole.roots];
            roots.into_iter().find_map(|roots| roots.get(&(lane, size)))
        };
        // A root that differs, or cannot be told, was found.
        let is_right = |size, stated: &Checkpoint| {
            let same = root(size).is_none_or(|root| *root == stated.root);
            stated.origin == self.head.origin && stated.size == size && same
        };
        let witnesses = terms.witnesses.as_ref();
        let found = cosignatures::read(connection, lane, witnesses, is_right).await?;
        let none = terms.asks_witnesses() && end > 0 && found.vouched == 0;
        let none = none.then(|| NONE_VOUCHED.to_owned());
        for about in found.faults.into_iter().chain(none) {
            self.walk.find_lane(lane, What::Checkpoint, about);
        }
        if terms.asks_witnesses() {
            let records = end.saturating_sub(found.vouched);
            let since_ns =
                if records > 0 { at_of(connection, lane, found.vouched).await? } else { None };
            self.walk.report.unwitnessed.push(Unwitnessed { lane, records, since_ns });
        }
        Ok(())
    }
}

/// To whoever brought keys a lane without one of them is somebody else's, until he has its key. What to type is said only of a deployment
/// that the reader himself names: of any other it would be words of the database.
fn no_key(trusted: &[VerifierKey], origin: &str, lane: u16) -> String {
    let none =
        format!("no trusted key is named `{origin}`, and none of its checkpoints is believed");
    let deployments = trusted.iter().filter_map(|key| Some(key.name().rsplit_once('/')?.0));
    let mut ours = deployments.filter(|deployment| lane_origin(deployment, lane) == origin);
    let Some(deployment) = ours.next() else {
        return format!("{none}: it is of another deployment than the trusted keys");
    };
    let (generation, slot) = (lane / generation::SLOTS, generation::slot(lane));
    format!(
        "{none}: if it is this deployment's (generation {generation} of lane {slot}), who has the log's key prints it with `haetae \
         keygen --origin {deployment} --of FILE --generation {generation} --lanes {}`",
        slot + 1
    )
}

/// `at` of one record; `None` when it is not there or says none.
async fn at_of(
    connection: &mut PgConnection,
    lane: u16,
    index: u64,
) -> Result<Option<i64>, AuditError> {
    let leaves = match leaves(connection, lane, index, index.saturating_add(1)).await {
        // What is wrong with its batch was said.
        Err(AuditError::Content(_)) => return Ok(None),
        leaves => leaves?,
    };
    let leaf = leaves.first().and_then(|leaf| Leaf::read(leaf).ok());
    Ok(leaf.and_then(|leaf| instant::read(&leaf.at)))
}

/// Checkpoints follow commits within about a second: a minute is far past it, and more than clocks differ.
const COVERED_S: i64 = 60;
const NONE_VOUCHED: &str = "none of its checkpoints is cosigned by a quorum of the witnesses";
