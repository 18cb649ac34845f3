//! A mirror that a power cut or a bad disk left broken: it is an alarm, kept aside, and begun anew; what was seen of the log stays
//! known, and cosigning goes on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use haetae::app::aside::Running;
use haetae::app::witness::start;
use sha2::{Digest as _, Sha256};

use super::pages::{
    ORIGIN, Page, Same, alarms, lane, mirroring, page, serve, split, status, submit,
};
use super::{LOG, Log, open};
use crate::audit::lab::eventually;

/// What is served for one log and can be exchanged for another.
fn shown(first: Same) -> (Arc<Mutex<Same>>, impl Fn(&str) -> Page) {
    let shown = Arc::new(Mutex::new(first));
    let now = Arc::clone(&shown);
    (shown, move |path: &str| now.lock().unwrap().clone().page(split(path).1))
}

fn mirror(dir: &Path) -> PathBuf {
    dir.join("state/mirror").join(hex::encode(Sha256::digest(ORIGIN)))
}

async fn mirrored(witness: &Running, size: u64) {
    eventually("all is mirrored", async || lane(&status(witness).await, 0)["mirrored"] == size)
        .await;
}

/// As after a power cut that took hashes below the head.
fn spoil(dir: &Path) {
    std::fs::write(mirror(dir).join("lane-0/level-0"), [7; 40]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_does_not_fit_itself_is_moved_aside_and_begins_anew() {
    let (_, page_of) = shown(Same::new(0, b"x", 600));
    let url = serve(page_of).await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 1, &url);
    let witness = start(config.clone()).await.unwrap();
    mirrored(&witness, 600).await;
    assert_eq!(submit(&witness, Same::new(0, b"x", 600).body()).await.0, 200);
    witness.stop().await;
    let aside = mirror(dir.path()).join("lane-0.aside");
    for round in 0..3 {
        spoil(dir.path());
        let witness = start(config.clone()).await.unwrap();
        let said = status(&witness).await;
        let about = alarms(&said, "mirror_broken");
        assert!(about.len() == 1 && about[0].contains("moved aside"), "{round}: {said}");
        assert!(page(&witness).await.contains("mirror_broken"));
        // What it pulls again is held against what was cosigned, and seen, before.
        mirrored(&witness, 600).await;
        eventually("nothing stands in its way", async || {
            lane(&status(&witness).await, 0)["trouble"].is_null()
        })
        .await;
        assert_eq!(alarms(&status(&witness).await, "fork").len(), 0);
        witness.stop().await;
        // The first one stays, and is the only one.
        assert_eq!(std::fs::read(aside.join("level-0")).unwrap(), [7; 40]);
        let beside = std::fs::read_dir(mirror(dir.path())).unwrap();
        let kept = beside.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().contains("lane-0.")
        });
        assert_eq!(kept.count(), 1);
    }
    let witness = start(config).await.unwrap();
    assert_eq!(alarms(&status(&witness).await, "mirror_broken").len(), 0);
    witness.stop().await;
}

/// Known by the head that was kept, nothing having been cosigned; by what was cosigned, where no head can be read.
#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_found_out_by_a_mirror_that_begins_anew() {
    for (is_cosigned, has_head, has_aside) in
        [(false, true, false), (false, true, true), (true, false, false), (true, false, true)]
    {
        let (shown, page_of) = shown(Same::new(0, b"x", 300));
        let url = serve(page_of).await;
        let dir = tempfile::tempdir().unwrap();
        let config = mirroring(dir.path(), 1, &url);
        let witness = start(config.clone()).await.unwrap();
        mirrored(&witness, 300).await;
        if is_cosigned {
            assert_eq!(submit(&witness, Same::new(0, b"x", 300).body()).await.0, 200);
        }
        witness.stop().await;
        *shown.lock().unwrap() = Same::new(0, b"z", 500);
        spoil(dir.path());
        if !has_head {
            std::fs::write(mirror(dir.path()).join("lane-0/head.json"), "{").unwrap();
        }
        if has_aside {
            std::fs::create_dir(mirror(dir.path()).join("lane-0.aside")).unwrap();
        }
        let witness = start(config).await.unwrap();
        eventually("it is an alarm", async || alarms(&status(&witness).await, "fork").len() == 1)
            .await;
        let said = status(&witness).await;
        let about = &alarms(&said, "fork")[0];
        let what = if has_head { "does not extend the one of 300" } else { "was cosigned" };
        assert!(about.contains(what), "{about}");
        assert_eq!(said["logs"][0]["evidence"], 1, "{said}");
        if has_head {
            assert_eq!(lane(&said, 0)["mirrored"], 0, "{said}");
        }
        witness.stop().await;
    }
}

