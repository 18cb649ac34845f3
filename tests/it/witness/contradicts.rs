//! What a log signed beside what is known is seen whatever else is wrong with it: without a proof, while the mirror is not whole,
//! and when what would tell is not served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use haetae::app::witness::start;
use haetae::clock::Clock;
use haetae::witness::Witness;
use tlog::key::Kind;
use tlog::{Hash, Note, cosignature, proof};

use super::pages::{Page, Same, alarms, lane, mirroring, serve, split, status, submit};
use super::{Log, NOW_NS, body, get, key, open};
use crate::audit::lab::eventually;

fn both(about: &str, one: &Same, other: Hash) -> bool {
    about.contains(&one.root().to_string()) && about.contains(&other.to_string())
}

/// The root of the first records of a lane.
fn part(of: &Same, size: u64) -> Hash {
    let mut part = of.clone();
    part.size = size;
    part.root()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_tree_is_held_against_the_mirror_without_a_proof() {
    let (tree, other) = (Same::new(0, b"x", 20), Same::new(0, b"z", 8));
    let shown = tree.clone();
    let url = serve(move |path| shown.page(split(path).1)).await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 1, &url);
    let witness = start(config.clone()).await.unwrap();
    eventually("all is mirrored", async || lane(&status(&witness).await, 0)["mirrored"] == 20)
        .await;
    assert_eq!(submit(&witness, tree.body()).await.0, 200);
    // A smaller one that is a part of it says nothing.
    let earlier = Same::new(0, b"x", 8);
    assert_eq!(submit(&witness, earlier.body()).await.0, 409);
    // The size is answered first, and what contradicts is seen all the same.
    for (old, code) in [(0, 409), (8, 409), (9, 400), (20, 400)] {
        let body = body(old, &[], &other.note(other.root()));
        assert_eq!(submit(&witness, body).await.0, code, "old {old}");
    }
    let said = status(&witness).await;
    let told = alarms(&said, "contradiction");
    assert!(told.len() == 1 && both(&told[0], &other, part(&tree, 8)), "{said}");
    assert_eq!((&said["logs"][0]["evidence"], &said["logs"][0]["lost"]), (&1.into(), &().into()));

    // With our own cosignature on it two trees were cosigned, and no third is.
    let note: Note = other.note(other.root()).parse().unwrap();
    let ours = key("witness.example/1", Kind::Cosignature, 9);
    let line = cosignature::cosign(&note, &ours, 1_795_000_000).unwrap();
    let cosigned = body(8, &[], &format!("{note}{line}\n"));
    assert_eq!(submit(&witness, cosigned).await.0, 409);
    let again = body(20, &[], &tree.note(tree.root()));
    assert_eq!(submit(&witness, again.clone()).await.0, 503);
    let said = status(&witness).await;
    assert_eq!((alarms(&said, "state_lost").len(), &said["logs"][0]["lost"]), (1, &8.into()));
    assert!(alarms(&said, "state_lost")[0].ends_with("and starts it again"), "{said}");
    witness.stop().await;
    let witness = start(config).await.unwrap();
    assert_eq!(submit(&witness, again).await.0, 503);
    witness.stop().await;
}

