//! What must hold after everything was killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::audit::Key;
use haetae::demo::gateway::ORIGIN;
use haetae::demo::site::Seen;
use sqlx::PgPool;

use super::load::Told;
use super::record::{Leaf, Log};
use crate::support::stage::{Stage, eventually};

/// Every ALLOW has its end, in time after the last restart.
pub async fn all_ends(pool: &PgPool, restarted: Instant) {
    eventually("every ALLOW has its end", async || {
        let log = Log::read(pool).await;
        log.allows().all(|leaf| log.ends.contains_key(&leaf.id))
    })
    .await;
    let took = restarted.elapsed();
    println!("chaos: every ALLOW had its end {} s after the last restart", took.as_secs());
    assert!(took <= ENDS_MAX, "{took:?}");
}

/// Everything else. The gateway has been stopped in order.
pub async fn all(stage: &Stage, told: &[Told], kills: usize) {
    let log = Log::read(&stage.pool().await).await;
    let seen = arrived(stage).await;
    every_arrival_was_allowed(&seen, &log);
    every_allow_ended_once(&seen, &log);
    every_answer_is_on_record(told, &log);
    every_kill_shows(kills, &log);
    verifies(stage).await;
    let how = |code: &str| log.ends.values().flatten().filter(|how| *how == code).count();
    println!(
        "chaos: {} decisions, {} allowed, {} arrived; ended: {} forwarded, {} partial, {} not forwarded, {} unknown",
        log.decisions.len(),
        log.allows().count(),
        seen.len(),
        how("forwarded"),
        how("partial"),
        how("not_forwarded"),
        how("unknown_crash"),
    );
}

/// P1, by the sites' own word: an ALLOW that names this site, these bytes and this path.
pub fn every_arrival_was_allowed(seen: &[(String, Seen)], log: &Log) {
    let mut once = BTreeSet::new();
    for (site, seen) in seen {
        assert!(once.insert(&seen.decision), "a decision was used twice: {seen:?}");
        let leaf = log.decisions.get(&seen.decision);
        let leaf = leaf.unwrap_or_else(|| panic!("{site} saw what is not on record: {seen:?}"));
        let digest = STANDARD.encode(hex::decode(&seen.body_digest).unwrap());
        let is_for_this = leaf.outcome.starts_with("ALLOW")
            && leaf.site == *site
            && leaf.body == digest
            && leaf.request.path == seen.path;
        assert!(is_for_this && seen.receipt, "{site} saw {seen:?}, on record is {leaf:?}");
    }
    assert!(seen.len() >= SEEN_MIN, "only {} requests arrived: that shows little", seen.len());
}

/// P2: one end each, none without an ALLOW, and what it says agrees with the sites.
fn every_allow_ended_once(seen: &[(String, Seen)], log: &Log) {
    let arrived: BTreeSet<&str> = seen.iter().map(|(_, seen)| seen.decision.as_str()).collect();
    let allowed: BTreeMap<&str, &Leaf> =
        log.allows().map(|leaf| (leaf.id.as_str(), leaf)).collect();
    for id in allowed.keys() {
        let ends = log.ends.get(*id).map_or(&[][..], Vec::as_slice);
        let [how] = ends else { panic!("{id} ended {ends:?}") };
        match how.as_str() {
            "not_forwarded" => assert!(!arrived.contains(id), "{id} arrived and is said not to"),
            "forwarded" => assert!(arrived.contains(id), "{id} is said to have arrived"),
            "partial" | "unknown_crash" => {}
            other => panic!("{id} ended as {other}"),
        }
    }
    let stray = log.ends.keys().find(|id| !allowed.contains_key(id.as_str()));
    assert_eq!(stray, None, "an end without an ALLOW");
}

/// P3: what a client was told was durable before, and nobody was told anything else.
pub fn every_answer_is_on_record(told: &[Told], log: &Log) {
    for told in told {
        let leaf = told.decision.as_ref().map(|id| log.decisions.get(id));
        match (told.status, leaf) {
            // 502 and more: the site did not answer in time on this machine
            (200 | 502..=504, Some(Some(leaf))) => {
                assert!(leaf.outcome.starts_with("ALLOW"), "{told:?}: {leaf:?}");
            }
            (403, Some(Some(leaf))) => assert_eq!(leaf.outcome, "DENY", "{told:?}: {leaf:?}"),
            (503, None) => {}
            _ => panic!("{told:?}"),
        }
    }
}

/// Each kill left at least one epoch that has no `lane_close`, and each epoch says when it began.
fn every_kill_shows(kills: usize, log: &Log) {
    for (epoch, (first, _)) in &log.epochs {
        assert_eq!(first, "lane_open", "{epoch:?}");
    }
    let open = log.epochs.values().filter(|(_, last)| last != "lane_close").count();
    assert!(open >= kills, "{kills} kills and {open} epochs without an end");
    let closed = log.epochs.len() - open;
    assert_eq!(closed, 2, "both lanes were closed in the end, and never before");
}

async fn verifies(stage: &Stage) {
    let key = Key::read(&stage.world.dir.join("log.key")).unwrap();
    let keys = [0, 1].map(|lane| key.vkey(ORIGIN, lane).unwrap());
    let args = ["log", "verify", "--config", "haetae.toml", "--vkey", &keys[0], "--vkey", &keys[1]];
    let output = stage.world.program.run(&args).await;
    let output = output.unwrap_or_else(|error| panic!("the log is not whole: {error:#}"));
    println!("chaos: {}", String::from_utf8_lossy(&output.stdout).trim());
}

pub async fn arrived(stage: &Stage) -> Vec<(String, Seen)> {
    let mut all = Vec::new();
    for (site, report) in stage.sites().reports().await {
        assert_eq!(report.unexpected, Vec::<String>::new(), "{site}");
        all.extend(report.seen.into_iter().map(|seen| (site.clone(), seen)));
    }
    all
}

/// Promised.
const ENDS_MAX: Duration = Duration::from_secs(30);
const SEEN_MIN: usize = 50;
