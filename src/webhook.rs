//! What organisations are told: grounds and certificates that run out, orders that touch them, obligations that are due or
//! overdue, sent to where they asked.
//!
//! A notice is made once for each webhook (a unique key in the database), signed by the Standard Webhooks scheme and sent
//! until it is accepted or given up. Any replica may send it; a lease keeps it to one at a time for each address.
//!
//! *Invariant:* nothing is sent to an address that the configuration does not permit, whatever a name resolves to; no
//! secret leaves this room but by its maker's own printing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::clock::Clock;
use crate::obligation;
use crate::registry::Registry;

mod address;
mod config;
mod notice;
mod send;
mod sign;
pub mod store;

pub use address::{Guard, check_url};
pub use config::Config;
pub use sign::Secret;

use notice::Notice;
use send::{Outcome, Sender};

/// Why webhooks cannot be run, or a change of one was not made.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("the webhooks' database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Address(String),
    #[error("webhook `{0}` is not registered: `haetae webhook list` lists them")]
    NotFound(Uuid),
    #[error("`{url}` is registered for `{org}` already")]
    Twice { org: String, url: String },
    #[error("`{org}` has 16 webhooks: remove one that it does not need")]
    Many { org: String },
    #[error("there is no randomness to be had from this system")]
    Chance,
    #[error("`webhooks`: {0}")]
    Config(String),
}

/// Runs until `stop`: makes notices when facts change and once a while, and sends what is due.
///
/// # Errors
/// When the configuration cannot be used.
pub fn start(
    config: &Config,
    pool: &PgPool,
    registry: Arc<Registry>,
    clock: &Clock,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), WebhookError> {
    let courier = Courier {
        sender: Sender::new(config)?,
        pool: pool.clone(),
        clock: clock.clone(),
        config: config.clone(),
    };
    let courier = Arc::new(courier);
    for _ in 0..COURIERS {
        tracker.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&courier).run()));
    }
    let (pool, clock) = (pool.clone(), clock.clone());
    tracker.spawn(stop.clone().run_until_cancelled_owned(tell(pool, registry, clock)));
    Ok(())
}

/// Makes the notices that the facts call for. Each is made once, by whichever replica is first.
async fn tell(pool: PgPool, registry: Arc<Registry>, clock: Clock) {
    let mut changed = registry.changed();
    loop {
        if let Err(error) = notices(&pool, &registry, clock.unix_s()).await {
            tracing::warn!(%error, "notices could not be made; they are looked for again");
        }
        tokio::select! {
            news = changed.changed() => if news.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
        // a change seldom comes alone
        tokio::time::sleep(APART).await;
    }
}

async fn notices(pool: &PgPool, registry: &Registry, at: i64) -> Result<(), sqlx::Error> {
    let webhooks = store::active(pool).await?;
    if webhooks.is_empty() {
        return Ok(());
    }
    let snapshot = registry.current();
    let mut of: BTreeMap<String, Vec<Notice>> = BTreeMap::new();
    for (id, org) in webhooks {
        if !of.contains_key(&org) {
            let mut notices = notice::due(&snapshot, &org, at);
            notices.extend(notice::obliged(&obligation::list(pool, Some(&org), at).await?, at));
            of.insert(org.clone(), notices);
        }
        let notices = of.get(&org).map(Vec::as_slice).unwrap_or_default();
        store::enqueue(pool, id, notices).await?;
    }
    Ok(())
}

/// Webhooks of organisations, as the gateway's own routes have them.
#[derive(Debug, Clone)]
pub struct Webhooks {
    pool: PgPool,
    /// What an address without a name must be among.
    guard: Guard,
}

impl Webhooks {
    #[must_use]
    pub fn new(config: &Config, pool: PgPool) -> Self {
        Self { pool, guard: Guard::new(&config.allow) }
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, org: &str) -> Result<Vec<store::Listed>, WebhookError> {
        store::list(&self.pool, Some(org)).await
    }

    /// Registers an address; gives its id and the secret, to be shown once.
    ///
    /// # Errors
    /// When the address cannot be one or may not be reached, is registered already, or there are too many.
    pub async fn add(
        &self,
        org: &str,
        url: &str,
        by: &str,
    ) -> Result<(Uuid, Secret), WebhookError> {
        let uri = check_url(url).map_err(WebhookError::Address)?;
        if !self.guard.permits_host(&uri) {
            let what = format!("`{url}` cannot be told anything: its address is not a public one");
            return Err(WebhookError::Address(what));
        }
        let secret = Secret::make()?;
        Ok((store::add_as(&self.pool, org, url, &secret, (by, ADMINISTRATOR)).await?, secret))
    }

    /// Gives one another secret, to be shown once; notices are signed with both for a day.
    ///
    /// # Errors
    /// When the organisation has no such webhook.
    pub async fn rotate(&self, of: store::Of<'_>) -> Result<Secret, WebhookError> {
        let secret = Secret::make()?;
        store::rotate(&self.pool, of, &secret, BOTH_FOR).await?;
        Ok(secret)
    }

    /// # Errors
    /// When the organisation has no such webhook.
    pub async fn remove(&self, of: store::Of<'_>) -> Result<(), WebhookError> {
        store::remove(&self.pool, of).await
    }

    /// # Errors
    /// As [`test`].
    pub async fn test(&self, org: &str, webhook: Uuid, at: i64) -> Result<Uuid, WebhookError> {
        test(&self.pool, Some(org), webhook, at).await
    }
}

/// Has a notice sent that says nothing but that it was; gives its id.
///
/// # Errors
/// When there is no such webhook (of this organisation, if one is given).
pub async fn test(
    pool: &PgPool,
    org: Option<&str>,
    webhook: Uuid,
    at: i64,
) -> Result<Uuid, WebhookError> {
    let listed = store::list(pool, org).await?;
    let one = listed.iter().find(|one| one.id == webhook);
    let one = one.ok_or(WebhookError::NotFound(webhook))?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|_| WebhookError::Chance)?;
    let notice = notice::test(&one.org, &hex::encode(nonce), at);
    store::enqueue(pool, webhook, std::slice::from_ref(&notice)).await?;
    Ok(store::id_of(pool, webhook, &notice.key).await?)
}

