//! An allow: the site gets exactly the caller's bytes, and the answer carries decision, bundle and a receipt that proves
//! the record under the lane's key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat, eventually, number};

#[tokio::test]
async fn every_carried_route_reaches_its_site_with_a_record_that_the_receipt_proves() {
    let stage = Stage::shared().await;
    let (sites, caller) = (stage.sites(), stage.caller("kr-retailer"));
    for (path, operation, body) in asks() {
        let body = body.to_string();
        let answer = caller.post(path, &[ORDERS, SEOUL], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let leaf = stage.record_of(&answer).await;
        let id = answer.header("haetae-decision").unwrap();
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);

        let digest = Sha256::digest(body.as_bytes());
        let seen = sites.arrivals(body.as_bytes()).await;
        assert_eq!(seen.len(), 1, "{path}");
        let (site, seen) = &seen[0];
        assert_eq!((site.as_str(), seen.path.as_str()), ("kr-seo-1", path));
        assert_eq!((seen.decision.as_str(), seen.receipt), (id, true));

        let expected = json!({
            "kind": "decision", "outcome": leaf["outcome"], "org": "kr-retailer", "operation": operation,
            "site": "kr-seo-1", "body": STANDARD.encode(digest), "body_bytes": body.len(),
            "credential": "token", "network": "127.0.0.0/24", "protocol": "openai",
            "datasets": ["kr-retail/orders@1"],
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&leaf[key], value, "{path}: {key}");
        }
        assert!(leaf["outcome"].as_str().unwrap().starts_with("ALLOW"));
        assert_eq!(leaf["request"]["path"], path);
        let bundle = answer.header("haetae-bundle").unwrap();
        assert_eq!(bundle, format!("sha256:{}", hex_of(&leaf["bundle"])));
        assert!(response_head_bytes(&answer.headers) <= 3_500, "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_certificate_is_a_credential_of_its_own() {
    let stage = Stage::shared().await;
    let (sites, caller) = (stage.sites(), stage.certified("de-bank"));
    let body = chat().to_string();
    let asked = [("haetae-datasets", "de-bank/tickets@3"), ("haetae-site", "eu-fra-1")];
    let answer = caller.post(CHAT, &asked, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let leaf = stage.record_of(&answer).await;
    assert_eq!((&leaf["credential"], &leaf["org"]), (&json!("certificate"), &json!("de-bank")));
    assert_eq!(leaf.get("token"), None);
    let seen = sites.arrivals(body.as_bytes()).await;
    assert_eq!(seen.iter().map(|(site, _)| site.as_str()).collect::<Vec<_>>(), ["eu-fra-1"]);
}

#[tokio::test]
async fn a_whole_answer_keeps_its_length_and_ends_as_forwarded() {
    let stage = Stage::shared().await;
    let body = chat().to_string();
    let answer = stage.caller("kr-retailer").post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    let id: uuid::Uuid = answer.header("haetae-decision").unwrap().parse().unwrap();
    let pool = stage.pool().await;
    let select = "select how, status, bytes_out, bytes_back from row_ended where decision = $1";
    let mut ends: Vec<(String, Option<i32>, i64, i64)> = Vec::new();
    eventually("the end is on record", async || {
        ends = sqlx::query_as(select).bind(id).fetch_all(&pool).await.unwrap();
        !ends.is_empty()
    })
    .await;
    let bytes = |length: usize| i64::try_from(length).unwrap();
    let (out, back) = (bytes(body.len()), bytes(answer.body.len()));
    assert_eq!(ends, [("forwarded".to_owned(), Some(200), out, back)]);
}

#[tokio::test]
async fn models_are_those_that_the_caller_may_use_and_no_site_is_asked() {
    let stage = Stage::shared().await;
    let caller = stage.caller("kr-retailer");
    let list = caller.send("GET", "/v1/models", &[]).await;
    let mut ids: Vec<String> = list.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    assert_eq!((list.status, ids), (200, vec!["bge-m3".to_owned(), "llama-3.3-70b".to_owned()]));
    let one = caller.send("GET", "/v1/models/llama-3.3-70b", &[]).await;
    assert_eq!((one.status, one.json()["id"].as_str()), (200, Some("llama-3.3-70b")));
}

/// What the SDKs would send to each route, with bytes that nobody else sends.
pub fn asks() -> [(&'static str, &'static str, Value); 4] {
    let text = || format!("question {}", number());
    [
        (CHAT, "chat.completions", chat()),
        ("/v1/completions", "completions", json!({ "model": "llama-3.3-70b", "prompt": text() })),
        ("/v1/embeddings", "embeddings", json!({ "model": "llama-3.3-70b", "input": [text()] })),
        (
            "/v1/responses",
            "responses",
            json!({ "model": "llama-3.3-70b", "input": text(), "store": false }),
        ),
    ]
}

fn hex_of(base64: &Value) -> String {
    hex::encode(STANDARD.decode(base64.as_str().unwrap()).unwrap())
}

fn response_head_bytes(headers: &http::HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
