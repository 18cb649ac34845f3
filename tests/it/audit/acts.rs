//! Acts of people become records: each exactly once, whoever writes it, with nobody's name in it; and what could not be
//! written is refused where it is done.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::audit::{Act, ActKind, Key};
use haetae::clock::Clock;
use haetae::privacy::Hidden;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::lab::{Lab, eventually, leaves};
use crate::support::fresh_database;

pub(super) fn act(number: u128, body: &Value) -> Act {
    Act {
        event: Uuid::from_u128(number),
        kind: ActKind::Order,
        people: vec!["so-yeon.park@regulator.example".into(), "d.weber@regulator.example".into()],
        body: body.as_object().unwrap().clone(),
    }
}

async fn tell(pool: &PgPool, act: &Act) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    act.tell(&mut transaction).await?;
    transaction.commit().await
}

async fn told(pool: &PgPool) -> Vec<Value> {
    leaves(pool).await.into_iter().filter(|leaf| leaf["kind"] == "order").collect()
}

async fn wait_for(pool: &PgPool, count: usize) {
    eventually("every act is recorded", async || told(pool).await.len() >= count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_is_recorded_with_digests_for_names() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    let body = json!({"org": "kr-med", "what": "suspend \u{1F512} export", "count": 9_007_199_254_740_991_u64,
        "signed": true, "silent": false, "rules": ["R1", "R2"], "v": "ours"});
    // `v` is a key of every leaf.
    tell(&fresh.pool, &act(1, &body)).await.unwrap_err();
    let mut body = body;
    body.as_object_mut().unwrap().remove("v");
    tell(&fresh.pool, &act(1, &body)).await.unwrap();
    wait_for(&fresh.pool, 1).await;
    let leaf = told(&fresh.pool).await.remove(0);
    for (key, value) in body.as_object().unwrap().iter().filter(|(key, _)| *key != "silent") {
        assert_eq!(&leaf[key], value);
    }
    assert!(leaf.get("silent").is_none(), "what is not so is not said");
    assert_eq!((leaf["v"].as_u64(), &leaf["event"]), (Some(1), &json!(Uuid::from_u128(1))));
    assert!(!leaf.to_string().contains("regulator.example"), "{leaf}");

    let shown = lab.shown(&leaf, "people").await;
    let names: Vec<&str> = shown.values.iter().map(|(_, hidden)| &*hidden.value).collect();
    assert_eq!(names, ["so-yeon.park@regulator.example", "d.weber@regulator.example"]);
    let digest = |(digest, hidden): &([u8; 32], Hidden)| {
        let made = Sha256::new().chain_update(hidden.salt).chain_update(&hidden.value).finalize();
        assert_eq!(digest.as_slice(), made.as_slice());
        STANDARD.encode(digest)
    };
    let people: Vec<String> = shown.values.iter().map(digest).collect();
    assert_eq!(leaf["people"], json!(people));
    assert_eq!(shown.org.as_deref(), Some("kr-med"));
    let left: (bool, Option<i32>, Vec<String>) =
        sqlx::query_as("select written, lane, people from log_outbox")
            .fetch_one(&fresh.pool)
            .await
            .unwrap();
    assert_eq!(left, (true, Some(0), vec![]), "no name stays in the outbox");
    lab.stop().await;
}

/// Two processes' worth of lanes, acts told while one of them goes away.
#[tokio::test(flavor = "multi_thread")]
async fn each_act_is_recorded_once_whoever_writes_it() {
    let fresh = fresh_database().await;
    let key = Arc::new(Key::generate().unwrap());
    let first = Lab::start_at(&fresh.pool, 2, Clock::system(), Arc::clone(&key)).await;
    for number in 0..100 {
        tell(&fresh.pool, &act(number, &json!({"number": u64::try_from(number).unwrap()})))
            .await
            .unwrap();
    }
    // As a process that was stopped in mid-way and goes on: what it believes to be new was written by another.
    first.stop().await;
    let second = Lab::start_at(&fresh.pool, 2, Clock::system(), key).await;
    for number in 100..200 {
        tell(&fresh.pool, &act(number, &json!({"number": u64::try_from(number).unwrap()})))
            .await
            .unwrap();
    }
    wait_for(&fresh.pool, 200).await;
    let _ = second.allow().await;
    let mut numbers: Vec<u64> =
        told(&fresh.pool).await.iter().map(|leaf| leaf["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    second.stop().await;
}

#[tokio::test]
async fn what_no_leaf_can_hold_is_refused_where_it_is_done() {
    let fresh = fresh_database().await;
    for body in [
        json!({"number": -1}),
        json!({"number": 1.5}),
        json!({"number": 9_007_199_254_740_992_u64}),
        json!({"nothing": null}),
        json!({"deep": {"er": 1}}),
        json!({"list": [1]}),
        json!({"Key": "x"}),
        json!({"k-e-y": "x"}),
        json!({"people": ["min-jun"]}),
        json!({"long": "x".repeat(20_000)}),
    ] {
        tell(&fresh.pool, &act(1, &body)).await.expect_err(&body.to_string());
    }
}
