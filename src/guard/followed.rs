//! How far each lane was followed, on disk: what was seen once cannot be unseen by a restart.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tlog::Hash;

use crate::disk;

/// The newest tree of a lane, or what contradicted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub size: u64,
    pub root: Hash,
    pub forked: Option<String>,
}

impl Default for Head {
    fn default() -> Self {
        Self { size: 0, root: Hash::EMPTY, forked: None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u64,
    lanes: Vec<WrittenLane>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLane {
    origin: String,
    size: u64,
    root: String,
    forked: Option<String>,
}

/// By origin; nothing when there is no file yet. An error says what is wrong with it, in words.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Head>, String> {
    let wrong = |cause: String| format!("`{}`: {cause}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    let written: Written = serde_json::from_str(&text).map_err(|cause| wrong(cause.to_string()))?;
    if written.v != VERSION {
        return Err(wrong(format!("its version is {}", written.v)));
    }
    let mut heads = BTreeMap::new();
    for WrittenLane { origin, size, root, forked } in written.lanes {
        let root =
            root.parse().map_err(|_| wrong(format!("the root of `{origin}` is no digest")))?;
        heads.insert(origin, Head { size, root, forked });
    }
    Ok(heads)
}

pub(super) fn write(path: &Path, heads: BTreeMap<String, Head>) -> std::io::Result<()> {
    let lane = |(origin, head): (String, Head)| {
        let Head { size, root, forked } = head;
        WrittenLane { origin, size, root: root.to_string(), forked }
    };
    let written = Written { v: VERSION, lanes: heads.into_iter().map(lane).collect() };
    let text = serde_json::to_vec_pretty(&written).map_err(std::io::Error::other)?;
    disk::replace(path, &text)
}

const VERSION: u64 = 1;
