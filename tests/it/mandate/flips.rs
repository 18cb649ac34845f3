//! Two bundles that contradict each other come into force in turn under load: every recorded decision is that of the one
//! bundle that was in force at the version it names, and names it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::mandate::{How, Stored};
use sqlx::PgPool;

use super::{Person, enact, people, propose, register, staged, two_bundles};
use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_that_of_the_bundle_it_names() {
    let stage = Stage::start().await;
    let (pool, people) = (stage.pool().await, people());
    register(&pool, &people).await;
    let [open, shut] = two_bundles(&stage);
    let bundles = [propose(&pool, &open).await, propose(&pool, &shut).await];
    staged(&pool).await;
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let changes = async {
        let live = flip(&pool, &bundles, &people, &answered).await;
        over.store(true, Ordering::Relaxed);
        live
    };
    let clients = || client(&stage, &over, &answered);
    let (a, b, c, live) = tokio::join!(clients(), clients(), clients(), changes);
    let seen = |status| [&a, &b, &c].iter().map(|one| one.get(&status).unwrap_or(&0)).sum::<u32>();
    let (allowed, refused, unavailable) = (seen(200), seen(403), seen(503));

    let (mut judged, mut unready, mut before, mut again) = ([0_u32; 2], 0, 0, 0);
    for leaf in leaves(&pool).await.iter().filter(|leaf| leaf["kind"] == "decision") {
        let version = leaf["fact_version"].as_i64().unwrap();
        if leaf["reason"] == "POLICY_UNAVAILABLE" {
            unready += 1; // judged with no bundle, and it says so
            assert_eq!(leaf["outcome"], "DENY");
            continue;
        }
        let Some((_, which)) = live.range(..=version).next_back() else {
            before += 1; // the directory's, which allows
            continue;
        };
        let bundle = hex::encode(STANDARD.decode(leaf["bundle"].as_str().unwrap()).unwrap());
        assert_eq!(format!("sha256:{bundle}"), *bundles[*which].rulebook, "{leaf}");
        let (outcome, rule) = (leaf["outcome"].as_str().unwrap(), leaf["rule"].as_str().unwrap());
        assert_eq!((outcome, rule), [("ALLOW", "R02"), ("DENY", "Z01")][*which], "{leaf}");
        if leaf.get("judges_again").is_some() {
            again += 1; // an answer was under way when the other bundle came: a record more than there are answers
            continue;
        }
        judged[*which] += 1;
    }
    println!(
        "{} flips: {allowed} allowed, {refused} refused, {unavailable} answers of 503 ({unready} recorded); records {judged:?}, {again} of answers under way",
        flips()
    );
    assert_eq!(judged, [allowed - before, refused], "each answer has its record");
    assert!(allowed >= flips() && refused >= flips(), "both were seen often");
    assert!(unavailable < (allowed + refused) / 4, "{unavailable} answers of 503");
}

/// Brings the two in force in turn, each time with traffic after it; gives version to which of them.
async fn flip(
    pool: &PgPool,
    bundles: &[Stored; 2],
    [park, kim, _]: &[Person; 3],
    answered: &AtomicU32,
) -> BTreeMap<i64, usize> {
    let mut live = BTreeMap::new();
    for round in 0..flips() {
        let which = usize::from(round % 2 == 1);
        let row = enact(pool, How::Activate, &bundles[which], None, &[park, kim]).await.unwrap();
        live.insert(row.version, which);
        let enough = answered.load(Ordering::Relaxed) + ANSWERS_A_ROUND;
        eventually("traffic goes on", async || answered.load(Ordering::Relaxed) >= enough).await;
    }
    live
}

/// Asks until it is over; gives how often each status came. Before the first flip it is the directory's bundle that allows.
async fn client(stage: &Stage, over: &AtomicBool, answered: &AtomicU32) -> BTreeMap<u16, u32> {
    let caller = stage.caller("kr-retailer");
    let mut answers = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        let body = chat().to_string();
        let Some(answer) = caller.post_or_cut(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await else {
            continue; // under way when the bundles flipped
        };
        let status = answer.status;
        assert!([200, 403, 503].contains(&status), "{status}: {}", answer.text());
        *answers.entry(status).or_insert(0) += 1;
        answered.fetch_add(u32::from(status != 503), Ordering::Relaxed);
    }
    answers
}

/// Of `HAETAE_FLIPS`, or enough for every run.
fn flips() -> u32 {
    std::env::var("HAETAE_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// More than the clients have under way at a flip.
const ANSWERS_A_ROUND: u32 = 6;