/// A checkpoint that the log did not sign is no memory of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_the_log_did_not_sign_does_not_count() {
    let (_, page_of) = shown(Same::new(0, b"x", 300));
    let url = serve(page_of).await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 1, &url);
    let lane_dir = mirror(dir.path()).join("lane-0");
    std::fs::create_dir_all(&lane_dir).unwrap();
    let other = Same::new(0, b"z", 900);
    let note = other.clone().of("other.example/log").note(other.root());
    let head = serde_json::json!({ "v": 1, "note": note }).to_string();
    std::fs::write(lane_dir.join("head.json"), head).unwrap();
    let witness = start(config).await.unwrap();
    mirrored(&witness, 300).await;
    let said = status(&witness).await;
    assert_eq!((alarms(&said, "mirror_broken").len(), &said["alarms"]["total"]), (1, &1.into()));
    witness.stop().await;
}

/// What was cosigned goes on; what never was is still not before what the log shows was looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_cannot_be_read_keeps_nobody_from_cosigning() {
    let url = serve(|path| match split(path) {
        (0, what) => Same::new(0, b"x", 20).page(what),
        (_, what) => Same::new(1, b"y", 20).page(what),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 2, &url);
    let witness = start(config.clone()).await.unwrap();
    mirrored(&witness, 20).await;
    assert_eq!(submit(&witness, Same::new(0, b"x", 20).body()).await.0, 200);
    witness.stop().await;
    let tree = mirror(dir.path()).join("lane-0");
    std::fs::remove_dir_all(&tree).unwrap();
    std::fs::write(&tree, "no directory").unwrap();
    for _ in 0..2 {
        let witness = start(config.clone()).await.unwrap();
        let said = status(&witness).await;
        assert!(alarms(&said, "mirror_broken")[0].contains("does not give what was mirrored"));
        assert_eq!(said["mirrors"], serde_json::json!([]), "{said}");
        let leaves = vec![tlog::Hash::leaf(b"x"); 30];
        let proof = tlog::proof::consistency(&leaves, 20, 30).unwrap();
        let longer = Same::new(0, b"x", 30);
        let old = if said["logs"][0]["size"] == 20 { 20 } else { 30 };
        let proof = if old == 20 { proof } else { Vec::new() };
        let body = super::body(old, &proof, &longer.note(longer.root()));
        assert_eq!(submit(&witness, body).await.0, 200, "{said}");
        assert_eq!(submit(&witness, Same::new(1, b"y", 20).body()).await.0, 503);
        witness.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_judged_begins_anew_where_that_cannot_be_read() {
    let (_, page_of) = shown(Same::new(0, b"x", 20));
    let url = serve(page_of).await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 1, &url);
    let followed = mirror(dir.path()).join("followed.json");
    std::fs::create_dir_all(mirror(dir.path())).unwrap();
    std::fs::write(&followed, b"\xff half").unwrap();
    let witness = start(config).await.unwrap();
    mirrored(&witness, 20).await;
    let said = status(&witness).await;
    assert!(alarms(&said, "mirror_broken")[0].contains("all records are judged again"), "{said}");
    assert_eq!(std::fs::read(followed.with_extension("json.aside")).unwrap(), b"\xff half");
    witness.stop().await;
}

#[tokio::test]
async fn what_a_killed_process_left_half_written_is_cleared() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    assert_eq!(super::status(&open(dir.path()), log.body(0, 8)).await, 200);
    let of_log = hex::encode(Sha256::digest(LOG));
    let left = [format!("{of_log}.1.part"), "log/checkpoint.00aa.part".to_owned()]
        .map(|name| dir.path().join("state").join(name));
    for path in &left {
        std::fs::write(path, "half").unwrap();
    }
    assert_eq!(super::status(&open(dir.path()), log.body(8, 9)).await, 200);
    assert!(left.iter().all(|path| !path.exists()));
}
