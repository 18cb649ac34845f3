//! How a lane is taken: connect, claim, settle what was left open, and see whether the database still has what was committed.
//!
//! *Invariant:* nothing is written before the claim, and nothing that another process took over is written at all.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, timeout};

use super::{Held, Lane, Left, lost, unusable};
use crate::audit::{
    AuditError,
    generation::{self, Found},
    key::Signers,
    leaf::Notice,
    queue::Items,
    store::{self, Claim},
};

impl Lane {
    /// Connects, claims, settles what was left open, and opens the epoch. `None`: another replica has it.
    pub(super) async fn take(&mut self) -> Result<Option<Held>, Left> {
        let within = |what| move |_| Left::Lost(format!("no answer from the database: {what}"));
        let server = self.shared.pool.connect_options();
        let connection = timeout(CONNECT_MAX, self.connect()).await.map_err(within("connect"))?;
        let (mut connection, ours) = connection.map_err(unusable)?;
        timeout(CLAIM_MAX, self.disown(&mut connection)).await.map_err(within("look up"))??;
        if !ours {
            // Whoever holds it raised the epoch: what we sent is there by now, or never will be.
            timeout(CLAIM_MAX, self.settle(&mut connection, None))
                .await
                .map_err(within("look up"))??;
            return Ok(None);
        }
        let claim = store::claim(&mut connection, self.number, self.shared.identity.instance);
        let claim = timeout(CLAIM_MAX, claim).await.map_err(within("claim"))?;
        let claim = claim.map_err(|cause| Left::Lost(cause.to_string()))?;
        self.memory.forget();
        self.last_epoch = claim.tip.epoch;
        timeout(CLAIM_MAX, self.settle(&mut connection, Some(&claim)))
            .await
            .map_err(within("look up"))??;
        timeout(CLAIM_MAX, self.check(&mut connection, &claim))
            .await
            .map_err(within("check"))??;
        let change = store::fact_change(&mut connection, claim.tip.version);
        let change = timeout(CLAIM_MAX, change).await.map_err(within("facts"))?.map_err(lost)?;
        let open = Notice::LaneOpen {
            origin: claim.origin.clone(),
            key: self.signers.verifier().to_string(),
            also: self.signers.also(),
            build: self.shared.identity.build,
            version: claim.tip.version,
            digest: change.map(|(_, digest)| digest),
            root: claim.root.0,
        };
        let in_force = claim.tip.version;
        let mut held = Held { connection, server, tip: claim.tip, in_force, heard: Instant::now() };
        let mut notices = vec![open.into()];
        if held.tip.frontier.size() == 0 {
            let asked = generation::opening(&mut held.connection, self.number, &self.shared.water);
            let rollback = timeout(CLAIM_MAX, asked).await.map_err(within("generation"))?;
            notices.extend(rollback.map_err(unusable)?.map(Into::into));
        }
        let opening = Items { notices, decisions: Vec::new() };
        self.commit(&mut held, opening).await?;
        tracing::info!(lane = self.number, epoch = held.tip.epoch, "a lane is held");
        Ok(Some(held))
    }

    /// A connection, and whether the lane may be claimed.
    async fn connect(&mut self) -> Result<(PgConnection, bool), AuditError> {
        let shared = Arc::clone(&self.shared);
        let mut connection = store::connect(&shared.options(), &shared.identity).await?;
        let of = (self.slot, shared.config.origin.as_str());
        let number = generation::current(&mut connection, of.0, of.1, &shared.water).await?;
        if number != self.number {
            self.signers = Signers::new(&self.keys, of.1, number)?;
            (self.number, self.last_epoch) = (number, 0);
        }
        let origin = self.signers.origin();
        let ours = store::may_claim(&mut connection, self.number, origin, self.last_epoch).await?;
        Ok((connection, ours))
    }

    /// Whoever was out of reach for some seconds counts as gone: another process marked our epochs and ends their ALLOWs, so we must
    /// not. Asked after our lock is held: from here on nobody marks another one.
    async fn disown(&self, connection: &mut PgConnection) -> Result<(), Left> {
        let shared = &self.shared;
        let epochs = store::abandoned(connection, shared.identity.instance).await.map_err(lost)?;
        let allows = shared.queue.disown(epochs);
        if allows > 0 {
            let about = format!(
                "a gateway was out of reach of its database and counted as gone: {allows} of its ALLOWs are ended by another"
            );
            tracing::warn!(about);
            shared.queue.note(Notice::Alarm { what: "given_up", about, decision: None });
        }
        Ok(())
    }

    /// The batch whose answer was lost: released if it is in the log, put back if it is not. After the claim (ours, or
    /// that of the process that has the lane now) the old epoch can write no more, so "not there" stays true.
    async fn settle(
        &mut self,
        connection: &mut PgConnection,
        claim: Option<&Claim>,
    ) -> Result<(), Left> {
        let Some(batch) = &self.unknown else { return Ok(()) };
        if claim.is_none() {
            // What can be seen may not be on a standby yet. A commit of our own comes after it, and waits for that; a claim did.
            store::touch(connection, self.number).await.map_err(lost)?;
        }
        let written = store::holds(connection, batch).await.map_err(lost)?;
        // A generation that is dead is not signed any more, whatever is found of it.
        let agrees = batch.tip.lane == self.number
            && claim.is_none_or(|claim| {
                let size = claim.tip.frontier.size();
                size > batch.tree.size()
                    || (size == batch.tree.size() && claim.root == batch.tree.root())
            });
        let Some(batch) = self.unknown.take() else { return Ok(()) };
        if written && agrees {
            self.release(batch);
            return Ok(());
        }
        let mut items = batch.unwritten(None);
        if written {
            // In a generation that is dead, but there: an ALLOW of a process that is gone has its end.
            items.notices.retain(|noted| noted.closer.is_none());
        }
        self.shared.queue.give_back(items);
        Ok(())
    }

    /// A database that is behind what we know was committed, or behind a published checkpoint, was rolled back: the lane
    /// is declared dead, and the next claim opens the slot's next generation.
    async fn check(&self, connection: &mut PgConnection, claim: &Claim) -> Result<(), Left> {
        let number = self.number;
        if claim.origin != self.signers.origin() {
            return Err(Left::Dead(format!(
                "lane {number} belongs to `{}`: set `origin` to it without the lane number",
                claim.origin
            )));
        }
        let (size, root) = (claim.tip.frontier.size(), claim.root);
        let found = Found { size, root, published: claim.published };
        let known = self.shared.water.mark(number);
        let mut cause =
            generation::lost(connection, number, found, known).await.map_err(unusable)?;
        let is_sealed = || {
            let seal = claim.seal.as_deref().unwrap_or_default();
            size == 0 || self.signers.seals.fits(size, &root, seal)
        };
        if cause.is_none() && !is_sealed() {
            let strange = generation::strange(connection, found, &self.signers, known);
            cause = strange.await.map_err(unusable)?;
        }
        let Some((cause, known)) = cause else { return Ok(()) };
        tracing::error!(lane = number, cause, "a lane is dead: it is not signed again");
        let buried = generation::store::bury(connection, number, self.signers.origin(), known);
        buried.await.map_err(lost)?;
        Err(Left::Lost(cause))
    }
}

/// A stopped Postgres accepts connections and says nothing.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Longer than a predecessor's transaction may hold the head (its lock timeout).
const CLAIM_MAX: Duration = Duration::from_secs(3);
