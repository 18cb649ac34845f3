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
        .map(|n| tracker.spawn(told(Arc::clone(&journal), path.clone(), n * 500..(n + 1) * 500)))
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
    let lines: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    // From the line of the third use on, blocks of zeros, with whole lines behind them.
    for (from, to) in
        [(lines[3] + 9, lines[8] + 50), (lines[3] + 1, lines[4] + 1), (lines[5] - 4, lines[5] + 4)]
    {
        let mut spoilt = bytes.clone();
        spoilt[from..to].fill(0);
        std::fs::write(&path, &spoilt).unwrap();
        let mut told = Vec::new();
        let tell = |lane: &str, index| told.extend((lane == "log/0").then_some(index));
        let opened = Journal::open(&path, start(13 * S, "b"), tell);
        let newest = 10 * S + 19 * S / 10;
        assert_eq!(opened.unwrap().1, newest + LOST_NS + SKEW_NS, "{from}");
        assert_eq!((told.first(), told.last()), (Some(&0), Some(&19)), "as far as it can be read");
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
