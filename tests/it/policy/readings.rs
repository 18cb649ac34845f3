//! Proves the reference packs' reading of about a thousand questions, each a known question with a few facts changed and
//! the outcome, the rules, the cell and the missing fact that were worked out by hand from the rules' sentences.
//!
//! A line of `readings/questions.jsonl`: `base` is a question of `readings/bases.json` in which all stays at home; `site`
//! moves everything at the site to a place; `grounds` adds grounds, each as what it has other than `usual_ground`; `set`
//! and `drop` change single facts by JSON pointer (RFC 6901).

use serde_json::{Map, Value, json};
use verdict::decision::Decision;

use super::{bundle, question};

#[tokio::test]
async fn a_thousand_questions_are_read_as_the_rules_say() {
    let bundle = bundle().await;
    let bases: Value = serde_json::from_str(include_str!("readings/bases.json")).unwrap();
    let mut wrong = Vec::new();
    for line in include_str!("readings/questions.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let decision = bundle.decide(&question(&asked(&bases, &line))).unwrap();
        let found = differences(&line, &decision);
        if !found.is_empty() {
            wrong.push(format!("{}: {}", line["name"], found.join(", ")));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn asked(bases: &Value, line: &Value) -> Value {
    let mut asked = bases[line["base"].as_str().unwrap()].clone();
    if let Some(place) = line["site"].as_str() {
        move_site(&mut asked["site"], place);
    }
    for (number, other) in list(&line["grounds"]).iter().enumerate() {
        asked["grounds"].as_array_mut().unwrap().push(ground(number, other));
    }
    for (pointer, value) in line["set"].as_object().into_iter().flatten() {
        let (holder, key) = holder(&mut asked, pointer);
        match holder {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
            holder => holder[key] = value.clone(),
        }
    }
    for pointer in list(&line["drop"]) {
        let (holder, key) = holder(&mut asked, pointer.as_str().unwrap());
        holder.as_object_mut().unwrap().remove(key).unwrap();
    }
    asked
}

/// Its building, copies, telemetry, control plane, operator and staff, and the place of its keys.
fn move_site(site: &mut Value, place: &str) {
    let country = place.split('-').next().unwrap();
    let operator = format!("{}-op", country.to_lowercase());
    site["id"] = json!(format!("{}-1", country.to_lowercase()));
    site["location"] = json!(place);
    for flow in ["control_plane", "backups", "telemetry"] {
        site[flow] = json!([country]);
    }
    site["operator"] =
        json!({"entity": operator, "seat": country, "parents": [{"place": country, "share": 100}]});
    site["remote_access"] = json!([{"place": country, "entity": operator, "plaintext": true}]);
    site["keys"]["place"] = json!(country);
}

/// `"absent"` takes a key away; `scope` names only the lists that are narrower than all.
fn ground(number: usize, other: &Value) -> Value {
    let mut ground = usual_ground();
    ground["id"] = json!(format!("g-{}-{number}", other["type"].as_str().unwrap()));
    for (key, value) in other.as_object().unwrap() {
        if value == "absent" {
            ground.as_object_mut().unwrap().remove(key).unwrap();
        } else if key == "scope" {
            let narrower: Map<_, _> = value.as_object().unwrap().clone();
            ground["scope"].as_object_mut().unwrap().extend(narrower);
        } else {
            ground[key] = value.clone();
        }
    }
    ground
}

fn usual_ground() -> Value {
    json!({"regime": "KR.PIPA", "level": "verified", "evidence": "doc", "suspended": false, "details": {},
        "scope": {"categories": ["*"], "roles": ["*"], "recipients": ["*"], "places": ["*"]},
        "valid_from": "2026-01-01", "valid_until": "2027-01-01"})
}

/// What holds the value at the pointer, and under which key.
fn holder<'a, 'b>(value: &'a mut Value, pointer: &'b str) -> (&'a mut Value, &'b str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    (value.pointer_mut(parent).unwrap(), key)
}

fn differences(line: &Value, decision: &Decision) -> Vec<String> {
    let decided = serde_json::to_value(decision).unwrap();
    let reasons = list(&decided["reasons"]);
    let mut found = Vec::new();
    if decided["outcome"] != line["outcome"] {
        found.push(format!("{} instead of {}", decided["outcome"], line["outcome"]));
    }
    for rule in list(&line["rules"]) {
        if !reasons.iter().any(|why| why["rule"] == *rule) {
            found.push(format!("no reason by {rule}"));
        }
    }
    let cells =
        |why: &Value| format!("{} {}", text(&why["cell"]["flow"]), text(&why["cell"]["to"]));
    if let Some(cell) = line["cell"].as_str()
        && !reasons.iter().any(|why| cells(why) == cell)
    {
        found.push(format!("no reason in the cell {cell}"));
    }
    let names = |why: &Value, fact: &str| {
        list(&why["missing"]).iter().any(|path| text(path).contains(fact))
    };
    if let Some(fact) = line["missing"].as_str()
        && !reasons.iter().any(|why| names(why, fact))
    {
        found.push(format!("`{fact}` is not said to be missing"));
    }
    if let Some(due) = line["obligations"].as_array() {
        let mut obliged = list(&decided["obligations"]).to_vec();
        obliged.sort_by_key(|code| text(code).to_owned());
        if obliged != *due {
            found.push(format!("obligations {obliged:?} instead of {due:?}"));
        }
    }
    if let Some(until) = line.get("valid_until")
        && decided["valid_until"] != *until
    {
        found.push(format!("valid until {} instead of {until}", decided["valid_until"]));
    }
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
