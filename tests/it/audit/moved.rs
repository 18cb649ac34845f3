//! Facts or erasures move while a lane is taken: its epoch still begins with the record that opens it.

use haetae::audit::verify;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use super::lab::{Lab, eventually};
use crate::support::fresh_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_while_a_lane_is_claimed_leaves_the_epoch_its_first_record() {
    begins_with_its_first_record("erasures = erasures + 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_facts_while_a_lane_is_claimed_leaves_the_epoch_its_first_record() {
    begins_with_its_first_record("version = version + 1").await;
}

/// The lane reads the head of the facts before `change` is committed, and commits its first record after.
async fn begins_with_its_first_record(change: &str) {
    let pool = fresh_database().await.pool;
    let mut changing = pool.begin().await.unwrap();
    let update = sqlx::AssertSqlSafe(format!("update fact_head set {change}"));
    sqlx::query(update).execute(&mut *changing).await.unwrap();
    let starting = TaskTracker::new().spawn({
        let pool = pool.clone();
        async move { Lab::start(&pool, 1).await }
    });
    eventually("the first commit waits for the facts", async || waits(&pool).await).await;
    changing.commit().await.unwrap();
    let lab = starting.await.unwrap();
    // Judged under the facts of before: what matters is that the lane serves.
    let _recorded_or_told_to_judge_again = lab.deny().await;
    let leaves = lab.leaves().await;
    assert_eq!(leaves[0]["kind"], "lane_open", "{leaves:?}");
    lab.projected().await;
    let pool = lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
}

async fn waits(pool: &PgPool) -> bool {
    let waiting = "select exists (select from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock' and query like '%fact_head%')";
    sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap()
}
