//! What the log says was allowed towards one site: for whoever holds it against what the site says it let in.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::AuditError;

mod store;

/// An allowing decision and its end, as the query tables have them.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Allowed {
    pub id: uuid::Uuid,
    /// The lane's name.
    pub origin: String,
    pub index: i64,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
    /// How it ended; none while it is under way.
    pub how: Option<String>,
}

/// Allows towards `site` recorded from `from_ns` on and before `to_ns`, oldest first.
///
/// Waits until the query tables have everything that is in the log now.
///
/// # Errors
/// The database's, and query tables that do not catch up.
pub async fn allows(
    pool: &PgPool,
    site: &str,
    from_ns: i64,
    to_ns: i64,
) -> Result<Vec<Allowed>, AuditError> {
    let sizes = store::sizes(pool).await?;
    let begun = Instant::now();
    while !store::are_projected(pool, &sizes).await? {
        if begun.elapsed() > PROJECTED_WAIT_MAX {
            let cause = "the query tables are behind the log: does a gateway run? `haetae log verify` says more";
            return Err(AuditError::Content(cause.to_owned()));
        }
        sleep(POLL).await;
    }
    Ok(store::allows(pool, site, from_ns, to_ns).await?)
}

/// In service they lag less than a second.
const PROJECTED_WAIT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
