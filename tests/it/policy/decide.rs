//! Proves what `haetae decide` reads and writes: one object or a list, errors beside decisions, and the published schemas.

use haetae::cli::decide::{self, DECISION_SCHEMA, QUESTION_SCHEMA};
use serde_json::{Value, json};
use verdict::told::Language;

use super::{bundle, seoul};

#[tokio::test]
async fn a_bad_question_in_a_list_leaves_the_others_judged() {
    let bundle = bundle().await;
    let mut typo = seoul();
    typo["id"] = json!("typo");
    typo["sight"] = json!({});
    let mut term = seoul();
    term["id"] = json!("term");
    term["components"][0]["categories"] = json!(["pd:Helth"]);
    let list = json!([typo, seoul(), term]).to_string();
    let answers = decide::decide(bundle, &list).unwrap();
    assert!(answers.any_decided());
    let answers = serde_json::to_value(&answers).unwrap();
    assert_eq!(answers[0]["id"], "typo");
    assert!(answers[0]["error"].as_str().unwrap().contains("unknown field `sight`"));
    assert_eq!(answers[1]["outcome"], "ALLOW");
    assert_eq!(answers[2]["id"], "term");
    assert!(answers[2]["error"].as_str().unwrap().contains("pd:Helth"), "{}", answers[2]);
}

#[tokio::test]
async fn the_example_questions_differ_in_one_login_and_in_the_answer() {
    let text = include_str!("../../../deploy/question-example.json");
    let answers = decide::decide(bundle().await, text).unwrap();
    let answers = serde_json::to_value(&answers).unwrap();
    assert_eq!((&answers[0]["outcome"], &answers[1]["outcome"]), (&json!("ALLOW"), &json!("DENY")));
    let reason = &answers[1]["reasons"][0];
    assert_eq!(reason["rule"], "R04");
    assert_eq!(reason["cell"]["flow"], "operator_access");
    assert_eq!(reason["cell"]["to"], "IN");
}

#[tokio::test]
async fn one_question_gives_one_object_and_a_broken_file_gives_none() {
    let bundle = bundle().await;
    let answer = decide::decide(bundle, &seoul().to_string()).unwrap();
    assert_eq!(serde_json::to_value(&answer).unwrap()["id"], "seoul, everything stays");
    assert!(decide::decide(bundle, "{\"at\": ").is_err());
    let twice = r#"{"id": "x", "at": "2026-11-20", "at": "2026-11-21"}"#;
    let answer = decide::decide(bundle, twice).unwrap();
    assert!(!answer.any_decided());
    assert!(
        serde_json::to_value(&answer).unwrap()["error"]
            .as_str()
            .unwrap()
            .contains("duplicate field")
    );
}

