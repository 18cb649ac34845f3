//! The witness's own log is a log too: a state that is older, or empty, does not make it sign a second tree, and an operator whose
//! records are gone for good can go on with another one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use haetae::clock::Clock;
use haetae::witness::{Witness, WitnessError};
use serde_json::Value;
use tlog::key::Kind;
use tlog::{Checkpoint, Note, Signer as _, bundle};

use super::{LOG, Log, NOW_NS, config, get, key, open, status};

fn try_open(dir: &Path) -> Result<Witness, WitnessError> {
    let log = format!("log {}\n", key(LOG, Kind::Ed25519, 1).verifier());
    Witness::open(&config(dir, &log), Clock::fixed(NOW_NS))
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(file.file_name());
        if file.path().is_dir() {
            copy_all(&file.path(), &to);
        } else {
            std::fs::copy(file.path(), to).unwrap();
        }
    }
}

/// The newest checkpoint of its own log, as `/status.json` says where it is and with which key it is signed.
async fn shown(witness: &Arc<Witness>) -> (String, Checkpoint) {
    let said: Value = serde_json::from_str(&get(witness, "/status.json").await.2).unwrap();
    let path = said["own_log"]["checkpoint"].as_str().unwrap();
    let note: Note = get(witness, path).await.2.parse().unwrap();
    note.verify([&said["own_log"]["vkey"].as_str().unwrap().parse().unwrap()]).unwrap();
    (path.to_owned(), note.text().parse().unwrap())
}

/// Before anything was cosigned too: no other mark says that there was a state.
#[tokio::test]
async fn an_empty_state_is_no_first_start_where_its_own_log_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let before = shown(&open(dir.path())).await.1;
    std::fs::rename(dir.path().join("state"), dir.path().join("lost")).unwrap();
    let refused = try_open(dir.path()).err().unwrap().to_string();
    assert!(refused.contains("lacks records that it signed"), "{refused}");
    assert!(refused.contains("from its newest backup"), "{refused}");
    assert!(refused.contains("state/log-16`"), "{refused}");
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    std::fs::rename(dir.path().join("lost"), dir.path().join("state")).unwrap();
    let (path, after) = shown(&open(dir.path())).await;
    assert_eq!((&*path, after.size), ("/1/log/0/checkpoint", before.size + 1));
}

/// The way back from a backup that is not the newest: nothing signed twice, cosigning goes on, and the loss is a record.
#[tokio::test]
async fn a_witness_comes_back_from_an_older_backup() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let [state, backup] = ["state", "backup"].map(|name| dir.path().join(name));
    assert_eq!(status(&open(dir.path()), log.body(0, 8)).await, 200);
    copy_all(&state, &backup);
    let newest = shown(&open(dir.path())).await.1;
    assert_eq!(newest.size, 2);
    std::fs::remove_dir_all(&state).unwrap();
    copy_all(&backup, &state);
    let refused = try_open(dir.path()).err().unwrap().to_string();
    assert!(refused.contains("1 are there, and 2 were signed"), "{refused}");

    std::fs::create_dir(state.join("log-16")).unwrap();
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(8, 9)).await, 200);
    let (path, checkpoint) = shown(&witness).await;
    assert_eq!((&*path, checkpoint.size), ("/1/log/16/checkpoint", 2));
    assert_eq!(get(&witness, "/1/log/0/checkpoint").await.0, 404);
    drop(witness);
    let records = std::fs::read(state.join("log-16/entries")).unwrap();
    let leaf = bundle::leaves(&records).nth(1).unwrap().unwrap();
    let said: Value = serde_json::from_slice(leaf).unwrap();
    assert_eq!((&said["kind"], &said["of"]), (&"rollback".into(), &0.into()));
    assert_eq!((&said["size"], &said["found"]), (&2.into(), &1.into()), "{said}");
    assert_eq!(said["root"], newest.root.to_string());
    // And from there on it is this one that is missed.
    std::fs::remove_dir_all(state.join("log-16")).unwrap();
    let refused = try_open(dir.path()).err().unwrap().to_string();
    assert!(refused.contains("state/log-32`"), "{refused}");
}

/// A name makes the path of its own log, which nobody could ask for as it is.
#[test]
fn a_name_that_is_no_path_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &format!("log {}\n", key(LOG, Kind::Ed25519, 1).verifier()));
    let named = |name| {
        std::fs::write(&config.key, key(name, Kind::Cosignature, 7).to_skey()).unwrap();
        Witness::open(&config, Clock::fixed(NOW_NS))
    };
    let refused = named("witness.example/증인").err().unwrap().to_string();
    assert!(refused.contains("other characters behind the host"), "{refused}");
    assert!(named("witness.example/1").is_ok());
}

/// Who makes a key hears of it then, and has no key.
#[test]
fn no_key_is_made_under_a_name_that_is_no_path() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let haetae =
            Command::new(env!("CARGO_BIN_EXE_haetae")).args(words).current_dir(dir.path()).output();
        haetae.unwrap()
    };
    let names = [
        "w.example/증인",
        "w.example/a b",
        "w.example/../x",
        "w.example/%61",
        "https://w.example/x",
        "w.example/x/",
    ];
    for name in names {
        for words in [&["witness", "keygen", "--name", name][..], &["keygen", "--origin", name]] {
            let made = run(&[words, &["--out", "a.key"]].concat());
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            assert_eq!(made.status.code(), Some(1), "{name}: {said}");
            assert!(!dir.path().join("a.key").exists(), "{name}");
        }
    }
    let made = run(&["witness", "keygen", "--name", "w.example/1", "--out", "b.key"]);
    assert!(made.status.success() && dir.path().join("b.key").exists());
}
