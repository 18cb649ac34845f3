//! How far each lane was when this process last saw it, on a disk that is not the database's.
//!
//! A restored backup, a promoted stale standby or a tail deleted with its head rewound is whole in itself; only somebody
//! who remembers more can tell. The file is written, whole and synced, before a checkpoint is published: whatever the world
//! has seen of a lane cannot be taken back unseen by the gateway itself.
//!
//! *Invariant:* a mark only rises; a lane whose database is behind its mark is never signed again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tlog::Hash;
use tokio::time::Instant;

use super::{AuditError, generation};
use crate::disk;

/// Size and root of a lane at some commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub size: u64,
    pub root: Hash,
}

/// The marks of all lanes, in memory and, where the configuration names one, in a file.
#[derive(Debug)]
pub(super) struct HighWater {
    path: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    marks: BTreeMap<u16, Mark>,
    /// System identifier and timeline of the database, as seen last.
    cluster: Option<String>,
    /// The one before it, and since when it is another: for the record that explains a rollback seen meanwhile.
    former: Option<(String, Instant)>,
    /// Something is not in the file yet.
    fresh: bool,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u64,
    cluster: Option<String>,
    lanes: Vec<WrittenMark>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMark {
    lane: u16,
    size: u64,
    root: String,
}

impl HighWater {
    /// Reads the file, if there is one.
    pub fn open(path: Option<&Path>) -> Result<Self, AuditError> {
        let wrong = |cause| {
            let path = path.map(|path| path.display().to_string()).unwrap_or_default();
            AuditError::HighWater { path, cause }
        };
        let text = path.map(disk::read).transpose().map_err(|cause| wrong(cause.to_string()))?;
        let known = text.flatten().map(|text| read(&text)).transpose().map_err(wrong)?;
        let known = known.unwrap_or_default();
        Ok(Self { path: path.map(Path::to_owned), known: Mutex::new(known) })
    }

    pub fn mark(&self, lane: u16) -> Option<Mark> {
        self.lock().marks.get(&lane).copied()
    }

    pub fn marks(&self) -> BTreeMap<u16, Mark> {
        self.lock().marks.clone()
    }

    /// The newest generation of a slot that was ever seen.
    pub fn newest(&self, slot: u16) -> Option<(u16, Mark)> {
        let known = self.lock();
        let mut of_slot = known.marks.iter().filter(|(lane, _)| generation::slot(**lane) == slot);
        of_slot.next_back().map(|(lane, mark)| (*lane, *mark))
    }

    /// The lane has this size and root, durably.
    pub fn raise(&self, lane: u16, mark: Mark) {
        let mut known = self.lock();
        let higher = known.marks.get(&lane).is_none_or(|old| old.size < mark.size);
        if higher {
            known.marks.insert(lane, mark);
            known.fresh = true;
        }
    }

    /// The database is this cluster; gives the one that was known when it is another.
    pub fn cluster(&self, now: &str) -> Option<String> {
        let mut known = self.lock();
        if known.cluster.as_deref() == Some(now) {
            return None;
        }
        known.fresh = true;
        let before = known.cluster.replace(now.to_owned());
        known.former = before.clone().map(|before| (before, Instant::now()));
        before
    }

    /// The cluster as it was known before the database was found to be another one, just now or not yet.
    pub fn known_cluster(&self) -> Option<String> {
        let known = self.lock();
        let former = known.former.as_ref().filter(|(_, since)| since.elapsed() < FORMER_MAX);
        former.map(|(before, _)| before.clone()).or_else(|| known.cluster.clone())
    }

