//! A witness that has lost its state could cosign a second tree. It notices by what lies beside its key, by its own cosignature on what
//! a log shows or anybody submits, and by what the log believes.

use std::path::Path;
use std::sync::{Arc, Mutex};

use haetae::app::witness::start;
use haetae::clock::Clock;
use haetae::witness::{Witness, WitnessError};
use serde_json::Value;
use tlog::key::Kind;
use tlog::{Checkpoint, Signer as _};

use super::pages::{self, Page, Same, mirroring, serve, split};
use super::{LOG, Log, NOW_NS, body, config, get, key, open, post, status};
use crate::audit::lab::eventually;

fn try_open(dir: &Path) -> Result<Witness, WitnessError> {
    let log = format!("log {}\n", key(LOG, Kind::Ed25519, 1).verifier());
    Witness::open(&config(dir, &log), Clock::fixed(NOW_NS))
}

/// The state as after the loss of its disk.
fn lose(dir: &Path) {
    std::fs::rename(dir.join("state"), dir.join("lost")).unwrap();
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let files = std::fs::read_dir(from).unwrap().map(Result::unwrap);
    for file in files.filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The key came back alone, from where it was kept since it was made: what lies beside it is gone too.
fn lose_the_mark(dir: &Path) {
    for end in ["cosigned", "signed"] {
        std::fs::remove_file(dir.join(format!("witness.key.{end}"))).unwrap();
    }
}

async fn told(witness: &Arc<Witness>) -> Value {
    serde_json::from_str(&get(witness, "/status.json").await.2).unwrap()
}

#[tokio::test]
async fn a_state_that_is_gone_is_missed_at_the_start() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    assert_eq!(status(&open(dir.path()), log.body(0, 8)).await, 200);
    lose(dir.path());
    let refused = try_open(dir.path()).err().unwrap().to_string();
    assert!(refused.contains("this key has cosigned `log.example/behind`"), "{refused}");
    assert!(
        refused.contains("take a new key") && refused.contains("a new, empty state"),
        "{refused}"
    );
    // The file of this log alone, too.
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    std::fs::rename(dir.path().join("lost"), dir.path().join("state")).unwrap();
    let files =
        std::fs::read_dir(dir.path().join("state")).unwrap().map(|file| file.unwrap().path());
    let cosigned = files
        .into_iter()
        .find(|path| path.is_file() && std::fs::read_to_string(path).unwrap().starts_with(LOG));
    let (cosigned, aside) = (cosigned.unwrap(), dir.path().join("aside"));
    std::fs::rename(&cosigned, &aside).unwrap();
    assert!(try_open(dir.path()).is_err());
    std::fs::rename(&aside, &cosigned).unwrap();
    assert_eq!(status(&open(dir.path()), log.body(8, 9)).await, 200);
    // Of a new key nothing is missed.
    lose(dir.path());
    let new = config(dir.path(), &format!("log {}\n", log.signer.verifier()));
    std::fs::write(&new.key, key("witness.example/2", Kind::Cosignature, 8).to_skey()).unwrap();
    let witness = Arc::new(Witness::open(&new, Clock::fixed(NOW_NS)).unwrap());
    assert_eq!(status(&witness, log.body(0, 9)).await, 200);
}

/// A state that was written before there was a mark is marked at its next start.
#[tokio::test]
async fn an_older_state_is_marked_when_it_is_opened() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    assert_eq!(status(&open(dir.path()), log.body(0, 8)).await, 200);
    lose_the_mark(dir.path());
    drop(open(dir.path()));
    lose(dir.path());
    assert!(try_open(dir.path()).is_err());
}

#[tokio::test]
async fn whoever_kept_a_cosigned_checkpoint_can_show_that_the_state_was_lost() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let (code, _, line) = post(&open(dir.path()), log.body(0, 8)).await;
    assert_eq!(code, 200);
    let cosigned = format!("{}{line}", log.note(8));
    lose(dir.path());
    lose_the_mark(dir.path());
    let witness = open(dir.path());
    // A line that only says that it is ours shows nothing.
    let longer = log.note(9);
    assert_eq!(status(&witness, body(9, &[], &format!("{longer}{line}"))).await, 409);
    assert_eq!(told(&witness).await["logs"][0]["lost"], Value::Null);
    let (code, _, said) = post(&witness, body(0, &[], &cosigned)).await;
    assert!(code == 503 && said.contains("or take a new key and a new, empty state"), "{said}");
    // Neither the same log nor another history is cosigned now, and it is an alarm once.
    let another = log.fork(3);
    for body in [log.body(0, 9), another.body(0, 9), log.body(8, 9), body(0, &[], &cosigned)] {
        assert_eq!(status(&witness, body).await, 503);
    }
    let said = told(&witness).await;
    assert_eq!(said["logs"][0]["lost"], 8, "{said}");
    let about = pages::alarms(&said, "state_lost");
    assert!(about.len() == 1 && about[0].contains("its state knows 0"), "{said}");
    assert!(about[0].ends_with("and starts it again"), "{said}");
    let page = get(&witness, "/status").await.2;
    assert!(page.contains("ALARM: 8 records were cosigned at"), "{page}");
    // What contradicts what is known to be lost is seen all the same.
    assert_eq!(status(&witness, another.body(0, 8)).await, 422);
    let said = told(&witness).await;
    assert_eq!(pages::alarms(&said, "contradiction").len(), 1, "{said}");
    assert_eq!(said["logs"][0]["evidence"], 1, "{said}");
    drop(witness);

    // Another start changes nothing about it.
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 9)).await, 503);
    drop(witness);
    // Whoever is sure goes on from there: with a proof, and from no smaller tree.
    let state = dir.path().join("state");
    let files = std::fs::read_dir(&state).unwrap().map(|file| file.unwrap().path());
    let lost = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "lost"));
    let lost = lost.unwrap();
    std::fs::rename(&lost, lost.with_extension("")).unwrap();
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 9)).await, 409);
    assert_eq!(status(&witness, another.body(8, 9)).await, 422);
    assert_eq!(status(&witness, log.body(8, 9)).await, 200);
}

