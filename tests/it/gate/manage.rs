//! The management routes: nobody does an errand without the right to it, in no organisation but its own; every refusal is a
//! record; and the document says what the table of routes says.

use haetae::workload::haetae::{ROUTES, Row};
use serde_json::{Value, json};

use super::refuse::is_row;
use crate::support::stage::{Answer, Caller, Stage};

/// Walks the table, so a new route cannot be forgotten here.
#[tokio::test]
async fn no_management_route_is_open_to_who_has_no_right_to_it() {
    let stage = Stage::shared().await;
    let pool = stage.pool().await;
    let stranger = stage.with_authorization(None);
    // `admin` of one organisation with every role but the right one, and the right roles in words that mean nothing.
    for row in ROUTES {
        assert_eq!(ask(&stranger, row).await.status, 401, "{}", row.name);
        let Some(service) = row.service else { continue };
        let others: &[&str] = match service {
            "haetae:holds" | "haetae:obligations" => &["user", "admin"],
            _ => &["user", "reviewer"],
        };
        for roles in [&[][..], &["user"], others, &["auditor", "Reviewer", "root", "*"]] {
            let caller = stage.person("kr-retailer", "kim", roles);
            let answer = ask(&caller, row).await;
            let what = format!("{} as {roles:?}", row.name);
            is_row(&pool, &answer, (403, "ACCESS_DENIED"), &what).await;
            assert!(answer.text().contains(service), "{what}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn the_document_says_what_the_table_says() {
    let stage = Stage::shared().await;
    let answer = stage.caller("de-bank").send("GET", "/v1/openapi.json", &[]).await;
    assert_eq!(answer.status, 200);
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.push((method.to_uppercase(), path.clone(), operation["operationId"].clone()));
        }
    }
    for reference in references(&document) {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let table = |row: &Row| (row.method.to_owned(), row.path.to_owned(), json!(row.name));
    let mut expected: Vec<_> = ROUTES.iter().map(table).collect();
    described.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    expected.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    assert_eq!(described, expected);
}

#[tokio::test]
async fn what_is_not_in_the_table_is_refused_as_before() {
    let stage = Stage::shared().await;
    let (pool, caller) = (stage.pool().await, stage.person("kr-retailer", "lee", &["reviewer"]));
    let none = "00000000-0000-7000-8000-000000000000";
    for (method, path, status, reason) in [
        ("POST", "/v1/holds", 405, "METHOD_REFUSED"),
        ("GET", "/v1/holds/", 404, "ROUTE_UNKNOWN"),
        ("GET", "/v1/hold", 404, "ROUTE_UNKNOWN"),
        ("GET", "/v1/holds?org=de-bank", 400, "PATH_INVALID"),
        ("GET", "/v1/holds?state=any", 400, "PATH_INVALID"),
        ("GET", "/v1/holds?before=yesterday", 400, "PATH_INVALID"),
        ("GET", &format!("/v1/holds/{none}"), 404, "NOT_FOUND"),
        ("GET", "/v1/holds/nonsense", 404, "NOT_FOUND"),
    ] {
        let answer = caller.send(method, path, &[]).await;
        is_row(&pool, &answer, (status, reason), &format!("{method} {path}")).await;
    }
    let listed = caller.send("GET", "/v1/holds?state=open", &[]).await;
    assert_eq!((listed.status, listed.json()), (200, json!({ "holds": [] })));
}

/// Asks for a row with any id and an empty object where there is a body.
async fn ask(caller: &Caller, row: &Row) -> Answer {
    let path = row.path.replace("{id}", "00000000-0000-7000-8000-000000000000");
    if row.body_max_bytes == 0 {
        caller.send(row.method, &path, &[]).await
    } else {
        caller.post(&path, &[], b"{}").await
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            let own = object.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
