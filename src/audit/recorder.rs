//! What the gate calls: record a decision and wait until it is durable; say what became of it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU32, Ordering},
};

use prometheus_client::registry::Registry;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Duration, Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;
use verdict::decision::Outcome;

use super::{
    Act, AuditError, Config, Draft, Ended, Health, Key, Permit, Proof, RecordError, Recorded,
    Stranger, Target, chance,
    health::Board,
    highwater::HighWater,
    lane::Lane,
    leaf::{Decision, Notice},
    metrics::Metrics,
    outbox, projection, publish,
    queue::{Delivery, Queue, Request},
    recent::Recent,
    store::Identity,
    strangers::Strangers,
    witnessed::{self, Quorum},
};
use crate::clock::Clock;
use crate::privacy::Privacy;
use crate::program;

/// The log of this process. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

/// The keys of a log.
pub struct Secrets {
    /// Lanes are known by the first, and all sign.
    pub signing: Vec<Key>,
    /// Absent: no value behind a digest is kept.
    pub privacy: Option<Arc<Privacy>>,
}

/// What the room's tasks share.
pub(super) struct Shared {
    pub config: Config,
    pub pool: PgPool,
    pub identity: Identity,
    pub clock: Clock,
    pub stop: CancellationToken,
    pub queue: Arc<Queue>,
    pub board: Board,
    pub metrics: Metrics,
    pub strangers: Strangers,
    /// What values are sealed with; without it none is kept.
    pub privacy: Option<Arc<Privacy>>,
    /// Whose cosignatures make a receipt a witnessed one, where that is configured.
    pub quorum: Option<Quorum>,
    /// How far each lane was.
    pub water: HighWater,
    /// Slots of which the database was seen behind: their lanes are claimed again, and looked at.
    doubts: Vec<AtomicU32>,
    /// Something was committed: for the projection. And what it was.
    pub grown: Notify,
    pub recent: Recent,
    /// `at` of the newest record that this process wrote in any lane.
    pub latest_ns: AtomicI64,
    /// One for each lane that may be held at once.
    seats: Arc<Semaphore>,
}

