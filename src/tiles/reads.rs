//! Who read which records, counted by minute, so that each reading is in the log and none for each bundle.
//!
//! *Invariant:* a record is given after its reading was counted, and what was counted is kept until the log has taken it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use crate::audit::{Act, ActKind, Audit};
use crate::caller::Caller;

/// What was read since the last time it was told.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<BTreeMap<Reader, Read>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reader {
    org: Arc<str>,
    actor: Arc<str>,
    lane: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Read {
    /// First index, and the one after the last; none when only texts were read.
    range: Option<(u64, u64)>,
    bundles: u64,
    texts: u64,
}

impl Reads {
    /// Counts records `from <= index < to` of a lane. False when so many read already that it cannot be counted.
    pub fn records(&self, caller: &Caller, lane: u16, from: u64, to: u64) -> bool {
        self.count(caller, lane, Read { range: Some((from, to)), bundles: 1, texts: 0 })
    }

    /// Counts a text, fetched beside the records of a lane.
    pub fn text(&self, caller: &Caller, lane: u16) -> bool {
        self.count(caller, lane, Read { range: None, bundles: 0, texts: 1 })
    }

    /// Leaves what was counted to be recorded, as of the minute that ended at `unix_s`.
    pub async fn tell(&self, audit: &Audit, unix_s: i64) {
        let counted = std::mem::take(&mut *self.lock());
        for (reader, read) in counted {
            let told = match audit.new_id() {
                Ok(event) => audit
                    .tell(&act(event, &reader, read, unix_s))
                    .await
                    .map_err(|cause| cause.to_string()),
                Err(cause) => Err(cause.to_string()),
            };
            if let Err(cause) = told {
                tracing::warn!(cause, "who read records could not be recorded; it is tried again");
                self.lock().entry(reader).or_default().add(read);
            }
        }
    }

    fn count(&self, caller: &Caller, lane: u16, read: Read) -> bool {
        let (org, actor) = (Arc::clone(&caller.org), Arc::clone(&caller.actor));
        let reader = Reader { org, actor, lane };
        let mut counted = self.lock();
        let room = counted.len() < READERS_MAX || counted.contains_key(&reader);
        if room {
            counted.entry(reader).or_default().add(read);
        }
        room
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Reader, Read>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    fn add(&mut self, other: Self) {
        self.range = match (self.range, other.range) {
            (Some((from, to)), Some((first, last))) => Some((from.min(first), to.max(last))),
            (one, other) => one.or(other),
        };
        self.bundles += other.bundles;
        self.texts += other.texts;
    }
}

/// The record's keys; docs/record.md says what they mean.
fn act(event: uuid::Uuid, reader: &Reader, read: Read, unix_s: i64) -> Act {
    let Reader { org, actor, lane } = reader;
    let minute = (unix_s - 1).div_euclid(60) * 60;
    let mut body = Map::new();
    for (key, value) in [
        ("act", json!("fetched")),
        ("org", json!(org)),
        ("of", json!(lane)),
        ("bundles", json!(read.bundles)),
        ("texts", json!(read.texts)),
        ("minute", json!(minute)),
        ("from", read.range.map_or(Value::Null, |(from, _)| json!(from))),
        ("to", read.range.map_or(Value::Null, |(_, to)| json!(to))),
    ] {
        if !value.is_null() {
            body.insert(key.to_owned(), value);
        }
    }
    Act { event, kind: ActKind::Read, people: vec![Arc::clone(actor)], body }
}

/// Readers and lanes of a minute: 100 bytes each.
const READERS_MAX: usize = 1_024;
