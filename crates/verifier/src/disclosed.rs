//! What a hidden field of a proven record says: value and salt make the digest again that stands in it (as in SD-JWT).
//!
//! *Invariant:* a disclosure shows what the record hides at that very field, all of it in its order, or it shows nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use verdict::decision::Text;

/// A field of a record, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub id: String,
    pub field: String,
    pub values: Vec<String>,
}

/// Why a disclosure shows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unshown {
    /// It is no disclosure of version 1.
    Unreadable,
    /// It is of another record.
    Elsewhere,
    /// The record hides nothing there, or another number of values.
    Field(String),
    /// This value, counted from 0, with its salt, does not give the record's digest.
    Digest(usize),
}

/// Holds a disclosure against the leaf that a proof carries; the proof is checked before.
pub fn check(document: &[u8], leaf: &[u8]) -> Result<Shown, Unshown> {
    let document: Value = serde_json::from_slice(document).map_err(|_| Unshown::Unreadable)?;
    let leaf: Map<String, Value> = serde_json::from_slice(leaf).map_err(|_| Unshown::Unreadable)?;
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    if text("format") != Some("haetae-disclosure") || document.get("v") != Some(&1.into()) {
        return Err(Unshown::Unreadable);
    }
    let same = |key: &str| document.get(key).is_some_and(|value| leaf.get(key) == Some(value));
    if !["id", "lane", "index"].into_iter().all(same) {
        return Err(Unshown::Elsewhere);
    }
    let field = text("field").ok_or(Unshown::Unreadable)?;
    let values = document.get("values").and_then(Value::as_array).ok_or(Unshown::Unreadable)?;
    let hidden = hidden(leaf.get(field)).filter(|all| all.len() == values.len());
    let hidden = hidden.ok_or_else(|| Unshown::Field(field.to_owned()))?;
    let mut shown = Vec::new();
    for (n, (value, digest)) in values.iter().zip(hidden).enumerate() {
        shown.push(open(value, digest).ok_or(Unshown::Digest(n))?);
    }
    Ok(Shown {
        id: text("id").unwrap_or_default().to_owned(),
        field: field.to_owned(),
        values: shown,
    })
}

/// The digests of a field: one, or those of its array.
fn hidden(field: Option<&Value>) -> Option<Vec<&str>> {
    match field? {
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        one => one.as_str().map(|digest| vec![digest]),
    }
}

/// The value, if it is what the digest hides.
fn open(value: &Value, digest: &str) -> Option<String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let salt: [u8; 16] = STANDARD.decode(text("salt")?).ok()?.try_into().ok()?;
    let value = text("value")?;
    let made = Sha256::new().chain_update(salt).chain_update(value).finalize();
    (STANDARD.encode(made) == digest && text("digest") == Some(digest)).then(|| value.to_owned())
}

impl Shown {
    #[must_use]
    pub fn text(&self) -> Text {
        let (id, field) = (self.id.escape_debug(), self.field.escape_debug());
        // Debug marks where a value begins and ends, and shows what cannot be seen.
        let values: Vec<String> = self.values.iter().map(|value| format!("{value:?}")).collect();
        let values = values.join(", ");
        Text {
            en: format!("disclosed: `{field}` of record {id} hides {values}"),
            ko: format!("공개됨: 기록 {id}의 `{field}`에 가려진 값은 {values}입니다"),
        }
    }
}

impl Unshown {
    #[must_use]
    pub fn text(&self) -> Text {
        match self {
            Self::Unreadable => Text {
                en: "NOT disclosed: the file is no disclosure of version 1".to_owned(),
                ko: "공개되지 않음: 버전 1의 공개 파일이 아닙니다".to_owned(),
            },
            Self::Elsewhere => Text {
                en: "NOT disclosed: it is of another record than the proof".to_owned(),
                ko: "공개되지 않음: 증명과 다른 기록에 대한 것입니다".to_owned(),
            },
            Self::Field(field) => {
                let field = field.escape_debug();
                Text {
                    en: format!(
                        "NOT disclosed: the record does not hide so many values at `{field}`"
                    ),
                    ko: format!("공개되지 않음: 기록의 `{field}`에 가려진 값의 수가 다릅니다"),
                }
            }
            Self::Digest(n) => Text {
                en: format!(
                    "NOT disclosed: value {n} with its salt does not give the record's digest: it was changed"
                ),
                ko: format!(
                    "공개되지 않음: {n}번 값과 솔트로 기록의 다이제스트가 나오지 않습니다. 값이 바뀌었습니다"
                ),
            },
        }
    }

    /// The published code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable => "disclosure",
            Self::Elsewhere => "disclosure_elsewhere",
            Self::Field(_) => "disclosure_field",
            Self::Digest(_) => "disclosure_digest",
        }
    }
}

#[cfg(test)]
mod tests {
    //! A disclosure shows what the record hides, and anything changed in it shows nothing.

    use serde_json::json;

    use super::*;

    fn digest(salt: u8, value: &str) -> String {
        STANDARD.encode(Sha256::new().chain_update([salt; 16]).chain_update(value).finalize())
    }

    fn shown(salt: u8, value: &str) -> Value {
        json!({ "digest": digest(salt, value), "salt": STANDARD.encode([salt; 16]), "value": value })
    }

    #[test]
    fn shows_what_the_record_hides_and_nothing_else() {
        let leaf = json!({ "id": "i", "lane": 0, "index": 7, "actor": digest(1, "kim"),
            "people": [digest(2, "lee"), digest(3, "park")], "org": "o" });
        let leaf = serde_json::to_vec(&leaf).unwrap();
        let whole = |field: &str, values: Value| {
            json!({ "format": "haetae-disclosure", "v": 1, "id": "i", "lane": 0, "index": 7, "field": field,
                "values": values })
        };
        let check = |document: &Value| check(&serde_json::to_vec(document).unwrap(), &leaf);
        let right = whole("actor", json!([shown(1, "kim")]));
        assert_eq!(check(&right).unwrap().values, ["kim"]);
        let both = whole("people", json!([shown(2, "lee"), shown(3, "park")]));
        assert_eq!(check(&both).unwrap().values, ["lee", "park"]);

        let changed = |key: &str, value: Value| {
            let mut document = right.clone();
            document[key] = value;
            check(&document).unwrap_err()
        };
        assert_eq!(changed("format", json!("x")), Unshown::Unreadable);
        assert_eq!(changed("v", json!(2)), Unshown::Unreadable);
        assert_eq!(changed("index", json!(8)), Unshown::Elsewhere);
        assert_eq!(changed("id", json!("j")), Unshown::Elsewhere);
        assert_eq!(changed("field", json!("people")), Unshown::Field("people".into()));
        assert_eq!(changed("field", json!("org")), Unshown::Digest(0));
        assert_eq!(changed("values", json!([shown(1, "lee")])), Unshown::Digest(0));
        assert_eq!(changed("values", json!([shown(2, "kim")])), Unshown::Digest(0));
        assert_eq!(changed("values", json!([])), Unshown::Field("actor".into()));
        // Salt and value moved against each other give the same bytes to hash.
        let mut moved = shown(1, "kim");
        moved["salt"] = STANDARD.encode([[1; 16].as_slice(), b"k"].concat()).into();
        moved["value"] = "im".into();
        assert_eq!(changed("values", json!([moved])), Unshown::Digest(0));
        let swapped = whole("people", json!([shown(3, "park"), shown(2, "lee")]));
        assert_eq!(check(&swapped), Err(Unshown::Digest(0)));
    }
}
