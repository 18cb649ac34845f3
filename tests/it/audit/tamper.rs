//! A superuser changes the log behind our back: `verify` names what was changed and where, and an untouched log has no
//! finding.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::audit::{Finding, Key, Range, checkpoints, export, verify};
use haetae::clock::Clock;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use super::lab::{Lab, eventually};
use crate::support::fresh_database;

/// A closed log of one lane with 300 decisions in batches of one (a full tile among them), and its decision ids.
async fn written() -> (PgPool, Vec<String>) {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(lab.deny().await.unwrap().id.to_string());
    }
    lab.projected().await;
    let pool = lab.stop().await;
    let report = verify(&pool).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.records, 302);
    (pool, ids)
}

async fn run(pool: &PgPool, statement: &'static str) {
    assert!(sqlx::query(statement).execute(pool).await.unwrap().rows_affected() > 0, "{statement}");
}

async fn findings(pool: &PgPool) -> Vec<Finding> {
    let findings = verify(pool).await.unwrap().findings;
    assert!(!findings.is_empty(), "nothing was found");
    findings
}

/// Kind of difference, index and record id of each finding.
fn places(findings: &[Finding]) -> Vec<(&'static str, Option<u64>, Option<&str>)> {
    findings.iter().map(|found| (found.what.code(), found.index, found.id.as_deref())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_is_named() {
    let (pool, ids) = written().await;
    // `lane_open` is record 0, so decision n is record n + 1: one in a full tile and one behind it.
    run(&pool, "update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
                where first_index in (7, 280)").await;
    let found = findings(&pool).await;
    let found = places(&found);
    assert!(found.contains(&("edited", Some(7), Some(&ids[6]))), "{found:?}");
    assert!(found.contains(&("edited", Some(280), Some(&ids[279]))), "{found:?}");
    assert!(
        found.iter().all(|(what, index, _)| {
            matches!((what, index), (&"edited", Some(7 | 280)) | (&("tree" | "checkpoint"), None))
        }),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_is_named_even_when_its_mark_was_made_to_fit() {
    let (pool, ids) = written().await;
    run(&pool, "update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
                where first_index = 7").await;
    run(&pool, "update log_batch set marks = substr(sha256('\\x00'::bytea || substr(leaves, 3)), 1, 8) where first_index = 7")
        .await;
    let found = findings(&pool).await;
    assert!(places(&found).contains(&("edited", Some(7), Some(&ids[6]))), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_is_named() {
    let (pool, _) = written().await;
    run(&pool, "delete from log_batch where first_index = 40").await;
    let found = findings(&pool).await;
    assert_eq!(places(&found)[0], ("missing", Some(40), None));
    assert_eq!(found[0].to_string(), "lane 0, index 40: missing: records 40 to 40 are missing");
}

/// Without a checkpoint nothing but the records themselves says when they were written: what else is there, whoever deletes
/// checkpoints writes anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_whose_checkpoints_were_deleted_are_named() {
    let now_ns = Clock::system().unix_ns();
    let minutes = |count: i64| now_ns + count * 60_000_000_000;
    let said = async |at_ns: i64| {
        let key = Arc::new(Key::generate().unwrap());
        let pool = fresh_database().await.pool;
        let lab = Lab::start_at(&pool, 1, Clock::fixed(at_ns), key).await;
        lab.deny().await.unwrap();
        lab.projected().await;
        let pool = lab.stop().await;
        let whole = verify(&pool).await.unwrap();
        assert_eq!(
            (whole.findings, whole.uncovered),
            (vec![], 0),
            "what is signed may be of any time"
        );
        run(&pool, "delete from log_checkpoint").await;
        // Nobody signed or compares it.
        run(&pool, "update log_batch set at = now()").await;
        let report = verify(&pool).await.unwrap();
        assert_eq!(report.uncovered, 3);
        report.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let unsigned = "lane 0: checkpoint: records 0 to 3 are under no signed checkpoint";
    let old = said(minutes(-2)).await;
    assert_eq!(old.len(), 1, "{old:?}");
    assert!(old[0].starts_with(&format!("{unsigned}, the oldest for 1")), "{old:?}");
    // Nor do times that have not come yet make them young.
    let early = said(minutes(10)).await;
    assert_eq!(early.len(), 1, "{early:?}");
    assert!(
        early[0].starts_with(&format!("{unsigned}, and say that they were written 5")),
        "{early:?}"
    );
    // Checkpoints follow within a second, so of what is this young nothing is said yet but how much it is.
    assert_eq!(said(now_ns).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_swapped_rows_are_named() {
    let (pool, ids) = written().await;
    run(
        &pool,
        "update log_batch b set leaves = o.leaves, marks = o.marks from log_batch o
                where (b.first_index, o.first_index) in ((10, 20), (20, 10))",
    )
    .await;
    let found = findings(&pool).await;
    let found = places(&found);
    assert!(found.contains(&("misplaced", Some(10), Some(&ids[19]))), "{found:?}");
    assert!(found.contains(&("misplaced", Some(20), Some(&ids[9]))), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_a_lost_and_an_invented_row_are_named() {
    let (pool, ids) = written().await;
    run(&pool, "update row_decision set outcome = 'ALLOW' where index = 5").await;
    run(&pool, "delete from row_decision where index = 6").await;
    run(&pool, "insert into row_decision select lane, 9999, gen_random_uuid(), at_ns, org, actor, outcome, reason, rule,
                site, service, operation, issuer, facts, detail, bundle from row_decision where index = 7").await;
    let found = findings(&pool).await;
    let found = places(&found);
    assert_eq!(found[0], ("row", Some(5), Some(ids[4].as_str())));
    assert_eq!(found[1], ("row", Some(6), Some(ids[5].as_str())));
    assert_eq!((found[2].0, found[2].1), ("row", Some(9999)));
    assert_eq!(found.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_cut_off_with_its_head_rewound_is_named() {
    let (pool, _) = written().await;
    // The attacker keeps everything consistent but for what was signed: the head of size 2 is rebuilt by hand.
    let leaves: Vec<Vec<u8>> =
        sqlx::query_scalar("select leaves from log_batch order by first_index limit 2")
            .fetch_all(&pool)
            .await
            .unwrap();
    let mut frontier = tlog::Frontier::new();
    for bundle in &leaves {
        tlog::bundle::leaves(bundle)
            .for_each(|leaf| frontier.append(tlog::Hash::leaf(leaf.unwrap())));
    }
    run(&pool, "delete from log_batch where first_index >= 2").await;
    run(&pool, "delete from row_decision where index >= 2").await;
    run(&pool, "delete from log_tile").await;
    run(&pool, "update projection_cursor set next_index = 2").await;
    sqlx::query("update log_head set size = 2, frontier = $1, root = $2")
        .bind(frontier.to_bytes())
        .bind(frontier.root().0.to_vec())
        .execute(&pool)
        .await
        .unwrap();
    let found = findings(&pool).await;
    assert!(
        found.iter().all(|one| one.what.code() == "missing" && one.index == Some(2)),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|one| one.about
                == "a checkpoint says 302 records, the lane has 2: the tail is gone")
    );
    // And a gateway that starts on it does not sign it again.
    let config = haetae::audit::Config {
        origin: super::lab::ORIGIN.to_owned(),
        lanes: 1,
        ..haetae::audit::Config::default()
    };
    let (tracker, stop) =
        (tokio_util::task::TaskTracker::new(), tokio_util::sync::CancellationToken::new());
    let clock = haetae::clock::Clock::system();
    let key = haetae::audit::Key::generate().unwrap();
    let _running = haetae::audit::Audit::start_with_key(
        &config,
        &key,
        pool.clone(),
        clock,
        &tracker,
        stop.clone(),
    )
    .unwrap();
    eventually("the lane is dead, and the next generation says why", async || {
        let leaves = super::lab::leaves(&pool).await;
        leaves.iter().any(|leaf| {
            leaf["kind"] == "rollback"
                && leaf["of"] == 0
                && leaf["size"] == 302
                && leaf["found"] == 2
        })
    })
    .await;
    let signed: i64 =
        sqlx::query_scalar("select size from log_head where lane = 0 and dead_at is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(signed, 2);
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_text_tile_and_checkpoint_are_named() {
    let (pool, ids) = written().await;
    run(&pool, "update log_text set bytes = bytes || ' '::bytea where kind = 'facts'").await;
    run(&pool, "update log_tile set hashes = overlay(hashes placing '\\x00'::bytea from 33)").await;
    run(&pool, "update log_checkpoint set note = replace(note, E'\\n302\\n', E'\\n301\\n') where size = 302").await;
    let found = findings(&pool).await;
    let found = places(&found);
    assert!(found.contains(&("text", Some(1), Some(&ids[0]))), "{found:?}");
    assert!(found.contains(&("edited", Some(1), Some(&ids[0]))), "the tile's entry 1: {found:?}");
    assert!(found.contains(&("tree", None, None)), "{found:?}");
    assert!(found.contains(&("checkpoint", None, None)), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_export_is_whole_and_counts_itself() {
    let (pool, ids) = written().await;
    let mut file = Vec::new();
    let done = export(&pool, Range::default(), 1_763_900_000_000_000_000, &mut file).await.unwrap();
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count() as u64;
    let counts = ["vkey", "checkpoint", "tile", "text", "leaf", "row"].map(count);
    assert_eq!(counts, [1, done.checkpoints, 1, 3, 302, 300]);
    assert_eq!(done.uncovered, 0);
    assert_eq!(lines[0]["lanes"][0]["to"], 302);
    let end = lines.last().unwrap();
    assert_eq!(end["lines"], lines.len() - 1);
    let before = text.trim_end().rfind('\n').unwrap() + 1;
    assert_eq!(end["sha256"], STANDARD.encode(Sha256::digest(text.get(..before).unwrap())));
    let row = lines.iter().find(|line| line["type"] == "row").unwrap();
    assert_eq!(row["row"]["id"], ids[0]);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(verdict::canonical(&value).unwrap(), line.as_bytes());
    }
}

/// What the offline verifier says of an export under the lab's key.
async fn offline(pool: &PgPool, vkey: &str) -> haetae_verify::Report {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    export(pool, Range::default(), Clock::system().unix_ns(), &mut file).await.unwrap();
    let trust = haetae_verify::Trust::Keys(vec![vkey.parse().unwrap()]);
    haetae_verify::verify(file.path(), &trust).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offline_verifier_finds_the_export_whole_and_names_what_was_changed_before_it() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(lab.deny().await.unwrap().id.to_string());
    }
    let allow = lab.allow().await.proof().id.clone();
    lab.audit.started(&allow, "spiffe://kr-op.example/site/kr-seo-1");
    lab.audit.ended(haetae::audit::Ended::not_forwarded(allow, "test"));
    let vkey = lab.key.vkey(super::lab::ORIGIN, 0).unwrap();
    eventually("all is written", async || lab.leaves().await.len() == 304).await;
    lab.projected().await;
    let pool = lab.stop().await;
    let report = offline(&pool, &vkey).await;
    assert_eq!(report.findings, []);
    assert_eq!((report.counts.records, report.counts.judged, report.counts.rows), (305, 301, 303));
    run(&pool, "update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
                where first_index = 7").await;
    let report = offline(&pool, &vkey).await;
    let first = report.findings.first().unwrap().json().to_string();
    assert!(first.contains(&ids[6]) && first.contains('7'), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_log_carries_what_its_root_needs() {
    let (pool, _) = written().await;
    let range = Range::Lane { lane: 0, from: 100, to: Some(200) };
    let mut file = Vec::new();
    export(&pool, range, 0, &mut file).await.unwrap();
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let head = &lines[0]["lanes"][0];
    assert_eq!(head["from"], 100);
    // 100 = 64 + 32 + 4: three subtrees; appended to, they give the root that the covering checkpoint signed.
    let left: Vec<tlog::Hash> = head["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hash| hash.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(left.len(), 3);
    let mut frontier = 100_u64.to_be_bytes().to_vec();
    frontier.extend(tlog::Hash::concat(&left));
    let mut frontier = tlog::Frontier::from_bytes(&frontier).unwrap();
    for line in lines.iter().filter(|line| line["type"] == "leaf") {
        assert_eq!(line["index"], frontier.size());
        frontier
            .append(tlog::Hash::leaf(&STANDARD.decode(line["bytes"].as_str().unwrap()).unwrap()));
    }
    assert_eq!(head["to"], frontier.size());
    let note = lines.iter().rfind(|line| line["type"] == "checkpoint").unwrap();
    let root = note["note"].as_str().unwrap().lines().nth(2).unwrap();
    assert_eq!(root, frontier.root().to_string());
    assert_eq!(checkpoints(&pool).await.unwrap().len(), 1);
}
