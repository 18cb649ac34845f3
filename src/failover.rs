//! Which of several servers is the one that writes, and pools that follow it.
//!
//! A database with standbys has one address too many: after a failover the writable server is another one. The
//! configuration names all of them; here one is found at the start, looked at twice a second, and replaced when it is gone.
//!
//! *Invariant:* a server in recovery is never chosen, and of two that both write none is chosen anew: what both accept is
//! for people to settle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod host;
mod store;

pub use host::{Host, HostError};

/// The servers of one database. Cheap to clone; clones share what was found.
#[derive(Debug, Clone, Default)]
pub struct Servers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    hosts: Vec<Host>,
    /// The one that writes, and since when it is this one.
    current: Option<(usize, Instant)>,
    /// Pools that follow, with the options that they were made with.
    pools: Vec<(PgPool, PgConnectOptions)>,
}

/// No server to write to, and why.
#[derive(Debug, thiserror::Error)]
pub enum FailoverError {
    #[error(transparent)]
    Connect(#[from] sqlx::Error),
    #[error("none of the servers in `database.hosts` can be written to: {0}")]
    None(String),
    #[error(
        "{0} of `database.hosts` accept writes: stop all but the right one, which is the one that a witness or the \
         high-water file agrees with"
    )]
    Several(String),
}

/// What one server said.
#[derive(Debug)]
enum Answer {
    Writes,
    /// It is a standby.
    Follows,
    Silent(String),
}

impl Servers {
    /// A pool at the server that writes. Without `hosts`, at the one that `options` name. A process that is stopped within a
    /// transaction loses it, and its locks, after some seconds.
    ///
    /// # Errors
    /// When it cannot be reached, or it cannot be told which server that is.
    pub async fn pool(
        &self,
        pool: PgPoolOptions,
        options: PgConnectOptions,
        hosts: &[Host],
    ) -> Result<PgPool, FailoverError> {
        let pool = pool.after_connect(|connection, _| Box::pin(store::bound(connection)));
        if hosts.is_empty() {
            return Ok(pool.connect_with(options).await?);
        }
        self.lock().hosts = hosts.to_vec();
        if self.current().is_none() {
            let found = writable(&options, hosts, None).await?;
            self.lock().current = Some((found, Instant::now()));
        }
        let current =
            self.current().and_then(|(at, _)| hosts.get(at)).map(|host| host.of(&options));
        let state = Arc::downgrade(&self.0);
        let pool = pool
            .before_acquire(move |_, meta| {
                let since = state.upgrade().and_then(|state| Servers(state).current());
                // A connection that is older than the last change goes to the server before it.
                let fresh = since.is_none_or(|(_, since)| meta.age <= since.elapsed());
                Box::pin(async move { Ok(fresh) })
            })
            .connect_with(current.unwrap_or_else(|| options.clone()))
            .await?;
        self.lock().pools.push((pool.clone(), options));
        Ok(pool)
    }

    /// Looks after the server until `stop`; does nothing where there is only one.
    pub fn follow(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        if self.lock().hosts.len() > 1 {
            tracker.spawn(stop.clone().run_until_cancelled_owned(self.clone().watch()));
        }
    }

    async fn watch(self) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = None;
        loop {
            tick.tick().await;
            let trouble = self.look().await.err().map(|cause| cause.to_string());
            // Once for each cause: it is looked again in half a second.
            if let Some(cause) = trouble.as_ref().filter(|_| trouble != said) {
                tracing::error!(cause, "no server to write to");
            }
            said = trouble;
        }
    }

    /// Whether the server that writes still does; otherwise finds the one that does now.
    async fn look(&self) -> Result<(), FailoverError> {
        let (hosts, current, options) = {
            let state = self.lock();
            let options = state.pools.first().map(|(_, options)| options.clone());
            let Some(options) = options else { return Ok(()) };
            (state.hosts.clone(), state.current.map(|(at, _)| at), options)
        };
        if let Some(host) = current.and_then(|at| hosts.get(at))
            && matches!(ask(&host.of(&options)).await, Answer::Writes)
        {
            return Ok(());
        }
        let found = writable(&options, &hosts, current).await?;
        if Some(found) == current {
            return Ok(());
        }
        self.turn_to(found);
        Ok(())
    }

    /// From here on every pool connects to this server; what is connected to another is not used again.
    fn turn_to(&self, at: usize) {
        let mut state = self.lock();
        state.current = Some((at, Instant::now()));
        let Some(host) = state.hosts.get(at) else { return };
        for (pool, options) in &state.pools {
            pool.set_connect_options(host.of(options));
        }
        tracing::warn!(server = %host, "the database is written to at another server now");
    }

    fn current(&self) -> Option<(usize, Instant)> {
        self.lock().current
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one server that accepts writes; `known` when it is among several.
async fn writable(
    options: &PgConnectOptions,
    hosts: &[Host],
    known: Option<usize>,
) -> Result<usize, FailoverError> {
    let tracker = TaskTracker::new();
    let asked: Vec<_> = hosts
        .iter()
        .map(|host| {
            let options = host.of(options);
            tracker.spawn(async move { ask(&options).await })
        })
        .collect();
    let (mut writes, mut others) = (Vec::new(), Vec::new());
    for ((at, host), answer) in hosts.iter().enumerate().zip(asked) {
        match answer.await.unwrap_or_else(|cause| Answer::Silent(cause.to_string())) {
            Answer::Writes => writes.push(at),
            Answer::Follows => others.push(format!("{host} is a standby")),
            Answer::Silent(cause) => others.push(format!("{host}: {cause}")),
        }
    }
    match (writes.as_slice(), known) {
        ([one], _) => Ok(*one),
        ([], _) => Err(FailoverError::None(others.join("; "))),
        (several, Some(known)) if several.contains(&known) => Ok(known),
        (several, _) => {
            let names = several.iter().filter_map(|at| hosts.get(*at)).map(Host::to_string);
            Err(FailoverError::Several(names.collect::<Vec<_>>().join(" and ")))
        }
    }
}

async fn ask(options: &PgConnectOptions) -> Answer {
    match timeout(ANSWER_MAX, store::writes(options)).await {
        Ok(Ok(true)) => Answer::Writes,
        Ok(Ok(false)) => Answer::Follows,
        Ok(Err(cause)) => Answer::Silent(cause.to_string()),
        Err(_) => Answer::Silent("no answer".to_owned()),
    }
}

/// With one answer that takes its time, a writable server is found within two seconds of its being there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_MAX: Duration = Duration::from_secs(1);
