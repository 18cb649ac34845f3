//! Counts obligations when something about them may have changed: a decision was read off, one was closed, a time is over.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;

use super::metrics::Metrics;
use super::store::{self, Mark};
use super::{State, read};
use crate::clock::Clock;

/// What the last count saw.
struct Counted {
    mark: Mark,
    at: i64,
    /// When the next of those that are open is overdue.
    next: Option<i64>,
}

impl Counted {
    fn holds(&self, mark: &Mark, now: i64) -> bool {
        self.mark == *mark
            && (self.at..self.at.saturating_add(HOLDS_S)).contains(&now)
            && self.next.is_none_or(|next| now < next)
    }
}

/// Until it is dropped.
pub(super) async fn run(pool: PgPool, clock: Clock, metrics: Arc<Metrics>) {
    let mut counted = None;
    loop {
        // What was counted stays shown, with its time; who reads the decisions off says loudly that the database is away.
        if let Err(error) = look(&pool, clock.unix_s(), &metrics, &mut counted).await {
            tracing::debug!(%error, "obligations could not be counted; it is tried again");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(
    pool: &PgPool,
    now: i64,
    metrics: &Metrics,
    counted: &mut Option<Counted>,
) -> Result<(), sqlx::Error> {
    let mark = store::mark(pool).await?;
    if counted.as_ref().is_some_and(|counted| counted.holds(&mark, now)) {
        return Ok(());
    }
    let all = read::list(pool, None, now).await?;
    metrics.count(&all, now);
    let open = all.iter().filter(|one| one.state == State::Open);
    let next = open.filter_map(|one| one.due).min().map(|due| due.saturating_add(1));
    *counted = Some(Counted { mark, at: now, next });
    Ok(())
}

/// Two sums over small tables.
const LOOK: Duration = Duration::from_secs(2);
/// Records that are gone move no mark.
const HOLDS_S: i64 = 60;