/// A log that goes back while it is not mirrored so far serves nothing that would tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_is_partly_mirrored_does_not_go_back_unseen() {
    let (tree, other) = (Same::new(0, b"x", 1 << 50), Same::new(0, b"z", 1 << 40));
    let has_gone_back = Arc::new(AtomicBool::new(false));
    let (first, second, gone) = (tree.clone(), other.clone(), Arc::clone(&has_gone_back));
    let url = serve(move |path| {
        let now = if gone.load(Ordering::SeqCst) { &second } else { &first };
        now.page(split(path).1)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let witness = start(mirroring(dir.path(), 1, &url)).await.unwrap();
    eventually("it is followed", async || {
        lane(&status(&witness).await, 0)["mirrored"].as_u64() > Some(0)
    })
    .await;
    has_gone_back.store(true, Ordering::SeqCst);
    eventually("it is an alarm", async || {
        alarms(&status(&witness).await, "rolled_back").len() == 1
    })
    .await;
    let said = status(&witness).await;
    let told = &alarms(&said, "rolled_back")[0];
    assert!(told.contains("no tiles show") && both(told, &other, tree.root()), "{said}");
    assert_eq!(said["logs"][0]["evidence"], 1, "{said}");
    witness.stop().await;
}

/// As far as a checkpoint goes, and not only as far as hashes are here.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cosigned_is_held_against_all_that_is_signed() {
    // Nothing is published at first; then each lane has 20 records, and in lane 2 at last no tiles.
    let stage = Arc::new(AtomicU8::new(0));
    let (now, shown) = (Arc::clone(&stage), [0, 1, 2].map(|lane| Same::new(lane, b"x", 20)));
    let url = serve(move |path| {
        let (lane, what) = split(path);
        match now.load(Ordering::SeqCst) {
            0 => Page::Nothing,
            2 if lane == 2 && what != "checkpoint" => Page::Nothing,
            _ => shown[usize::from(lane)].page(what),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = mirroring(dir.path(), 3, &url);
    config.room_min_mb = 1 << 40;
    let witness = start(config).await.unwrap();
    let cosigned = [Same::new(0, b"z", 12), Same::new(1, b"z", 20), Same::new(2, b"x", 12)];
    for tree in &cosigned {
        // Once it was looked at what the log shows.
        eventually("it is cosigned", async || submit(&witness, tree.body()).await.0 == 200).await;
    }
    stage.store(1, Ordering::SeqCst);
    eventually("both are alarms", async || alarms(&status(&witness).await, "fork").len() == 2)
        .await;
    let said = status(&witness).await;
    let mut told = alarms(&said, "fork");
    told.sort();
    let of = |number: usize| Same::new(u8::try_from(number).unwrap(), b"x", 20);
    assert!(both(&told[0], &cosigned[0], part(&of(0), 12)), "{said}");
    assert!(both(&told[1], &cosigned[1], of(1).root()), "{said}");
    assert_eq!(
        [0, 1, 2].map(|lane| said["logs"][lane]["evidence"].as_u64()),
        [Some(1), Some(1), Some(0)]
    );
    eventually("lane 2 is known as far as it goes", async || {
        lane(&status(&witness).await, 2)["trouble"] == "no_room"
    })
    .await;

    stage.store(2, Ordering::SeqCst);
    let leaves = vec![Hash::leaf(b"x"); 15];
    let longer = Same::new(2, b"x", 15);
    let proof = proof::consistency(&leaves, 12, 15).unwrap();
    assert_eq!(submit(&witness, body(12, &proof, &longer.note(longer.root()))).await.0, 200);
    eventually("it is an alarm", async || alarms(&status(&witness).await, "withheld").len() == 1)
        .await;
    let about = &alarms(&status(&witness).await, "withheld")[0];
    assert!(about.contains("15 records were cosigned, and no tiles"), "{about}");
    witness.stop().await;
}

/// The alarm is raised once; what shows it is tried until the disk takes it.
#[tokio::test]
async fn evidence_is_tried_again() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    assert_eq!(super::status(&witness, log.body(0, 8)).await, 200);
    let [state, away] = ["state", "away"].map(|name| dir.path().join(name));
    std::fs::rename(&state, &away).unwrap();
    let told = async || -> serde_json::Value {
        serde_json::from_str(&get(&witness, "/status.json").await.2).unwrap()
    };
    let fork = log.fork(3).body(8, 8);
    assert_eq!(super::status(&witness, fork.clone()).await, 422);
    let said = told().await;
    assert_eq!(
        (alarms(&said, "contradiction").len(), &said["logs"][0]["evidence"]),
        (1, &0.into())
    );
    std::fs::rename(&away, &state).unwrap();
    assert_eq!(super::status(&witness, fork).await, 422);
    let said = told().await;
    assert_eq!(
        (alarms(&said, "contradiction").len(), &said["logs"][0]["evidence"]),
        (1, &1.into())
    );
}

/// Of what a mirrored log shows too, round after round.
#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_what_is_published_is_tried_again() {
    let (tree, other) = (Same::new(0, b"x", 20), Same::new(0, b"z", 20));
    let is_forked = Arc::new(AtomicBool::new(false));
    let forked = Arc::clone(&is_forked);
    let url = serve(move |path| {
        let now = if forked.load(Ordering::SeqCst) { &other } else { &tree };
        now.page(split(path).1)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let witness = start(mirroring(dir.path(), 1, &url)).await.unwrap();
    eventually("all is mirrored", async || lane(&status(&witness).await, 0)["mirrored"] == 20)
        .await;
    let [state, away] = ["state", "away"].map(|name| dir.path().join(name));
    std::fs::rename(&state, &away).unwrap();
    is_forked.store(true, Ordering::SeqCst);
    eventually("it is an alarm", async || alarms(&status(&witness).await, "fork").len() == 1).await;
    assert_eq!(status(&witness).await["logs"][0]["evidence"], 0);
    std::fs::rename(&away, &state).unwrap();
    eventually("it is kept", async || status(&witness).await["logs"][0]["evidence"] == 1).await;
    assert_eq!(alarms(&status(&witness).await, "fork").len(), 1);
    witness.stop().await;
}

/// Also what the state does not know any more, and our own cosignature shows.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_held_against_what_is_mirrored() {
    let (tree, lost) = (Same::new(0, b"x", 20), Same::new(0, b"z", 12));
    let is_shown = Arc::new(AtomicBool::new(false));
    let (now, shown) = (Arc::clone(&is_shown), tree.clone());
    let url =
        serve(
            move |path| {
                if now.load(Ordering::SeqCst) { shown.page(split(path).1) } else { Page::Nothing }
            },
        )
        .await;
    let dir = tempfile::tempdir().unwrap();
    let witness = start(mirroring(dir.path(), 1, &url)).await.unwrap();
    let note: Note = lost.note(lost.root()).parse().unwrap();
    let ours = key("witness.example/1", Kind::Cosignature, 9);
    let line = cosignature::cosign(&note, &ours, 1_795_000_000).unwrap();
    assert_eq!(submit(&witness, body(0, &[], &format!("{note}{line}\n"))).await.0, 503);
    let said = status(&witness).await;
    assert_eq!((&said["logs"][0]["lost"], &said["logs"][0]["size"]), (&12.into(), &().into()));
    is_shown.store(true, Ordering::SeqCst);
    eventually("it is an alarm", async || alarms(&status(&witness).await, "fork").len() == 1).await;
    let said = status(&witness).await;
    let about = &alarms(&said, "fork")[0];
    assert!(about.contains("at 12 records") && both(about, &lost, part(&tree, 12)), "{said}");
    assert_eq!(said["logs"][0]["evidence"], 1, "{said}");
    witness.stop().await;
}

#[test]
fn one_log_is_mirrored_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = mirroring(dir.path(), 1, "http://127.0.0.1:1");
    assert!(Witness::open(&config, Clock::fixed(NOW_NS)).is_ok());
    config.mirror.push(config.mirror[0].clone());
    let refused = Witness::open(&config, Clock::fixed(NOW_NS)).err().unwrap().to_string();
    assert!(refused.contains("`mirror` of `pages.example/log`: there are two"), "{refused}");
}
