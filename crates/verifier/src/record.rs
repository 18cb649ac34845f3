//! One record: the bytes of a leaf as the values that are checked.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tlog::{Hash, bundle::LEAF_MAX};

use crate::{export::Digest, instant};

/// A leaf that has what every leaf has. Its other keys are read where they are needed.
#[derive(Debug)]
pub(crate) struct Record {
    pub lane: u64,
    pub index: u64,
    pub epoch: u64,
    /// Nanoseconds since 1970.
    pub at: i64,
    pub id: Id,
    pub kind: String,
    pub values: Map<String, Value>,
    /// Whether the bytes are the canonical form of the value.
    pub canonical: bool,
}

/// A lane as it was committed just before a heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub lane: u16,
    pub size: u64,
    pub root: Hash,
}

impl Head {
    fn of(head: &Value) -> Option<Self> {
        let number = |key: &str| head.get(key).and_then(Value::as_u64);
        let lane = u16::try_from(number("lane")?).ok()?;
        let root = head.get("root")?.as_str()?.parse().ok()?;
        Some(Self { lane, size: number("size")?, root })
    }
}

/// A record id: the 16 bytes of a UUID.
pub(crate) type Id = [u8; 16];

impl Record {
    /// Reads a leaf of version 1; the error names the key that is missing or wrong, `v` for another version, `length` for one
    /// that no bundle holds.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > LEAF_MAX {
            return Err("length");
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| "json")?;
        let canonical =
            is_plain(&value) && verdict::canonical(&value).is_ok_and(|again| again == bytes);
        let Value::Object(values) = value else { return Err("json") };
        if number(&values, "v") != Some(VERSION) {
            return Err("v");
        }
        Ok(Self {
            lane: number(&values, "lane").ok_or("lane")?,
            index: number(&values, "index").ok_or("index")?,
            epoch: number(&values, "epoch").ok_or("epoch")?,
            at: text(&values, "at").and_then(instant::parse).ok_or("at")?,
            id: text(&values, "id").and_then(id).ok_or("id")?,
            kind: text(&values, "kind").ok_or("kind")?.to_owned(),
            canonical,
            values,
        })
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        text(&self.values, key)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        number(&self.values, key)
    }

    pub(crate) fn digest(&self, key: &str) -> Option<Digest> {
        self.text(key).and_then(Digest::parse)
    }

    /// The id as it is written.
    pub(crate) fn id_text(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// What a heartbeat keeps of the lanes; nothing for other kinds.
    pub(crate) fn heads(&self) -> Vec<Head> {
        let heads = self.values.get("heads").filter(|_| self.kind == "heartbeat");
        let heads = heads.and_then(Value::as_array).into_iter().flatten();
        heads.filter_map(Head::of).collect()
    }

    /// The row of the query tables that repeats this record; `None` for kinds that have none.
    pub(crate) fn row(&self) -> Option<Map<String, Value>> {
        let keys = match self.kind.as_str() {
            "decision" => DECISION_ROW.as_slice(),
            "started" => STARTED_ROW.as_slice(),
            "ended" => ENDED_ROW.as_slice(),
            _ => return None,
        };
        let kept = |key: &&str| Some(((*key).to_owned(), self.values.get(*key)?.clone()));
        Some(keys.iter().filter_map(kept).collect())
    }
}

/// A lower-case UUID with hyphens.
pub(crate) fn id(text: &str) -> Option<Id> {
    let hyphens = [8, 13, 18, 23];
    let placed = text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == hyphens.contains(&at));
    let digits: Vec<u8> = text.bytes().filter_map(nibble).collect();
    let (pairs, _) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if text.len() == 36 && placed { bytes.try_into().ok() } else { None }
}

/// As it is written.
pub(crate) fn id_text(id: &Id) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in id.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Whether a record may hold it: no `null`, no `false`, no number but whole ones that every reader keeps exactly, no key that is
/// not ASCII.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Bool(true) => true,
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_u64().is_some_and(|number| number <= NUMBER_MAX),
        Value::Array(all) => all.iter().all(is_plain),
        Value::Object(all) => all.iter().all(|(key, value)| key.is_ascii() && is_plain(value)),
    }
}

fn text<'v>(values: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    values.get(key)?.as_str()
}

fn number(values: &Map<String, Value>, key: &str) -> Option<u64> {
    values.get(key)?.as_u64()
}

/// 2^53 - 1: docs/record.md, "Bytes".
const NUMBER_MAX: u64 = (1 << 53) - 1;
/// Version of the record format.
const VERSION: u64 = 1;

const DECISION_ROW: [&str; 17] = [
    "actor",
    "at",
    "bundle",
    "detail",
    "facts",
    "id",
    "index",
    "issuer",
    "kind",
    "lane",
    "operation",
    "org",
    "outcome",
    "reason",
    "rule",
    "service",
    "site",
];
const STARTED_ROW: [&str; 7] = ["at", "decision", "id", "identity", "index", "kind", "lane"];
const ENDED_ROW: [&str; 12] = [
    "at",
    "bytes_back",
    "bytes_out",
    "decision",
    "duration_ms",
    "how",
    "id",
    "index",
    "kind",
    "lane",
    "status",
    "why",
];
