//! Refusals: of an identified caller each is a record before it is an answer, in the shape that the SDKs show; of anybody
//! else all look alike and none is one.

use haetae::demo::issuer::Mint;
use serde_json::json;
use sqlx::PgPool;

use super::allow::asks;
use crate::support::stage::{Answer, CHAT, ORDERS, SEOUL, Stage, VIRGINIA, chat, eventually};

#[tokio::test]
async fn a_refusal_by_rule_says_why_in_the_callers_language_and_proves_itself() {
    let stage = Stage::shared().await;
    let (sites, caller) = (stage.sites(), stage.caller("kr-retailer"));
    let body = chat().to_string();
    let answer = caller.post(CHAT, &[ORDERS, VIRGINIA], body.as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "data_residency_denied"));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let error = &answer.json()["error"];
    assert_eq!((&error["type"], &error["param"]), (&json!("permission_error"), &json!(null)));
    let (id, message) =
        (answer.header("haetae-decision").unwrap(), error["message"].as_str().unwrap());
    for part in [id, "R04", "kr-retail/orders@1", "KR.PIPA"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let leaf = stage.record_of(&answer).await;
    assert_eq!(
        (&leaf["outcome"], &leaf["rule"], &leaf["site"]),
        (&json!("DENY"), &json!("R04"), &json!(null))
    );
    assert_eq!(sites.arrivals(body.as_bytes()).await, []);

    let korean = [ORDERS, VIRGINIA, ("accept-language", "ko-KR,ko;q=0.9,en;q=0.5")];
    let answer = caller.post(CHAT, &korean, body.as_bytes()).await;
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(|c: char| ('가'..='힣').contains(&c)), "{message}");
}

#[tokio::test]
async fn every_refusal_of_an_identified_caller_is_a_row() {
    let stage = Stage::shared().await;
    let (pool, sites) = (stage.pool().await, stage.sites());
    let caller = stage.caller("kr-retailer");
    for (method, path, status, reason) in ROUTES {
        let answer = caller.send(method, path, &[]).await;
        is_row(&pool, &answer, (status, reason), &format!("{method} {path}")).await;
        let other = if method == "GET" { "POST" } else { "GET" };
        assert_eq!(answer.header("allow"), (status == 405).then_some(other), "{method} {path}");
    }
    let (site, nowhere) = (("haetae-site", "kr-seo-1"), ("haetae-site", "jp-tyo-9"));
    let facts: [(&[(&str, &str)], &str); 4] = [
        (&[("haetae-datasets", "kr-retail/not-registered@1"), site], "UNKNOWN_DATASET"),
        (&[("haetae-datasets", "de-bank/tickets@3"), site], "UNKNOWN_DATASET"),
        (&[ORDERS, nowhere], "PIN_REFUSED"),
        (&[("haetae-datasets", "not an id"), site], "DECLARATION_INVALID"),
    ];
    for (headers, reason) in facts {
        let body = chat().to_string();
        let answer = caller.post(CHAT, headers, body.as_bytes()).await;
        let status = if reason == "DECLARATION_INVALID" { 400 } else { 403 };
        is_row(&pool, &answer, (status, reason), &format!("{headers:?}")).await;
        assert_eq!(sites.arrivals(body.as_bytes()).await, [], "{headers:?}");
    }
    let mut other = chat();
    other["model"] = json!("gpt-4o");
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], other.to_string().as_bytes()).await;
    is_row(&pool, &answer, (403, "UNKNOWN_ORGANISATION"), "a model that is no service").await;
}

