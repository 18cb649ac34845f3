//! Whoever has a lane's key may sign a tree of any size. The witness's disk stays its own: what does not lead to the signed root is
//! not stored, what does comes in pieces beside other lanes' and up to its owner's share, and some room is left free whatever comes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use haetae::app::aside::Running;
use haetae::app::witness::start;
use serde_json::{Value, json};
use tlog::Hash;

use super::body;
use super::pages::{
    ORIGIN, Page, Same, alarms, console, lane, mirroring, mirroring_each, page, serve, split,
    status, submit,
};
use crate::audit::lab::eventually;

/// Nobody has written so many records: their hashes are 32 petabytes.
const ENORMOUS: u64 = (1 << 50) + (12_345 << 8);

/// Bytes of all files under a folder.
fn bytes(dir: &Path) -> u64 {
    let all = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    all.map(|entry| {
        if entry.path().is_dir() { bytes(&entry.path()) } else { entry.metadata().unwrap().len() }
    })
    .sum()
}

async fn until(what: &str, witness: &Running, holds: impl Fn(&serde_json::Value) -> bool) {
    eventually(what, async || holds(&status(witness).await)).await;
}

/// Of a tree that is true in every tile no more is wrong than its size.
#[tokio::test(flavor = "multi_thread")]
async fn an_enormous_tree_comes_in_pieces_and_others_have_their_turn() {
    let (enormous, small) = (Same::new(0, b"x", ENORMOUS), Same::new(1, b"y", 20));
    let (first, second) = (enormous.clone(), small.clone());
    let url = serve(move |path| match split(path) {
        (0, what) => first.page(what),
        (_, what) => second.page(what),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 2, &url);
    let witness = start(config.clone()).await.unwrap();
    until("both are followed", &witness, |status| {
        lane(status, 0)["mirrored"].as_u64() > Some(0) && lane(status, 1)["mirrored"] == 20
    })
    .await;
    let before = status(&witness).await;
    assert_eq!(lane(&before, 0)["published"], ENORMOUS, "{before}");
    assert_eq!(before["alarms"]["total"], 0, "{before}");
    // What was signed is known as far as that, though not mirrored so far.
    let other = body(0, &[], &enormous.note(Hash::leaf(b"another")));
    assert_eq!(submit(&witness, other).await.0, 422);
    assert_eq!(submit(&witness, enormous.body()).await.0, 200);

    // Another process goes on where this one was.
    witness.stop().await;
    let witness = start(config).await.unwrap();
    let mirrored = lane(&before, 0)["mirrored"].as_u64();
    assert!(lane(&status(&witness).await, 0)["mirrored"].as_u64() >= mirrored);
    until("it goes on", &witness, |status| lane(status, 0)["mirrored"].as_u64() > mirrored).await;
    assert_eq!(alarms(&status(&witness).await, "fork"), [""; 0]);
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_that_do_not_lead_to_the_signed_root_are_not_stored() {
    // In lane 0 no tile is of the signed tree, in lane 1 those above are.
    let lanes = [0, 1].map(|lane| Same::new(lane, b"x", ENORMOUS));
    let url = serve(move |path| {
        let (lane, what) = split(path);
        let page = lanes[usize::from(lane)].page(what);
        let spoilt = lane == 0 || what.starts_with("tile/0/");
        match page {
            Page::Given(bytes) if what != "checkpoint" && spoilt => {
                Page::Given(bytes.iter().map(|byte| byte ^ 1).collect())
            }
            page => page,
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let witness = start(mirroring(dir.path(), 2, &url)).await.unwrap();
    until("both are alarms", &witness, |status| alarms(status, "tree_root").len() == 2).await;
    let status = status(&witness).await;
    assert_eq!([0, 1].map(|number| lane(&status, number)["mirrored"].as_u64()), [Some(0); 2]);
    assert!(alarms(&status, "tree_root")[0].contains("do not lead to the root"), "{status}");
    // A piece of lane 1 may be there until it is held against its root, which is 512 kB.
    assert!(bytes(&dir.path().join("state")) < 1 << 20);
    witness.stop().await;
}

/// More than any disk has is to be left free.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_is_mirrored_and_everything_else_goes_on() {
    let (enormous, small) = (Same::new(0, b"x", ENORMOUS), Same::new(1, b"y", 20));
    let (first, second) = (enormous.clone(), small.clone());
    let other = Same::new(1, b"z", 20);
    let forked = Arc::new(AtomicBool::new(false));
    let fork = Arc::clone(&forked);
    let url = serve(move |path| match split(path) {
        (0, what) => first.page(what),
        (_, what) if fork.load(Ordering::SeqCst) => other.page(what),
        (_, what) => second.page(what),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = mirroring(dir.path(), 2, &url);
    config.room_min_mb = 1 << 40;
    let witness = start(config.clone()).await.unwrap();
    until("it is said", &witness, |status| {
        [0, 1].iter().all(|number| lane(status, *number)["trouble"] == "no_room")
    })
    .await;
    let said = status(&witness).await;
    assert_eq!([0, 1].map(|number| lane(&said, number)["mirrored"].as_u64()), [Some(0); 2]);
    // Once an hour, however often it is looked at; not even the hour's turn makes it more than two.
    let told = alarms(&said, "no_room");
    assert!(
        (1..=2).contains(&told.len()) && told[0].contains("nothing further is mirrored"),
        "{said}"
    );
    assert_eq!(said["room"]["short"], true, "{said}");
    let page = page(&witness).await;
    assert!(page.contains("nothing further is mirrored"), "{page}");
    // Cosigning goes on, and so does looking at what is published.
    assert_eq!(submit(&witness, small.body()).await.0, 200);
    forked.store(true, Ordering::SeqCst);
    until("a fork is an alarm", &witness, |status| alarms(status, "fork").len() == 1).await;
    forked.store(false, Ordering::SeqCst);
    witness.stop().await;
    assert!(bytes(&dir.path().join("state")) < 1 << 16);

    // With room again it goes on, with what was cosigned meanwhile.
    let witness = start(super::Config { room_min_mb: 0, ..config }).await.unwrap();
    until("both are followed", &witness, |status| {
        lane(status, 0)["mirrored"].as_u64() > Some(0) && lane(status, 1)["mirrored"] == 20
    })
    .await;
    assert_eq!(status(&witness).await["room"]["short"], false);
    witness.stop().await;
}

/// Of another owner than the enormous one.
const OTHER: &str = "other.example/log";

/// How a lane of a mirror stands.
fn at(status: &Value, mirror: usize, lane: usize) -> &Value {
    &status["mirrors"][mirror]["lanes"][lane]
}

/// However many lanes it comes in.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_log_stops_at_its_share_and_others_go_on() {
    let endless = [0, 1].map(|lane| Same::new(lane, b"x", ENORMOUS));
    let first = endless[0].clone();
    let url = serve(move |path| {
        let (lane, what) = split(path);
        endless[usize::from(lane)].page(what)
    })
    .await;
    let size = Arc::new(AtomicU64::new(20));
    let small = Arc::clone(&size);
    let other = serve(move |path| {
        Same::new(0, b"y", small.load(Ordering::SeqCst)).of(OTHER).page(split(path).1)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    // A share of some bytes, on whatever disk: any piece is more.
    let shares = |endless| [(ORIGIN, 2, &*url, endless), (OTHER, 1, &*other, u32::MAX)];
    let mut config = mirroring_each(dir.path(), &shares(1));
    config.console = Some(serde_json::from_value(json!({ "address": "127.0.0.1:0" })).unwrap());
    let witness = start(config.clone()).await.unwrap();
    let stands =
        |status: &Value| [0, 1].iter().all(|lane| at(status, 0, *lane)["trouble"] == "over_share");
    let follows = |status: &Value, size: u64| at(status, 1, 0)["mirrored"] == size;
    until("one stands still", &witness, |status| stands(status) && follows(status, 20)).await;
    let before = status(&witness).await;
    size.store(700, Ordering::SeqCst);
    until("the other goes on", &witness, |status| follows(status, 700)).await;
    let said = status(&witness).await;
    let mirrored = |status: &Value| [0, 1].map(|lane| at(status, 0, lane)["mirrored"].as_u64());
    assert_eq!(mirrored(&said), mirrored(&before));
    assert!(bytes(&dir.path().join("state")) < 4 << 20);
    assert!(at(&said, 1, 0)["trouble"].is_null() && said["room"]["short"] == false, "{said}");
    is_told(&witness, &said).await;
    // Its checkpoints are cosigned all the same, and held against what was signed.
    assert_eq!(submit(&witness, first.body()).await.0, 200);
    let forked = body(first.size, &[], &first.note(Hash::leaf(b"another")));
    assert_eq!(submit(&witness, forked).await.0, 422);

    // For another process that is its own, beside its part of the rest: of each lane a piece at most. More is the operator's word.
    witness.stop().await;
    let witness = start(config).await.unwrap();
    until("it stands still", &witness, stands).await;
    let again = status(&witness).await;
    let piece = mirrored(&before).map(|size| size.map(|size| size + 16_384));
    assert!(mirrored(&again) >= mirrored(&before) && mirrored(&again) <= piece, "{again}");
    witness.stop().await;
    let witness = start(mirroring_each(dir.path(), &shares(u32::MAX))).await.unwrap();
    until("it goes on", &witness, |status| {
        [0, 1]
            .iter()
            .all(|lane| at(status, 0, *lane)["mirrored"].as_u64() > mirrored(&again)[*lane])
    })
    .await;
    witness.stop().await;
}

/// Which log is over its share, and what to do, in every place where somebody looks.
async fn is_told(witness: &Running, said: &Value) {
    let over = said["alarms"]["newest"].as_array().unwrap().iter();
    let over: Vec<&Value> = over.filter(|alarm| alarm["what"] == "over_share").collect();
    // Once an hour, however often it is looked at; not even the hour's turn makes it more than two.
    assert!((1..=2).contains(&over.len()), "{said}");
    assert!(over.iter().all(|alarm| alarm["log"] == ORIGIN), "{said}");
    let about = over[0]["about"].as_str().unwrap();
    assert!(about.contains("nothing further of it is mirrored, and the others go on"), "{about}");
    assert!(about.contains("gives it more `room_parts` in witness.toml"), "{about}");
    let rooms = [0, 1].map(|mirror| &said["mirrors"][mirror]["room"]);
    assert_eq!(rooms.map(|room| &room["over"]), [&json!(true), &json!(false)], "{said}");
    assert!(rooms[0]["used"].as_u64() > rooms[0]["share"].as_u64(), "{said}");
    let page = page(witness).await;
    let (first, second) = page.split_once(&format!("Mirror of {OTHER}")).unwrap();
    assert!(first.contains("Over its share: the mirror of this log takes"), "{page}");
    assert!(
        !second.contains("ver its share") && second.contains("MB that are its share"),
        "{page}"
    );
    let over = |log, number| format!("room_over_share{{log=\"{log}\"}} {number}\n");
    let trouble = format!("mirror_trouble{{log=\"{ORIGIN}/0\",kind=\"over_share\"}} 1\n");
    let lines = [over(ORIGIN, 1), over(OTHER, 0), trouble];
    eventually("it is in the metrics", async || {
        let metrics = console(witness, "/metrics").await;
        lines.iter().all(|line| metrics.contains(&format!("haetae_witness_{line}")))
    })
    .await;
}
