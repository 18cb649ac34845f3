//! The published schema of records (`haetae schema record`), and every record that a test reads held against it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use haetae::cli::schema::Schema;
use serde_json::Value;

/// The keys that it has are known, those that it must have are there, and digests and numbers are such.
pub fn check(record: &Value) {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(Schema::Record.text()).unwrap());
    let kind = record["kind"].as_str().unwrap();
    let of = &SCHEMA["$defs"][kind];
    let known = of["properties"].as_object();
    let known = known.unwrap_or_else(|| panic!("no schema for the kind `{kind}`: {record}"));
    for (key, value) in record.as_object().unwrap() {
        let Some(property) = known.get(key) else {
            // What an act says of itself is flat and not enumerated.
            assert!(record.get("event").is_some(), "`{kind}` has no `{key}`: {record}");
            assert!(!value.is_object() && !value.is_null(), "{record}");
            continue;
        };
        let fits = match property["$ref"].as_str() {
            Some("#/$defs/digest") => value.as_str().is_some_and(|text| text.len() == 44),
            Some("#/$defs/natural") => value.is_u64(),
            Some("#/$defs/uuid") => value.as_str().is_some_and(|text| text.len() == 36),
            _ => of_type(property, value),
        };
        assert!(fits, "`{key}` of `{kind}` is no {property}: {record}");
    }
    for key in of["required"].as_array().unwrap() {
        assert!(record.get(key.as_str().unwrap()).is_some(), "`{kind}` lacks {key}: {record}");
    }
}

fn of_type(property: &Value, value: &Value) -> bool {
    let same = property.get("const").is_none_or(|only| only == value);
    let known = property["enum"].as_array().is_none_or(|all| all.contains(value));
    let typed = match property["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    same && known && typed
}

#[test]
fn each_kind_is_said_once() {
    let text = Schema::Record.text();
    let schema: Value = serde_json::from_str(text).unwrap();
    let kinds: Vec<&str> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["$ref"].as_str().unwrap())
        .collect();
    let different: BTreeSet<&str> = kinds.iter().copied().collect();
    assert_eq!(different.len(), kinds.len(), "one of two equal ones never is `oneOf`");
    for kind in different {
        let kind = kind.strip_prefix("#/$defs/").unwrap();
        // JSON's readers take the last of two.
        assert_eq!(text.matches(&format!("\n  \"{kind}\": {{")).count(), 1, "{kind}");
    }
}
