//! One lane: claim it, commit what waits, release who waits; lose it and claim it again.
//!
//! *Invariant:* nothing is signed and nobody is released before the commit returned, or was found in the log afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::{PgConnection, postgres::PgConnectOptions};
use tlog::Checkpoint;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    AuditError, Ended, How, Key, RecordError,
    batch::{self, Batch, Facts, Memory, Tip},
    commit::{self, Commit},
    highwater::Mark,
    key::Signers,
    leaf::Notice,
    opens::Open,
    queue::{Delivery, Items, Next, Request},
    recorder::Shared,
    store,
};

mod claim;

/// A lane that this process works on, held or not. Owned by its task.
pub(super) struct Lane {
    /// Which of the deployment's lanes; its generations are 16 apart.
    slot: u16,
    /// The lane of the log: the slot's generation that is alive.
    number: u16,
    shared: Arc<Shared>,
    keys: Arc<[Key]>,
    signers: Signers,
    memory: Memory,
    /// A batch whose commit got no answer.
    unknown: Option<Batch>,
    /// The epoch under which we held it last; 0 for never.
    last_epoch: u64,
}

/// A lane while it is ours.
struct Held {
    connection: PgConnection,
    /// Where that goes: after a failover the pool's options are others.
    server: Arc<PgConnectOptions>,
    tip: Tip,
    /// Fact version as the database said it last.
    in_force: i64,
    /// When the database answered last.
    heard: Instant,
}

/// Why a lane is no longer worked on, or not for the moment.
enum Left {
    /// Asked to stop; everything that waited is written and the lane is closed.
    Stopped,
    /// Lost for now: claim it again.
    Lost(String),
    /// The database contradicts what was committed. Never to be signed again by us.
    Dead(String),
}

impl Lane {
    pub fn new(slot: u16, shared: Arc<Shared>, keys: Arc<[Key]>) -> Result<Self, AuditError> {
        let signers = Signers::new(&keys, &shared.config.origin, slot)?;
        Ok(Self {
            slot,
            number: slot,
            memory: Memory::new(shared.privacy.clone()),
            shared,
            keys,
            signers,
            unknown: None,
            last_epoch: 0,
        })
    }

