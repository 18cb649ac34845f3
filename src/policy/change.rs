//! Changes to the facts of a case: a path and a value, on a question's JSON.

use serde_json::Value;

/// What is wrong with a change, and how to mend it.
pub(crate) type Complaint = (String, String);

/// A TOML value as JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<Value, Complaint> {
    serde_json::to_value(value)
        .map_err(|error| (format!("a value is not JSON: {error}"), "write dates in quotes".into()))
}

/// Puts `value` at a path such as `components.0.categories`; `unset` as the value takes the key away.
pub(crate) fn set(facts: &mut Value, path: &str, value: Value) -> Result<(), Complaint> {
    let wrong = || {
        let mend = "write keys and indices with dots, as `site.remote_access.0.place`";
        (format!("there is nothing at `{path}` to change"), mend.to_owned())
    };
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut here = facts;
    for step in parents.split('.').filter(|step| !step.is_empty()) {
        here = match here {
            Value::Object(map) => {
                map.entry(step).or_insert_with(|| Value::Object(serde_json::Map::new()))
            }
            Value::Array(items) => item(items, step).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
    }
    match here {
        Value::Object(map) if value == Value::String(UNSET.into()) => {
            map.remove(last).map(drop).ok_or_else(wrong)
        }
        Value::Object(map) => {
            map.insert(last.to_owned(), value);
            Ok(())
        }
        Value::Array(items) => {
            *item(items, last).ok_or_else(wrong)? = value;
            Ok(())
        }
        _ => Err(wrong()),
    }
}

fn item<'a>(items: &'a mut [Value], index: &str) -> Option<&'a mut Value> {
    items.get_mut(index.parse::<usize>().ok()?)
}

/// A change to this word takes the fact away: it becomes unknown.
const UNSET: &str = "unset";
