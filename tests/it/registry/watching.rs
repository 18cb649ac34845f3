//! Every replica sees a change: by notification, by polling when none comes, after its connections were killed, and when
//! an entry runs out without a change.

use std::time::Duration;

use haetae::clock::Clock;
use haetae::registry::{Registry, RegistryError, store, tree};
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{example, example_with, vouch};
use crate::support::{Fresh, fresh_database};

#[tokio::test]
async fn an_empty_registry_is_one_and_two_replicas_see_a_change() {
    let fresh = fresh_database().await;
    let (one, two) = (replica(&fresh).await, replica(&fresh).await);
    assert_eq!((one.current().version(), one.current().sites().count()), (0, 0));
    let mut listener = PgListener::connect_with(&fresh.pool).await.unwrap();
    listener.listen(store::CHANNEL).await.unwrap();
    store::apply(&fresh.pool, &example(), "kim").await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "1");
    for registry in [&one, &two] {
        sees(registry, 1).await;
        assert_eq!(registry.current().sites().count(), 3);
        let health = registry.health();
        assert_eq!((health.version, health.error), (1, None));
    }
}

#[tokio::test]
async fn a_change_without_notification_is_seen_by_polling() {
    let fresh = fresh_database().await;
    let registry = replica(&fresh).await;
    // another room's fact, told to nobody
    bump(&fresh.pool).await;
    sees(&registry, 1).await;
}

/// After a failover that lost the last change, the next one would take its number, and what was judged under the one would pass for
/// judged under the other.
#[tokio::test]
async fn a_number_whose_change_was_lost_is_not_used_again() {
    let fresh = fresh_database().await;
    store::apply(&fresh.pool, &example(), "kim").await.unwrap();
    let registry = replica(&fresh).await;
    assert!(registry.current().site("us-va-1").is_some());
    let other = [
        "UPDATE registry_entry SET version_from = 0, version_until = 1 WHERE sort = 'site' AND id = 'us-va-1'",
        "UPDATE registry_version SET applied_at = applied_at + interval '1 second'",
    ];
    let mut transaction = fresh.pool.begin().await.unwrap();
    // Until the digest fits the entries is the next moment, and then it is another change of the same number.
    sqlx::query("INSERT INTO registry_version (version, applied_by, how, digest) VALUES (0, 'kim', 'apply', sha256(''))")
        .execute(&mut *transaction)
        .await
        .unwrap();
    for statement in other {
        let done = sqlx::query(statement).execute(&mut *transaction).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }
    transaction.commit().await.unwrap();
    vouch(&fresh.pool).await;
    until(|| registry.current().site("us-va-1").is_none()).await;
    assert_eq!(registry.current().version(), 2);
    // Lost, and nothing came in its place yet.
    let rewind = "ALTER TABLE fact_head DISABLE TRIGGER USER; UPDATE fact_head SET version = 1; ALTER TABLE fact_head ENABLE TRIGGER USER";
    sqlx::raw_sql(rewind).execute(&fresh.pool).await.unwrap();
    sees(&registry, 3).await;
}

#[tokio::test]
async fn killed_connections_come_back_and_nothing_is_missed() {
    let fresh = fresh_database().await;
    let registry = replica(&fresh).await;
    until(|| registry.health().listening).await;
    let own =
        PgPoolOptions::new().max_connections(1).connect_with(fresh.options.clone()).await.unwrap();
    let killed: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_one(&own)
    .await
    .unwrap();
    assert!(killed >= 2, "the registry's pool and its listener");
    store::apply(&own, &example(), "kim").await.unwrap();
    sees(&registry, 1).await;
    until(|| registry.health().listening && registry.health().error.is_none()).await;
    bump(&own).await;
    sees(&registry, 2).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_in_health_and_the_old_snapshot_stays() {
    let fresh = fresh_database().await;
    store::apply(&fresh.pool, &example(), "kim").await.unwrap();
    let registry = replica(&fresh).await;
    sqlx::query("ALTER TABLE registry_entry RENAME TO elsewhere")
        .execute(&fresh.pool)
        .await
        .unwrap();
    bump(&fresh.pool).await;
    until(|| registry.health().error.is_some()).await;
    assert_eq!(registry.current().version(), 1);
    let cause = registry.health().cause();
    assert!(cause.contains("relation \"registry_entry\" does not exist"), "{cause}");
    assert!(cause.contains("; facts are those of version 1, seen "), "{cause}");
    sqlx::query("ALTER TABLE elsewhere RENAME TO registry_entry")
        .execute(&fresh.pool)
        .await
        .unwrap();
    sees(&registry, 2).await;
    until(|| registry.health().error.is_none()).await;
}

#[tokio::test]
async fn an_entry_that_runs_out_leaves_without_a_change() {
    let fresh = fresh_database().await;
    let files = example_with(
        "sites/us-va-1.toml",
        "level = \"verified\"",
        "valid_until = \"2026-11-24T12:00:00+09:00\"",
    );
    let end = 1_795_489_200; // 03:00 in UTC
    store::apply(&fresh.pool, &tree::parse(&files).unwrap(), "kim").await.unwrap();
    let clock = Clock::fixed((end - 1) * 1_000_000_000);
    let registry = replica_at(&fresh, clock.clone()).await;
    let mut changed = registry.changed();
    assert_eq!(registry.current().valid_until(), Some(end));
    assert!(registry.current().site("us-va-1").is_some());
    clock.set(end * 1_000_000_000);
    timeout(DEADLINE, changed.changed()).await.unwrap().unwrap();
    assert_eq!(*changed.borrow(), 1);
    assert_eq!(registry.current().valid_until(), None);
    assert!(registry.current().site("us-va-1").is_none());
}

#[tokio::test]
async fn it_stops_when_told_to() {
    let fresh = fresh_database().await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let _registry =
        Registry::start(fresh.pool.clone(), Clock::system(), &tracker, stop.clone()).await.unwrap();
    tracker.close();
    stop.cancel();
    timeout(DEADLINE, tracker.wait()).await.unwrap();
}

#[tokio::test]
async fn without_a_database_it_does_not_start() {
    let fresh = fresh_database().await;
    let nowhere = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy_with(fresh.options.clone().database("no_such_database"));
    let error =
        Registry::start(nowhere, Clock::system(), &TaskTracker::new(), CancellationToken::new())
            .await;
    assert!(matches!(error, Err(RegistryError::Database(_))), "{error:?}");
}

/// A registry with a pool of its own, followed until the test ends.
async fn replica(fresh: &Fresh) -> Registry {
    replica_at(fresh, Clock::system()).await
}

async fn replica_at(fresh: &Fresh, clock: Clock) -> Registry {
    let pool =
        PgPoolOptions::new().max_connections(2).connect_with(fresh.options.clone()).await.unwrap();
    Registry::start(pool, clock, &TaskTracker::new(), CancellationToken::new()).await.unwrap()
}

async fn bump(pool: &PgPool) {
    sqlx::query("UPDATE fact_head SET version = version + 1").execute(pool).await.unwrap();
}

async fn sees(registry: &Registry, version: i64) {
    let mut changed = registry.changed();
    let seen = changed.wait_for(|seen| *seen == version);
    timeout(DEADLINE, seen).await.unwrap().unwrap();
    assert_eq!(registry.current().version(), version);
}

pub(super) async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap();
}

/// Far beyond what it takes: only a hang ends here.
const DEADLINE: Duration = Duration::from_secs(30);