impl Audit {
    /// Starts the lanes' tasks and those that follow the log. Returns before the database is reached: [`Audit::ready`]
    /// waits for it, [`Audit::health`] says how it stands.
    ///
    /// `pool` gives the address of the database and serves everything but the lanes, which have their own connections.
    /// When `stop` is cancelled nothing more is admitted, what waits is written, and the lanes are closed.
    pub fn start(
        config: &Config,
        privacy: Option<Arc<Privacy>>,
        pool: PgPool,
        clock: Clock,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, AuditError> {
        let files = std::iter::once(&config.key_file).chain(&config.also_sign_with);
        let signing = files.map(|path| Key::read(path)).collect::<Result<Vec<_>, _>>()?;
        Self::start_with_keys(config, Secrets { signing, privacy }, pool, clock, tracker, stop)
    }

    /// The same with a key that is already in memory, and no value kept.
    pub fn start_with_key(
        config: &Config,
        key: &Key,
        pool: PgPool,
        clock: Clock,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, AuditError> {
        let secrets = Secrets { signing: vec![key.clone()], privacy: None };
        Self::start_with_keys(config, secrets, pool, clock, tracker, stop)
    }

    /// The same with all secrets there are.
    pub fn start_with_keys(
        config: &Config,
        secrets: Secrets,
        pool: PgPool,
        clock: Clock,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, AuditError> {
        config.check()?;
        let instance = i32::from_be_bytes(chance::bytes()?);
        let shared = Arc::new(Shared {
            pool,
            identity: Identity { instance, role: config.role.clone(), build: program::digest() },
            clock,
            stop,
            queue: Arc::new(Queue::new(config.queue_max)),
            board: Board::new(config.lanes),
            water: HighWater::open(config.high_water_file.as_deref())?,
            doubts: (0..config.lanes).map(|_| AtomicU32::new(NO_DOUBT)).collect(),
            metrics: Metrics::new(),
            strangers: Strangers::default(),
            quorum: config.witnessed.as_ref().map(Quorum::read).transpose()?,
            grown: Notify::new(),
            recent: Recent::default(),
            latest_ns: AtomicI64::new(0),
            seats: Arc::new(Semaphore::new(config.lanes_held_max.min(config.lanes).into())),
            privacy: secrets.privacy,
            config: config.clone(),
        });
        let keys: Arc<[Key]> = secrets.signing.into();
        for lane in 0..config.lanes {
            let lane = Lane::new(lane, Arc::clone(&shared), Arc::clone(&keys))?;
            tracker.spawn(lane.run());
        }
        tracker.spawn(publish::run(Arc::clone(&shared)));
        tracker.spawn(publish::watch(Arc::clone(&shared), Arc::clone(&keys)));
        tracker.spawn(projection::run(Arc::clone(&shared)));
        tracker.spawn(outbox::run(Arc::clone(&shared)));
        Ok(Self(shared))
    }

    /// True once a lane is held; false when none is within the time.
    pub async fn ready(&self, within: Duration) -> bool {
        let mut held = self.0.board.watch();
        timeout(within, held.wait_for(|held| *held > 0)).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Returns only after the commit of the record is durable, or with nothing recorded that could be acted upon.
    ///
    /// Cancel-safe: when the future is dropped and the record becomes durable nevertheless, an ALLOW is ended as
    /// `not_forwarded`. Waits at most `record_ms_max`.
    pub async fn record(&self, draft: Draft) -> Result<Recorded, RecordError> {
        let recorded = self.try_record(draft).await;
        if recorded.is_err() {
            self.0.metrics.refuse();
        }
        recorded
    }

    async fn try_record(&self, draft: Draft) -> Result<Recorded, RecordError> {
        let (shared, began) = (&self.0, Instant::now());
        if shared.board.lanes_held() == 0 {
            return Err(RecordError::Unavailable);
        }
        let allows = matches!(draft.outcome, Outcome::Allow | Outcome::AllowWithObligations)
            && !draft.preflight;
        if allows != draft.site.is_some() {
            return Err(RecordError::Malformed(
                "a site goes with a decision that allows, and only with one",
            ));
        }
        let going = draft.site.clone().map(|target| (target, draft.body_digest.clone()));
        let slot =
            if allows { Some(shared.queue.opens.slot().ok_or(RecordError::Full)?) } else { None };
        let (reply, answer) = oneshot::channel();
        shared.queue.push(Request { decision: digests(draft)?, reply, slot })?;
        match timeout(shared.config.record_deadline(), answer).await {
            Err(_) => Err(RecordError::Timeout),
            Ok(Err(_)) => Err(RecordError::Unavailable),
            Ok(Ok(Err(cause))) => Err(cause),
            // The whole process may have stood still meanwhile: what was allowed then is not let go now.
            Ok(Ok(Ok(_))) if began.elapsed() > shared.config.record_deadline() => {
                Err(RecordError::Timeout)
            }
            Ok(Ok(Ok(delivery))) => grant(delivery, going),
        }
    }

    /// Waits until the quorum of witnesses cosigned the permit's record, and gives the permit with that receipt.
    ///
    /// Cancel-safe: a permit that does not come out of here is ended as `not_forwarded`.
    ///
    /// # Errors
    /// When that did not happen in time, or no witnesses are configured: the record's proof as it was. The decision is ended.
    pub async fn witness(&self, permit: Permit) -> Result<Permit, Proof> {
        witnessed::wait(&self.0, permit).await
    }

    /// An id for a decision that must have one before it is recorded.
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives no random bytes.
    pub fn new_id(&self) -> Result<Uuid, RecordError> {
        let chance = chance::bytes().map_err(|_| RecordError::Unavailable)?;
        Ok(chance::id(self.0.clock.unix_ns(), &chance))
    }

    /// Whether new requests should be shed before their body is read.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.0.board.lanes_held() == 0 || self.0.queue.is_nearly_full()
    }

    /// The TLS connection that carries the request reached this identity. Off the critical path.
    pub fn started(&self, id: &Arc<str>, tls_identity: &str) {
        if self.0.queue.opens.is_open(id) {
            self.note(Notice::Started { decision: Arc::clone(id), identity: tls_identity.into() });
        }
    }

    /// How an allowed request ended. Only the first end of a decision counts; it is never lost while this process lives.
    pub fn ended(&self, ended: Ended) {
        self.0.queue.end(ended);
    }

    /// Counts a refusal of somebody unknown.
    pub fn stranger(&self, stranger: Stranger) {
        self.0.strangers.count(stranger);
    }

    /// Another bundle is in force. Digests of the `bundle` texts.
    pub fn policy_changed(&self, bundle: [u8; 32], previous: Option<[u8; 32]>) {
        self.note(Notice::PolicyChange { bundle, previous });
    }

    /// Something that somebody should look at, e.g. `engine_disagreement`. `about` holds no personal value.
    pub fn alarm(&self, what: &'static str, about: String, decision: Option<Arc<str>>) {
        self.note(Notice::Alarm { what, about, decision });
    }

    /// Leaves an act of the gateway's own to be recorded, in a transaction of its own.
    ///
    /// # Errors
    /// When the database cannot be asked, or has the act already.
    pub async fn tell(&self, act: &Act) -> Result<(), AuditError> {
        outbox::tell(&self.0, act).await
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let (board, queue) = (&self.0.board, &self.0.queue);
        let causes = board.causes();
        let (waiting_decisions, waiting_notices) = queue.depth();
        Health {
            ready: causes.is_empty() && !self.0.stop.is_cancelled(),
            causes,
            durability: board.durability(),
            lanes: board.lanes(),
            waiting_decisions,
            waiting_notices,
            last_commit: self.0.metrics.last_commit(),
            projection_lag: self.0.metrics.lag_records(),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }

    fn note(&self, notice: Notice) {
        if !self.0.queue.note(notice) {
            self.0.metrics.dropped.inc();
        }
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Audit").field("lanes", &self.0.board.lanes()).finish_non_exhaustive()
    }
}

impl Shared {
    /// How to reach the database now: after a failover it is another server.
    pub fn options(&self) -> PgConnectOptions {
        (*self.pool.connect_options()).clone().application_name("haetae-lane")
    }

    /// Whether this process can write into the log now.
    pub fn writes(&self) -> bool {
        self.board.lanes_held() > 0
    }

    /// The database is behind what is known of a lane: it is claimed again, and judged then.
    pub fn doubt(&self, slot: u16, lane: u16) {
        if let Some(doubt) = self.doubts.get(usize::from(slot)) {
            doubt.store(lane.into(), Ordering::Release);
        }
    }

    /// Whether there was a doubt of this very lane since it was asked last.
    pub fn is_doubted(&self, slot: u16, lane: u16) -> bool {
        let doubt = self.doubts.get(usize::from(slot));
        doubt.is_some_and(|doubt| doubt.swap(NO_DOUBT, Ordering::AcqRel) == u32::from(lane))
    }

    /// Room to hold one more lane; `None` when the room is told to stop.
    pub async fn seat(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            seat = Arc::clone(&self.seats).acquire_owned() => seat.ok(),
        }
    }
}

/// The one maker of a [`Permit`]: from a delivery, which exists only after a commit.
fn grant(mut delivery: Delivery, going: Option<(Target, String)>) -> Result<Recorded, RecordError> {
    let proof = delivery.committed.proof(delivery.place, &delivery.id);
    let proof = proof.ok_or(RecordError::Unavailable)?;
    delivery.take_over();
    Ok(match going {
        Some((target, body_digest)) => Recorded::Permit(Permit { target, body_digest, proof }),
        None => Recorded::Refusal(proof),
    })
}

fn digests(draft: Draft) -> Result<Decision, RecordError> {
    let read = |hex: &str, what| {
        let mut digest = [0; 32];
        hex::decode_to_slice(hex, &mut digest).map_err(|_| RecordError::Malformed(what))?;
        Ok(digest)
    };
    let body = read(&draft.body_digest, "the body's digest is not 64 hex digits")?;
    let token = draft.token_digest.as_deref();
    let token =
        token.map(|hex| read(hex, "the token's digest is not 64 hex digits")).transpose()?;
    Ok(Decision { draft, body, token })
}

/// No lane has this number.
const NO_DOUBT: u32 = u32::MAX;
