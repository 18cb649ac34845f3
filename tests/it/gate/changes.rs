//! Access entries of an organisation: how often they may be changed, and that nothing that was written in vain, least of all
//! somebody's name, stays in the log.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::stage::{Answer, Caller, Stage, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changes_entries_without_end_is_slowed_down_and_nobody_else() {
    let stage = Stage::start().await;
    let kim = stage.person("kr-retailer", "kim", &["admin"]);
    let mut changes = 0;
    let slowed = loop {
        let answer = if changes % 2 == 0 {
            grant(&kim, json!({ "name": "loop", "role": "batch", "member": "intern" })).await
        } else {
            kim.send("POST", "/v1/access/roles/loop/revoke", &[]).await
        };
        if answer.status != 200 {
            break answer;
        }
        changes += 1;
        assert!(changes < 200, "nothing bounds it");
    };
    assert!(changes >= 20, "{changes} changes and then: {}", slowed.text());
    assert_eq!((slowed.status, slowed.code().as_str()), (503, "overloaded"), "{}", slowed.text());
    assert_eq!(slowed.header("retry-after"), Some("1"));
    assert_eq!(slowed.header("haetae-decision"), None, "nothing was decided");
    assert!(slowed.text().contains("changes its access entries"), "{}", slowed.text());

    let lee = stage.person("de-bank", "lee", &["admin"]);
    let other = grant(&lee, json!({ "name": "once", "role": "batch", "member": "intern" })).await;
    assert_eq!(other.status, 200, "{}", other.text());
    assert_eq!(kim.send("GET", "/v1/access", &[]).await.status, 200, "it may look");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let again = grant(&kim, json!({ "name": "later", "role": "batch", "member": "intern" })).await;
    assert_eq!(again.status, 200, "{}", again.text());
}

#[tokio::test]
async fn what_a_refused_change_says_stands_nowhere_in_the_log() {
    let stage = Stage::start().await;
    let pool = stage.pool().await;
    let kim = stage.person("kr-retailer", "kim", &["admin"]);
    let issuer = "https://idp.example";
    for (path, body) in [
        ("roles", json!({ "role": "user", "actor": odd("|"), "issuer": issuer })),
        ("roles", json!({ "role": "user", "actor": "lee", "issuer": odd(" ") })),
        ("roles", json!({ "role": odd("@"), "member": "intern" })),
        ("roles", json!({ "role": "user", "member": odd("@") })),
        ("roles", json!({ "role": "user", "member": "intern", "name": odd("@") })),
        ("roles", json!({ "role": "user", "member": "intern", "name": odd("/") })),
        ("roles", json!({ "role": "user", "member": "intern", NAME: true })),
        ("roles", json!({ "role": "user", "member": "intern", "valid_from": NAME })),
        ("roles", json!({ "role": "user", "member": "intern", "valid_until": NAME })),
        ("roles", json!({ "role": "user", "member": [NAME] })),
        ("roles", json!({ "role": "user", "member": null, "note": NAME })),
        ("rows", with(&json!({ "out": NAME }))),
        ("rows", with(&json!({ "operations": [NAME] }))),
        ("rows", with(&json!({ "services": [odd("|")] }))),
        ("rows", with(&json!({ "services": [NAME] }))),
        ("rows", with(&json!({ "services": [NAME, NAME] }))),
        ("rows", with(&json!({ "services": [format!("haetae:{NAME}")] }))),
        ("rows", with(&json!({ "delegable": NAME }))),
        ("explain", json!({ NAME: 1 })),
        ("explain", json!({ "service": "x", "operation": "submit", "roles": NAME })),
    ] {
        let answer =
            kim.post(&format!("/v1/access/{path}"), &[], body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(!answer.text().contains(NAME), "{body}: {}", answer.text());
        assert!(answer.header("haetae-decision").is_some(), "{body}: a refusal is a record");
    }
    let path = format!("/v1/access/roles/{NAME}/revoke");
    let answer = kim.send("POST", &path, &[]).await;
    assert_eq!((answer.status, answer.text().contains(NAME)), (404, false), "{}", answer.text());
    assert_eq!(named(&pool).await, Vec::<String>::new());
}

/// The key at fault is named with its rule.
#[tokio::test]
async fn a_refused_change_says_which_key_is_wrong_and_what_may_stand_there() {
    let stage = Stage::shared().await;
    let kim = stage.person("kr-hospital", "kim", &["admin"]);
    let actor = json!({ "role": "user", "actor": odd("|"), "issuer": "https://idp.example" });
    let answer = grant(&kim, actor).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "body_invalid"));
    let rule =
        "`actor`: this is not the name of a person or service: up to 256 letters, digits and";
    assert!(answer.text().contains(rule), "{}", answer.text());
}

async fn grant(who: &Caller, body: Value) -> Answer {
    who.post("/v1/access/roles", &[], body.to_string().as_bytes()).await
}

/// The name with something in it that a name of ours has not.
fn odd(between: &str) -> String {
    format!("auth0{between}{NAME}")
}

fn with(changes: &Value) -> Value {
    let mut row = json!({ "out": "allow", "role": "batch", "services": ["llama-3.3-70b"], "operations": ["submit"] });
    for (key, value) in changes.as_object().unwrap() {
        row[key] = value.clone();
    }
    row
}

/// Leaves and texts of the log that have the name in them.
async fn named(pool: &PgPool) -> Vec<String> {
    let texts: Vec<Vec<u8>> =
        sqlx::query_scalar("select bytes from log_text").fetch_all(pool).await.unwrap();
    let texts = texts.into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let leaves = leaves(pool).await;
    assert!(leaves.len() > 20, "each refusal has one");
    texts.chain(leaves.iter().map(Value::to_string)).filter(|text| text.contains(NAME)).collect()
}

const NAME: &str = "kim.minsu-hosp";
