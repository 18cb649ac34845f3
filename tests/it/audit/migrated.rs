//! A migration that takes the tables of the log away from running lanes for a moment: they go on, and so do those who read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use haetae::audit::verify;
use haetae::postgres::migrate;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::lab::Lab;
use crate::support::database_before;

/// 0052 takes two tables: readers hold them for longer than it waits, and in the other order.
#[tokio::test(flavor = "multi_thread")]
async fn domains_come_beside_running_lanes_and_slow_readers() {
    let fresh = database_before(52).await;
    // What this version's lanes write came later (0058).
    let seal = "alter table log_head add column seal bytea; grant update (seal) on log_head to haetae_gateway";
    sqlx::raw_sql(seal).execute(&fresh.pool).await.unwrap();
    let lab = Arc::new(Lab::start(&fresh.pool, 2).await);
    let over = Arc::new(AtomicBool::new(false));
    let mut beside = JoinSet::new();
    for _ in 0..4 {
        beside.spawn(written(Arc::clone(&lab), Arc::clone(&over)));
    }
    let readers = sqlx::postgres::PgPoolOptions::new().connect_with(fresh.options.clone());
    beside.spawn(read(readers.await.unwrap(), Arc::clone(&over)));
    while lab.leaves().await.len() < 200 {}
    migrate(&fresh.pool).await.unwrap();
    let then = lab.leaves().await.len();
    while lab.leaves().await.len() < then + 200 {}
    over.store(true, Ordering::Relaxed);
    let written: usize = beside.join_all().await.into_iter().sum();

    let wrong = "update log_batch set count = 0";
    let error = sqlx::query(wrong).execute(&fresh.pool).await.unwrap_err().to_string();
    assert!(error.contains("record_count_check"), "{error}");
    let lab = Arc::into_inner(lab).unwrap();
    let decisions = lab.leaves().await.iter().filter(|leaf| leaf["kind"] == "decision").count();
    assert_eq!(decisions, written);
    lab.projected().await;
    lab.stop().await;
    let report = verify(&fresh.pool).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// How many decisions were recorded; none may fail.
async fn written(lab: Arc<Lab>, over: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        lab.deny().await.unwrap();
        count += 1;
    }
    count
}

/// Reads batches, thinks, and reads heads, in one transaction after the other. Nothing of it may fail.
async fn read(pool: PgPool, over: Arc<AtomicBool>) -> usize {
    while !over.load(Ordering::Relaxed) {
        let mut reading = pool.begin().await.unwrap();
        for select in [
            "select count(*) from log_batch",
            "select count(*) from pg_sleep(0.3)",
            "select count(*) from log_head",
        ] {
            let _count: i64 = sqlx::query_scalar(select).fetch_one(&mut *reading).await.unwrap();
        }
        reading.commit().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    0
}
