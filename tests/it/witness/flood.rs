//! Whoever has a lane's key may sign a tree of any size. The witness's disk stays its own: what does not lead to the signed root is
//! not stored, what does comes in pieces beside other lanes', and some room is left free whatever comes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use haetae::app::aside::Running;
use haetae::app::witness::start;
use tlog::Hash;

use super::body;
use super::pages::{Page, Same, alarms, lane, mirroring, serve, split, status, submit};
use crate::audit::lab::eventually;
use crate::support::stage::plain_http;

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
        let said = |number| lane(status, number)["trouble"].to_string();
        [0, 1].iter().all(|number| said(*number).contains("room_min_mb"))
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
    let page = format!("http://{}/status", witness.address());
    let page = plain_http().get(page).send().await.unwrap().text().await.unwrap();
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
