//! What is proven and handed out is held against what was signed: query tables, leaves, texts and batches that a superuser changed
//! are refused, and nothing is written outside the directory that was named.

use std::path::Path;
use std::process::Command;

use haetae::audit::{Key, case, prove, prove_place};
use sqlx::PgPool;
use tlog::{Checkpoint, Frontier, Hash};
use uuid::Uuid;

use super::lab::{Lab, ORIGIN};
use super::shown::database_url;
use crate::support::fresh_database;

/// A closed log of one lane with so many refusals, and their ids.
pub async fn written(refusals: u32) -> (PgPool, Vec<Uuid>) {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let mut ids = Vec::new();
    for _ in 0..refusals {
        ids.push(lab.deny().await.unwrap().id.parse().unwrap());
    }
    lab.projected().await;
    (lab.stop().await, ids)
}

pub async fn run(pool: &PgPool, statement: &'static str) {
    assert!(sqlx::query(statement).execute(pool).await.unwrap().rows_affected() > 0, "{statement}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_proof_of_another_decision_is_not_handed_out() {
    let (pool, ids) = written(4).await;
    let one = prove(&pool, ids[0]).await.unwrap().unwrap();
    assert_eq!((one.index, one.receipt.is_some()), (1, true));
    // Each of the two rows at the other's place, and the rest as it was.
    for move_row in [
        "update row_decision set index = 1001 where index = 1",
        "update row_decision set index = 1 where index = 2",
        "update row_decision set index = 2 where index = 1001",
    ] {
        run(&pool, move_row).await;
    }
    for id in [ids[0], ids[1]] {
        for refused in [prove(&pool, id).await.err(), case(&pool, id).await.err()] {
            let refused = refused.unwrap().to_string();
            let about =
                format!("the `decision` of decision {id} there, and the record is another one");
            assert!(refused.contains(&about), "{refused}");
            assert!(refused.ends_with(": run `haetae log verify`"), "{refused}");
        }
    }
    assert!(case(&pool, ids[2]).await.unwrap().is_some(), "nobody moved this one");
    run(&pool, "update row_decision set index = 1001 where index = 1").await;
    let refused = prove(&pool, ids[1]).await.unwrap_err().to_string();
    assert!(refused.contains("index 1001: ") && refused.contains("and no record is"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_record_and_an_edited_text_are_not_handed_out() {
    let (pool, ids) = written(4).await;
    run(&pool, "update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
                where first_index = 1").await;
    for refused in [
        prove(&pool, ids[0]).await.err(),
        case(&pool, ids[0]).await.err(),
        prove_place(&pool, 0, 1).await.err(),
    ] {
        let refused = refused.unwrap().to_string();
        assert!(refused.contains("lane 0, index 1: its hash is not the one under"), "{refused}");
    }
    // A neighbour's bytes, whole in themselves.
    run(&pool, "update log_batch set leaves = (select leaves from log_batch where first_index = 4) where first_index = 3").await;
    let refused = prove_place(&pool, 0, 3).await.unwrap_err().to_string();
    assert!(refused.contains("index 3: it was written as index 4 of lane 0"), "{refused}");

    let (pool, ids) = written(1).await;
    run(&pool, "update log_text set bytes = bytes || ' '::bytea where kind = 'facts'").await;
    assert!(prove(&pool, ids[0]).await.unwrap().is_some());
    let refused = case(&pool, ids[0]).await.unwrap_err().to_string();
    assert!(refused.contains("index 1: its `facts` text was edited"), "{refused}");
}

/// The leaf's own word for its kind would name a file. Everything beside the word is made to fit: hash, tree, checkpoint, but for the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_leads_out_of_the_directory_writes_nothing() {
    let (pool, ids) = written(2).await;
    let leaves: Vec<Vec<u8>> =
        sqlx::query_scalar("select leaves from log_batch order by first_index")
            .fetch_all(&pool)
            .await
            .unwrap();
    let mut frontier = Frontier::new();
    for (index, bundle) in (0_i64..).zip(leaves) {
        let leaf = tlog::bundle::leaves(&bundle).next().unwrap().unwrap();
        let mut text = String::from_utf8(leaf.to_vec()).unwrap();
        if index == 1 {
            text = text.replace(r#""kind":"decision""#, r#""kind":"../../../x""#);
            assert!(text.contains("../x"));
        }
        frontier.append(Hash::leaf(text.as_bytes()));
        sqlx::query("update log_batch set leaves = $2 where first_index = $1")
            .bind(index)
            .bind(tlog::bundle::encode([text.as_bytes()]).unwrap())
            .execute(&pool)
            .await
            .unwrap();
    }
    let (size, signer) = (frontier.size(), Key::generate().unwrap());
    let forged = Checkpoint::new(format!("{ORIGIN}/0"), size, frontier.root())
        .sign(&signer.signer(ORIGIN, 0).unwrap())
        .unwrap();
    sqlx::query("update log_checkpoint set note = $2 where size = $1")
        .bind(i64::try_from(size).unwrap())
        .bind(forged.to_string())
        .execute(&pool)
        .await
        .unwrap();
    assert!(prove_place(&pool, 0, 1).await.unwrap().unwrap().receipt.is_some(), "all else fits");

    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("one").join("two");
    std::fs::create_dir_all(&dir).unwrap();
    let typed = Command::new(env!("CARGO_BIN_EXE_haetae"))
        .args(["log", "--database", &database_url(&pool), "export", "--case", &ids[0].to_string()])
        .arg("--out")
        .arg(dir.join("case"))
        .output()
        .unwrap();
    let said = String::from_utf8(typed.stderr).unwrap();
    assert!(!typed.status.success() && said.contains("run `haetae log verify`"), "{said}");
    assert_eq!(files(root.path()), Vec::<String>::new());
    let whole = case(&pool, ids[1]).await.unwrap().unwrap();
    assert_eq!(whole.records[0].0, "decision");
}

/// Names of all files below.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.push(entry.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_kind_is_not_handed_out() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let id = lab.allow().await.proof().id.clone();
    lab.audit.started(&id, "spiffe://kr-op.example/site/kr-seo-1");
    lab.audit.ended(haetae::audit::Ended::not_forwarded(id.clone(), "test"));
    super::lab::eventually("all is written", async || lab.leaves().await.len() == 5).await;
    lab.projected().await;
    let pool = lab.stop().await;
    let id: Uuid = id.parse().unwrap();
    assert_eq!(case(&pool, id).await.unwrap().unwrap().records.len(), 3);
    run(&pool, "update row_started set index = 2").await;
    let refused = case(&pool, id).await.unwrap_err().to_string();
    assert!(
        refused.contains("the `started` of decision") && refused.contains("another one"),
        "{refused}"
    );
    run(&pool, "delete from row_started").await;
    assert_eq!(case(&pool, id).await.unwrap().unwrap().records.len(), 2);
    run(&pool, "delete from row_decision").await;
    assert!(case(&pool, id).await.unwrap().is_none(), "what is left of it is no decision");
}
