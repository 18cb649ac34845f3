//! A look ahead answers what would be decided, is a record of its own that anybody can judge again, and leaves everything as
//! it was: nothing arrives at a site, no hold is opened, no end is waited for, nothing is used up.

use haetae::clock::Clock;
use haetae::registry::Sort;
use haetae::registry::store::put_ground;
use haetae::registry::tree::read_one;
use serde_json::{Value, json};

use crate::support::stage::{
    Answer, CHAT, Caller, ORDERS, Stage, VIRGINIA, chat, eventually, leaves,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_ahead_says_what_would_be_and_leaves_no_trace_but_its_record() {
    let stage = Stage::start().await;
    let pool = stage.pool().await;
    let caller = stage.caller("kr-retailer");
    let before = stage.sites().arrived().await.0;

    let allowed =
        ask(&caller, json!({ "service": MODEL, "datasets": [ORDERS.1], "site": "kr-seo-1" })).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    let told = allowed.json();
    assert_eq!((&told["outcome"], &told["sites"]), (&json!("ALLOW"), &json!(["kr-seo-1"])));
    assert_eq!(told["decision"]["reasons"][0]["rule"], "R02");

    let refused =
        ask(&caller, json!({ "service": MODEL, "datasets": [ORDERS.1], "site": "us-va-1" })).await;
    let told = refused.json();
    assert_eq!((refused.status, &told["outcome"]), (200, &json!("DENY")), "{told}");
    assert!(told["explanation"].as_str().unwrap().contains("R04"), "{told}");
    assert!(!told["candidates"].as_array().unwrap().is_empty());
    // the same words in headers as on the data path, and not two of them
    let body = json!({ "service": MODEL }).to_string();
    let same = caller.post(DECIDE, &[ORDERS, VIRGINIA], body.as_bytes()).await.json();
    assert_eq!(same["decision"], told["decision"]);
    let body = json!({ "service": MODEL, "site": "kr-seo-1" }).to_string();
    assert_eq!(
        caller.post(DECIDE, &[VIRGINIA], body.as_bytes()).await.code(),
        "declaration_conflict"
    );
    assert_eq!(ask(&caller, json!({ "model": MODEL })).await.code(), "body_invalid");

    // who may not send may not ask
    let nobody = stage.person("kr-retailer", "kim", &["reviewer"]);
    let refused = ask(&nobody, json!({ "service": MODEL })).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "access_denied"));

    // a ground that serves once is not used up by looking, and what is held is not opened
    let mut ground = read_one(Sort::Ground, &stage.world.sources.ground).unwrap();
    ground.document["details"]["single_use"] = json!(true);
    put_ground(&pool, &ground, "a test").await.unwrap();
    let to_virginia = json!({ "service": MODEL, "datasets": [ORDERS.1], "site": "us-va-1" });
    for _ in 0..3 {
        assert_eq!(ask(&caller, to_virginia.clone()).await.json()["outcome"], "ALLOW");
    }
    let sent =
        async || caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await.status;
    assert_eq!((sent().await, sent().await), (200, 403), "it served once");
    assert_eq!(ask(&caller, to_virginia).await.json()["outcome"], "DENY");
    let hold = ask(&caller, held(&pool).await).await.json();
    assert_eq!(hold["outcome"], "HOLD", "{hold}");
    let counts = "select (select count(*) from hold), (select count(*) from reservation where state <> 'confirmed')";
    assert_eq!(sqlx::query_as::<_, (i64, i64)>(counts).fetch_one(&pool).await.unwrap(), (0, 0));
    assert_eq!(stage.sites().arrived().await.0, before + 1);

    judged_again(&stage, &pool, &allowed).await;
}

/// The log is whole with it, here and offline; nothing waits for an end.
async fn judged_again(stage: &Stage, pool: &sqlx::PgPool, allowed: &Answer) {
    let id = allowed.header("haetae-decision").unwrap();
    assert_eq!(allowed.json()["id"], id);
    let find = async || leaves(pool).await.into_iter().find(|leaf| leaf["id"] == id);
    let leaf: Value = find().await.expect("a record");
    assert_eq!(
        (&leaf["kind"], &leaf["outcome"], &leaf["site"]),
        (&json!("preflight"), &json!("ALLOW"), &json!(null))
    );
    let program = &stage.world.program;
    program.run(&["log", "verify", "--config", "haetae.toml"]).await.unwrap();
    let newest = "select coalesce(sum(size), 0)::bigint from log_head";
    let size: i64 = sqlx::query_scalar(newest).fetch_one(pool).await.unwrap();
    let covered = "select coalesce(sum(size), 0)::bigint from (select max(size) as size from log_checkpoint group by lane) as c";
    eventually("checkpoints cover it", async || {
        sqlx::query_scalar::<_, i64>(covered).fetch_one(pool).await.unwrap() >= size
    })
    .await;
    program
        .run(&["log", "export", "--config", "haetae.toml", "--out", "log.export"])
        .await
        .unwrap();
    let file = stage.world.dir.join("log.export");
    let report = haetae_verify::verify(&file, &haetae_verify::Trust::File).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.counts.unknown_kinds, 0);
}

/// An order that holds whatever the retailer's data do in Korea; gives what to ask then.
async fn held(pool: &sqlx::PgPool) -> Value {
    use haetae::registry::orders::store::{Brought, add};
    let text = r#"
id = "test-hold"
authority = "PIPC"
legal_basis = "a test"
kind = "hold"
effective_from = "2026-01-01"
until = "never"
entered_by = ["registrar one", "registrar two"]
match = { org = "kr-retailer", to = ["KR"] }
"#;
    let entry = haetae::registry::tree::parse_one(Sort::Order, "order.toml", text).unwrap();
    let brought = Brought { note: None, who: "a test", now: Clock::system().unix_s() };
    add(pool, &entry, brought).await.unwrap();
    json!({ "service": MODEL, "datasets": [ORDERS.1], "site": "kr-seo-1" })
}

async fn ask(caller: &Caller, body: Value) -> Answer {
    caller.post(DECIDE, &[], body.to_string().as_bytes()).await
}

const DECIDE: &str = "/v1/decide";
const MODEL: &str = "llama-3.3-70b";
