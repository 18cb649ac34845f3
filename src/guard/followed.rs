//! How far each lane was followed, on disk: what was seen once cannot be unseen by a restart.

use std::collections::BTreeMap;
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

/// What is kept of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub head: Head,
    /// Trees that were let in and are not proven yet: size, root, and since when (nanoseconds since 1970).
    pub noted: Vec<(u64, Hash, i64)>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    noted: Vec<WrittenTree>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTree {
    size: u64,
    root: String,
    since_ns: i64,
}

/// By origin; nothing when there is no file yet. An error says what is wrong with it, in words.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Kept>, String> {
    let wrong = |cause: String| format!("`{}`: {cause}", path.display());
    let text = disk::read(path).map_err(|cause| wrong(cause.to_string()))?;
    let Some(text) = text else { return Ok(BTreeMap::new()) };
    let written: Written =
        serde_json::from_slice(&text).map_err(|cause| wrong(cause.to_string()))?;
    if written.v != VERSION {
        return Err(wrong(format!("its version is {}", written.v)));
    }
    let mut lanes = BTreeMap::new();
    for WrittenLane { origin, size, root, forked, noted } in written.lanes {
        let digest = |root: &str| {
            root.parse().map_err(|_| wrong(format!("a root of `{origin}` is no digest")))
        };
        let head = Head { size, root: digest(&root)?, forked };
        let tree = |tree: &WrittenTree| Ok((tree.size, digest(&tree.root)?, tree.since_ns));
        let noted = noted.iter().map(tree).collect::<Result<_, String>>()?;
        lanes.insert(origin, Kept { head, noted });
    }
    Ok(lanes)
}

pub(super) fn write(path: &Path, lanes: BTreeMap<String, Kept>) -> std::io::Result<()> {
    let tree = |(size, root, since_ns): (u64, Hash, i64)| WrittenTree {
        size,
        root: root.to_string(),
        since_ns,
    };
    let lane = |(origin, kept): (String, Kept)| {
        let Head { size, root, forked } = kept.head;
        let noted = kept.noted.into_iter().map(tree).collect();
        WrittenLane { origin, size, root: root.to_string(), forked, noted }
    };
    let written = Written { v: VERSION, lanes: lanes.into_iter().map(lane).collect() };
    let text = serde_json::to_vec_pretty(&written).map_err(std::io::Error::other)?;
    disk::replace(path, &text)
}

const VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_followed_counts_when_it_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("followed.json");
        assert!(read(&path).unwrap().is_empty());
        let lanes = BTreeMap::from([("log.example/0".to_owned(), Kept::default())]);
        write(&path, lanes.clone()).unwrap();
        disk::faults::each(&path, || read(&path).is_err());
        assert_eq!(read(&path).unwrap(), lanes);
    }
}
