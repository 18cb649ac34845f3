//! Whoever owns the database and not the log's key writes into it: what he puts behind the log's own records is never signed, and what he
//! takes away of a commit makes it none.

use std::sync::Arc;

use haetae::audit::{Config, Key, verify};
use haetae::clock::Clock;
use sqlx::{AssertSqlSafe, PgPool};
use tlog::{Frontier, Hash};
use verdict::decision::Outcome;

use super::lab::{Lab, draft, eventually, leaves};
use crate::support::fresh_database;

/// A replica that remembers nothing.
async fn open(pool: &PgPool, key: &Arc<Key>) -> Lab {
    Lab::start_at(pool, 1, Clock::system(), Arc::clone(key)).await
}

/// Puts a record behind those of lane 0, whole in itself, under the epoch of who holds it: a copy of the newest decision under another id.
async fn forge(pool: &PgPool) -> String {
    let mut transaction = pool.begin().await.unwrap();
    let lock = "select epoch from log_head where lane = 0 for update";
    let epoch: i64 = sqlx::query_scalar(lock).fetch_one(&mut *transaction).await.unwrap();
    let bundles: Vec<Vec<u8>> =
        sqlx::query_scalar("select leaves from log_batch where lane = 0 order by first_index")
            .fetch_all(&mut *transaction)
            .await
            .unwrap();
    let all: Vec<Vec<u8>> = bundles
        .iter()
        .flat_map(|bundle| tlog::bundle::leaves(bundle).map(|leaf| leaf.unwrap().to_vec()))
        .collect();
    let text = |leaf: &Vec<u8>| String::from_utf8(leaf.clone()).unwrap();
    let copied = all.iter().rev().map(text).find(|leaf| leaf.contains("\"kind\":\"decision\""));
    let copied = copied.unwrap();
    let old: serde_json::Value = serde_json::from_str(&copied).unwrap();
    let id = uuid::Uuid::now_v7().to_string();
    let forged = copied
        .replace(old["id"].as_str().unwrap(), &id)
        .replace(&format!("\"index\":{},", old["index"]), &format!("\"index\":{},", all.len()))
        .into_bytes();
    let mut frontier = Frontier::new();
    for leaf in all.iter().chain([&forged]) {
        frontier.append(Hash::leaf(leaf));
    }
    let head = "update log_head set size = size + 1, frontier = $1, root = $2 where lane = 0";
    sqlx::query(head)
        .bind(frontier.to_bytes())
        .bind(frontier.root().0.as_slice())
        .execute(&mut *transaction)
        .await
        .unwrap();
    let insert = "insert into log_batch (lane, first_index, count, epoch, leaves, marks)
                  values (0, $1, 1, $2, $3, $4)";
    sqlx::query(insert)
        .bind(i64::try_from(all.len()).unwrap())
        .bind(epoch)
        .bind(tlog::bundle::encode([forged.as_slice()]).unwrap())
        .bind(&Hash::leaf(&forged).0[..8])
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    id
}

/// The largest size of lane 0 that was signed for the world.
async fn published(pool: &PgPool) -> i64 {
    let select = "select coalesce(max(size), 0) from log_checkpoint where lane = 0";
    sqlx::query_scalar(select).fetch_one(pool).await.unwrap()
}

async fn size(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select size from log_head where lane = 0").fetch_one(pool).await.unwrap()
}

