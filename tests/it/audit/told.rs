//! What people did is told, and what is told was done: `log verify` holds the tables of acts against the log, both ways. What waits to
//! be told is no difference.

use haetae::audit::verify;
use haetae::registry::Sort;
use haetae::registry::orders::store::add;
use haetae::registry::store::apply;
use haetae::registry::tree;
use serde_json::json;
use sqlx::PgPool;

use super::lab::{Lab, eventually};
use crate::registry::{BY_LEE, example};
use crate::support::fresh_database;

/// A closed log in which an order and its version are told.
async fn written() -> PgPool {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    apply(&fresh.pool, &example(), "kim").await.unwrap();
    let order = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/order-example.toml");
    let order = tree::read_one(Sort::Order, std::path::Path::new(order)).unwrap();
    add(&fresh.pool, &order, BY_LEE).await.unwrap();
    assert_eq!(verify(&fresh.pool).await.unwrap().findings, []);
    let waits = "select count(*) from log_outbox where not written";
    eventually("the act is told", async || {
        sqlx::query_scalar::<_, i64>(waits).fetch_one(&fresh.pool).await.unwrap() == 0
    })
    .await;
    assert_eq!(verify(&fresh.pool).await.unwrap().findings, []);
    let pool = lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    pool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_difference_is_named() {
    let pool = written().await;
    let bundle = "insert into policy_bundle (digest, files, rulebook, access, title, purpose, proposed_by, proposed_at_s)
                  values ('sha256:' || encode(sha256('x'), 'hex'), 'x', 'r', 'a', 't', 'p', 'x', 0)";
    sqlx::query(bundle).execute(&pool).await.unwrap();
    for (statement, said) in [
        (
            "delete from registry_entry where sort = 'order'",
            "row: order `kr-pipc-2026-1` of version 2: the record tells it, and the database does not have it",
        ),
        (
            "insert into registry_entry (sort, id, version_from, how, document) values ('order', 'x', 2, 'order', '{}')",
            "no lane: missing: order `x` of version 2: it stands in the database, and no record tells it",
        ),
        (
            "insert into policy_enacted (version, bundle, how, reason, notes, enacted_by, enacted_at_s)
             select 2, digest, 'activate', 'x', '{}', 'x', 0 from policy_bundle",
            "no lane: missing: the bundle that came into force in version 2: it stands in the database, and no record tells it",
        ),
        ("delete from log_outbox", "that it tells is not in `log_outbox`"),
        (
            "insert into log_outbox (event, kind, written, lane) values (gen_random_uuid(), 'review', true, 0)",
            "is marked as written into it, and no record tells it",
        ),
        (
            "update registry_version set digest = sha256('') where version = 2",
            "row: the registry has another digest beside version 2 of the facts than this record",
        ),
    ] {
        let done = sqlx::query(statement).execute(&pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        let found = verify(&pool).await.unwrap().findings;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|found| found.contains(said)), "{statement}: {found:#?}");
    }
    assert_eq!(verify(&pool).await.unwrap().findings.len(), 6);
}

/// The functions that tell of themselves look as well whether they were heard.
#[tokio::test]
async fn what_is_not_kept_for_the_log_is_not_done() {
    let fresh = fresh_database().await;
    let drops = "create function drops() returns trigger language plpgsql as 'begin return null; end';
                 create trigger drops before insert on log_outbox for each row execute function drops()";
    sqlx::raw_sql(drops).execute(&fresh.pool).await.unwrap();
    let act = super::acts::act(1, &json!({ "number": 1 }));
    let refused = act.tell(&mut fresh.pool.acquire().await.unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("did not keep the row of this act"), "{refused}");
    let told = "select privacy_tell('erase', 'kim', '{\"act\": \"asked\"}')";
    let refused = sqlx::query(told).execute(&fresh.pool).await.unwrap_err();
    assert!(refused.to_string().contains("did not keep the row of this act"), "{refused}");
}

/// No lane told of the change: it was made while no gateway ran.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_a_lane_found_when_it_opened_are_told_by_their_digest() {
    let fresh = fresh_database().await;
    apply(&fresh.pool, &example(), "kim").await.unwrap();
    let lab = Lab::start(&fresh.pool, 1).await;
    eventually("the lane is open", async || {
        let opened = "select count(*) from log_batch";
        sqlx::query_scalar::<_, i64>(opened).fetch_one(&fresh.pool).await.unwrap() > 0
    })
    .await;
    let pool = lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    let alter = "update registry_version set digest = sha256('')";
    assert_eq!(sqlx::query(alter).execute(&pool).await.unwrap().rows_affected(), 1);
    let found: Vec<String> =
        verify(&pool).await.unwrap().findings.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("the registry has another digest beside version 1 of the facts"),
        "{found:#?}"
    );
}
