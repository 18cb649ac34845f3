//! A replica's view: one snapshot, swapped whole when the facts move.
//!
//! Notifications make it quick (milliseconds), polling makes it sure (a second). Neither is needed for safety: a record
//! is committed only if `fact_head` still has the version that was judged, so an old snapshot refuses, never allows.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{RegistryError, Snapshot, store};
use crate::clock::Clock;

/// The registry of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Written by the task of [`Registry::start`] alone.
    current: ArcSwap<Snapshot>,
    /// The same.
    changed: watch::Sender<i64>,
    /// The same.
    look: ArcSwap<Look>,
    /// The same: why the entries are not believed, while they are not.
    altered: watch::Sender<Option<Arc<str>>>,
}

/// How the last look at the database went.
#[derive(Debug)]
struct Look {
    succeeded_at: Instant,
    error: Option<String>,
    listening: bool,
}

/// How fresh the snapshot is, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub version: i64,
    /// Since the database last answered.
    pub age: Duration,
    /// Why the last look failed, if it did.
    pub error: Option<String>,
    /// That is because the entries were altered in the database.
    pub altered: bool,
    /// Nothing is known from before that: everything is refused.
    pub without_facts: bool,
    /// False while changes are seen by polling only.
    pub listening: bool,
}

impl Health {
    /// True while the snapshot is known to be recent. An old one is safe (it cannot be committed on) but of no use.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.age <= AGE_MAX && !self.altered
    }

    /// For people: what is in force, and what is wrong.
    #[must_use]
    pub fn cause(&self) -> String {
        let (version, age) = (self.version, self.age.as_secs());
        let facts = if self.without_facts {
            "everything is refused until then".to_owned()
        } else {
            format!("facts are those of version {version}, seen {age} s ago")
        };
        match (&self.error, self.listening) {
            (Some(error), _) => format!("{error}; {facts}"),
            (None, true) => facts,
            (None, false) => format!("{facts}; no notifications, by polling only"),
        }
    }
}

impl Registry {
    /// Loads a snapshot, then follows the changes until `stop`. An empty registry is a registry: it refuses everything. So does one
    /// whose entries were altered, for as long as they are.
    ///
    /// # Errors
    /// When the first snapshot cannot be read: a gateway without facts does not start.
    pub async fn start(
        pool: PgPool,
        clock: Clock,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, RegistryError> {
        let now = clock.unix_s();
        let (snapshot, altered) = match in_time(store::snapshot(&pool, now)).await {
            Err(altered @ RegistryError::Altered { .. }) => {
                (in_time(store::without_facts(&pool, now)).await?, Some(altered.to_string()))
            }
            snapshot => (snapshot?, None),
        };
        if let Some(error) = &altered {
            tracing::error!(error, "everything is refused");
        }
        let look = Look { succeeded_at: Instant::now(), error: altered.clone(), listening: false };
        let shared = Arc::new(Shared {
            changed: watch::Sender::new(snapshot.version()),
            current: ArcSwap::from_pointee(snapshot),
            look: ArcSwap::from_pointee(look),
            altered: watch::Sender::new(altered.map(Arc::from)),
        });
        let watcher = Watcher { pool, clock, shared: shared.clone(), listener: None };
        tracker.spawn(stop.run_until_cancelled_owned(watcher.run()));
        Ok(Self { shared })
    }

    /// The snapshot in force. A request keeps the one it began with until its record says that the facts moved.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// Versions as they come into force here. Also told, with the same version, when an entry ran out.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<i64> {
        self.shared.changed.subscribe()
    }

    /// Why the entries in the database are not believed; `None` while they are.
    #[must_use]
    pub fn altered(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.altered.subscribe()
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let look = self.shared.look.load();
        Health {
            version: self.shared.current.load().version(),
            age: look.succeeded_at.elapsed(),
            error: look.error.clone(),
            altered: self.shared.altered.borrow().is_some(),
            without_facts: self.shared.current.load().is_without_facts(),
            listening: look.listening,
        }
    }
}

struct Watcher {
    pool: PgPool,
    clock: Clock,
    shared: Arc<Shared>,
    listener: Option<PgListener>,
}

