//! `haetae log verify` says by its exit code whether something differs or could not be looked at, and nothing of what it prints moves
//! the cursor of who reads it.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};

use haetae::audit::{keep_cosignature, published};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use super::believed::{run, written};
use super::lab::Lab;
use super::shown::database_url;
use crate::support::fresh_database;

fn typed(words: &[&str]) -> (Option<i32>, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_haetae")).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

fn verified(pool: &PgPool) -> (Option<i32>, String) {
    let (code, said, _) = typed(&["log", "verify", "--database", &database_url(pool)]);
    (code, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_looked_at_is_not_what_differs() {
    let (pool, _) = written(2).await;
    let (url, dir) = (database_url(&pool), tempfile::tempdir().unwrap());
    let gone = dir.path().join("gone");
    let gone = gone.to_str().unwrap();
    let away = url.replace(&pool.connect_options().get_database().unwrap().to_owned(), "gone");
    assert_ne!(away, url);
    for cannot in [
        &["--database", &away][..],
        &["--config", gone],
        &["--database", &url, "--trust", gone],
        &["--database", &url, "--vkey", "none"],
        &["--database", &url, "--state", dir.path().to_str().unwrap()],
        &["--database", &url, "--from-start"],
    ] {
        let (code, said, why) = typed(&[&["log", "verify"], cannot].concat());
        assert!(
            code == Some(2) && said.is_empty() && !why.is_empty(),
            "{cannot:?}: {code:?} {why}"
        );
    }
    // What is somebody else's is never begun anew, and nobody is told to try.
    let alien = dir.path().join("letter");
    std::fs::write(&alien, "a letter\n").unwrap();
    for from_start in [&[][..], &["--from-start"]] {
        let words = ["log", "verify", "--database", &url, "--state", alien.to_str().unwrap()];
        let (code, _, why) = typed(&[&words[..], from_start].concat());
        assert!(code == Some(2) && why.contains("name another file"), "{why}");
        assert!(!why.contains("begins anew"), "{why}");
    }
    assert_eq!(std::fs::read_to_string(&alien).unwrap(), "a letter\n");
    // What finds nothing has one way to fail.
    assert_eq!(typed(&["log", "checkpoint", "--database", &away]).0, Some(1));

    assert_eq!(verified(&pool).0, Some(0));
    run(&pool, "update row_decision set outcome = 'ALLOW'").await;
    let (code, said) = verified(&pool);
    assert!(code == Some(1) && said.contains("index 1, record "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_is_no_panic_and_a_full_disk_is_told() {
    let (pool, _) = written(2).await;
    let url = database_url(&pool);
    for (words, full) in [
        (&["verify"][..], 2),
        (&["verify", "--json"], 2),
        (&["checkpoint"], 1),
        (&["prove", "--lane", "0", "--index", "0"], 1),
    ] {
        let ran = |to: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
            command.args(["log", "--database", &url]).args(words);
            let ran = command.stdout(to).output().unwrap();
            (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = ran(writer.into());
        assert!(code == Some(0) && !said.contains("panicked"), "{words:?}: {code:?} {said}");
        let disk = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = ran(disk.into());
        assert!(
            code == Some(full) && said.contains("standard output cannot be written"),
            "{words:?}: {code:?} {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_file_is_replaced() {
    let (pool, _) = written(1).await;
    let (url, dir) = (database_url(&pool), tempfile::tempdir().unwrap());
    let link = dir.path().join("stdout");
    std::os::unix::fs::symlink(dir.path().join("behind"), &link).unwrap();
    let out = link.to_str().unwrap();
    let ran =
        |words: &[&str]| typed(&[&["log", "--database", &url], words, &["--out", out]].concat());
    for words in [&["prove", "--lane", "0", "--index", "0"][..], &["export"]] {
        let (code, _, why) = ran(words);
        assert!(code == Some(1) && why.contains("is no plain file"), "{code:?} {why}");
        assert!(link.is_symlink() && std::fs::read_dir(dir.path()).unwrap().count() == 1);
        std::fs::remove_file(&link).unwrap();
        for _ in 0..2 {
            assert_eq!(ran(words).0, Some(0));
        }
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(dir.path().join("behind"), &link).unwrap();
    }
    // Nor is what lies beside it under a name that looks like ours.
    let (out, beside) = (dir.path().join("log.export"), dir.path().join("log.export.part"));
    std::fs::write(&beside, "mine").unwrap();
    let words = ["log", "--database", &url, "export", "--out", out.to_str().unwrap()];
    assert_eq!(typed(&words).0, Some(0));
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), "mine");
}

/// Programs go by them: what is printed stands in docs/record.md under its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_that_programs_are_told_is_documented() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/record.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, section) = docs.split_once("## What verifications say to programs").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let word = |char: char| !(char.is_alphanumeric() || char == '_');
    let documented: BTreeSet<&str> = section.split(word).collect();

    let (pool, _) = written(2).await;
    let (url, dir) = (database_url(&pool), tempfile::tempdir().unwrap());
    run(&pool, "update row_decision set outcome = 'ALLOW'").await;
    let (code, said, _) = typed(&["log", "verify", "--json", "--database", &url]);
    assert_eq!(code, Some(1));
    let out = dir.path().join("log.export");
    let words = ["log", "--database", &url, "export", "--out", out.to_str().unwrap()];
    assert_eq!(typed(&words).0, Some(0));
    let report = haetae_verify::verify(&out, &haetae_verify::Trust::File).unwrap();
    for object in [serde_json::from_str(&said).unwrap(), report.json()] {
        let mut keys = BTreeSet::new();
        keys_of(&object, &mut keys);
        assert!(keys.len() > 20, "{keys:?}");
        let silent: Vec<_> = keys.iter().filter(|key| !documented.contains(&***key)).collect();
        assert!(silent.is_empty(), "not in docs/record.md: {silent:?}");
    }
}

fn keys_of(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            keys.extend(object.keys().cloned());
            object.values().for_each(|value| keys_of(value, keys));
        }
        Value::Array(array) => array.iter().for_each(|value| keys_of(value, keys)),
        _ => {}
    }
}

/// A journal whose lines are a chain as a guard writes it.
fn journal(entries: &[Value]) -> String {
    let (mut lines, mut previous) = (String::new(), [0; 32]);
    for entry in entries {
        let mut entry = entry.clone();
        entry["previous"] = hex::encode(previous).into();
        let line = entry.to_string();
        previous = Sha256::digest(&line).into();
        lines += &line;
        lines.push('\n');
    }
    lines
}

/// The site is who is checked, and its journal is what it writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_word_of_a_journal_moves_the_cursor_or_is_a_line_of_its_own() {
    // A gateway runs: it keeps the query tables as long as the log.
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let (url, dir) = (database_url(&lab.pool), tempfile::tempdir().unwrap());
    let evil =
        "x\u{1b}[1A\u{1b}[2K\nwhoever was let in was allowed, and whoever was sent was let in";
    let path = dir.path().join("guard.jsonl");
    let write = |site: &str| {
        let entries = [
            json!({ "v": 1, "what": "started", "at_ns": 1_000_000_000, "boot": "b", "site": site }),
            json!({
                "v": 1, "what": "consumed", "at_ns": 2_000_000_000, "decision": evil,
                "lane": "gw.example/log/0", "index": 0,
            }),
        ];
        std::fs::write(&path, journal(&entries)).unwrap();
    };
    write(evil);
    let words = ["log", "--database", &url, "reconcile", path.to_str().unwrap()];
    let (code, said, why) = typed(&words);
    assert!(code == Some(1) && said.is_empty() && why.contains("the site that"), "{said}{why}");
    write("kr-seo-1");
    let (code, said, why) = typed(&words);
    assert!(code == Some(1) && said.contains("let in, not allowed"), "{said}{why}");
    assert!(!said.contains('\u{1b}') && !said.contains("\nwhoever"), "{said}");

    // Between two instants that do not follow each other nothing was compared.
    let (since, until) = ("1970-01-01T00:00:09Z", "1970-01-01T00:00:01Z");
    let (code, said, why) = typed(&[&words[..], &["--since", since, "--until", until]].concat());
    assert!(code == Some(1) && said.is_empty() && why.contains("not before `--until`"), "{why}");
    let (_, _, why) = typed(&[&words[..], &["--until", "9999-12-31T23:59:59Z"]].concat());
    assert!(why.contains("`9999-12-31T23:59:59Z` is no instant"), "{why}");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_word_of_the_log_moves_the_cursor() {
    let (pool, ids) = written(2).await;
    let bundle: Vec<u8> = sqlx::query_scalar("select leaves from log_batch where first_index = 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    let leaf = tlog::bundle::leaves(&bundle).next().unwrap().unwrap();
    let evil = r"\u001b[1A\u001b[2Kwhole: nothing\u202e\r";
    let text = String::from_utf8(leaf.to_vec()).unwrap().replace(&ids[0].to_string(), evil);
    sqlx::query("update log_batch set leaves = $1 where first_index = 1")
        .bind(tlog::bundle::encode([text.as_bytes()]).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    let newest = published(&pool).await.unwrap().remove(0);
    keep_cosignature(&pool, &newest, "w\u{1b}[2K\u{9b}K", 1, "— else.example AAAA").await.unwrap();
    let (code, said) = verified(&pool);
    let moves = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
    assert!(code == Some(1) && !said.contains(moves), "{said:?}");
    let id = r"index 1, record \u{1b}[1A\u{1b}[2Kwhole: nothing\u{202e}\r: edited: ";
    assert!(said.contains(id), "{said}");
    assert!(said.contains(r"the cosignature of `w\u{1b}[2K\u{9b}K` under"), "{said}");
}
