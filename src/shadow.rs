//! What a proposed bundle would decide, beside the one in force, on the traffic that there is. Only differences are kept: how
//! many, in which way ([`Way`]), and the ids of a few of their records.
//!
//! A trial is a row that somebody wrote ([`store::start`]); each replica sees it within a second, takes the bundle from the
//! shelf, and is then given decisions that were made and recorded. Once a second it writes what it found.
//!
//! *Invariant:* it learns of a decision after the record is durable and has no way back: what it does, or fails to do, changes
//! no answer and delays none. What it does not compare it counts.

mod metrics;
pub mod store;
mod tally;
mod way;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus_client::registry::Registry as MetricsRegistry;
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::clock::Clock;
use crate::mandate::MandateError;
use crate::policy::{Bundle, Policy, Shelved};

pub use tally::{Counts, Group, Result as Compared};
pub use way::{Told, Way, What};

use metrics::Metrics;
use tally::Tally;

/// A bundle that is, was or shall be judged beside the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    pub id: Uuid,
    /// `sha256:` and hex over its files.
    pub bundle: Arc<str>,
    pub reason: String,
    pub started_by: String,
    /// Unix seconds.
    pub started_at_s: i64,
    /// Unix seconds: it ends by itself.
    pub until_s: i64,
    /// By whom, and when.
    pub stopped: Option<(String, i64)>,
}

/// Why there is no trial, or none was begun or ended. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    #[error("the policies' database: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Mandate(#[from] MandateError),
    #[error("bundle {0} is judged beside already: `haetae policy shadow stop` it first")]
    Running(Arc<str>),
    #[error(
        "no bundle is judged beside the one in force: `haetae policy shadow start DIGEST` begins it"
    )]
    None,
    #[error("`{0}` in the database is not understood: written by a newer version of Haetae?")]
    Unknown(String),
}

/// The trial of this process, if one runs.
#[derive(Debug, Clone)]
pub struct Shadow(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    running: ArcSwapOption<Running>,
    tally: Mutex<Tally>,
    metrics: Metrics,
    /// Why a trial that was begun does not run here.
    trouble: Mutex<Option<String>>,
}

/// A trial with its bundle at hand.
#[derive(Debug)]
pub struct Running {
    pub trial: Uuid,
    pub bundle: Arc<Bundle>,
    digest: Arc<str>,
    until_s: i64,
}

/// What it works with.
pub struct Parts {
    pub pool: PgPool,
    pub clock: Clock,
    pub policy: Arc<Policy>,
    /// Names this process.
    pub instance: Uuid,
}

impl Shadow {
    /// Follows the trials until `stop`.
    #[must_use]
    pub fn start(parts: Parts, tracker: &TaskTracker, stop: CancellationToken) -> Self {
        let shadow = Self::idle();
        let follower = shadow.clone();
        tracker.spawn(async move {
            stop.run_until_cancelled(follower.follow(&parts)).await;
            // What was found in the last second.
            follower.write(&parts).await;
        });
        shadow
    }

    /// One that follows nothing.
    fn idle() -> Self {
        Self(Arc::new(Shared {
            running: ArcSwapOption::empty(),
            tally: Mutex::default(),
            metrics: Metrics::default(),
            trouble: Mutex::default(),
        }))
    }

    /// The trial that decisions are to be compared for at `now` (unix seconds).
    #[must_use]
    pub fn running(&self, now: i64) -> Option<Arc<Running>> {
        self.0.running.load_full().filter(|running| now < running.until_s)
    }

    /// A decision was not compared, or came out the same.
    pub fn count(&self, running: &Running, result: Compared) {
        self.0.metrics.count(result);
        self.tally(running, |tally| tally.count(result));
    }

    /// The decision of this record would have been another.
    pub fn differs(&self, running: &Running, way: Way, record: Uuid, at_s: i64) {
        self.0.metrics.differs();
        self.tally(running, |tally| tally.differs(way, record, at_s));
    }

    /// One sentence for `/readyz`, while there is a trial. It is never a reason not to be ready.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(running) = self.0.running.load_full() else { return trouble };
        let counts = self.0.tally.lock().unwrap_or_else(PoisonError::into_inner).counts;
        let Counts { same, differing, dropped, moved, uncounted, .. } = counts;
        let not = dropped + moved + uncounted;
        let said = format!(
            "bundle {} is judged beside the one in force: {same} the same, {differing} otherwise, {not} not compared",
            running.digest
        );
        Some(trouble.map_or_else(|| said.clone(), |why| format!("{said}; {why}")))
    }

    pub fn register(&self, registry: &mut MetricsRegistry) {
        self.0.metrics.register(registry);
    }

    /// What comes too late for its trial is for nobody.
    fn tally(&self, of: &Running, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.0.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.running.load().as_ref().is_some_and(|running| running.trial == of.trial) {
            change(&mut tally);
        }
    }

    async fn follow(&self, parts: &Parts) {
        loop {
            let trouble = self.look(parts).await.err();
            self.0.metrics.running(self.0.running.load().is_some());
            *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What was found is written under the trial that it was found for, before another begins.
    async fn look(&self, parts: &Parts) -> Result<(), String> {
        self.write(parts).await;
        let trial = store::running(&parts.pool).await;
        let trial = trial.map_err(|error| format!("the trials could not be looked at: {error}"))?;
        let trial = trial.filter(|trial| parts.clock.unix_s() < trial.until_s);
        let now = self.0.running.load_full();
        let Some(trial) = trial else {
            self.change(None);
            return Ok(());
        };
        if now.is_some_and(|running| running.trial == trial.id) {
            return Ok(());
        }
        self.change(None);
        match parts.policy.staged(&trial.bundle) {
            Some(Shelved::Ready(bundle)) => {
                tracing::info!(
                    bundle = &*trial.bundle,
                    "a bundle is judged beside the one in force"
                );
                let (digest, until_s) = (trial.bundle, trial.until_s);
                self.change(Some(Running { trial: trial.id, bundle, digest, until_s }));
                Ok(())
            }
            Some(Shelved::Bad(why)) => {
                Err(format!("bundle {} cannot be judged with: {why}", trial.bundle))
            }
            None => Err(format!("bundle {} is being loaded", trial.bundle)),
        }
    }

    fn change(&self, to: Option<Running>) {
        let mut tally = self.0.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let was = self.0.running.swap(to.map(Arc::new));
        if was.is_some() || self.0.running.load().is_some() {
            *tally = Tally::default();
        }
    }

    async fn write(&self, parts: &Parts) {
        let Some(running) = self.0.running.load_full() else { return };
        let (counts, found) = self.0.tally.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = store::add(&parts.pool, running.trial, parts.instance, counts, &found).await;
        if let Err(error) = written {
            tracing::warn!(%error, "what a shadow found could not be written; it is tried again");
            self.0.tally.lock().unwrap_or_else(PoisonError::into_inner).put_back(found);
        }
    }
}

/// A beginning and an end are seen within it, and what was found is at most as old.
const LOOK: Duration = Duration::from_secs(1);
