//! What was let in, and what was not: a file of lines, each naming the one before it by digest.
//!
//! A line of canonical JSON for each use of a receipt, written before the service is reached, and for each refusal as far
//! as there is room in the minute. `haetae log reconcile` holds it against the log.
//!
//! *Invariant:* only ever appended to. A line that was changed or taken out breaks the chain at the next one. A use goes on only while
//! some line of the last [`LOST_NS`] is known to be on the disk: so what a power cut can take away is bounded, and after one nothing is let
//! in that may have been used in that time, whatever the clock says then.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{GuardError, ticket::Proven};
use crate::clock::Clock;
use crate::disk;

mod pen;
mod read;
mod torn;

pub use read::entries;

use pen::Pen;

/// One line. Keys in the order in which they are written, which is byte order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<'e> {
    /// Nanoseconds since 1970, by the guard's clock.
    pub at_ns: i64,
    /// Of the machine, as long as it runs: what was written under another may have lost its end with the power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Cow<'e, str>>,
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
    /// SHA-256, in hex, of what the power cut off and spoilt: it stands in a file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Cow<'e, str>>,
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
            boot: None,
            count: None,
            decision: None,
            index: None,
            lane: None,
            network: None,
            previous: Cow::Borrowed(""),
            site: None,
            torn: None,
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
        why: &'e str,
        decision: Option<&'e str>,
        network: &'e str,
        at_ns: i64,
    ) -> Self {
        Self {
            decision: decision.map(Cow::Borrowed),
            network: Some(Cow::Borrowed(network)),
            why: Some(Cow::Borrowed(why)),
            ..Self::new(What::Refused, at_ns)
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    pen: Mutex<Pen>,
    /// Whoever brings the lines to the disk; the others wait and find theirs there.
    turn: tokio::sync::Mutex<()>,
}

/// When the guard starts, and by what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'s> {
    pub site: &'s str,
    /// Of the machine, where it can be told.
    pub boot: Option<&'s str>,
    pub now_ns: i64,
    /// Uses from here on are remembered.
    pub since_ns: i64,
    /// What the gateway's clock may be ahead.
    pub skew_ns: i64,
}