/// Sends what is due.
struct Courier {
    sender: Sender,
    pool: PgPool,
    clock: Clock,
    config: Config,
}

impl Courier {
    async fn run(self: Arc<Self>) {
        let pause = Duration::from_millis(self.config.look_ms);
        loop {
            match self.one().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(pause).await,
                Err(error) => {
                    tracing::warn!(%error, "notices could not be looked for; they wait");
                    tokio::time::sleep(pause.max(AGAIN)).await;
                }
            }
        }
    }

    /// Sends one notice; false when none is due. Several replicas share the work; if one stops in the middle the lease
    /// runs out and another sends the same notice again, under the same id.
    async fn one(&self) -> Result<bool, sqlx::Error> {
        let Some(due) = store::claim(&self.pool, self.config.lease()).await? else {
            return Ok(false);
        };
        let Some(delivery) = due.delivery else {
            store::release(&self.pool, due.webhook, due.lease).await?;
            return Ok(true);
        };
        let at = self.clock.unix_s();
        let outcome = self.sender.send(&due.url, &delivery, &due.secrets, at).await;
        let end = self.end(&outcome, delivery.attempts + 1);
        // If we stop here, then it was perhaps accepted and nobody knows: it is sent again under the same id.
        store::finish(&self.pool, due.lease, delivery.id, &outcome, end).await?;
        if matches!(end, End::Dead) {
            tracing::warn!(webhook = %due.webhook, notice = %delivery.id, "a notice was given up");
        }
        Ok(true)
    }

    fn end(&self, outcome: &Outcome, attempts: u32) -> End {
        match outcome {
            Outcome::Answered(200..300) => End::Delivered,
            // the receiver says that it will never want it
            Outcome::Answered(410) => End::Dead,
            _ if attempts >= self.config.attempts_max => End::Dead,
            _ => End::Again { after: self.config.pause(attempts, chance()) },
        }
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Dead,
    Again { after: Duration },
}

/// By how much a pause is shorter or longer. Without randomness all are as short as they may be, which is no harm.
fn chance() -> [u8; 2] {
    let mut bytes = [0; 2];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

const ADMINISTRATOR: &str = "an administrator";
/// A receiver has a day to take up another secret.
pub const BOTH_FOR: Duration = Duration::from_hours(24);
/// A receiver that answers slowly holds one of them.
const COURIERS: usize = 4;
/// Notices are about days.
const LOOK: Duration = Duration::from_mins(1);
const APART: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_secs(2);
