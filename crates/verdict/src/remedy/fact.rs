//! What an unknown fact might be: values to try, by the key under which it is missing, and how to put one in its place.
//!
//! A value that is enough shows that the fact is all that is wanting. It is an example, not advice to say so.

use alloc::{format, string::String, vec, vec::Vec};
use serde_json::{Value, json};

use crate::{evaluate::View, question::Question, stamp::Stamp};

/// The question with the fact stated: `None` when there is no such place or the value does not fit there.
pub(super) fn state(question: &Question, path: &str, value: &Value) -> Option<Question> {
    let mut whole = serde_json::to_value(question).ok()?;
    let mut here = &mut whole;
    for step in path.split('.') {
        let (key, places) = step.split_once('[').map_or((step, ""), |(key, rest)| (key, rest));
        here = here.as_object_mut()?.entry(key).or_insert(Value::Null);
        for place in places.split('[').filter(|place| !place.is_empty()) {
            here = here.get_mut(place.strip_suffix(']')?.parse::<usize>().ok()?)?;
        }
    }
    *here = value.clone();
    serde_json::from_value(whole).ok()
}

/// Values that a fact of this name may have, the likeliest first; none for what only its holder can say.
pub(super) fn candidates(view: View<'_>, path: &str) -> Vec<Value> {
    let key = path.rsplit('.').next().unwrap_or(path);
    let now = || Stamp::at(view.at).map_or(Value::Null, |now| json!(now));
    match key {
        "location" | "place" | "seat" => places(view),
        "entity" => {
            view.site.operator.iter().filter_map(|own| Some(json!(own.entity.as_ref()?))).collect()
        }
        "valid_until" | "active_until" | "until" => vec![Value::Null],
        "valid_from" | "effective_from" | "at" if path != "at" => vec![now()],
        "checked_at" => vec![now()],
        "disclosure_ref"
        | "approver"
        | "approval_ref"
        | "impact_assessment_ref"
        | "instruction_ref"
        | "licence_ref"
        | "statute_ref" => vec![json!("*")],
        "info_provided" | "single" | "separate_consent" => vec![json!(true)],
        "tia" => vec![json!({"outcome": "no_problem", "at": now()})],
        "outcome" => vec![json!("no_problem")],
        "dpf" => vec![json!({"active_until": null, "hr": true})],
        "baa" => vec![json!({"valid_until": null})],
        "share" | "subjects" | "sensitive_subjects" => vec![json!(0)],
        "class" => vec![json!("confidential"), json!("public")],
        "identifiability" => vec![json!("personal"), json!("non_personal")],
        "workload" => vec![json!("infer"), json!("etl")],
        "role" => vec![json!("entrustment")],
        "profile" => vec![json!("statutory")],
        "code" => vec![json!("dpv:ServiceProvision")],
        "holder" => vec![json!("customer")],
        "eccn" => vec![json!("EAR99")],
        "system_grade" => vec![json!("low")],
        "grade" => vec![json!("high")],
        "tee" => vec![json!({"verdict": "affirming", "at": now(), "nonce_ok": true})],
        "keys" => places(view)
            .into_iter()
            .map(|place| json!({"holder": "customer", "place": place, "in_use": true}))
            .collect(),
        _ => Vec::new(),
    }
}

/// Where the data comes from, and where the subject and the operator are.
fn places(view: View<'_>) -> Vec<Value> {
    let components = view.question.components.iter();
    let operator = view.site.operator.as_ref().and_then(|own| own.seat.as_ref());
    let mut places: Vec<&String> = components
        .flat_map(|component| &component.origins)
        .chain(&view.question.subject.seat)
        .chain(operator)
        .collect();
    let mut seen: Vec<&String> = Vec::new();
    places.retain(|place| {
        let is_new = !seen.contains(place);
        seen.push(place);
        is_new
    });
    places.into_iter().take(PLACES_MAX).map(|place| json!(place)).collect()
}

/// As a reader sees it in a sentence.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("{value}"), String::from)
}

const PLACES_MAX: usize = 3;
