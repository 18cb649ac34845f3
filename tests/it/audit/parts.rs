//! A part of the log is one that an honest operator may hand out: no text in it is spare, and its indexes are of one lane.

use std::path::Path;
use std::process::Command;

use haetae::audit::{Range, export};
use haetae::clock::Clock;
use haetae_verify::{Trust, report::Exit, verify};
use sqlx::PgPool;
use verdict::decision::Outcome;

use super::lab::{Lab, ORIGIN, draft, eventually};
use super::shown::database_url;
use crate::support::fresh_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_on_the_policy_brings_no_text() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    // Of the very bundle that is kept for the decision before it.
    lab.audit.policy_changed(draft(Outcome::Deny, 0).bundle.digest, None);
    let changed = async || {
        let all = lab.leaves().await;
        all.into_iter().find(|leaf| leaf["kind"] == "policy_change")
    };
    eventually("the act is recorded", async || changed().await.is_some()).await;
    let from = changed().await.unwrap()["index"].as_u64().unwrap();
    lab.projected().await;
    let trust = Trust::Keys(vec![lab.key.vkey(ORIGIN, 0).unwrap().parse().unwrap()]);
    let pool = lab.stop().await;
    for (range, texts) in [(Range::All, 3), (Range::Lane { lane: 0, from, to: None }, 0)] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let done = export(&pool, range, Clock::system().unix_ns(), &mut file).await.unwrap();
        let report = verify(file.path(), &trust).unwrap();
        assert_eq!((done.texts, report.findings), (texts, vec![]), "{range:?}");
    }
}

/// The exit code of `haetae log export`, and what it says when it fails.
fn typed(pool: &PgPool, out: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
    command.args(["log", "--database", &database_url(pool), "export", "--out"]).arg(out).args(more);
    let ran = command.output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_of_one_lane() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    for _ in 0..6 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let trust = Trust::Keys(vec![lab.key.vkey(ORIGIN, 0).unwrap().parse().unwrap()]);
    let pool = lab.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("log.export");
    let nothing = || std::fs::read_dir(dir.path()).unwrap().count() == 0;
    for all in [&["--to", "1"], &["--from", "1"]] {
        let (code, said) = typed(&pool, &out, all);
        assert!(code == Some(2) && said.contains("--lane <LANE>") && nothing(), "{said}");
    }
    for none in [["--lane", "0", "--from", "1000"], ["--lane", "9", "--from", "0"]] {
        let (code, said) = typed(&pool, &out, &none);
        assert!(code == Some(1) && said.contains("nothing was written") && nothing(), "{said}");
    }
    assert_eq!(typed(&pool, &out, &["--lane", "0", "--to", "1"]).0, Some(0));
    let report = verify(&out, &trust).unwrap();
    assert_eq!((report.findings.as_slice(), report.counts.lanes), (&[][..], 1));
    assert!(matches!(report.exit(), Exit::Whole | Exit::Incomplete), "{:?}", report.open);
}