impl Journal {
    /// Checks what is there, takes the file for this process alone, and says that the guard starts. `used` is told the lane and
    /// index of each receipt that was used since an instant. Gives the instant before which no record is let in: that of the
    /// start, and after a power cut none that may have been used in what was lost.
    pub fn open(
        path: &Path,
        start: Start<'_>,
        mut used: impl FnMut(&str, u64),
    ) -> Result<(Self, i64), GuardError> {
        let wrong = |cause| GuardError::Journal { path: path.to_owned(), cause };
        let file =
            OpenOptions::new().create(true).append(true).read(true).open(path).map_err(wrong)?;
        file.try_lock().map_err(|cause| match cause {
            std::fs::TryLockError::Error(cause) => wrong(cause),
            std::fs::TryLockError::WouldBlock => {
                wrong(std::io::Error::new(ErrorKind::WouldBlock, "another guard writes it"))
            }
        })?;
        let mut each = |entry: &Entry<'_>| {
            let was_used = entry.what == What::Consumed && entry.at_ns >= start.since_ns;
            if let (true, Some(lane), Some(index)) = (was_used, &entry.lane, entry.index) {
                used(lane, index);
            }
        };
        let there = read::chain(path, |entry| each(&entry))?;
        let torn = there.broken.as_ref().map(|broken| torn::aside(path, &there, broken, &mut each));
        let torn = torn.transpose()?;
        let newest_ns = torn.as_ref().and_then(|torn| torn.newest_ns).max(there.newest_ns);
        let may_lack =
            torn.is_some() || start.boot.is_none() || there.boot.as_deref() != start.boot;
        let lost_ns = newest_ns.filter(|_| may_lack).unwrap_or(i64::MIN);
        let not_before_ns = lost_ns.saturating_add(LOST_NS + start.skew_ns).max(start.now_ns);
        // Half a line that a full disk left, or what now stands beside.
        file.set_len(there.bytes).map_err(wrong)?;
        let mut pen = Pen::new(file, there.last, there.bytes);
        pen.write(&Entry {
            boot: start.boot.map(Cow::Borrowed),
            site: Some(Cow::Borrowed(start.site)),
            torn: torn.map(|torn| Cow::Owned(torn.digest)),
            ..Entry::new(What::Started, start.now_ns)
        })
        .and_then(|()| pen.sync())
        .and_then(|()| disk::sync_directory(path))
        .map_err(wrong)?;
        Ok((Self { pen: Mutex::new(pen), turn: tokio::sync::Mutex::default() }, not_before_ns))
    }

    /// Returns when the line has left this process, and some line of the last [`LOST_NS`] has reached the disk: a kill does not lose
    /// it, and a power cut loses no more than that time. If we stop before, the line is written by whoever is next.
    pub async fn write(self: &Arc<Self>, entry: Entry<'_>) -> std::io::Result<()> {
        let at_ns = entry.at_ns;
        // A disk that is slow must not make what a power cut can spoil longer.
        if self.pen().is_overdue(at_ns) {
            self.bring(at_ns).await?;
        }
        let together = self.pen().push(&entry)?;
        // Requests that are as far as this one add their lines, and the first of them that goes on writes all.
        tokio::task::yield_now().await;
        let is_late = {
            let mut pen = self.pen();
            // Somebody may have written it while we waited for the pen.
            let outcome = together.get().copied();
            outcome.map_or_else(|| pen.flush(), |outcome| outcome.map_err(Into::into))?;
            pen.is_late(at_ns)
        };
        if is_late { self.bring(at_ns).await } else { Ok(()) }
    }

    /// Brings all lines to the disk, unless somebody did since.
    async fn bring(self: &Arc<Self>, at_ns: i64) -> std::io::Result<()> {
        let _turn = self.turn.lock().await;
        {
            let pen = self.pen();
            pen.is_sound()?;
            if !pen.is_overdue(at_ns) && !pen.is_late(at_ns) {
                return Ok(());
            }
        }
        let journal = Arc::clone(self);
        let synced = tokio::task::spawn_blocking(move || journal.sync()).await;
        synced.map_err(std::io::Error::other)?
    }

    /// The same for a refusal, at once: a stranger can send any number, so only some have a line.
    pub fn refusal(&self, entry: &Entry<'_>) -> std::io::Result<()> {
        let mut pen = self.pen();
        pen.turn(entry.at_ns)?;
        pen.refusal(entry)
    }

    /// Why nothing is let in any more, until the guard is started again.
    pub fn trouble(&self) -> Option<String> {
        self.pen().is_sound().err().map(|cause| cause.to_string())
    }

    /// Until the guard stops: what was written reaches the disk within a second.
    pub async fn keep(self: Arc<Self>, clock: Clock, stop: CancellationToken) {
        loop {
            let stopping = tokio::time::timeout(SYNC_EVERY, stop.cancelled()).await.is_ok();
            let (journal, now_ns) = (Arc::clone(&self), clock.unix_ns());
            let _turn = self.turn.lock().await;
            let synced = tokio::task::spawn_blocking(move || {
                journal.pen().turn(now_ns)?;
                journal.sync()
            });
            if let Ok(Err(cause)) = synced.await {
                tracing::error!(%cause, "the journal cannot be brought to the disk");
            }
            if stopping {
                return;
            }
        }
    }

    /// Blocks for as long as the disk takes; others may write meanwhile.
    fn sync(&self) -> std::io::Result<()> {
        let Some((file, upto)) = self.pen().unsynced()? else { return Ok(()) };
        let synced = file.sync_data();
        self.pen().synced(upto, synced)
    }

    fn pen(&self) -> std::sync::MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes with each start of the machine; nothing where that cannot be told.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= 64)
}