/// What the catalogue knows is nobody's to find out who has no right to it: an answer about somebody else's dataset or
/// model is that about one which does not exist, but for its name, its id and its proof.
#[tokio::test]
async fn what_one_has_no_right_to_looks_like_what_does_not_exist() {
    let stage = Stage::shared().await;
    let caller = stage.caller("kr-retailer");
    let (theirs, nobodys) = ("de-bank/tickets@3", "de-bank/tickats@3");
    let said = async |dataset: &str, more: &[(&str, &str)], english: bool| {
        let language = ("accept-language", if english { "en" } else { "ko" });
        let headers: Vec<(&str, &str)> = [("haetae-datasets", dataset), language]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let answer = caller.post(CHAT, &headers, chat().to_string().as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "unknown_dataset"), "{dataset}");
        let id = answer.header("haetae-decision").unwrap().to_owned();
        let leaf = stage.record_of(&answer).await;
        let (headers, body) = plain(answer);
        let mut headers: Vec<(String, String)> = headers
            .iter()
            .filter(|(name, _)| {
                !["haetae-receipt", "haetae-decision", "x-request-id"].contains(&name.as_str())
            })
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(&id));
        let seen =
            ["outcome", "reason", "rule", "site", "cells", "remedy"].map(|key| leaf[key].clone());
        (headers, body.replace(&id, "ID").replace(dataset, "DATASET"), seen)
    };
    let pin: [&[(&str, &str)]; 3] = [&[], &[SEOUL], &[VIRGINIA]];
    for more in pin {
        for english in [true, false] {
            let (one, other) =
                (said(theirs, more, english).await, said(nobodys, more, english).await);
            assert_eq!(one, other, "{theirs} {more:?}");
        }
        let (own, own_too) =
            (format!("kr-retail/orders@1, {theirs}"), format!("kr-retail/orders@1, {nobodys}"));
        let (one, other) = (said(&own, more, true).await, said(&own_too, more, true).await);
        assert_eq!((one.0, one.2), (other.0, other.2), "beside a dataset of its own");
    }
    // models: those of others are neither listed nor told apart from none
    let list = caller.send("GET", "/v1/models", &[]).await.text();
    for model in ["radiology", "tickets", "de-bank", "kr-hospital"] {
        assert!(!list.contains(model), "{model} in {list}");
    }
    let mut answers = Vec::new();
    for model in ["radiology-vlm", "radiology-vlx"] {
        let answer = caller.send("GET", &format!("/v1/models/{model}"), &[]).await;
        assert_eq!(answer.status, 404);
        let id = answer.header("haetae-decision").unwrap().to_owned();
        answers.push(answer.text().replace(&id, "ID").replace(model, "MODEL"));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn nobody_is_let_in_without_a_credential_and_all_defects_look_alike() {
    let stage = Stage::shared().await;
    let sites = stage.sites();
    let token = |mint| format!("Bearer {}", stage.world.token("kr-retailer", mint).unwrap());
    let right = token(Mint::Right(jsonwebtoken::Algorithm::EdDSA));
    let bare = right.strip_prefix("Bearer ").unwrap();
    let mut cut = right.clone();
    cut.truncate(right.len() - 3);
    let credentials = [
        None,
        Some(token(Mint::Forged)),
        Some(token(Mint::Expired)),
        Some(token(Mint::WrongAudience)),
        Some(cut),
        Some("Bearer not-a-token".to_owned()),
        Some(format!("Basic {bare}")),
        Some(bare.to_owned()),
    ];
    let mut said: Vec<(http::HeaderMap, bytes::Bytes)> = Vec::new();
    for credential in credentials {
        let caller = stage.with_authorization(credential.clone());
        for (path, _, body) in asks() {
            let body = body.to_string();
            let answer = caller.post(path, &[ORDERS, SEOUL], body.as_bytes()).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "unauthenticated"),
                "{path} {credential:?}"
            );
            assert_eq!(answer.header("haetae-decision"), None);
            assert_eq!(answer.header("haetae-receipt"), None);
            assert_eq!(sites.arrivals(body.as_bytes()).await, []);
            said.push(plain(answer));
        }
        for path in ["/v1/models", "/v1/models/llama-3.3-70b", "/v1/files", "/anything"] {
            let answer = caller.send("GET", path, &[]).await;
            assert_eq!(answer.status, 401, "{path} {credential:?}");
            said.push(plain(answer));
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].0.contains_key("www-authenticate"));
}

/// What can be told apart: everything but the date.
fn plain(mut answer: Answer) -> (http::HeaderMap, bytes::Bytes) {
    answer.headers.remove("date");
    (answer.headers, answer.body)
}

/// The answer is this refusal, with a receipt, and a row says the same.
pub async fn is_row(pool: &PgPool, answer: &Answer, (status, reason): (u16, &str), what: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (status, reason.to_lowercase()),
        "{what}: {}",
        answer.text()
    );
    assert_eq!(answer.header("x-should-retry"), Some("false"), "{what}");
    let id = answer.header("haetae-decision").unwrap_or_else(|| panic!("{what}: no decision"));
    let id: uuid::Uuid = id.parse().unwrap();
    assert!(answer.receipt().checkpoint.starts_with("demo.haetae.example/log/"), "{what}");
    let select = "select outcome, reason, site from row_decision where id = $1";
    let mut rows: Vec<(String, String, Option<String>)> = Vec::new();
    eventually("the refusal is a row", async || {
        rows = sqlx::query_as(select).bind(id).fetch_all(pool).await.unwrap();
        !rows.is_empty()
    })
    .await;
    assert_eq!(rows, [("DENY".to_owned(), reason.to_owned(), None)], "{what}");
}

/// Routes and methods that are not carried.
const ROUTES: [(&str, &str, u16, &str); 18] = [
    ("POST", "/v1/files", 403, "OPERATION_UNSUPPORTED"),
    ("GET", "/v1/files/file-1/content", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/uploads", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/batches", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/fine_tuning/jobs", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/audio/transcriptions", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/images/generations", 403, "OPERATION_UNSUPPORTED"),
    ("GET", "/v1/realtime", 403, "OPERATION_UNSUPPORTED"),
    ("GET", "/v1/responses/resp-1", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/chat/completions/", 403, "OPERATION_UNSUPPORTED"),
    ("POST", "/v1/rerank", 404, "ROUTE_UNKNOWN"),
    ("POST", "/chat/completions", 404, "ROUTE_UNKNOWN"),
    ("GET", "/demo/seen", 404, "ROUTE_UNKNOWN"),
    ("GET", "/metrics", 404, "ROUTE_UNKNOWN"),
    ("GET", "/v1/chat/completions", 405, "METHOD_REFUSED"),
    ("POST", "/v1/models", 405, "METHOD_REFUSED"),
    ("GET", "/v1/models/gpt-4o", 404, "UNKNOWN_ORGANISATION"),
    ("GET", "/v1/models?limit=9", 400, "PATH_INVALID"),
];
