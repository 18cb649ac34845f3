//! What is kept of people: sealed, for those with the master key alone; and nothing at all without one.

mod forgotten;
mod logged;
mod other_bytes;
mod vacuumed;

use std::time::Duration;

use haetae::audit::{Audit, Config, DiscloseError, Key};
use haetae::clock::Clock;
use haetae::privacy::Privacy;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use verdict::decision::Outcome;
use zeroize::Zeroizing;

use super::lab::{Lab, ORIGIN, disclose, draft, leaves, privacy};
use crate::support::fresh_database;

/// Everything in the two tables, as text.
async fn kept(pool: &PgPool) -> Vec<String> {
    let select = "select k::text from audit_key k union all select p::text from audit_private p";
    sqlx::query_scalar(select).fetch_all(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_sealed_and_one_person_has_one_key_in_a_lane() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let kim = lab.proven(&lab.deny().await.unwrap());
    let mut other = draft(Outcome::Deny, 0);
    other.actor = "other@kr-retailer.example".into();
    other.certificate_id = Some("spiffe://kr-retailer.example/svc/batch".into());
    lab.audit.record(other).await.unwrap();
    let rows = kept(&lab.pool).await;
    assert_eq!(rows.len(), 6, "three names, each with a key: {rows:#?}");
    for word in ["min-jun", "other@", "spiffe", &hex::encode("min-jun")] {
        assert!(rows.iter().all(|row| !row.contains(word)), "{word}: {rows:#?}");
    }
    let all = leaves(&lab.pool).await;
    let last = all.last().unwrap();
    assert_eq!(
        lab.shown(last, "certificate").await.values[0].1.value,
        "spiffe://kr-retailer.example/svc/batch"
    );
    let place = (0, kim["index"].as_u64().unwrap());
    let no_field = disclose(&lab.pool, &privacy(), place, "purpose").await.err().unwrap();
    assert!(no_field.to_string().ends_with("it hides actor"), "{no_field}");

    // Another master key, and rows of one person put under another's place, open nothing.
    let stranger = [("lab".to_owned(), Zeroizing::new([8; 32]))];
    let stranger = Privacy::of(&stranger).unwrap().unwrap();
    assert!(matches!(
        disclose(&lab.pool, &stranger, place, "actor").await,
        Err(DiscloseError::Privacy(_))
    ));
    let swap = "update audit_private a set key = b.key, sealed = b.sealed from audit_private b where a.digest <> b.digest";
    sqlx::query(swap).execute(&lab.pool).await.unwrap();
    assert!(matches!(
        disclose(&lab.pool, &privacy(), place, "actor").await,
        Err(DiscloseError::Privacy(_))
    ));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_master_key_nothing_is_kept() {
    let pool = fresh_database().await.pool;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let config =
        Config { lanes: 1, origin: ORIGIN.to_owned(), record_ms_max: 60_000, ..Config::default() };
    let key = Key::generate().unwrap();
    let audit =
        Audit::start_with_key(&config, &key, pool.clone(), Clock::system(), &tracker, stop.clone())
            .unwrap();
    assert!(audit.ready(Duration::from_secs(10)).await);
    for _ in 0..2 {
        audit.record(draft(Outcome::Deny, 0)).await.unwrap();
    }
    assert_eq!(kept(&pool).await, Vec::<String>::new());
    let all = leaves(&pool).await;
    let decisions: Vec<&Value> = all.iter().filter(|leaf| leaf["kind"] == "decision").collect();
    assert_eq!(decisions[0]["actor"], decisions[1]["actor"], "still the same person to who counts");
    let place = (0, decisions[0]["index"].as_u64().unwrap());
    assert!(matches!(
        disclose(&pool, &privacy(), place, "actor").await,
        Err(DiscloseError::NothingKept(_))
    ));
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

/// The lane remembers digests and keys; an erasure that it did not see makes it forget them before it commits again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_erasure_no_record_uses_a_digest_of_before() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let before = lab.proven(&lab.deny().await.unwrap());
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["actor"], before["actor"]);
    sqlx::query("update fact_head set erasures = erasures + 1").execute(&lab.pool).await.unwrap();
    let after = lab.proven(&lab.deny().await.unwrap());
    assert_ne!(after["actor"], before["actor"]);
    let shown = lab.shown(&after, "actor").await;
    assert_eq!(shown.values[0].1.value, "min-jun.kim@kr-retailer.example");
    let keys: i64 =
        sqlx::query_scalar("select count(*) from audit_key").fetch_one(&lab.pool).await.unwrap();
    assert_eq!(keys, 2);
    lab.stop().await;
}
