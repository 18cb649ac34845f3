//! A bundle is brought into force by one act in the database: both of two processes judge with it from that version on, and
//! every record of either is that of exactly the one bundle that was in force at its version.
//!
//! `HAETAE_SWAPS` says how often (4 without it).

use std::collections::BTreeMap;
use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::mandate::{How, Stored};
use serde_json::Value;
use sqlx::PgPool;

use super::orders::{Load, Told};
use crate::mandate::{enact, people, propose, register, staged_by, two_bundles};
use crate::support::pair::Pair;
use crate::support::stage::{eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_processes_swap_and_every_record_is_of_one_bundle() {
    let mut pair = Pair::start().await;
    let pool = pair.stage.pool().await;
    let people = people();
    register(&pool, &people).await;
    let [open, shut] = two_bundles(&pair.stage);
    let bundles = [propose(&pool, &open).await, propose(&pool, &shut).await];
    staged_by(&pool, 2).await;
    let [park, kim, _] = &people;
    let load = Load::start(&pair);
    load.goes_on(Told::Allowed).await;
    let (mut live, mut slowest_ms) = (BTreeMap::new(), 0);
    for round in 0..swaps() {
        let which = usize::from(round % 2 == 0); // the first one shuts what the directory's bundle lets pass
        let act = enact(&pool, How::Activate, &bundles[which], None, &[park, kim]).await.unwrap();
        let since = Instant::now();
        live.insert(act.version, which);
        load.goes_on([Told::Allowed, Told::Refused][which]).await;
        slowest_ms = slowest_ms.max(since.elapsed().as_millis());
        says_so(&pool, &bundles[which], act.version).await;
    }
    load.stop().await;
    pair.stop().await;

    let mut judged = BTreeMap::new();
    for leaf in leaves(&pool).await.iter().filter(|leaf| leaf["kind"] == "decision") {
        let version = leaf["fact_version"].as_i64().unwrap();
        let Some((since, which)) = live.range(..=version).next_back() else { continue };
        if is_of(leaf, &bundles[*which], *which) {
            let lane = leaf["lane"].as_i64().unwrap();
            *judged.entry((lane, *since)).or_insert(0_u32) += 1;
        }
    }
    println!(
        "{} swaps in two processes; {} decisions under them, each of the one bundle in force; both answered by the new one, \
         {AGAIN} times and more, at most {slowest_ms} ms after its act",
        swaps(),
        judged.values().sum::<u32>(),
    );
    let lanes = || judged.keys().map(|(lane, _)| *lane);
    for lane in [lanes().min().unwrap(), lanes().max().unwrap()] {
        for since in live.keys() {
            assert!(judged.contains_key(&(lane, *since)), "lane {lane} had none of {since}");
        }
    }
    assert_eq!(judged.len(), 2 * live.len(), "two lanes, one of each process");
    let verified =
        pair.stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

/// Both say that they judge with it since that version: what `haetae policy status` shows.
async fn says_so(pool: &PgPool, bundle: &Stored, since: i64) {
    let of = "select count(*) from policy_replica where bundle = $1 and since = $2";
    eventually("both replicas say which bundle is in force", async || {
        let of = sqlx::query_scalar::<_, i64>(of).bind(&bundle.digest).bind(since);
        of.fetch_one(pool).await.unwrap() == 2
    })
    .await;
}

/// False for a refusal that says it was judged with none.
fn is_of(leaf: &Value, bundle: &Stored, which: usize) -> bool {
    if leaf["reason"] == "POLICY_UNAVAILABLE" {
        assert_eq!(leaf["outcome"], "DENY");
        return false;
    }
    let digest = hex::encode(STANDARD.decode(leaf["bundle"].as_str().unwrap()).unwrap());
    assert_eq!(format!("sha256:{digest}"), *bundle.rulebook, "{leaf}");
    let (outcome, rule) = (leaf["outcome"].as_str().unwrap(), leaf["rule"].as_str().unwrap());
    assert_eq!((outcome, rule), [("ALLOW", "R02"), ("DENY", "Z01")][which], "{leaf}");
    true
}

fn swaps() -> u32 {
    std::env::var("HAETAE_SWAPS")
        .map_or(USUAL, |given| given.parse().expect("HAETAE_SWAPS is a number"))
}

const USUAL: u32 = 4;
/// How often each must have answered, as [`Load::goes_on`] waits for.
const AGAIN: u32 = super::orders::AGAIN;