#[tokio::test]
async fn what_is_not_of_the_form_is_an_error_that_names_it() {
    let bundle = bundle().await;
    for (asked, error) in misshapen() {
        let answers = decide::decide(bundle, &asked);
        let answers =
            serde_json::to_value(answers.unwrap_or_else(|wrong| panic!("{asked}: {wrong}")))
                .unwrap();
        let answer = answers.get(0).unwrap_or(&answers);
        assert!(
            answer["error"].as_str().is_some_and(|said| said.contains(error)),
            "{asked}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_is_no_json_gives_no_answer() {
    let bundle = bundle().await;
    for (text, error) in [
        ("", "the question file is empty"),
        (" \n", "the question file is empty"),
        ("[{}", "the question file is not a JSON array"),
        ("[{},]", "the question file is not a JSON array"),
        ("{} {}", "the question file is not JSON"),
        ("// a question\n{}", "the question file is not JSON"),
        ("{\"subjects\": NaN}", "the question file is not JSON"),
    ] {
        let wrong = decide::decide(bundle, text).unwrap_err();
        assert!(wrong.to_string().starts_with(error), "{text}: {wrong}");
    }
    let marked = format!("\u{feff}{}", seoul());
    assert_eq!(
        serde_json::to_value(decide::decide(bundle, &marked).unwrap()).unwrap()["outcome"],
        "ALLOW",
        "a byte order mark is no part of the text"
    );
    assert!(decide::decide(bundle, "[]").unwrap().any_decided());
}

#[tokio::test]
async fn a_page_for_people_says_the_rule_the_fact_and_what_would_be_enough() {
    let mut asked = seoul();
    let consent = json!({"id": "consent-1", "regime": "KR.PIPA", "type": "kr.consent",
        "scope": {"categories": ["*"], "roles": ["*"], "recipients": ["*"], "places": ["*"]}, "level": "verified",
        "evidence": "ropa/17", "valid_from": "2026-01-01", "valid_until": "2026-11-01"});
    asked["site"]["backups"] = json!(["US"]);
    asked["grounds"] = json!([consent]);
    let answers =
        decide::decide(bundle().await, &json!([asked, {"id": "odd", "sight": 1}]).to_string())
            .unwrap();
    let page = answers.text(Language::English);
    for part in [
        "seoul, everything stays: DENY\n",
        "[rule R04: PIPA 28-8(1)1-4",
        "`site.backups[0]` = `US`; `grounds[0]` = `consent-1: over since 2026-11-01` (verified, ropa/17, since 2026-01-01, 323 days old)",
        "  to make it pass: Register a live `kr.consent` (KR.PIPA) that covers `kr-op` in US.\n",
        "  cell: `orders@1` KR.PIPA, copy -> US: DENY (R04)\n",
        "odd: error: ",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let page = answers.text(Language::Korean);
    for part in [
        "DENY (거부)",
        "[규칙 R04",
        "판단 근거: `site.backups[0]` = `US`",
        "2026-01-01부터, 323일 경과)",
        "통과하려면: ",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[tokio::test]
async fn what_an_allow_asks_for_is_said_with_its_time_and_its_end() {
    let mut asked = seoul();
    asked["site"]["backups"] = json!(["US"]);
    asked["grounds"] = json!([{"id": "contract-1", "regime": "KR.PIPA", "type": "kr.contract_disclosed",
        "scope": {"categories": ["*"], "roles": ["*"], "recipients": ["*"], "places": ["*"]}, "level": "verified",
        "evidence": "ropa/17", "valid_from": "2026-01-01", "valid_until": "2027-06-30",
        "details": {"disclosure_ref": "notice-3"}}]);
    let answers = decide::decide(bundle().await, &asked.to_string()).unwrap();
    let page = answers.text(Language::English);
    for part in [
        "ALLOW_WITH_OBLIGATIONS\n",
        "  obligation: Agree protective measures with the recipient beforehand and write them into the contract. [AGREE_PROTECTIVE_MEASURES_28-8(4): PIPA 28-8(4); Enforcement Decree 29-10]\n",
        "    due: before the first decision that asks for it; once.\n",
        "    closing: a person says what was done, with the digest of a document that shows it; no machine checks it.\n",
        "    closing: a machine finds it met when every such decision was carried by a `kr.contract_disclosed` with `disclosure_ref` on file;",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let page = answers.text(Language::Korean);
    for part in [
        "  의무: 국외 이전에 필요한 보호조치를",
        "    기한: 이를 요구하는 첫 결정 이전 (1회).\n",
        "    종결: ",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let json = serde_json::to_value(&answers).unwrap();
    assert_eq!(json["obligations"].as_array().unwrap().len(), 2, "codes for machines: {json}");
    assert!(json.get("duties").is_none() && json.get("meanings").is_none());
}

#[tokio::test]
async fn every_key_of_a_decision_stands_in_it() {
    let answer = decide::decide(bundle().await, "{}").unwrap();
    let answer = serde_json::to_value(&answer).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&answer),
        [
            "bundle",
            "cells",
            "facts_digest",
            "id",
            "obligations",
            "outcome",
            "reasons",
            "remedy",
            "valid_until"
        ]
    );
    assert_eq!((&answer["id"], &answer["valid_until"]), (&Value::Null, &Value::Null));
    assert_eq!(
        keys(&answer["reasons"][0]),
        ["basis", "cell", "citation", "code", "facts", "ground", "missing", "rule", "text"]
    );
}

#[tokio::test]
async fn the_schemas_fit_what_is_read_and_written() {
    let schema: Value = serde_json::from_str(QUESTION_SCHEMA).unwrap();
    assert_eq!(misfit(&schema, &schema, &seoul(), "question"), None);
    let mut typo = seoul();
    typo["site"]["locaton"] = json!("KR");
    assert!(misfit(&schema, &schema, &typo, "question").unwrap().contains("locaton"));

    let bundle = bundle().await;
    let schema: Value = serde_json::from_str(DECISION_SCHEMA).unwrap();
    let mut refused = seoul();
    refused["site"]["location"] = json!("US-VA");
    refused["site"]["telemetry"] = json!(["KR", "US"]);
    for asked in [seoul(), refused] {
        let answer = decide::decide(bundle, &asked.to_string()).unwrap();
        let answer = serde_json::to_value(&answer).unwrap();
        assert_eq!(misfit(&schema, &schema, &answer, "decision"), None);
    }
}

/// Questions that are not of the form, and what is said of each.
fn misshapen() -> Vec<(String, &'static str)> {
    let seoul = seoul().to_string();
    let base: Value = serde_json::from_str(&seoul).unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut asked = base.clone();
        *asked.pointer_mut(pointer).unwrap() = value;
        asked.to_string()
    };
    vec![
        (changed("/site", json!([])), "invalid type: sequence, expected an object"),
        (changed("/site/tee", json!([])), "invalid type: sequence, expected an object"),
        (changed("/subject", json!(["kr", "KR"])), "invalid type: sequence, expected an object"),
        (changed("/components/0", json!(null)), "invalid type: null, expected an object"),
        (changed("/purpose/recurring", json!("true")), "expected a boolean"),
        (changed("/site/backups", json!(null)), "expected a sequence"),
        (
            changed("/components/0/subjects", json!(-1)),
            "at `components[0].subjects`: invalid type: integer `-1`, expected a whole number from 0 to 9007199254740991",
        ),
        (
            changed("/components/0/subjects", json!(1.5)),
            "expected a whole number from 0 to 9007199254740991",
        ),
        (
            changed("/components/0/subjects", json!(1_u64 << 53)),
            "expected a whole number from 0 to 9007199254740991",
        ),
        (
            changed("/components/0/subjects", json!("7")),
            "expected a whole number from 0 to 9007199254740991",
        ),
        (
            changed("/subject/parents/0/share", json!(101)),
            "expected percent from 0 to 100 with at most four decimals",
        ),
        (
            changed("/site/accelerators/0/eccn", json!("3a090")),
            "at `site.accelerators[0].eccn`: `3a090` is no ECCN",
        ),
        (
            changed("/site/location", json!("UK")),
            "at `site.location`: `UK` is not a place of ISO 3166: did you mean `GB`?",
        ),
        (
            changed("/site/location", json!("Korea")),
            "at `site.location`: `Korea` is not a place of ISO 3166",
        ),
        (
            changed("/profile", json!("Statutory")),
            "unknown variant `Statutory`, expected `statutory` or `sovereign`",
        ),
        (
            changed("/at", json!("20-11-2026")),
            "`20-11-2026` is no date: write `2026-11-20` or `2026-11-20T09:00:00+09:00`",
        ),
        (seoul.replacen("orders@1", "orders\\ud800", 1), "unexpected end of hex escape"),
        (seoul.replacen("\"subjects\":120000", "\"subjects\":1e999", 1), "number out of range"),
        ("null".to_owned(), "invalid type: null, expected an object"),
        ("7".to_owned(), "invalid type: integer `7`, expected an object"),
        (format!("[{}{}]", "[".repeat(300), "]".repeat(300)), "expected an object"),
    ]
}

/// Why `value` does not fit `schema`, for the part of JSON Schema that ours use.
fn misfit(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return misfit(root, &root["$defs"][name], value, path);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| misfit(root, choice, value, path).is_none());
        return (!fits).then(|| format!("{path}: {value} fits no choice"));
    }
    if let Some(words) = schema["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{path}: {value} is none of {words:?}"));
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => panic!("{path}: the schema has no type"),
    };
    if !right {
        return Some(format!("{path}: {value} is not of type {}", schema["type"]));
    }
    if let Some(members) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten() {
            if members.get(required.as_str().unwrap()).is_none() {
                return Some(format!("{path}: {required} is missing"));
            }
        }
        for (key, member) in members {
            let Some(schema) = schema["properties"].get(key) else {
                return Some(format!("{path}: key {key} is not known"));
            };
            if let Some(found) = misfit(root, schema, member, &format!("{path}.{key}")) {
                return Some(found);
            }
        }
    }
    let items = value.as_array().into_iter().flatten();
    items
        .enumerate()
        .find_map(|(index, item)| misfit(root, &schema["items"], item, &format!("{path}[{index}]")))
}