    /// Until the room is told to stop. Reconnects by itself, at most `BACKOFF_MAX` after the database is back.
    pub async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        let mut kept = None;
        loop {
            let shared = Arc::clone(&self.shared);
            let seat = match kept.take() {
                Some(seat) => seat,
                None => match shared.seat().await {
                    Some(seat) => seat,
                    None => return,
                },
            };
            let left = match self.take().await {
                Ok(Some(mut held)) => {
                    backoff = BACKOFF_MIN;
                    self.serve(&mut held).await
                }
                Ok(None) => Left::Lost("another replica holds it".to_owned()),
                Err(left) => left,
            };
            // Whoever waits for a lost answer must not also wait for a place.
            kept = self.unknown.is_some().then_some(seat);
            let cause = match left {
                Left::Stopped => return shared.board.stopped(self.slot),
                Left::Dead(cause) => {
                    tracing::error!(
                        lane = self.number,
                        cause,
                        "a lane is dead: it is not signed again"
                    );
                    return shared.board.lost(self.slot, cause);
                }
                Left::Lost(cause) => cause,
            };
            tracing::warn!(lane = self.number, cause, "a lane is not held");
            shared.board.lost(self.slot, cause);
            let stopped = shared.stop.cancelled();
            if timeout(backoff, stopped).await.is_ok() {
                return self.give_up();
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn serve(&mut self, held: &mut Held) -> Left {
        self.shared.board.held(self.slot);
        loop {
            let step = if self.shared.stop.is_cancelled() {
                self.close(held).await
            } else {
                self.step(held).await
            };
            if let Err(left) = step {
                self.shared.queue.hand_on();
                return left;
            }
        }
    }

    /// Waits for work and commits it; pings while there is none, so that a dead connection is noticed before a request.
    async fn step(&mut self, held: &mut Held) -> Result<(), Left> {
        if self.shared.is_doubted(self.slot, self.number) {
            return Err(Left::Lost("the database is behind what was committed".to_owned()));
        }
        if !Arc::ptr_eq(&held.server, &self.shared.pool.connect_options()) {
            return Err(Left::Lost("the database is at another server now".to_owned()));
        }
        if let Some(heads) = self.shared.board.beat(self.slot) {
            // We may have been woken for something else, which is not to wait for this.
            self.shared.queue.hand_on();
            let beat =
                Items { notices: vec![Notice::Heartbeat { heads }.into()], decisions: Vec::new() };
            return self.commit(held, beat).await;
        }
        self.shared.queue.gather().await;
        let due = match self.shared.queue.next() {
            Next::Commit(items, _turn) => return self.commit(held, items).await,
            Next::Wait(due) => due,
        };
        let ping = held.heard + PING_EVERY;
        tokio::select! {
            () = self.shared.queue.wait() => return Ok(()),
            () = self.shared.stop.cancelled() => return Ok(()),
            () = sleep_until(due.map_or(ping, |due| due.min(ping))) => {}
        }
        if Instant::now() >= ping {
            let answer = timeout(PING_MAX, store::ping(&mut held.connection)).await;
            answer
                .map_err(|_| Left::Lost("no answer from the database: ping".to_owned()))?
                .map_err(lost)?;
            held.heard = Instant::now();
        }
        Ok(())
    }

    /// Writes everything that waits, then the lane's last record.
    async fn close(&mut self, held: &mut Held) -> Result<(), Left> {
        self.shared.queue.close();
        // The minute that has begun. If we stop before its commit, what is lost is a count of strangers.
        let strangers = self.shared.strangers.take(self.shared.clock.unix_s());
        strangers.map(|notice| self.shared.queue.note(notice));
        for (id, open) in self.shared.queue.opens.drain() {
            let ended = Ended::without_traffic(id, How::UnknownCrash, "gateway_stopped");
            self.shared.queue.note_held(Notice::Ended(ended), open);
        }
        loop {
            let items = self.shared.queue.take();
            if items.is_empty() {
                break;
            }
            self.commit(held, items).await?;
        }
        let last = Items {
            notices: vec![Notice::LaneClose { why: "drain" }.into()],
            decisions: Vec::new(),
        };
        self.commit(held, last).await?;
        Err(Left::Stopped)
    }

    /// Commits what was taken, judged-again decisions refused, until all of it is written or the lane is lost.
    async fn commit(&mut self, held: &mut Held, mut items: Items) -> Result<(), Left> {
        loop {
            let facts = match self.facts(held, &items).await {
                Ok(facts) => facts,
                Err(left) => {
                    self.shared.queue.give_back(items);
                    return Err(left);
                }
            };
            // One process gives no two records of different lanes an order that contradicts their times.
            let latest = self.shared.latest_ns.load(Ordering::Acquire);
            held.tip.last_ns = held.tip.last_ns.max(latest);
            let now_ns = self.shared.clock.unix_ns();
            let built = batch::build(&held.tip, items, facts, now_ns, &mut self.memory);
            let (batch, rest) = built.map_err(|cause| Left::Lost(cause.to_string()))?;
            self.shared.queue.put_back(rest);
            let Some(batch) = batch else { return Ok(()) };
            let began = Instant::now();
            let seal = self.signers.seals.seal(batch.tree.size(), &batch.tree.root());
            let written = commit::store::commit(&mut held.connection, &batch, &seal);
            // If we stop here, the outcome is in the database alone: the next claim of this lane finds it, and ALLOWs
            // in it are closed as `unknown_crash`.
            let deadline = self.shared.config.commit_deadline();
            let outcome = timeout(deadline, written).await;
            match outcome {
                // The whole process may have stood still while the answer lay there, and others took it for gone.
                Ok(Ok(Commit::Done { .. })) if began.elapsed() > deadline => {
                    self.unknown = Some(batch);
                    return Err(Left::Lost("the database's answer was read too late".to_owned()));
                }
                Ok(Ok(Commit::Done { version })) => {
                    held.in_force = version;
                    held.heard = Instant::now();
                    held.tip.clone_from(&batch.tip);
                    self.shared.latest_ns.fetch_max(batch.tip.last_ns, Ordering::AcqRel);
                    self.shared.metrics.commit(began.elapsed(), &batch);
                    self.release(batch);
                    return Ok(());
                }
                Ok(Ok(Commit::Moved { version, erasures })) => {
                    self.memory.forget();
                    (held.in_force, held.tip.erasures) = (version, erasures);
                    items = batch.unwritten(Some(version));
                }
                Ok(Ok(Commit::Unkept(left))) => {
                    self.memory.forget();
                    items = batch.unkept(&left);
                }
                Ok(Ok(Commit::Fenced)) => {
                    self.shared.queue.give_back(batch.unwritten(None));
                    return Err(Left::Lost("fenced: another process claimed it".to_owned()));
                }
                Ok(Err(cause)) => {
                    self.unknown = Some(batch);
                    return Err(lost(cause));
                }
                Err(_) => {
                    self.unknown = Some(batch);
                    return Err(Left::Lost("no answer from the database: commit".to_owned()));
                }
            }
        }
    }

    /// What the next batch stands on; who made a version that the lane does not know yet is asked for once.
    async fn facts(&self, held: &mut Held, items: &Items) -> Result<Facts, Left> {
        let version = batch::version_of(items, held.in_force);
        if version == held.tip.version {
            return Ok(Facts { version, change: None });
        }
        let asked = store::fact_change(&mut held.connection, version);
        let change = timeout(self.shared.config.commit_deadline(), asked).await;
        let change =
            change.map_err(|_| Left::Lost("no answer from the database: facts".to_owned()))?;
        Ok(Facts { version, change: change.map_err(lost)? })
    }

    /// Signs the durable batch and tells everybody who waits. The only place from which permits come.
    fn release(&mut self, batch: Batch) {
        let (size, root) = (batch.tree.size(), batch.tree.root());
        let epoch = (self.number, batch.tip.epoch);
        self.shared.water.raise(self.number, Mark { size, root });
        let origin = self.signers.origin().to_owned();
        // If we stop here, the same checkpoint can be made again: Ed25519 gives the same signature for the same tree.
        let signed = self.signers.sign(&Checkpoint::new(origin, size, root));
        let note = match signed {
            Ok(note) => note.to_string(),
            Err(cause) => {
                tracing::error!(%cause, "a checkpoint could not be signed: the batch is refused");
                return self.withhold(batch);
            }
        };
        self.shared.board.grew((self.slot, self.number), size, &note, self.signers.verifier());
        let (committed, decisions) = batch.committed(note);
        let committed = Arc::new(committed);
        self.shared.recent.add(self.number, &committed);
        for (place, id, request) in decisions {
            let Request { reply, slot, .. } = request;
            let id: Arc<str> = id.as_hyphenated().to_string().into();
            let open = slot.map(|slot| Open::new(slot, epoch));
            let allows = open.map(|open| self.shared.queue.begin(&id, open));
            if allows == Some(false) {
                // Its end is written by another process: nothing may be forwarded on it.
                let _ = reply.send(Err(RecordError::Unavailable));
                continue;
            }
            let allows = allows.map(|_| Arc::clone(&self.shared.queue));
            // A delivery that nobody takes ends its ALLOW when it is dropped.
            let _ = reply.send(Ok(Delivery::new(Arc::clone(&committed), place, id, allows)));
        }
        self.shared.grown.notify_one();
    }

    /// Durable but not to be proven: nothing is forwarded, and every ALLOW ends as such.
    fn withhold(&self, batch: Batch) {
        let epoch = (self.number, batch.tip.epoch);
        let (_, decisions) = batch.committed(String::new());
        for (_, id, request) in decisions {
            let id: Arc<str> = id.as_hyphenated().to_string().into();
            if let Some(slot) = request.slot {
                let ended = Notice::Ended(Ended::not_forwarded(id, "not_signed"));
                self.shared.queue.note_held(ended, Open::new(slot, epoch));
            }
            let _ = request.reply.send(Err(RecordError::Unavailable));
        }
    }

    /// Asked to stop while the lane is not held.
    fn give_up(&mut self) {
        if let Some(batch) = self.unknown.take() {
            drop(batch); // who waits is told `unavailable`; the next claim closes what is open
        }
        self.shared.queue.close();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(cause: AuditError) -> Left {
    Left::Lost(cause.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn lost(cause: sqlx::Error) -> Left {
    Left::Lost(format!("the database: {cause}"))
}

/// Doubled from one try to the next. The longest wait and one claim stay below the 2 s in which service must be back.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(400);
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_MAX: Duration = Duration::from_secs(1);
