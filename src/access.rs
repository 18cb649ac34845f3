//! Who may be given what: a wish to grant or revoke becomes a change of the registry with its record, or the reason why not.
//!
//! *Invariant:* a wish is judged on the entries that it changes, under the registry's lock, and by the same rules whoever
//! brings it; no change without its row in the outbox.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::policy::{Acting, Asker, Bundle, ChangeError};
use crate::registry::RegistryError;
use crate::registry::access::OwnAccess;
use crate::registry::access::store::Open;
use crate::registry::store::Applied;

pub use crate::registry::access::store::Wish;

/// Who brings a wish.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// Whoever has the registry's own login.
    Operator,
    /// Somebody of the organisation, known by roles and by name ([`crate::registry::access::actor_node`]).
    Administrator { org: &'a str, roles: &'a [std::sync::Arc<str>], actor: &'a str },
}

/// Where wishes are brought to. Its login may write access entries.
#[derive(Debug, Clone)]
pub struct Desk {
    pool: PgPool,
    /// Wishes that may have a connection: they wait with it for the registry's lock, and the pool is for others too.
    places: Arc<Semaphore>,
}

impl Desk {
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, places: Arc::new(Semaphore::new(PLACES_MAX)) }
    }

    /// For one wish, at an instant (unix seconds).
    #[must_use]
    pub const fn bench<'a>(&'a self, bundle: &'a Bundle, at: i64) -> Bench<'a> {
        Bench { pool: &self.pool, bundle, at }
    }

    /// [`change`], when its turn has come.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub async fn change(
        &self,
        bench: Bench<'_>,
        wish: Wish,
        by: By<'_>,
        who: &str,
        force: bool,
    ) -> Result<Applied, AccessError> {
        let turn = timeout(TURN_WAIT_MAX, self.places.acquire()).await;
        let Ok(Ok(_place)) = turn else { return Err(AccessError::Busy) };
        change(bench, wish, by, who, force).await
    }
}

/// What is the same for every wish: the bundle whose floor and roles hold, and when it is.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    pub pool: &'a PgPool,
    pub bundle: &'a Bundle,
    /// Unix seconds.
    pub at: i64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Refused(#[from] ChangeError),
    #[error("too many are changing access entries now: try again")]
    Busy,
}

/// Grants or revokes. In force when this returns: no decision on the entries of before is committed afterwards.
///
/// # Errors
/// Nothing was changed, and why.
pub async fn change(
    bench: Bench<'_>,
    wish: Wish,
    by: By<'_>,
    who: &str,
    force: bool,
) -> Result<Applied, AccessError> {
    let open = Open::begin(bench.pool).await?;
    let (before, after) = open.both(&wish)?;
    let now: OwnAccess;
    let acting = match by {
        By::Operator => Acting::Operator,
        By::Administrator { org, roles, actor } => {
            now = open.in_force(org, bench.at);
            Acting::Administrator(Asker { org, roles, actor: Some(actor), own: Some(&now) })
        }
    };
    bench.bundle.check_access_change(&before, &after, acting, force)?;
    Ok(open.commit(wish, who).await?)
}

/// One changes, and one is ready for the lock.
const PLACES_MAX: usize = 2;
/// As long as a caller waits for a record.
const TURN_WAIT_MAX: Duration = Duration::from_millis(1_800);
