//! A log of the product's own, started and stopped as a gateway does.

use std::time::Duration;

use haetae::audit::{Audit, Config, Key};
use haetae::clock::Clock;
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub struct Log {
    pub audit: Audit,
    tracker: TaskTracker,
    stop: CancellationToken,
}

pub const ORIGIN: &str = "bench.example/log";

impl Log {
    /// A process that holds at most `held` of the deployment's lanes; returns when it holds them.
    pub async fn start(pool: &PgPool, key: &Key, lanes: u16, held: u16) -> anyhow::Result<Self> {
        let config = Config {
            origin: ORIGIN.to_owned(),
            lanes,
            lanes_held_max: held,
            record_ms_max: 60_000,
            commit_ms_max: 60_000,
            ..Config::default()
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let audit = Audit::start_with_key(
            &config,
            key,
            pool.clone(),
            Clock::system(),
            &tracker,
            stop.clone(),
        )?;
        while audit.health().lanes.iter().filter(|lane| lane.held).count() < usize::from(held) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { audit, tracker, stop })
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Waits until the rows have followed the log.
pub async fn projected(pool: &PgPool) -> anyhow::Result<()> {
    let select = "select coalesce(sum(size - coalesce(next_index, 0)), 0)::bigint
                  from log_head left join projection_cursor using (lane)";
    while sqlx::query_scalar::<_, i64>(select).fetch_one(pool).await? > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