/// Of lane 16: that lane 0 is given up, so many of its records are known, and so many were found.
async fn given_up(pool: &PgPool) -> (Option<i64>, Option<i64>) {
    let all = leaves(pool).await;
    let said = all.iter().find(|leaf| leaf["lane"] == 16 && leaf["kind"] == "rollback").unwrap();
    assert_eq!(said["of"], 0);
    (said["size"].as_i64(), said["found"].as_i64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_somebody_else_appends_is_never_signed() {
    for running in [true, false] {
        let (fresh, key) = (fresh_database().await, Arc::new(Key::generate().unwrap()));
        let mut lab = open(&fresh.pool, &key).await;
        for _ in 0..3 {
            lab.deny().await.unwrap();
        }
        let had;
        if running {
            had = size(&fresh.pool).await;
            forge(&fresh.pool).await;
        } else {
            lab.projected().await;
            lab.stop().await;
            had = size(&fresh.pool).await;
            forge(&fresh.pool).await;
            lab = open(&fresh.pool, &key).await;
        }
        eventually("it records again", async || lab.deny().await.is_ok()).await;
        assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16, "{running}");
        lab.projected().await;
        lab.stop().await;
        assert_eq!(size(&fresh.pool).await, had + 1, "nothing was written behind it");
        assert!(published(&fresh.pool).await <= had, "and it was not signed");
        let (known, found) = given_up(&fresh.pool).await;
        assert!(known.unwrap() <= had && found == Some(had + 1), "{known:?} {found:?}");
        let findings = verify(&fresh.pool).await.unwrap().findings;
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let of_it = format!("lane 0, index {had}");
        assert!(said.iter().any(|one| one.starts_with(&of_it)), "{said:?}");
    }
}

/// A gateway that is killed leaves records behind the newest checkpoint: whoever comes after it knows them for ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_replica_wrote_and_did_not_sign_any_more_is_taken_over() {
    let (fresh, key) = (fresh_database().await, Arc::new(Key::generate().unwrap()));
    let lab = open(&fresh.pool, &key).await;
    lab.deny().await.unwrap();
    lab.stop().await;
    let all = size(&fresh.pool).await;
    // As if it had been killed before it could publish anything.
    sqlx::raw_sql("delete from log_checkpoint").execute(&fresh.pool).await.unwrap();
    let lab = open(&fresh.pool, &key).await;
    let leaf = lab.proven(&lab.deny().await.unwrap());
    assert_eq!((leaf["lane"].as_i64(), leaf["index"].as_i64()), (Some(0), Some(all + 1)));
    lab.stop().await;
}

/// As a version that knew no seals left it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_a_seal_is_taken_where_all_of_it_was_signed() {
    let (fresh, key) = (fresh_database().await, Arc::new(Key::generate().unwrap()));
    let lab = open(&fresh.pool, &key).await;
    lab.deny().await.unwrap();
    lab.stop().await;
    let unseal = "update log_head set seal = null";
    sqlx::raw_sql(unseal).execute(&fresh.pool).await.unwrap();
    let lab = open(&fresh.pool, &key).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 0);
    lab.stop().await;
    // Not where a record of it was not; nor where the checkpoint is somebody else's.
    sqlx::raw_sql(unseal).execute(&fresh.pool).await.unwrap();
    sqlx::raw_sql(
        "update log_checkpoint set note = replace(note, E'\\n\\n\u{2014}', E'\\nx\\n\\n\u{2014}')",
    )
    .execute(&fresh.pool)
    .await
    .unwrap();
    let lab = open(&fresh.pool, &key).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16);
    lab.stop().await;
}

/// A trigger that lets nothing in, one that takes it out again within the statement's sight, and one that makes commits wait for no disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_something_is_swallowed_is_none() {
    let fresh = fresh_database().await;
    let config = Config { lanes: 1, record_ms_max: 1_500, ..Config::default() };
    let key = Arc::new(Key::generate().unwrap());
    let lab = Lab::signed_by(&fresh.pool, config, Clock::system(), vec![key]).await;
    lab.deny().await.unwrap();
    let make = "create schema evil; grant usage on schema evil to public;
        create function evil.eat() returns trigger language plpgsql as $$ begin return null; end $$;
        create function evil.lazy() returns trigger language plpgsql as $$
            begin perform set_config('synchronous_commit', 'off', true); return new; end $$;";
    sqlx::raw_sql(make).execute(&fresh.pool).await.unwrap();
    for (table, function) in [
        ("log_batch", "eat"),
        ("log_batch", "lazy"),
        ("log_head", "lazy"),
        ("audit_private", "eat"),
        ("audit_key", "eat"),
    ] {
        let when = if table == "log_head" { "update" } else { "insert" };
        let trigger = format!(
            "create trigger zz before {when} on {table} for each row execute function evil.{function}()"
        );
        sqlx::raw_sql(AssertSqlSafe(trigger)).execute(&fresh.pool).await.unwrap();
        // A new organisation, so that there is a key to be kept.
        let org = format!("{function}-{}", table.replace('_', "-"));
        let mut refused = draft(Outcome::Deny, 0);
        refused.org = org.as_str().into();
        assert!(lab.audit.record(refused).await.is_err(), "{org}");
        let all = leaves(&fresh.pool).await;
        assert!(all.iter().all(|leaf| leaf["org"] != org.as_str()), "{org}: it is not in the log");
        let drop = format!("drop trigger zz on {table}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&fresh.pool).await.unwrap();
        eventually("it records again", async || lab.deny().await.is_ok()).await;
    }
    lab.projected().await;
    let pool = lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, vec![]);
}
