//! What was let in, and what was not: a file of lines, each naming the one before it by digest.
//!
//! A line of canonical JSON for each use of a receipt, written before the service is reached, and for each refusal as far
//! as there is room in the minute. `haetae log reconcile` holds it against the log.
//!
//! *Invariant:* only ever appended to. A line that was changed or taken out breaks the chain at the next one.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::{GuardError, Refused, ticket::Proven};
use crate::clock::Clock;

/// One line. Keys in the order in which they are written, which is byte order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<'e> {
    /// Nanoseconds since 1970, by the guard's clock.
    pub at_ns: i64,
    /// How many refusals were not written one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Id of the decision, where a trusted log named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Cow<'e, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The lane's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Cow<'e, str>>,
    /// Where a refused request came from: /24 or /48.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Cow<'e, str>>,
    /// SHA-256 of the line before, in hex, without its newline; 64 zeros in the first.
    #[serde(default)]
    pub previous: Cow<'e, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Cow<'e, str>>,
    pub v: u64,
    pub what: What,
    /// Code of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'e, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The guard began to serve; nothing from before is let in.
    Started,
    /// A receipt was used.
    Consumed,
    Refused,
    /// Refusals of a minute that had no room of their own.
    RefusedMore,
}

impl<'e> Entry<'e> {
    const fn new(what: What, at_ns: i64) -> Self {
        Self {
            at_ns,
            count: None,
            decision: None,
            index: None,
            lane: None,
            network: None,
            previous: Cow::Borrowed(""),
            site: None,
            v: 1,
            what,
            why: None,
        }
    }

    pub(super) fn consumed(proven: &'e Proven<'_>, at_ns: i64) -> Self {
        Self {
            decision: Some(Cow::Borrowed(&proven.decision)),
            index: Some(proven.index),
            lane: Some(Cow::Borrowed(&proven.tree.origin)),
            ..Self::new(What::Consumed, at_ns)
        }
    }

