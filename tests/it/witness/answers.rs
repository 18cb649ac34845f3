//! What a submission is answered where more than one answer would fit, and which time a cosignature bears: by the letter of C2SP
//! tlog-witness. And that keys which are not checked are passed over aloud.

use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use haetae::clock::Clock;
use haetae::witness::Witness;
use serde_json::Value;
use tlog::key::Kind;
use tlog::{Checkpoint, Hash, Note, Signer as _, cosignature};

use super::pages::alarms;
use super::{LOG, Log, NOW_NS, body, config, get, key, open, post, status, vkey};

const NOW_S: u64 = 1_795_000_000;

async fn told(witness: &Arc<Witness>) -> Value {
    serde_json::from_str(&get(witness, "/status.json").await.2).unwrap()
}

fn at(dir: &Path, clock: &Clock) -> Arc<Witness> {
    let log = format!("log {}\n", key(LOG, Kind::Ed25519, 1).verifier());
    Arc::new(Witness::open(&config(dir, &log), clock.clone()).unwrap())
}

/// The time of the cosignature that a submission gets.
async fn time(witness: &Arc<Witness>, log: &Log, old: u64, size: u64) -> u64 {
    let (code, _, line) = post(witness, log.body(old, size)).await;
    assert_eq!(code, 200, "{line}");
    let note: Note = format!("{}{line}", log.note(size)).parse().unwrap();
    note.verify([&vkey().parse().unwrap()]).unwrap()[0].at.unwrap()
}

/// What contradicts is an alarm and evidence whatever it is answered.
#[tokio::test]
async fn the_size_is_answered_before_what_contradicts() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 8)).await, 200);
    let fork = log.fork(3);
    assert_eq!(status(&witness, body(9, &[], &fork.note(8))).await, 400);
    let said = told(&witness).await;
    assert_eq!(alarms(&said, "contradiction").len(), 1, "{said}");
    let counts = |said: &Value| ["contradictions", "evidence"].map(|n| said["logs"][0][n].as_u64());
    assert_eq!(counts(&said), [Some(1), Some(1)], "{said}");
    for old in [0, 7] {
        let (code, kind, size) = post(&witness, body(old, &[], &fork.note(8))).await;
        assert_eq!((code.as_u16(), &*kind, &*size), (409, "text/x.tlog.size", "8\n"), "{old}");
    }
    assert_eq!(status(&witness, body(8, &[], &fork.note(8))).await, 422);
    // An empty tree with the root of another, too.
    let odd = Checkpoint::new(LOG.to_owned(), 0, log.root(8)).sign(&log.signer).unwrap();
    assert_eq!(status(&witness, body(0, &[], &odd.to_string())).await, 409);
    assert_eq!(status(&witness, body(1, &[], &odd.to_string())).await, 400);
    assert_eq!(counts(&told(&witness).await), [Some(6), Some(2)]);
    assert_eq!(status(&witness, log.body(8, 9)).await, 200);
}

/// While the size is not known, only what needs none is answered before that.
#[tokio::test]
async fn of_an_unknown_size_nothing_is_said() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 8)).await, 200);
    let note: Note = log.note(12).parse().unwrap();
    let ours = key("witness.example/1", Kind::Cosignature, 9);
    let line = cosignature::cosign(&note, &ours, NOW_S).unwrap();
    assert_eq!(status(&witness, body(8, &[], &format!("{note}{line}\n"))).await, 503);
    for old in [0, 8, 12] {
        assert_eq!(status(&witness, log.body(old, 13)).await, 503, "old {old}");
    }
    assert_eq!(status(&witness, body(14, &[], &log.note(13))).await, 400);
    assert_eq!(status(&witness, body(8, &[], &log.fork(3).note(12))).await, 422);
    assert_eq!(status(&witness, body(13, &[], &log.fork(3).note(12))).await, 400);
}

#[tokio::test]
async fn times_of_cosignatures_do_not_go_back() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let clock = Clock::fixed(NOW_NS);
    let witness = at(dir.path(), &clock);
    assert_eq!(time(&witness, &log, 0, 8).await, NOW_S);
    for back in [NOW_NS - 100_000_000_000, 0, -NOW_NS] {
        clock.set(back);
        assert_eq!(time(&witness, &log, 8, 8).await, NOW_S, "{back}");
    }
    drop(witness);
    let witness = at(dir.path(), &clock);
    assert_eq!(time(&witness, &log, 8, 9).await, NOW_S);
    clock.set(NOW_NS + 1_000_000_000);
    assert_eq!(time(&witness, &log, 9, 10).await, NOW_S + 1);
}

/// One jump ahead is in every later time.
#[tokio::test]
async fn a_clock_behind_the_last_cosignature_is_an_alarm_once_an_hour() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let clock = Clock::fixed(NOW_NS);
    let witness = at(dir.path(), &clock);
    let day_s = 86_400;
    for (back_s, count) in [(0, 0), (60, 0), (61, 1), (day_s, 2), (day_s, 2), (day_s - 3_600, 3)] {
        clock.set(NOW_NS - back_s * 1_000_000_000);
        let old = if (back_s, count) == (0, 0) { 0 } else { 8 };
        assert_eq!(time(&witness, &log, old, 8).await, NOW_S, "{back_s}");
        let said = told(&witness).await;
        assert_eq!(alarms(&said, "clock_behind").len(), count, "{back_s}: {said}");
    }
    let said = told(&witness).await;
    assert!(alarms(&said, "clock_behind")[0].contains("82800 s less"), "{said}");
    assert_eq!(said["alarms"]["newest"][0]["log"], LOG, "{said}");
}

/// Zero would be no time at all.
#[tokio::test]
async fn without_a_time_nothing_is_cosigned() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let clock = Clock::fixed(0);
    let witness = at(dir.path(), &clock);
    for none in [0, 999_999_999, -1] {
        clock.set(none);
        let (code, _, said) = post(&witness, log.body(0, 8)).await;
        assert!(code == 503 && said.contains("tells no time"), "{none}: {said}");
    }
    clock.set(NOW_NS);
    assert_eq!(time(&witness, &log, 0, 8).await, NOW_S);
}

#[test]
fn a_log_line_with_a_key_that_is_not_checked_is_passed_over_aloud() {
    let dir = tempfile::tempdir().unwrap();
    let log = key(LOG, Kind::Ed25519, 1);
    // ML-DSA-44, of 1,312 bytes; the id is not looked at.
    let mut tail = vec![6; 1_313];
    tail[1..33].copy_from_slice(&Hash::EMPTY.0);
    let tail = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tail);
    let logs =
        format!("log {}\n\tlog  other.example/0+00000001+{tail} https://x\n", log.verifier());
    let mut file = tempfile::tempfile().unwrap();
    let writer = file.try_clone().unwrap();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, || {
        Witness::open(&config(dir.path(), &logs), Clock::fixed(NOW_NS)).unwrap();
    });
    let mut said = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut said).unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("passed over")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("other.example/0") && lines[0].contains("type 0x06"), "{said}");
}
