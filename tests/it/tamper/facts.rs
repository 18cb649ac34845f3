//! Rows done as superuser to the facts that decisions are made on, and to what tells of them.

use std::process::Command;

use haetae::audit::verify;
use haetae::registry::Sort;
use haetae::registry::orders::store::add;
use haetae::registry::store;
use haetae::registry::tree::{self, Entry};
use serde_json::Value;
use sqlx::PgPool;
use verdict::decision::Outcome;

use super::row;
use crate::audit::lab::{Lab, draft, eventually};
use crate::registry::{BY_LEE, example, vouch};
use crate::support::fresh_database;
use crate::support::stage::{Answer, CHAT, ORDERS, SEOUL, Stage, chat, leaves};

/// The directory of a gateway's facts says where a site's copies go: whoever owns the database says something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_a_fact_in_place() {
    let mut stage = Stage::start().await;
    let pool = stage.pool().await;
    assert_eq!(ask(&stage).await.status, 200);
    let plant = "update registry_entry set document = jsonb_set(document, '{backups}', '[\"US\"]')
                 where sort = 'site' and id = 'kr-seo-1' and version_until is null";
    let raise = "update fact_head set version = version + 1";
    run(&pool, &[plant, raise]).await;
    let ready = unready(&stage).await;
    assert_ne!(ask(&stage).await.status, 200, "nothing is committed on what it had");

    let world = &mut stage.world;
    world.gateway.terminate();
    assert!(world.gateway.ended().await.unwrap().success());
    let again = ["serve", "--config", "haetae.toml"];
    let mut again = world.program.serve(&again, &world.dir.join("again.log")).unwrap();
    let again_ready = unready(&stage).await;
    assert_eq!(again_ready, ready);
    eventually("it serves", async || {
        stage.caller("kr-retailer").try_post(CHAT, &[], b"").await.is_ok()
    })
    .await;
    let record = stage.record_of(&ask(&stage).await).await;
    let alarm = |leaf: &&Value| leaf["what"] == "facts_altered";
    let alarms = leaves(&pool).await.iter().filter(alarm).cloned().collect::<Vec<_>>();
    assert_eq!(alarms.len(), 2, "each process says it once: {alarms:?}");
    let mut command = Command::new(&stage.world.program.path);
    command.args(["log", "verify", "--config", "haetae.toml"]).current_dir(&stage.world.dir);
    let verified = command.output().unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(1), "{said}");
    let said = said.lines().next().unwrap();

    run(
        &pool,
        &["update registry_entry set document = jsonb_set(document, '{backups}', '[]')
                  where sort = 'site' and id = 'kr-seo-1' and version_until is null"],
    )
    .await;
    eventually("what it was is judged on", async || ask(&stage).await.status == 200).await;
    again.kill().unwrap();
    again.wait().unwrap();
    row(
        "change_a_fact_in_place",
        &[
            ("/readyz", ready),
            ("the log", format!("facts_altered: {}", alarms[0]["about"].as_str().unwrap())),
            (
                "the record of a gateway that started since",
                format!(
                    "{} {}",
                    record["outcome"].as_str().unwrap(),
                    record["reason"].as_str().unwrap()
                ),
            ),
            ("log verify", said.to_owned()),
        ],
    );
}

/// So that the registry is whole in itself: the log has the digest of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_a_fact_and_the_digest_beside_it() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    let lab = Lab::start(&pool, 1).await;
    store::suspend_ground(&pool, "kr-retailer.fra-2026", "kim").await.unwrap();
    lab.audit.record(draft(Outcome::Deny, 2)).await.unwrap();
    lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    run(
        &pool,
        &["update registry_entry set document = document - 'suspended'
                  where id = 'kr-retailer.fra-2026' and version_until is null"],
    )
    .await;
    vouch(&pool).await;
    store::check(&pool).await.unwrap();
    let said = found(&pool).await;
    let index = said.split_once("index ").unwrap().1.split_once(',').unwrap().0;
    let said = said.replace(&format!("index {index},"), "index N,");
    row("change_a_fact_and_the_digest_beside_it", &[("log verify", said)]);
}

/// A trigger that says nothing, and drops what an act leaves for the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_an_act_before_it_is_told() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    let drops = "create function drops() returns trigger language plpgsql as 'begin return null; end';
                 create trigger drops before insert on log_outbox for each row execute function drops()";
    sqlx::raw_sql(drops).execute(&pool).await.unwrap();
    let refused = add(&pool, &order(), BY_LEE).await.unwrap_err();
    assert_eq!(store::show(&pool, Some(Sort::Order)).await.unwrap(), []);
    assert_eq!(store::head(&pool).await.unwrap(), 1);
    row("drop_an_act_before_it_is_told", &[("haetae order add", refused.to_string())]);
}

/// No gateway has seen it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_an_act_before_it_is_told() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    Lab::start(&pool, 1).await.stop().await;
    add(&pool, &order(), BY_LEE).await.unwrap();
    assert_eq!(verify(&pool).await.unwrap().findings, [], "it waits");
    run(&pool, &["delete from log_outbox"]).await;
    row("delete_an_act_before_it_is_told", &[("log verify", found(&pool).await)]);
}

fn order() -> Entry {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/order-example.toml");
    tree::read_one(Sort::Order, std::path::Path::new(file)).unwrap()
}

async fn ask(stage: &Stage) -> Answer {
    let caller = stage.caller("kr-retailer");
    caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await
}

/// What `/readyz` says of the registry, once it says that it is not ready; without how old its facts are.
async fn unready(stage: &Stage) -> String {
    let mut cause = String::new();
    eventually("it says that it is not ready", async || {
        let Ok(ready) = reqwest::get(format!("http://{}/readyz", stage.world.console)).await else {
            return false;
        };
        let status = ready.status();
        let json: Value = ready.json().await.unwrap();
        let parts = json["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part["name"] == "registry").unwrap();
        cause = part["cause"].as_str().unwrap().split("; ").next().unwrap().to_owned();
        status == 503 && part["ready"] == false
    })
    .await;
    cause
}

/// As superuser: statements that all change something.
async fn run(pool: &PgPool, statements: &[&'static str]) {
    for statement in statements {
        let done = sqlx::query(*statement).execute(pool).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }
}

/// The one thing that `log verify` finds.
async fn found(pool: &PgPool) -> String {
    let found = verify(pool).await.unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}