    pub(super) fn refused(
        refused: Refused,
        decision: Option<&'e str>,
        network: &'e str,
        at_ns: i64,
    ) -> Self {
        Self {
            decision: decision.map(Cow::Borrowed),
            network: Some(Cow::Borrowed(network)),
            why: Some(Cow::Borrowed(refused.code())),
            ..Self::new(What::Refused, at_ns)
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal(Mutex<Pen>);

#[derive(Debug)]
struct Pen {
    file: File,
    /// Of the lines in the file: their bytes, and the digest of the last.
    length: u64,
    last: String,
    /// Lines that are not in the file yet, who hears of them, and the digest of the line that the next one follows.
    pending: Vec<u8>,
    together: Together,
    previous: String,
    /// Minute of the refusals counted here, how many had a line, and how many had none.
    minute: i64,
    written: u64,
    more: u64,
    dirty: bool,
}

/// How the writing of some lines went, once it is known.
type Together = Arc<OnceLock<Result<(), ErrorKind>>>;

impl Journal {
    /// Checks what is there, takes the file for this process alone, and says that the guard starts. `used` is told the lane and
    /// index of each receipt that was used since an instant.
    pub fn open(
        path: &Path,
        site: &str,
        (now_ns, since_ns): (i64, i64),
        mut used: impl FnMut(&str, u64),
    ) -> Result<Self, GuardError> {
        let wrong = |cause| GuardError::Journal { path: path.to_owned(), cause };
        let file =
            OpenOptions::new().create(true).append(true).read(true).open(path).map_err(wrong)?;
        file.try_lock().map_err(|cause| match cause {
            std::fs::TryLockError::Error(cause) => wrong(cause),
            std::fs::TryLockError::WouldBlock => {
                wrong(std::io::Error::new(ErrorKind::WouldBlock, "another guard writes it"))
            }
        })?;
        let (previous, length) = read(path, |entry| {
            let was_used = entry.what == What::Consumed && entry.at_ns >= since_ns;
            if let (true, Some(lane), Some(index)) = (was_used, &entry.lane, entry.index) {
                used(lane, index);
            }
        })?;
        // Half a line that a full disk left.
        file.set_len(length).map_err(wrong)?;
        let mut pen = Pen::new(file, previous, length);
        let start = Entry { site: Some(Cow::Borrowed(site)), ..Entry::new(What::Started, now_ns) };
        pen.write(start).map_err(wrong)?;
        Ok(Self(Mutex::new(pen)))
    }

    /// Returns when the line has left this process: a kill does not lose it, a power cut may lose the last second. If we stop
    /// before, the line is written by whoever is next.
    pub async fn write(&self, entry: Entry<'_>) -> std::io::Result<()> {
        let together = self.pen().push(entry)?;
        // Requests that are as far as this one add their lines, and the first of them that goes on writes all.
        tokio::task::yield_now().await;
        if let Some(outcome) = together.get() {
            return outcome.map_err(std::io::Error::from);
        }
        let mut pen = self.pen();
        // Somebody may have written it while we waited for the pen.
        together.get().map_or_else(|| pen.flush(), |outcome| outcome.map_err(std::io::Error::from))
    }

    /// The same for a refusal, at once: a stranger can send any number, so only some have a line.
    pub fn refusal(&self, entry: Entry<'_>) -> std::io::Result<()> {
        let mut pen = self.pen();
        pen.turn(entry.at_ns)?;
        if pen.written >= REFUSALS_A_MINUTE {
            pen.more += 1;
            return Ok(());
        }
        pen.written += 1;
        pen.write(entry)
    }

    /// Until the guard stops: what was written reaches the disk within a second.
    pub async fn keep(self: Arc<Self>, clock: Clock, stop: CancellationToken) {
        loop {
            let stopping = tokio::time::timeout(SYNC_EVERY, stop.cancelled()).await.is_ok();
            let (journal, now_ns) = (Arc::clone(&self), clock.unix_ns());
            let synced = tokio::task::spawn_blocking(move || journal.sync(now_ns)).await;
            if let Ok(Err(cause)) = synced {
                tracing::error!(%cause, "the journal cannot be brought to the disk");
            }
            if stopping {
                return;
            }
        }
    }

    fn sync(&self, now_ns: i64) -> std::io::Result<()> {
        let file = {
            let mut pen = self.pen();
            pen.turn(now_ns)?;
            pen.flush()?;
            if !std::mem::take(&mut pen.dirty) {
                return Ok(());
            }
            pen.file.try_clone()?
        };
        file.sync_data()
    }

    fn pen(&self) -> std::sync::MutexGuard<'_, Pen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pen {
    fn new(file: File, last: String, length: u64) -> Self {
        let (pending, together, previous) = (Vec::new(), Together::default(), last.clone());
        let (minute, written, more) = (0, 0, 0);
        Self { file, length, last, pending, together, previous, minute, written, more, dirty: true }
    }

    fn write(&mut self, entry: Entry<'_>) -> std::io::Result<()> {
        self.push(entry)?;
        self.flush()
    }

    /// Adds the line to those that are written next.
    fn push(&mut self, entry: Entry<'_>) -> std::io::Result<Together> {
        let start = self.pending.len();
        let entry = Entry { previous: Cow::Borrowed(&self.previous), ..entry };
        if let Err(cause) = serde_json::to_writer(&mut self.pending, &entry) {
            self.pending.truncate(start);
            return Err(cause.into());
        }
        let line = self.pending.get(start..).unwrap_or_default();
        self.previous = hex::encode(Sha256::digest(line));
        self.pending.push(b'\n');
        Ok(Arc::clone(&self.together))
    }

    /// Writes what is pending: all of it, or nothing stays in the file and everybody who waits hears of it.
    fn flush(&mut self) -> std::io::Result<()> {
        let lines = std::mem::take(&mut self.pending);
        let outcome = self.append(&lines);
        match &outcome {
            Ok(()) => self.last.clone_from(&self.previous),
            Err(_) => self.previous.clone_from(&self.last),
        }
        // Each is settled here and nowhere else, with the pen in hand.
        let told = outcome.as_ref().copied().map_err(std::io::Error::kind);
        let _first = std::mem::take(&mut self.together).set(told);
        // Its room is used again.
        self.pending = lines;
        self.pending.clear();
        outcome
    }

    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(cause) = self.file.write_all(lines) {
            // A full disk may have taken half of it.
            self.file.set_len(self.length)?;
            return Err(cause);
        }
        self.length += lines.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Says at the end of a minute how many refusals had no line.
    fn turn(&mut self, now_ns: i64) -> std::io::Result<()> {
        let minute = now_ns.div_euclid(MINUTE_NS);
        if minute == self.minute {
            return Ok(());
        }
        let more = std::mem::take(&mut self.more);
        (self.minute, self.written) = (minute, 0);
        if more == 0 {
            return Ok(());
        }
        self.write(Entry { count: Some(more), ..Entry::new(What::RefusedMore, now_ns) })
    }
}

/// Reads a journal and checks its chain.
///
/// # Errors
/// When it cannot be read, or a line is not what the next one says it was.
pub fn entries(path: &Path) -> Result<Vec<Entry<'static>>, GuardError> {
    let mut entries = Vec::new();
    read(path, |entry| entries.push(entry))?;
    Ok(entries)
}

/// Calls `each` for each entry; gives the digest of the last line and the number of bytes of whole lines.
fn read(path: &Path, mut each: impl FnMut(Entry<'static>)) -> Result<(String, u64), GuardError> {
    let wrong = |cause| GuardError::Journal { path: path.to_owned(), cause };
    let mut reader = BufReader::new(File::open(path).map_err(wrong)?);
    let (mut previous, mut bytes, mut number) = (FIRST.to_owned(), 0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(wrong)?;
        let Some(text) = line.strip_suffix(b"\n") else { return Ok((previous, bytes)) };
        number += 1;
        let broken = |cause| GuardError::Chain { path: PathBuf::from(path), line: number, cause };
        let entry: Entry<'static> =
            serde_json::from_slice(text).map_err(|_| broken("it is not a line of a journal"))?;
        if entry.previous != previous {
            return Err(broken("the line before it is not the one that it was written after"));
        }
        previous = hex::encode(Sha256::digest(text));
        bytes += read as u64;
        each(entry);
    }
}

const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const MINUTE_NS: i64 = 60_000_000_000;
/// 250 bytes each: a stranger who floods the site writes 216 MB a day at the very most.
const REFUSALS_A_MINUTE: u64 = 600;
const SYNC_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    //! Lines that are written together are one chain, and everybody who waits for one hears what became of it.

    use std::ops::Range;

    use futures_util::{FutureExt as _, future::join_all};
    use tokio_util::task::TaskTracker;

    use super::*;

    fn consumed(index: u64) -> Entry<'static> {
        Entry { index: Some(index), ..Entry::new(What::Consumed, 1) }
    }

    fn indexes(path: &Path) -> Vec<u64> {
        entries(path).unwrap().iter().filter_map(|entry| entry.index).collect()
    }

    /// Which of them were told that their lines are in the file, and which that they are not.
    async fn told(journal: Arc<Journal>, path: PathBuf, mine: Range<u64>) -> [Vec<u64>; 2] {
        let mut told = [Vec::new(), Vec::new()];
        for index in mine {
            let outcome = journal.write(consumed(index)).await;
            told[usize::from(outcome.is_err())].push(index);
            if index % 50 == 0 && outcome.is_ok() {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.contains(&format!("\"index\":{index},")), "before it goes on");
            }
        }
        told
    }

