//! Revocation is exact: a ground is suspended and restored under load, and in the log no ALLOW rests on it after the
//! suspension's commit, in no lane, not once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use haetae::registry::Sort;
use haetae::registry::store::{put_ground, suspend_ground};
use haetae::registry::tree::{Entry, read_one};
use serde_json::Value;
use sqlx::PgPool;

use crate::support::stage::{
    CHAT, ORDERS, Stage, VIRGINIA, chat, eventually, late, leaves, note_sizes,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_allow_is_committed_after_the_suspension_of_its_ground() {
    let stage = Stage::start().await;
    let pool = stage.pool().await;
    note_sizes(&pool).await;
    let ground = read_one(Sort::Ground, &stage.world.sources.ground).unwrap();
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let changes = async {
        let live = change(&pool, &ground, &answered).await;
        over.store(true, Ordering::Relaxed);
        live
    };
    let clients = || client(&stage, &over, &answered);
    let (a, b, c, live) = tokio::join!(clients(), clients(), clients(), changes);
    let answers = [0, 1, 2].map(|which| a[which] + b[which] + c[which]);
    assert!(answers[0] >= 20 && answers[1] >= 20, "both must have been seen often: {answers:?}");
    // Those that were under way, at each of the suspensions.
    assert!(
        u64::from(answers[2]) <= 3 * ROUNDS / 2,
        "more were cut than there can be: {answers:?}"
    );

    let all = leaves(&pool).await;
    let decisions: Vec<_> = all.iter().filter(|leaf| leaf["kind"] == "decision").collect();
    for leaf in &decisions {
        let version = leaf["fact_version"].as_i64().unwrap();
        let expected = if live.get(&version) == Some(&true) { "ALLOW" } else { "DENY" };
        assert!(
            leaf["outcome"].as_str().unwrap().starts_with(expected),
            "version {version}: {leaf}"
        );
    }
    assert_eq!(late(&pool, &all).await, (2 * usize::try_from(ROUNDS).unwrap(), vec![]));
    let is_allow = |leaf: &&&Value| leaf["outcome"].as_str().unwrap().starts_with("ALLOW");
    let allowed: BTreeSet<&str> =
        decisions.iter().filter(is_allow).map(|leaf| leaf["id"].as_str().unwrap()).collect();
    // One that was under way when its ground went may have arrived, and been cut.
    eventually("what the sites saw is what was allowed", async || {
        let report = &stage.sites().reports().await[2];
        assert_eq!(report.0, "us-va-1");
        assert!(report.1.seen.iter().all(|seen| allowed.contains(seen.decision.as_str())));
        report.1.seen.len() >= answers[0] as usize
    })
    .await;
}

/// Puts the ground on file and suspends it in turn, each time with traffic after it; gives version to whether it is live.
async fn change(pool: &PgPool, ground: &Entry, answered: &AtomicU32) -> BTreeMap<i64, bool> {
    let mut live = BTreeMap::new();
    for round in 0..ROUNDS {
        let given = round % 2 == 0;
        let applied = if given {
            put_ground(pool, ground, "a test").await
        } else {
            suspend_ground(pool, "kr-retailer.va-2026", "a test").await
        };
        live.insert(applied.unwrap().version, given);
        let enough = answered.load(Ordering::Relaxed) + ANSWERS_A_ROUND;
        let goes_on = async || answered.load(Ordering::Relaxed) >= enough;
        eventually("traffic goes on", goes_on).await;
    }
    live
}

/// Asks until it is over; gives how often it was allowed, refused, and cut.
async fn client(stage: &Stage, over: &AtomicBool, answered: &AtomicU32) -> [u32; 3] {
    let caller = stage.caller("kr-retailer");
    let mut answers = [0; 3];
    while !over.load(Ordering::Relaxed) {
        let body = chat().to_string();
        let answer = caller.post_or_cut(CHAT, &[ORDERS, VIRGINIA], body.as_bytes()).await;
        let status = answer.map_or(0, |answer| answer.status);
        match status {
            200 => answers[0] += 1,
            403 => answers[1] += 1,
            0 => answers[2] += 1,
            503 => {} // the facts moved too often while it was judged
            other => panic!("{other}"),
        }
        answered.fetch_add(u32::from(status != 503), Ordering::Relaxed);
    }
    answers
}

const ROUNDS: u64 = 20;
/// More than the clients have under way when the facts move.
const ANSWERS_A_ROUND: u32 = 6;
