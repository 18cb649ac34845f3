//! What a superuser puts where no range of records is: batches within others, batches of nothing, bytes after the last record, rows of
//! no lane; and batches put together anew, under a heartbeat's feet. `haetae log verify` names each.

use std::sync::Arc;
use std::time::Duration;

use haetae::audit::{Finding, Key, State, Watch, prove_place, verify, verify_watched};
use haetae::clock::Clock;
use sqlx::PgPool;
use tlog::{Checkpoint, Hash};

use super::believed::{run, written};
use super::lab::{Lab, ORIGIN, eventually, leaves};
use crate::support::fresh_database;

/// Every finding as it is printed. It must come to an end.
async fn said(pool: &PgPool) -> Vec<String> {
    let report = tokio::time::timeout(Duration::from_secs(20), verify(pool)).await;
    report.expect("it goes on for ever").unwrap().findings.iter().map(Finding::to_string).collect()
}

/// Takes off what holds the numbers of a batch: their domains.
async fn without_constraints(pool: &PgPool) {
    let off = "alter domain record_count drop constraint record_count_check;
               alter domain leaf_marks drop constraint leaf_marks_check";
    sqlx::raw_sql(off).execute(pool).await.unwrap();
}

/// The batch that begins here, and the one after it, become one.
async fn merged(pool: &PgPool, lane: i32, first: i64) {
    let both = "with gone as (
                    delete from log_batch b using log_batch a
                    where a.lane = $1 and a.first_index = $2 and b.lane = $1 and b.first_index = a.first_index + a.count
                    returning b.*)
                update log_batch a set leaves = a.leaves || gone.leaves, marks = a.marks || gone.marks, count = a.count + gone.count
                from gone where a.lane = $1 and a.first_index = $2";
    let done = sqlx::query(both).bind(lane).bind(first).execute(pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_within_the_last_one_of_a_page_is_named_and_nothing_of_it_is_proven() {
    let (pool, _) = written(20).await;
    // The first page has eight batches: the last of them now holds records 7 and 8, and nothing of it is said to begin at 8.
    merged(&pool, 0, 7).await;
    assert!(prove_place(&pool, 0, 8).await.unwrap().unwrap().receipt.is_some());
    let good = said(&pool).await;
    assert!(good.iter().all(|found| found.contains("no batch ends there")), "{good:?}");
    run(&pool, HIDDEN).await;
    let found = said(&pool).await;
    assert!(found.iter().any(|one| one == WITHIN), "{found:?}");
    assert_eq!(found.len(), good.len() + 1, "all else is as it was: {found:?}");
    let refused = prove_place(&pool, 0, 8).await.unwrap_err().to_string();
    assert!(refused.contains("it was written as index 3 of lane 0"), "{refused}");
}

/// An interrupted run had read eight batches, of which the last one holds records 7 and 8. What is put there then is where it stopped: a
/// batch that begins at 8, and a checkpoint of that size, of another tree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_where_a_run_was_interrupted_is_found_by_the_next() {
    let (pool, _) = written(20).await;
    merged(&pool, 0, 7).await;
    sqlx::query("delete from log_checkpoint where size < 10").execute(&pool).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = || {
        let open = || State::open(&dir.path().join("state"), &[], false);
        // Patient: a process that another test starts has our locks from its fork until its exec.
        let opened = (0..50).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            open().ok()
        });
        opened.unwrap_or_else(|| open().unwrap()).every(Duration::ZERO)
    };
    let now_ns = Clock::system().unix_ns();
    let stop: Watch = Arc::new(|_| panic!("this is the interruption"));
    verify_watched(&pool, &[], None, now_ns, stop, Some(state())).await.unwrap_err();
    let goes_on = || verify_watched(&pool, &[], None, now_ns, Arc::new(|_| {}), Some(state()));

    run(&pool, HIDDEN).await;
    let refused = goes_on().await.unwrap_err().to_string();
    assert!(refused.contains("is not gone on with: lane 0 lacks records or tiles"), "{refused}");
    run(&pool, "delete from log_batch where first_index = 8").await;

    let key = Key::generate().unwrap();
    let forged = Checkpoint::new(format!("{ORIGIN}/0"), 8, Hash::EMPTY);
    let forged = forged.sign(&key.signer(ORIGIN, 0).unwrap()).unwrap().to_string();
    sqlx::query("insert into log_checkpoint (lane, size, note, vkey) values (0, 8, $1, $2)")
        .bind(forged)
        .bind(key.vkey(ORIGIN, 0).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    let report = goes_on().await.unwrap();
    assert_eq!(report.before, 9);
    let found: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    let unsigned = "lane 0: checkpoint: checkpoint of size 8: no batch ends there";
    assert!(found.len() == 1 && found[0].starts_with(unsigned), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_nothing_ends_no_walk_and_is_named() {
    let (pool, _) = written(3).await;
    without_constraints(&pool).await;
    run(
        &pool,
        "insert into log_batch (lane, first_index, count, epoch, leaves, marks)
                select lane, size, 0, epoch, '', '' from log_head",
    )
    .await;
    assert_eq!(said(&pool).await, ["lane 0, index 5: edited: a batch of no records"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_after_the_last_record_of_a_batch_is_named() {
    let (pool, _) = written(3).await;
    run(&pool, "update log_batch set leaves = leaves || '\\x00'::bytea where first_index = 2")
        .await;
    let found = said(&pool).await;
    let after =
        "lane 0, index 2: edited: after the 1 records of a batch there are bytes that are none";
    assert_eq!(found, [after]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_states_more_than_it_holds_is_named_and_what_comes_after_it_is_read() {
    let (pool, ids) = written(20).await;
    without_constraints(&pool).await;
    run(&pool, "update log_batch set count = 9 where first_index = 5").await;
    run(&pool, "update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
                where first_index = 12").await;
    let found = said(&pool).await;
    assert!(found.iter().all(|one| !one.contains(": row: ")), "{found:?}");
    for expected in [
        "lane 0, index 5: edited: a batch of 9 records holds 1".to_owned(),
        format!("lane 0, index 12, record {}: edited: the bytes are not", ids[11]),
    ] {
        assert!(found.iter().any(|one| one.starts_with(&expected)), "{expected}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_no_lane_and_of_no_index_are_counted_and_named() {
    let (pool, _) = written(3).await;
    assert_eq!(said(&pool).await, Vec::<String>::new());
    for invented in [
        "insert into row_decision select 99, index, gen_random_uuid(), at_ns, org, actor, outcome, reason, rule, site, service,
         operation, issuer, facts, detail, bundle from row_decision where lane = 0",
        "insert into row_decision select lane, -1, gen_random_uuid(), at_ns, org, actor, outcome, reason, rule, site, service,
         operation, issuer, facts, detail, bundle from row_decision where lane = 0 and index = 1",
        "insert into row_started values (-7, 4, gen_random_uuid(), 1, gen_random_uuid(), 'spiffe://else.example/site')",
        "insert into row_ended values (0, 9223372036854775807, gen_random_uuid(), 1, gen_random_uuid(), 'forwarded', 200, 1, 1, 1)",
    ] {
        run(&pool, invented).await;
    }
    assert_eq!(
        said(&pool).await,
        [
            "lane 0: row: 1 rows of `row_decision` have no record: of lane 0, the first with index -1",
            "lane 0: row: 1 rows of `row_ended` have no record: of lane 0, the first with index 9223372036854775807",
            "lane 99: row: 3 rows of `row_decision` have no record: of lane 99, the first with index 1",
            "no lane: row: 1 rows of `row_started` have no record: of lane -7, the first with index 4",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_a_size_at_which_no_batch_ends_is_named() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    for _ in 0..4 {
        lab.deny().await.unwrap();
    }
    let five = "select exists (select from log_checkpoint where size = 5)";
    let published = async || sqlx::query_scalar(five).fetch_one(&lab.pool).await.unwrap();
    eventually("all of it is under a checkpoint", published).await;
    lab.deny().await.unwrap();
    lab.projected().await;
    let pool = lab.stop().await;
    assert_eq!(said(&pool).await, Vec::<String>::new());
    merged(&pool, 0, 4).await;
    let found = said(&pool).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let about = "lane 0: checkpoint: checkpoint of size 5: no batch ends there: batches were put together anew";
    assert!(found[0].starts_with(about), "{found:?}");
}

/// A heartbeat in one lane says which root the other had. Whoever writes that other lane anew, key and all, must not get rid of it by
/// cutting its records into other batches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_put_together_anew_take_no_root_from_a_heartbeat() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    for _ in 0..20 {
        lab.deny().await.unwrap();
    }
    let beats = |all: &[serde_json::Value]| {
        let beat = all.iter().find(|leaf| leaf["kind"] == "heartbeat" && leaf["lane"] == 1);
        beat.map(|beat| {
            (beat["index"].as_u64().unwrap(), beat["heads"][0]["size"].as_i64().unwrap())
        })
    };
    eventually("lane 1 has its heartbeat", async || beats(&lab.leaves().await).is_some()).await;
    // What the heartbeat names is not the lane's end.
    for _ in 0..6 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let pool = lab.stop().await;
    assert_eq!(said(&pool).await, Vec::<String>::new());
    let (index, size) = beats(&leaves(&pool).await).unwrap();
    let last = "select max(first_index) from log_batch where lane = 0 and first_index < $1";
    let first: i64 = sqlx::query_scalar(last).bind(size).fetch_one(&pool).await.unwrap();
    merged(&pool, 0, first).await;
    let found = said(&pool).await;
    let about = format!(
        "tree: the heartbeat says that lane 0 had {size} records, and no batch ends there: batches were put together anew"
    );
    let at = format!("lane 1, index {index}, record ");
    assert!(found.iter().any(|one| one.starts_with(&at) && one.ends_with(&about)), "{found:?}");
    // Of a checkpoint of such a size, if there is one, the same is said; and nothing else.
    assert!(found.iter().all(|one| one.contains("no batch ends there")), "{found:?}");
}

/// Another record, where record 8 would begin a batch.
const HIDDEN: &str = "insert into log_batch (lane, first_index, count, epoch, leaves, marks)
                      select lane, 8, 1, epoch, leaves, marks from log_batch where first_index = 3";
const WITHIN: &str =
    "lane 0, index 8: misplaced: a batch begins within another one, which ends at 9";
