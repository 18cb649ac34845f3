//! Rows done as superuser in the database.

use super::row;
use super::written::{Written, found};
use crate::support::scratch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edit_a_leaf() {
    let log = Written::copy().await;
    log.run(&["update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
               where first_index = 7"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "edit_a_leaf",
        &[("log verify", found(&inside, "index 7")), ("haetae-verify", found(&outside, "7"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_the_marks_of_a_batch() {
    let log = Written::copy().await;
    sqlx::raw_sql("alter domain leaf_marks drop constraint leaf_marks_check")
        .execute(log.pool())
        .await
        .unwrap();
    log.run(&[
        "update log_batch set marks = '' where first_index = 7",
        "update log_batch set marks = marks || marks where first_index = 9",
    ])
    .await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    found(&inside, "index 9: edited: the marks of a batch of 1 records are 16 bytes");
    row(
        "cut_the_marks_of_a_batch",
        &[("log verify", found(&inside, "marks")), ("haetae-verify", found(&outside, "7"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edit_only_a_projection() {
    let log = Written::copy().await;
    log.run(&["update row_decision set outcome = 'ALLOW' where index = 5"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    assert_eq!((inside.len(), outside.len()), (1, 1), "{inside:?} {outside:?}");
    let said = [("log verify", inside[0].clone()), ("haetae-verify", outside[0].clone())];
    row("edit_only_a_projection", &said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_from_the_middle() {
    let log = Written::copy().await;
    log.run(&["delete from log_batch where first_index = 40"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "delete_from_the_middle",
        &[("log verify", found(&inside, "missing")), ("haetae-verify", found(&outside, "40"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_the_tail_and_rewind_the_head() {
    let log = Written::copy().await;
    log.run(&[
        "delete from log_batch where first_index >= 200",
        "delete from row_decision where index >= 200",
        "update projection_cursor set next_index = 200",
    ])
    .await;
    let left = log.leaves().await;
    log.rebuild(&left).await;
    let inside = log.inside().await;
    // With its checkpoints too, it is a whole and shorter log: only who kept something of it can tell.
    log.run(&["delete from log_checkpoint where size > 200"]).await;
    let outside = log.outside(std::slice::from_ref(&log.kept)).await;
    // From the last checkpoint that is left, which is of some second or other.
    let missing = found(&outside, "to 301: the records are missing");
    let from = missing.split(' ').nth(3).unwrap();
    let missing = missing.replace(&format!(" {from} "), " N ");
    log.start_below("tail").await;
    row(
        "delete_the_tail_and_rewind_the_head",
        &[
            ("log verify", found(&inside, "says 302 records")),
            ("haetae-verify with a kept checkpoint", missing),
            ("gateway at its start", log.rollback().await),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_two_records() {
    let log = Written::copy().await;
    log.run(&["update log_batch b set leaves = o.leaves, marks = o.marks from log_batch o
               where (b.first_index, o.first_index) in ((10, 20), (20, 10))"])
        .await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "swap_two_records",
        &[("log verify", found(&inside, "index 10, ")), ("haetae-verify", found(&outside, "10"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_a_tile() {
    let log = Written::copy().await;
    // A right tile of another log, so to speak: every hash is moved by one place.
    log.run(&[
        "update log_tile set hashes = substr(hashes, 33) || substr(hashes, 1, 32) where level = 0",
    ])
    .await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "replace_a_tile",
        &[
            ("log verify", found(&inside, "tile 0/0 does not agree")),
            ("haetae-verify", found(&outside, "index 0,")),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_a_backup() {
    let dir = scratch("restored");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("high-water.json");
    // Two copies of one log: one serves for a while, then the other is put in its place.
    let (served, restored) = (Written::copy().await, Written::copy().await);
    let lab = served.start(Some(&file)).await;
    for _ in 0..5 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    lab.stop().await;
    let had = sqlx::query_scalar::<_, i64>("select size from log_head where lane = 0");
    let had = had.fetch_one(served.pool()).await.unwrap().to_string();
    let lab = restored.start(Some(&file)).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16, "the dead lane is not signed");
    lab.projected().await;
    lab.stop().await;
    std::fs::remove_dir_all(&dir).unwrap();
    row(
        "restore_a_backup",
        &[
            ("gateway at its start", restored.rollback().await.replace(&had, "N")),
            ("log verify", found(&restored.inside().await, "were lost").replace(&had, "N")),
        ],
    );
}
