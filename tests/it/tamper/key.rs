//! The row of somebody who has the log's own key as well as its database.

use http::StatusCode;
use tlog::Checkpoint;

use super::row;
use super::written::{RECORDS, Written, found};
use crate::audit::lab::ORIGIN;
use crate::witness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fork_the_log_with_the_real_key() {
    let log = Written::copy().await;
    let dir = tempfile::tempdir().unwrap();
    let config = witness::config(dir.path(), &format!("log {}\n", log.vkey()));
    let clock = haetae::clock::Clock::fixed(witness::NOW_NS);
    let watching = std::sync::Arc::new(haetae::witness::Witness::open(&config, clock).unwrap());
    let cosigned = witness::post(&watching, witness::body(0, &[], &log.kept)).await;
    assert_eq!(cosigned.0, StatusCode::OK, "{}", cosigned.2);

    // Another history, whole in itself and signed: one refusal was of another service.
    let mut leaves = log.leaves().await;
    let text = String::from_utf8(leaves[7].clone()).unwrap();
    leaves[7] = text.replace("\"assistant\"", "\"assistent\"").into_bytes();
    let root = log.rebuild(&leaves).await;
    log.run(&[
        "delete from log_checkpoint",
        "update row_decision set service = 'assistent' where index = 7",
    ])
    .await;
    let signer = log.key.signer(ORIGIN, 0).unwrap();
    let forged = Checkpoint::new(format!("{ORIGIN}/0"), RECORDS, root).sign(&signer).unwrap();
    sqlx::query("insert into log_checkpoint (lane, size, note, vkey) values (0, $1, $2, $3)")
        .bind(i64::try_from(RECORDS).unwrap())
        .bind(forged.to_string())
        .bind(log.vkey())
        .execute(log.pool())
        .await
        .unwrap();

    // What it contains is whole, and nobody inside can tell; each of those outside who kept something can.
    assert_eq!((log.inside().await, log.outside(&[]).await), (vec![], vec![]));
    let body = witness::body(RECORDS, &[], &forged.to_string());
    let refused = witness::post(&watching, body).await;
    let outside = log.outside(std::slice::from_ref(&log.kept)).await;
    let witnessed = log.inside_with(&witness::vkey()).await;
    log.start_below("forked").await;
    row(
        "fork_the_log_with_the_real_key",
        &[
            ("log verify", "whole".to_owned()),
            ("log verify --trust", found(&witnessed, "none of its checkpoints")),
            ("witness", format!("{}: {}", refused.0.as_u16(), refused.2.trim())),
            ("haetae-verify with a kept checkpoint", found(&outside, "302")),
            ("gateway at its start", log.rollback().await),
        ],
    );
}