impl Watcher {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = heard(&mut self.listener) => {}
                () = run_out(&self.shared, &self.clock) => {}
            }
            // Listening begins before the look, so a change between the two is seen by one of them.
            if self.listener.is_none() {
                self.listener = listen(&self.pool).await;
            }
            let error = self.look().await.err();
            self.note(error.as_ref());
        }
    }

    /// Asks what the facts are and for the time, and builds a new snapshot if the present one is of other facts or ran out.
    async fn look(&self) -> Result<(), RegistryError> {
        let (version, made_by) = in_time(store::state(&self.pool)).await?;
        let now = self.clock.unix_s();
        let current = self.shared.current.load_full();
        // A failover lost a change: what was judged under its number must not pass for judged under the next of that number.
        let known = current.version();
        let is_lost =
            version < known || (version == known && made_by.as_ref() != current.made_by());
        let burnt = if is_lost { in_time(store::burn(&self.pool, known)).await } else { Ok(()) };
        let ran_out = current.valid_until().is_some_and(|until| until <= now);
        let is_known = version == known && !is_lost && !ran_out;
        if is_known && !current.is_without_facts() {
            return Ok(());
        }
        if is_lost {
            tracing::error!(version, known, "the database has lost changes of facts");
        }
        match in_time(store::snapshot(&self.pool, now)).await {
            // Refusals are recorded under the version that is in force.
            Err(RegistryError::Altered { version }) if current.is_without_facts() => {
                if !is_known {
                    self.put(in_time(store::without_facts(&self.pool, now)).await?);
                }
                return Err(RegistryError::Altered { version });
            }
            snapshot => self.put(snapshot?),
        }
        burnt
    }

    fn put(&self, snapshot: Snapshot) {
        let version = snapshot.version();
        self.shared.current.store(Arc::new(snapshot));
        self.shared.changed.send_replace(version);
        tracing::info!(version, "the facts moved: a new snapshot is in force");
    }

    fn note(&self, error: Option<&RegistryError>) {
        let last = self.shared.look.load();
        let altered = error.filter(|error| matches!(error, RegistryError::Altered { .. }));
        let altered = altered.map(|error| Arc::from(error.to_string()));
        let error = error.map(ToString::to_string);
        // What could not be looked at is as it was seen last.
        if altered.is_some() || error.is_none() {
            self.shared.altered.send_if_modified(|seen| {
                let new = *seen != altered;
                *seen = altered;
                new
            });
        }
        if let Some(error) = error.as_ref().filter(|error| last.error.as_ref() != Some(*error)) {
            tracing::warn!(error, "the registry could not be read: the last snapshot stays");
        }
        let succeeded_at = if error.is_none() { Instant::now() } else { last.succeeded_at };
        let listening = self.listener.is_some();
        self.shared.look.store(Arc::new(Look { succeeded_at, error, listening }));
    }
}

/// Returns when an entry of the snapshot comes into force or runs out: nothing can be decided on it any more, so that
/// waiting for the next poll would refuse everybody for up to a second. What has run out already is for the poll.
async fn run_out(shared: &Shared, clock: &Clock) {
    let until = shared.current.load().valid_until();
    let left =
        until.map(|until| until.saturating_mul(1_000_000_000).saturating_sub(clock.unix_ns()));
    match left.and_then(|left| u64::try_from(left).ok()).filter(|left| *left > 0) {
        Some(left) => tokio::time::sleep(Duration::from_nanos(left)).await,
        None => std::future::pending().await,
    }
}

/// Returns when there is reason to look: a notification, or the connection that brings them is gone.
async fn heard(listener: &mut Option<PgListener>) {
    let Some(open) = listener else {
        return std::future::pending().await;
    };
    // Lost connections are ours to open again, under a deadline and after which we look.
    if !matches!(open.try_recv().await, Ok(Some(_))) {
        *listener = None;
    }
}

/// A connection of its own: the pool's are for those who wait for an answer.
async fn listen(pool: &PgPool) -> Option<PgListener> {
    let open = async {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*pool.connect_options()).clone());
        let mut listener = PgListener::connect_with(&own).await?;
        listener.eager_reconnect(false);
        listener.listen(store::CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    timeout(DEADLINE, open).await.ok()?.ok()
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(RegistryError::Timeout(DEADLINE.as_secs())))
}

/// A lost notification costs at most this: all replicas see an order within a second.
const POLL: Duration = Duration::from_secs(1);
/// A few looks may fail, each after its deadline, before traffic should go elsewhere.
const AGE_MAX: Duration = Duration::from_secs(15);
/// A registry of 10,000 entries loads in well under a second; five is a database in trouble.
const DEADLINE: Duration = Duration::from_secs(5);
