//! What is written otherwise in a rulebook: every value that was added, removed or changed, named by what it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use verdict::Rulebook;

/// One line for each difference: `+` added, `-` removed, `~` changed.
pub(super) fn written(before: &Rulebook, after: &Rulebook) -> Vec<String> {
    if before.digest() == after.digest() {
        return Vec::new();
    }
    let value = |book: &Rulebook| serde_json::to_value(book).unwrap_or_default();
    let mut lines = Vec::new();
    compare("", &value(before), &value(after), &mut lines);
    lines
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Some(before), Some(after)) = (parts(before), parts(after)) else {
        return lines.push(format!("~ {path}: {} -> {}", plain(before), plain(after)));
    };
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path} {key}") };
        match (before.get(key), after.get(key)) {
            (Some(before), Some(after)) => compare(&path, before, after, lines),
            (Some(before), None) => lines.push(format!("- {path}{}", said(key, before))),
            (None, Some(after)) => lines.push(format!("+ {path}{}", said(key, after))),
            (None, None) => {}
        }
    }
}

/// What a value consists of, each part by its name; `None` when it is one thing.
fn parts(value: &Value) -> Option<BTreeMap<String, &Value>> {
    match value {
        Value::Object(fields) => Some(fields.iter().map(|(key, it)| (key.clone(), it)).collect()),
        Value::Array(items) => {
            let mut parts = BTreeMap::new();
            for item in items {
                let mut name = name(item);
                // what cannot be told apart by name is told apart by being written out
                if parts.contains_key(&name) {
                    name = plain(item);
                }
                parts.insert(name, item);
            }
            Some(parts)
        }
        _ => None,
    }
}

/// By what an item of a list is known: `R05/1`, `kr.consent`, `EU.ADEQUATE EU.GDPR BR`.
fn name(item: &Value) -> String {
    let field = |key: &str| item.get(key).map(plain);
    match (field("rule"), field("number"), field("id")) {
        (Some(rule), Some(number), _) => format!("{rule}/{number}"),
        (_, _, Some(id)) => {
            let more = ["places", "measure"].into_iter().filter_map(field);
            let regime = item.get("places").and_then(|_| field("regime"));
            [id].into_iter().chain(regime).chain(more).collect::<Vec<_>>().join(" ")
        }
        _ => plain(item),
    }
}

/// After the name of what was added or removed; a word is its own name.
fn said(name: &str, value: &Value) -> String {
    let value = plain(value);
    if value == name { String::new() } else { format!(": {value}") }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(plain).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