/// Of an older state it is found in the same way; the right one back in its place ends it.
#[tokio::test]
async fn an_older_state_in_its_place_is_noticed_and_the_right_one_heals_it() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    assert_eq!(status(&open(dir.path()), log.body(0, 8)).await, 200);
    let copy = |from, to| copy_files(&dir.path().join(from), &dir.path().join(to));
    copy("state", "older");
    let (_, _, line) = post(&open(dir.path()), log.body(8, 12)).await;
    copy("state", "right");
    copy("older", "state");
    let witness = open(dir.path());
    // The log knows more than the state: a hint, which is an alarm and takes nothing from the log.
    for _ in 0..3 {
        assert_eq!(status(&witness, log.body(12, 13)).await, 409);
    }
    let said = told(&witness).await;
    let about = pages::alarms(&said, "state_behind");
    assert!(about.len() == 1 && about[0].contains("extends 12 that were cosigned"), "{said}");
    assert!(about[0].contains("the state knows 8"), "{said}");
    assert_eq!((&said["logs"][0]["lost"], &said["logs"][0]["evidence"]), (&Value::Null, &0.into()));
    // Its own signature is a proof.
    let cosigned = format!("{}{line}", log.note(12));
    assert_eq!(status(&witness, body(8, &[], &cosigned)).await, 503);
    assert_eq!(status(&witness, log.body(8, 13)).await, 503);
    drop(witness);
    copy("right", "state");
    let witness = open(dir.path());
    assert_eq!(told(&witness).await["logs"][0]["lost"], Value::Null);
    assert_eq!(status(&witness, log.body(12, 13)).await, 200);
}

/// A log that is mirrored shows it by itself, before anything is cosigned of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_mirrored_log_shows_is_looked_at_first() {
    let (cosigned_once, new) = (Same::new(0, b"x", 20), Same::new(1, b"y", 20));
    let shown = Arc::new(Mutex::new(cosigned_once.note(cosigned_once.root())));
    let (page, first, second) = (Arc::clone(&shown), cosigned_once.clone(), new.clone());
    let url = serve(move |path| match split(path) {
        (0, "checkpoint") => Page::Given(page.lock().unwrap().clone().into_bytes()),
        (0, what) => first.page(what),
        (_, what) => second.page(what),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), 2, &url);
    let witness = start(config.clone()).await.unwrap();
    // Nothing is missed of who is new: it is looked at, and cosigned.
    let mut line = String::new();
    eventually("it is cosigned", async || {
        let (code, said) = pages::submit(&witness, cosigned_once.body()).await;
        line = said;
        code == 200
    })
    .await;
    witness.stop().await;
    shown.lock().unwrap().push_str(&line);
    lose(dir.path());
    lose_the_mark(dir.path());
    let witness = start(config).await.unwrap();
    let longer = Same::new(0, b"another", 30);
    eventually("it is an alarm", async || {
        // Until it was looked at, and after it.
        assert_eq!(pages::submit(&witness, longer.body()).await.0, 503);
        pages::alarms(&pages::status(&witness).await, "state_lost").len() == 1
    })
    .await;
    assert_eq!(pages::submit(&witness, longer.body()).await.0, 503);
    // The other log is what it is: new to this witness.
    eventually("the other is cosigned", async || {
        pages::submit(&witness, new.body()).await.0 == 200
    })
    .await;
    let said = pages::status(&witness).await;
    assert_eq!((&said["logs"][0]["lost"], &said["logs"][1]["lost"]), (&20.into(), &Value::Null));
    witness.stop().await;
}

/// A mark that could not be written is written with what is cosigned next.
#[tokio::test]
async fn a_mark_is_tried_again() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    let mark = dir.path().join("witness.key.cosigned");
    std::fs::create_dir(&mark).unwrap();
    assert_eq!(status(&witness, log.body(0, 8)).await, 200);
    std::fs::remove_dir(&mark).unwrap();
    assert_eq!(status(&witness, log.body(8, 9)).await, 200);
    drop(witness);
    lose(dir.path());
    assert!(try_open(dir.path()).is_err());
}

/// The mark names hashes of origins, and the key that it is of.
#[tokio::test]
async fn the_mark_lies_beside_the_key() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    let mark = dir.path().join("witness.key.cosigned");
    assert!(!mark.exists());
    assert_eq!(status(&witness, log.body(0, 8)).await, 200);
    let text = std::fs::read_to_string(&mark).unwrap();
    let checkpoint: Checkpoint = {
        let name = text.lines().nth(1).unwrap();
        let shown = get(&witness, &format!("/{name}/checkpoint")).await.2;
        let note: tlog::Note = shown.parse().unwrap();
        note.text().parse().unwrap()
    };
    assert_eq!((text.lines().next().unwrap(), checkpoint.size), (&*super::vkey(), 8));
}