    /// Brings the file up to the marks. Blocks for as long as the disk takes to sync.
    pub fn write(&self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if !self.lock().fresh {
            return Ok(());
        }
        // Another process that was given this file, while one takes over from the other, may know more: its marks stay.
        // Not synced for that: all of them are in what is written now.
        let theirs = match std::fs::read(path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => None,
            other => Some(read(&other?).map_err(std::io::Error::other)?),
        };
        for (lane, mark) in theirs.into_iter().flat_map(|theirs| theirs.marks) {
            self.raise(lane, mark);
        }
        let text = {
            let mut known = self.lock();
            known.fresh = false;
            text(&known)
        };
        // If we stop before it is done, the old file stands: its marks are lower, and still true.
        let done = disk::replace(path, text.as_bytes());
        if done.is_err() {
            self.lock().fresh = true;
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(known: &Known) -> String {
    let mark = |(lane, mark): (&u16, &Mark)| WrittenMark {
        lane: *lane,
        size: mark.size,
        root: mark.root.to_string(),
    };
    let lanes = known.marks.iter().map(mark).collect();
    let written = Written { v: VERSION, cluster: known.cluster.clone(), lanes };
    // Numbers and strings: this cannot fail.
    serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
}

fn read(text: &[u8]) -> Result<Known, String> {
    let written: Written = serde_json::from_slice(text).map_err(|cause| cause.to_string())?;
    if written.v != VERSION {
        return Err(format!("its version is {}", written.v));
    }
    let mut marks = BTreeMap::new();
    for WrittenMark { lane, size, root } in written.lanes {
        let root = root.parse().map_err(|_| format!("the root of lane {lane} is no digest"))?;
        marks.insert(lane, Mark { size, root });
    }
    Ok(Known { marks, cluster: written.cluster, former: None, fresh: false })
}

const VERSION: u64 = 1;
/// Claims, and the record that opens a generation, follow within seconds.
const FORMER_MAX: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    //! Marks rise, survive a restart, and a file that is not one refuses to start.

    use super::*;

    fn mark(size: u64) -> Mark {
        Mark { size, root: Hash::leaf(&size.to_be_bytes()) }
    }

    #[test]
    fn marks_rise_and_are_there_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water.json");
        let water = HighWater::open(Some(&path)).unwrap();
        water.write().unwrap();
        assert!(!path.exists(), "nothing to say yet");
        water.raise(0, mark(10));
        water.raise(0, mark(9));
        water.raise(1, mark(4));
        water.raise(16, mark(2));
        assert_eq!(water.cluster("7/1"), None);
        water.write().unwrap();
        let again = HighWater::open(Some(&path)).unwrap();
        assert_eq!(again.marks(), water.marks());
        assert_eq!((again.mark(0), again.newest(0)), (Some(mark(10)), Some((16, mark(2)))));
        assert_eq!((again.newest(1), again.newest(2)), (Some((1, mark(4))), None));
        assert_eq!(again.cluster("7/1"), None);
        assert_eq!(again.cluster("7/2").as_deref(), Some("7/1"));
    }

    /// One process takes over from another.
    #[test]
    fn what_another_wrote_there_is_not_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water.json");
        let [one, other] = [(); 2].map(|()| HighWater::open(Some(&path)).unwrap());
        one.raise(0, mark(10));
        one.write().unwrap();
        other.raise(0, mark(4));
        other.raise(1, mark(3));
        other.write().unwrap();
        assert_eq!(other.mark(0), Some(mark(10)));
        let again = HighWater::open(Some(&path)).unwrap();
        assert_eq!((again.mark(0), again.mark(1)), (Some(mark(10)), Some(mark(3))));
    }

    #[test]
    fn a_mark_that_is_not_on_the_disk_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water.json");
        let water = HighWater::open(Some(&path)).unwrap();
        water.raise(0, mark(10));
        water.write().unwrap();
        disk::faults::each(&path, || HighWater::open(Some(&path)).is_err());
        assert_eq!(HighWater::open(Some(&path)).unwrap().mark(0), Some(mark(10)));
    }

    #[test]
    fn a_file_that_is_not_one_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water.json");
        for text in [
            "",
            "{",
            r#"{"v":2,"cluster":null,"lanes":[]}"#,
            r#"{"v":1,"cluster":null,"lanes":[{"lane":0,"size":1,"root":"x"}]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let error = HighWater::open(Some(&path)).unwrap_err().to_string();
            assert!(
                error.contains("high-water.json") && error.contains("do not delete it"),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