    /// Many threads at once, and a file that cannot be written for half of the time: as a disk that is full now and then.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_goes_on_has_its_line_in_one_chain_and_whoever_does_not_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = Arc::new(Journal::open(&path, "s-1", (1, 0), |_, _| ()).unwrap());
        let tracker = TaskTracker::new();
        let writers: Vec<_> = (0..8)
            .map(|n| {
                tracker.spawn(told(Arc::clone(&journal), path.clone(), n * 500..(n + 1) * 500))
            })
            .collect();
        let mut can_write = true;
        while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
            can_write = !can_write;
            journal.pen().file =
                OpenOptions::new().read(!can_write).append(can_write).open(&path).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (mut there, mut not) = (Vec::new(), Vec::new());
        for writer in join_all(writers).await {
            let [some, others] = writer.unwrap();
            there.extend(some);
            not.extend(others);
        }
        assert!(there.len() > 100 && not.len() > 100, "{} {}", there.len(), not.len());
        let mut kept = indexes(&path);
        kept.sort_unstable();
        there.sort_unstable();
        assert_eq!(kept, there);
    }

    #[tokio::test]
    async fn what_is_dropped_before_it_is_written_is_written_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = Journal::open(&path, "s-1", (1, 0), |_, _| ()).unwrap();
        assert!(journal.write(consumed(1)).now_or_never().is_none(), "it waits for others");
        assert_eq!(indexes(&path), [0; 0]);
        journal.refusal(consumed(2)).unwrap();
        assert_eq!(indexes(&path), [1, 2]);
    }

    #[tokio::test]
    async fn the_chain_goes_on_where_the_file_ends_when_lines_could_not_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = Journal::open(&path, "s-1", (1, 0), |_, _| ()).unwrap();
        journal.pen().file = File::open(&path).unwrap();
        let outcomes = join_all((0..5).map(|index| journal.write(consumed(index)))).await;
        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        journal.pen().file = OpenOptions::new().append(true).open(&path).unwrap();
        journal.write(consumed(7)).await.unwrap();
        assert_eq!(indexes(&path), [7]);
    }
}