/// No more of the newest lines is lost, or spoilt, by a power cut.
const LOST_NS: i64 = 2_000_000_000;
const SYNC_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    //! Lines that are written together are one chain, and everybody who waits for one hears what became of it.

    use std::fs::File;
    use std::ops::Range;
    use std::path::PathBuf;

    use futures_util::{FutureExt as _, future::join_all};
    use sha2::{Digest as _, Sha256};
    use tokio_util::task::TaskTracker;

    use super::*;

    fn consumed(index: u64) -> Entry<'static> {
        Entry { index: Some(index), ..Entry::new(What::Consumed, 1) }
    }

    fn start(now_ns: i64, boot: &str) -> Start<'_> {
        Start { site: "s-1", boot: Some(boot), now_ns, since_ns: 0, skew_ns: SKEW_NS }
    }

    fn open(path: &Path) -> Arc<Journal> {
        Arc::new(Journal::open(path, start(1, "a"), |_, _| ()).unwrap().0)
    }

    const SKEW_NS: i64 = 5_000_000_000;

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
        let journal = open(&path);
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
        let journal = open(&path);
        assert!(journal.write(consumed(1)).now_or_never().is_none(), "it waits for others");
        assert_eq!(indexes(&path), [0; 0]);
        journal.refusal(&consumed(2)).unwrap();
        assert_eq!(indexes(&path), [1, 2]);
    }

    #[tokio::test]
    async fn the_chain_goes_on_where_the_file_ends_when_lines_could_not_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = open(&path);
        journal.pen().file = File::open(&path).unwrap();
        let outcomes = join_all((0..5).map(|index| journal.write(consumed(index)))).await;
        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        journal.pen().file = OpenOptions::new().append(true).open(&path).unwrap();
        journal.write(consumed(7)).await.unwrap();
        assert_eq!(indexes(&path), [7]);
    }

    fn used(index: u64, at_ns: i64) -> Entry<'static> {
        Entry { lane: Some("log/0".into()), ..Entry { at_ns, ..consumed(index) } }
    }

    /// A journal with so many uses a tenth of a second apart, the first at 10 s.
    async fn kept(path: &Path, uses: u64) -> Vec<u8> {
        let journal = open(path);
        for (index, at_ns) in (0..uses).zip((10 * S..).step_by(100_000_000)) {
            journal.write(used(index, at_ns)).await.unwrap();
        }
        std::fs::read(path).unwrap()
    }

    const S: i64 = 1_000_000_000;

    #[tokio::test]
    async fn after_a_power_cut_nothing_is_let_in_that_may_have_been_used_in_what_was_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let bytes = kept(&path, 5).await;
        let newest = 10 * S + 4 * S / 10;
        // The clock of the machine is behind when it comes up, or right, or much later.
        let bound = newest + LOST_NS + SKEW_NS;
        for (now, boot, expected) in
            [(8 * S, "a", 8 * S), (8 * S, "b", bound), (11 * S, "b", bound), (60 * S, "b", 60 * S)]
        {
            std::fs::write(&path, &bytes).unwrap();
            let (_journal, not_before) = Journal::open(&path, start(now, boot), |_, _| ()).unwrap();
            assert_eq!(not_before, expected, "{now} {boot}");
        }
        // Where it cannot be told whether the power was cut, it may have been.
        std::fs::write(&path, &bytes).unwrap();
        let unknown = Start { boot: None, ..start(11 * S, "") };
        assert_eq!(Journal::open(&path, unknown, |_, _| ()).unwrap().1, bound);
    }

    #[tokio::test]
    async fn an_end_that_a_power_cut_spoilt_is_put_beside_and_the_guard_starts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let bytes = kept(&path, 20).await;
        let lines: Vec<usize> = bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at)
            .collect();
        // From the line of the third use on, blocks of zeros, with whole lines behind them.
        for (from, to) in [
            (lines[3] + 9, lines[8] + 50),
            (lines[3] + 1, lines[4] + 1),
            (lines[5] - 4, lines[5] + 4),
        ] {
            let mut spoilt = bytes.clone();
            spoilt[from..to].fill(0);
            std::fs::write(&path, &spoilt).unwrap();
            let mut told = Vec::new();
            let tell = |lane: &str, index| told.extend((lane == "log/0").then_some(index));
            let opened = Journal::open(&path, start(13 * S, "b"), tell);
            let newest = 10 * S + 19 * S / 10;
            assert_eq!(opened.unwrap().1, newest + LOST_NS + SKEW_NS, "{from}");
            assert_eq!(
                (told.first(), told.last()),
                (Some(&0), Some(&19)),
                "as far as it can be read"
            );
            // It is one chain again, and says what stands beside.
            let entries = entries(&path).unwrap();
            let torn = entries.last().unwrap().torn.clone().unwrap();
            let beside = dir.path().join(format!("guard.jsonl.torn-{}", torn.get(..16).unwrap()));
            let kept = std::fs::read(beside).unwrap();
            assert_eq!(hex::encode(Sha256::digest(&kept)), torn);
            assert!(spoilt.ends_with(&kept));
        }
    }

    #[tokio::test]
    async fn a_break_that_no_power_cut_makes_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        // Lines of more than two seconds stand behind it.
        let bytes = kept(&path, 40).await;
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 30;
        let mut spoilt = bytes.clone();
        spoilt[line..line + 8].fill(0);
        std::fs::write(&path, &spoilt).unwrap();
        let said = Journal::open(&path, start(14 * S, "b"), |_, _| ()).unwrap_err().to_string();
        assert!(said.contains("broken in line 2"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), spoilt, "nothing was done to it");
    }

    /// A file whose bytes nobody can bring to a disk.
    fn pipe() -> (File, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        (File::from(std::os::fd::OwnedFd::from(writer)), reader)
    }

    #[tokio::test]
    async fn a_use_goes_on_only_when_the_disk_has_a_line_of_the_last_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = open(&path);
        journal.write(used(1, LOST_NS + 1)).await.unwrap();
        assert_eq!(journal.pen().synced_ns(), Some(1), "it did not wait");
        journal.write(used(2, LOST_NS + 2)).await.unwrap();
        assert_eq!(journal.pen().synced_ns(), Some(LOST_NS + 2), "it waited for the disk");
        // A disk that fails fails the use, and all that come after it: what of the file is on it nobody knows.
        let (file, _reader) = pipe();
        let good = std::mem::replace(&mut journal.pen().file, file);
        journal.write(used(3, LOST_NS + 3)).await.unwrap();
        assert!(journal.write(used(4, 3 * LOST_NS)).await.is_err());
        journal.pen().file = good;
        assert!(journal.trouble().unwrap().contains("could not be brought to the disk"));
        assert!(journal.write(used(5, 3 * LOST_NS)).await.is_err());
        assert!(journal.refusal(&used(6, 3 * LOST_NS)).is_err());
    }

    #[tokio::test]
    async fn behind_what_could_not_be_taken_away_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = open(&path);
        journal.write(used(1, 1)).await.unwrap();
        // Neither written nor cut.
        let good = std::mem::replace(&mut journal.pen().file, File::open(&path).unwrap());
        assert!(journal.write(used(2, 1)).await.is_err());
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"{\"at_ns\":"))
            .unwrap();
        assert!(journal.write(used(3, 1)).await.is_err());
        journal.pen().file = good;
        journal.write(used(4, 1)).await.unwrap();
        assert_eq!(indexes(&path), [1, 4]);
    }

    #[tokio::test]
    async fn refusals_have_no_line_while_the_disk_does_not_follow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let journal = open(&path);
        journal.refusal(&used(1, 1)).unwrap();
        journal.refusal(&used(2, LOST_NS + 1)).unwrap();
        journal.refusal(&used(3, LOST_NS + 2)).unwrap();
        assert_eq!(indexes(&path), [1, 2]);
        journal.sync().unwrap();
        journal.refusal(&used(4, MINUTE)).unwrap();
        let counts: Vec<_> = entries(&path).unwrap().iter().filter_map(|one| one.count).collect();
        assert_eq!((indexes(&path), counts), (vec![1, 2, 4], vec![1]));
    }

    const MINUTE: i64 = 60 * S;
}
