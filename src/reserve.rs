//! What is used up: slices of counters, releases and grounds that serve once, each reserved for one decision before it is
//! recorded.
//!
//! A decision that may use something up is judged at a [`Desk`]: what it needs is locked there, what others have used or
//! reserved is read, and only if the decision allows is its own share [taken](Desk::take) before the lock is given back. So
//! replicas that ask for the last slice ask one after the other, and a refusal, a hold or a look ahead takes nothing.
//!
//! A reservation is confirmed by the statement that writes its decision (`audit`). One that is not needed after all is
//! released when its [`Reserved`] is dropped. One whose holder died is swept after [`store::STALE_S`] seconds by the
//! database's clock. Either can only turn a reservation that is not confirmed, and a commit that does not find its
//! reservation writes nothing, so it matters neither whose clock is right nor whether the holder is really dead:
//!
//! - *the answer to the commit was lost*: record and confirmation are one transaction, so the row says which it was;
//! - *a replica that was thought dead wakes up*: its commit finds the reservation swept and its decision falls;
//! - *a decision falls (the facts moved)*: it is judged again at a new desk under a new id.
//!
//! *Invariant:* the amounts of the confirmed reservations are those of the recorded ALLOWs, always.

mod store;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, PgTransaction};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;
use verdict::question::Counter;
use verdict::volume::{Counting, Slice};

/// The reservations of this process.
#[derive(Debug)]
pub struct Reserve {
    pool: PgPool,
    /// Desks open at once: the others of the pool's connections are not theirs.
    desks: Semaphore,
    unused: mpsc::Sender<Uuid>,
}

/// What a decision may use up, and so must be looked at first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// Whose counters: the legal entity that asks.
    pub entity: Arc<str>,
    pub countings: Vec<Counting>,
    pub once: Vec<Once>,
}

/// What a decision uses up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    pub entity: Arc<str>,
    /// Unix seconds: the instant for which it was judged.
    pub at_s: i64,
    pub slices: Vec<Slice>,
    pub once: Vec<Once>,
}

/// Something that serves once, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Once {
    Release(String),
    Ground(String),
}

/// What was locked, while it is: dropping it gives everything back and leaves nothing behind.
#[derive(Debug)]
pub struct Desk<'r> {
    transaction: PgTransaction<'static>,
    counters: Vec<Counter>,
    used_up: Vec<Once>,
    reserve: &'r Reserve,
    _place: SemaphorePermit<'r>,
}

/// A reservation that waits for its decision. Released when dropped, unless it was confirmed meanwhile.
#[derive(Debug)]
#[must_use = "a reservation that is dropped is released"]
pub struct Reserved {
    id: Uuid,
    unused: mpsc::Sender<Uuid>,
}

/// Nothing was reserved: nothing may be decided that would use it up.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    #[error("the reservations' database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the reservations' database did not answer in time")]
    Timeout,
    #[error("no desk was free in time")]
    Full,
}

impl Reserve {
    /// Starts the task that releases what was not needed.
    #[must_use]
    pub fn start(pool: PgPool, tracker: &TaskTracker, stop: CancellationToken) -> Self {
        let (unused, returned) = mpsc::channel(RETURNED_MAX);
        tracker.spawn(release(pool.clone(), returned, stop));
        Self { pool, desks: Semaphore::new(DESKS_MAX), unused }
    }

    /// Locks what is sought and reads what others have of it. Cancel-safe. The gate lets each organisation wait here once, so
    /// that whoever holds a lock for long keeps one of the desks and not all.
    ///
    /// # Errors
    /// When the database does not answer, what is sought stays locked for too long, or no desk is free.
    pub async fn open(&self, sought: &Sought) -> Result<Desk<'_>, ReserveError> {
        let place = timeout(DEADLINE, self.desks.acquire()).await;
        let Ok(Ok(place)) = place else { return Err(ReserveError::Full) };
        // From here on: who waited for a desk is not late for what is done at it.
        in_time(async {
            let mut transaction = self.pool.begin().await?;
            store::lock(&mut transaction, &sought.locks()).await?;
            store::sweep(&mut transaction).await?;
            let counters = store::counters(&mut transaction, sought).await?;
            let used_up = store::used_up(&mut transaction, &sought.once).await?;
            Ok(Desk { transaction, counters, used_up, reserve: self, _place: place })
        })
        .await
    }
}

impl Desk<'_> {
    /// What others have confirmed or reserved, as a question's `counters`.
    #[must_use]
    pub fn counters(&self) -> &[Counter] {
        &self.counters
    }

    /// Whether nobody has used this up or is about to.
    #[must_use]
    pub fn is_free(&self, once: &Once) -> bool {
        !self.used_up.contains(once)
    }

    /// Reserves for the decision that will have this id, and gives the lock back. If we stop after this, the reservation
    /// is swept: its decision was never written.
    ///
    /// # Errors
    /// When the database does not answer: whether it reserved is not known, and it is released or swept.
    pub async fn take(self, id: Uuid, uses: &Uses) -> Result<Reserved, ReserveError> {
        let Self { mut transaction, reserve, .. } = self;
        let reserved = Reserved { id, unused: reserve.unused.clone() };
        in_time(async {
            store::take(&mut transaction, id, uses).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
        Ok(reserved)
    }
}

impl Reserved {
    /// The id that the decision must have.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // Of one that was confirmed nothing is released; when nobody listens, or too many wait, it is swept.
        let _ = self.unused.try_send(self.id);
    }
}

impl Sought {
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.countings.is_empty() && self.once.is_empty()
    }

    /// Names of what is locked, in the order in which everybody locks.
    fn locks(&self) -> Vec<String> {
        let counters =
            self.countings.iter().map(|one| format!("slice {} {}", one.regime, self.entity));
        let once = self.once.iter().map(|one| format!("{} {}", one.kind(), one.id()));
        let mut locks: Vec<String> = counters.chain(once).collect();
        locks.sort_unstable();
        locks.dedup();
        locks
    }
}

impl Uses {
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.slices.is_empty() && self.once.is_empty()
    }
}

impl Once {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Release(_) => "release",
            Self::Ground(_) => "ground",
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Release(id) | Self::Ground(id) => id,
        }
    }
}

/// Gives back what was not needed. What cannot be given back now is swept later.
async fn release(pool: PgPool, mut returned: mpsc::Receiver<Uuid>, stop: CancellationToken) {
    let mut ids = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = returned.recv_many(&mut ids, RELEASED_AT_ONCE) => if count == 0 { return },
            () = stop.cancelled() => return,
        }
        if let Err(error) = in_time(async { Ok(store::release(&pool, &ids).await?) }).await {
            tracing::warn!(%error, "reservations could not be released: they will be swept");
        }
        ids.clear();
    }
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, ReserveError>>,
) -> Result<T, ReserveError> {
    timeout(DEADLINE, work).await.unwrap_or(Err(ReserveError::Timeout))
}

/// Of the pool's six connections: what is sought is locked for a millisecond or two, so two keep a core busy.
const DESKS_MAX: usize = 2;
const RELEASED_AT_ONCE: usize = 256;
/// 16 bytes each. What finds no room is swept, so nothing stays taken.
const RETURNED_MAX: usize = 16_384;
/// As long as a caller waits for a record.
const DEADLINE: Duration = Duration::from_millis(1_800);
