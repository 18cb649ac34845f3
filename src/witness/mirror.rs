//! The lanes of one deployment, pulled again and again: every record is in the signed tree, the tree only grew, and what the
//! records say holds when it is judged again.
//!
//! Reading order: [`tree`] (hashes on our disk), [`aside`] (what of them does not fit), [`shelf`] (records and texts), [`texts`] (as many as memory holds), [`lane`] (one
//! lane, one round), [`turns`] (which lanes at once), this file (all lanes, and what was found).
//!
//! Each lane goes its own way: one that does not answer keeps no other from being followed. What needs all lanes (a record that
//! speaks of another lane, a bundle that was announced in any) is settled as of when the last one was at hand as a whole.
//!
//! *Invariant:* nothing counts as mirrored that a signed checkpoint does not cover, and a tree that does not extend the
//! mirrored one is never followed: it is an alarm, and the mirror stays as it was. A round fetches, writes and holds in memory no
//! more than some ten MB, whatever was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haetae_verify::export::Digest;
use haetae_verify::{Finding, Follower, Piece, Report};
use sha2::{Digest as _, Sha256};
use tlog::{Hash, VerifierKey};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarms::Alarms;
use super::config::MirrorConfig;
use super::log::Log;
use super::metrics::Counters;
use super::room::Room;
use super::trouble::{Kind, Standing, Trouble};
use super::{Config, WitnessError};
use crate::clock::Clock;
use crate::disk;
use crate::remote::Remote;

mod aside;
mod lane;
mod shelf;
mod texts;
mod tree;
mod turns;

use lane::Lane;
use shelf::{Beside, Shelf};
use texts::Gathered;
pub(super) use tree::Tree;
use turns::Turns;

/// One deployment's log, as it is mirrored.
pub(super) struct Mirror {
    /// Origin of the deployment.
    log: String,
    remote: Remote,
    lanes: Vec<Lane>,
    turns: Turns,
    /// Whether records are read, and not only hashes.
    entries: bool,
    follower: Mutex<Follower>,
    /// Where the follower is written.
    path: PathBuf,
    shelf: Shelf,
    counts: Mutex<Judged>,
    with: With,
}

/// What a mirror tells, what it leaves free, and the time.
#[derive(Clone)]
pub(super) struct With {
    /// The witness's key.
    pub own: VerifierKey,
    pub room: Arc<Room>,
    pub alarms: Arc<Alarms>,
    pub counters: Counters,
    pub clock: Clock,
}

/// All mirrors of which the disk gives what was mirrored. Those that it does not give keep nobody from cosigning.
pub(super) fn open(
    config: &Config,
    logs: &BTreeMap<String, Arc<Log>>,
    with: &With,
) -> Result<Vec<Arc<Mirror>>, WitnessError> {
    let mut mirrors = Vec::new();
    for settings in &config.mirror {
        match Mirror::open(settings, &config.state, logs, with.clone()) {
            Err(cause @ WitnessError::State { .. }) => with.missed(&settings.log, &cause),
            opened => mirrors.push(Arc::new(opened?)),
        }
    }
    Ok(mirrors)
}

impl With {
    /// A part of a mirror did not fit itself.
    fn anew(&self, log: &str, about: &str, cause: &str) {
        tracing::error!(log, cause, "a part of a mirror does not fit itself");
        self.alarms.raise(log, BROKEN, about.to_owned());
    }

    /// How far the log was judged.
    fn follower(
        &self,
        config: &MirrorConfig,
        approved: Option<Vec<Digest>>,
        path: &Path,
    ) -> io::Result<Follower> {
        let Some(text) = disk::read(path)? else {
            return Ok(Follower::new(&config.log, approved));
        };
        let text = String::from_utf8(text).unwrap_or_default();
        if let Some(follower) = Follower::resume(&config.log, approved.clone(), &text) {
            return Ok(follower);
        }
        // Where one is aside already, it stays until it is written.
        aside::move_aside(path)?;
        self.anew(&config.log, ANEW_FOLLOWED, "`followed.json` is not what was written");
        Ok(Follower::new(&config.log, approved))
    }

    /// The disk does not give what was mirrored.
    fn missed(&self, log: &str, cause: &WitnessError) {
        tracing::error!(log, %cause, "a log is not mirrored");
        self.alarms.raise(log, BROKEN, MISSED.to_owned());
    }
}

/// What was judged since this process began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Judged {
    pub records: u64,
    pub decisions: u64,
    pub same: u64,
    pub not_judgeable: u64,
    pub second_engine: u64,
    pub without_access: u64,
    pub findings: u64,
}

/// How a lane stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Size of the newest published checkpoint.
    pub published: u64,
    /// Records whose hashes are here, under a signed root.
    pub mirrored: u64,
    /// Records that were read and judged.
    pub judged: u64,
    /// Unix seconds of the last round without trouble.
    pub checked_s: Option<i64>,
    /// Why the last round came to nothing, and since when for that.
    pub trouble: Option<Standing>,
    /// When the last round began after which everything was at hand that is published.
    whole_ns: Option<i64>,
    /// Rounds in which a smaller checkpoint was published than before, none, or something else.
    stale: u32,
    /// Rounds in which more records were cosigned than are published.
    withheld: u32,
    /// Rounds in which no tiles told whether what was cosigned is a part of what is published.
    untold: u32,
    /// What was cosigned and is a part of it. What is published later extends that.
    fits: Option<(u64, Hash)>,
    /// What is wrong with the tree at present, by code.
    standing: BTreeSet<&'static str>,
    /// Records that were found edited after they were mirrored.
    edited: BTreeSet<u64>,
    /// The bundle that is compared next.
    compare: u64,
}

impl Mirror {
    /// Reads what was mirrored; what does not fit itself begins anew. `logs` are those that the witness knows, by origin.
    ///
    /// # Errors
    /// `State`, when the disk does not give it: no reason not to cosign.
    fn open(
        config: &MirrorConfig,
        state: &Path,
        logs: &BTreeMap<String, Arc<Log>>,
        with: With,
    ) -> Result<Self, WitnessError> {
        let dir = state.join("mirror").join(hex::encode(Sha256::digest(&config.log)));
        let wrong = |cause: String| WitnessError::State { path: dir.clone(), cause };
        let remote = Remote::new(&config.remote).map_err(|cause| WitnessError::Mirror {
            log: config.log.clone(),
            cause: cause.to_string(),
        })?;
        let (known, approved) = (config.lanes(logs)?, config.approved()?);
        // Whatever becomes of the mirror.
        for (_, log) in &known {
            let _first = log.is_shown.set(());
        }
        let mut lanes = Vec::new();
        for (number, log) in known {
            let origin = log.origin.clone();
            let lane = Lane::open(number, log, &dir.join(format!("lane-{number}")));
            let (lane, why) = lane.map_err(|cause| wrong(cause.to_string()))?;
            if let Some(cause) = why {
                with.anew(&origin, ANEW_TREE, &cause.to_string());
            }
            lanes.push(lane);
        }
        let path = dir.join("followed.json");
        let follower =
            with.follower(config, approved, &path).map_err(|cause| wrong(cause.to_string()))?;
        for lane in &lanes {
            // Where that is more than is mirrored, it goes on from there when it is: the follower knows the tree as far as it judged.
            lane.seen().judged = follower.size(lane.number);
        }
        let shelf = Shelf::open(&dir, config.records_max, config.texts_bytes_max)
            .map_err(|cause| wrong(cause.to_string()))?;
        let mirror = Self {
            log: config.log.clone(),
            remote,
            lanes,
            turns: Turns::new(),
            entries: config.entries,
            follower: Mutex::new(follower),
            path,
            shelf,
            counts: Mutex::default(),
            with,
        };
        mirror.with.room.enter(&mirror.log, config.room_parts, mirror.bytes());
        Ok(mirror)
    }

    /// What it takes of the disk: hashes, records and texts. `followed.json` is of bounded size.
    fn bytes(&self) -> u64 {
        let hashes = self.lanes.iter().map(|lane| Tree::bytes(lane.seen().mirrored));
        hashes.fold(self.shelf.bytes(), u64::saturating_add)
    }

    /// Whether there is room to mirror more of it. Blocks.
    fn room(&self) -> Result<(), Trouble> {
        self.with.room.look(&self.log, self.bytes())
    }

    pub fn log(&self) -> &str {
        &self.log
    }

    /// Whether the records are read, and not only hashes.
    pub const fn reads_records(&self) -> bool {
        self.entries
    }

    pub fn counts(&self) -> Judged {
        *lock(&self.counts)
    }

    /// Each lane's origin and how it stands.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, Seen)> {
        self.lanes.iter().map(|lane| (lane.log.origin.as_str(), lane.seen().clone()))
    }

    /// Whether there is room for further texts.
    pub fn has_room(&self) -> bool {
        self.shelf.has_room()
    }

    /// Whether what is judged may be kept where that takes more of the disk. Blocks.
    fn may_keep(&self) -> Result<bool, Trouble> {
        match self.room() {
            Err(trouble) if !matches!(trouble.kind, Kind::NoRoom | Kind::OverShare) => Err(trouble),
            looked => Ok(looked.is_ok()),
        }
    }

    /// Pulls from now on, until `stop`.
    pub fn watch(self: &Arc<Self>, tracker: &TaskTracker, stop: &CancellationToken) {
        for lane in &self.lanes {
            let pull = Arc::clone(self).pull(lane.clone());
            tracker.spawn(stop.clone().run_until_cancelled_owned(pull));
        }
        let sum_up = Arc::clone(self).sum_up();
        tracker.spawn(stop.clone().run_until_cancelled_owned(sum_up));
    }

    /// One lane, round after round.
    async fn pull(self: Arc<Self>, lane: Lane) {
        let (mut tick, mut was_slow) = (every_second(), false);
        loop {
            tick.tick().await;
            let turn = self.turns.next(was_slow).await;
            let began_ns = self.with.clock.unix_ns();
            let done = lane.round(&self, &turn).await;
            was_slow = turn.was_slow(done.is_err());
            drop(turn);
            let mut seen = lane.seen();
            if matches!(done, Ok(true)) {
                seen.whole_ns = Some(began_ns);
            }
            seen.looked(&lane.log.origin, done.err(), self.with.clock.unix_s());
        }
    }

    /// What is over all lanes, whether they answer or not.
    async fn sum_up(self: Arc<Self>) {
        let (mut tick, mut written) = (every_second(), 0);
        loop {
            tick.tick().await;
            for (origin, seen) in self.lanes() {
                self.with.counters.mirrored(origin, &seen, self.with.clock.unix_s());
            }
            let (mirror, records) = (Arc::clone(&self), self.counts().records);
            let is_news = records != written;
            match tokio::task::spawn_blocking(move || mirror.close(is_news)).await {
                Ok(Ok(())) => written = records,
                Ok(Err(cause)) => {
                    tracing::error!(%cause, "how far the log was judged cannot be kept");
                }
                Err(cause) => tracing::error!(%cause, "what waits was not looked at"),
            }
        }
    }

    /// What waited in vain, how much room there is, and how far we are. Blocks.
    fn close(&self, is_news: bool) -> io::Result<()> {
        self.with.alarms.write_waiting();
        // In words the lanes say it, whose trouble it is.
        let _ = self.room();
        if let Some(whole_ns) = self.whole_ns().filter(|_| self.entries) {
            let report = lock(&self.follower).settle(whole_ns);
            self.found(&report);
        }
        if !is_news {
            return Ok(());
        }
        // If we stop here, the records since the last time are judged once more.
        let text = lock(&self.follower).written();
        disk::replace(&self.path, text.as_bytes())
    }

    /// Since when everything is at hand in every lane; `None` while one was never.
    fn whole_ns(&self) -> Option<i64> {
        let of_each = self.lanes.iter().map(|lane| lane.seen().whole_ns);
        of_each.min().flatten()
    }

    /// What judging each of these records wants. Blocks while another lane is judged.
    fn wants(&self, of: &Bundle) -> Vec<Vec<Digest>> {
        let mut follower = lock(&self.follower);
        of.fresh(&of.leaves).iter().map(|leaf| follower.wants(std::slice::from_ref(leaf))).collect()
    }

    /// Judges some records of a bundle, and keeps the bundle as far as it goes; gives how far the lane is judged then. `None` when
    /// further texts are wanted: what another lane had judged was forgotten meanwhile. Blocks.
    fn judge(&self, lane: &Lane, of: &Bundle, texts: &Gathered) -> Result<Option<u64>, Trouble> {
        // Without room it is judged all the same: only following further needs some.
        let may_grow = self.may_keep()?;
        let (begin, from, to) = (of.from / BUNDLE * BUNDLE, of.from, of.from + of.count as u64);
        let (hashes, root) = {
            let tree = lane.tree();
            (tree.leaves(begin, begin + of.leaves.len() as u64)?, tree.root(to))
        };
        let root = root.ok_or_else(|| io::Error::other("the tree is shorter"))?;
        // Before they are judged: what cannot be kept is fetched and judged again. What is not the tree's is not kept, nor what it names.
        if of.is_of(&hashes) {
            self.shelf.keep(lane.number, begin / BUNDLE, &of.leaves, may_grow)?;
            if may_grow {
                self.shelf.keep_texts(texts)?;
            }
        }
        let roots = |number: u16, size: u64| {
            self.lanes.iter().find(|lane| lane.number == number)?.tree().root(size)
        };
        let beside = Beside { texts, root: &roots };
        let now_ns = self.with.clock.unix_ns();
        let (leaves, hashes) = (of.fresh(&of.leaves), of.fresh(&hashes));
        let piece = Piece { lane: lane.number, leaves, hashes, root, now_ns };
        let (report, size) = {
            let mut follower = lock(&self.follower);
            // Under the same lock: between the two nothing is forgotten.
            if !texts.is_enough(&follower.wants(leaves)) {
                return Ok(None);
            }
            let report = follower.follow(&piece, &beside);
            (report, follower.size(lane.number))
        };
        self.found(&report);
        lock(&self.counts).add(&report);
        if size == from {
            let said = "the records do not lead to the tree";
            return Err(Trouble::new(Kind::NotReadable, said));
        }
        Ok(Some(size))
    }

    /// What the verifier found, as alarms.
    fn found(&self, report: &Report) {
        lock(&self.counts).findings += report.findings.len() as u64 + report.more;
        for finding in &report.findings {
            self.with.alarms.raise(&self.log_of(finding), finding.code(), finding.text().en);
        }
        for open in &report.open {
            tracing::warn!(log = self.log, open = open.text().en, "not everything can be checked");
        }
    }

    fn log_of(&self, finding: &Finding) -> String {
        match finding {
            Finding::Record(place, _) => format!("{}/{}", self.log, place.lane),
            _ => self.log.clone(),
        }
    }
}

/// Records of an entry bundle, of which some are judged next.
struct Bundle {
    /// All that the bundle has so far.
    leaves: Vec<Vec<u8>>,
    /// The first one to judge, in the lane, and how many.
    from: u64,
    count: usize,
}

impl Bundle {
    /// Whether these records are those of the tree.
    fn is_of(&self, hashes: &[Hash]) -> bool {
        self.leaves.iter().map(|leaf| Hash::leaf(leaf)).eq(hashes.iter().copied())
    }

    /// Of what there is for each record, that of those to judge.
    fn fresh<'b, T>(&self, all: &'b [T]) -> &'b [T] {
        let skip = usize::try_from(self.from % BUNDLE).unwrap_or(usize::MAX);
        let fresh = all.get(skip..).unwrap_or_default();
        fresh.get(..self.count).unwrap_or(fresh)
    }
}

impl Seen {
    /// A round is over; the same trouble is said once, in full, in the log of the process.
    fn looked(&mut self, log: &str, trouble: Option<Trouble>, now_s: i64) {
        let before = self.trouble.take();
        let Some(trouble) = trouble else {
            self.checked_s = Some(now_s);
            return;
        };
        let (kind, said) = (trouble.kind, &trouble.said);
        if before.as_ref().is_none_or(|before| before.trouble != trouble) {
            tracing::warn!(log, kind = kind.code(), trouble = said, "the mirror stands still");
        }
        let before = before.filter(|before| before.trouble.kind == kind);
        let since_s = before.map_or(now_s, |before| before.since_s);
        self.trouble = Some(Standing { trouble, since_s });
    }
}

impl Judged {
    fn add(&mut self, report: &Report) {
        let counts = &report.counts;
        self.records += counts.records;
        self.decisions += counts.decisions;
        self.same += counts.judged;
        self.not_judgeable += counts.not_judgeable;
        self.second_engine += counts.second_engine;
        self.without_access += counts.without_access;
    }
}

fn every_second() -> Interval {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Published.
const BROKEN: &str = "mirror_broken";
const ANEW_TREE: &str = "the mirrored hashes did not fit each other: they were moved aside, and are fetched again from the first on. The newest checkpoint that was seen counts as before where it could be read, and so does what was cosigned";
const ANEW_FOLLOWED: &str = "how far the log was judged could not be read: the file was moved aside, and all records are judged again";
const MISSED: &str = "this witness's disk does not give what was mirrored of the log: nothing of it is mirrored or judged until the witness is started again. What was cosigned before goes on to be cosigned; a lane of which nothing was is not, as long as what it shows is not looked at";
/// As often as checkpoints are published.
const EVERY: Duration = Duration::from_secs(1);
/// Records in an entry bundle.
const BUNDLE: u64 = tlog::tile::WIDTH as u64;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn a_trouble_is_said_in_full_once_and_stands_since_its_kind_began() {
        let mut file = tempfile::tempfile().unwrap();
        let writer = file.try_clone().unwrap();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        let away =
            |cause: &str| Some(Trouble::new(Kind::NotReached, format!("10.1.2.3:9 {cause}")));
        let own = Some(Trouble::new(Kind::Own, "/srv/mirror"));
        tracing::subscriber::with_default(log, || {
            let mut seen = Seen::default();
            for (now_s, trouble, since_s) in [
                (1, away("refused"), Some(1)),
                (2, away("refused"), Some(1)),
                (3, away("timed out"), Some(1)),
                (4, own, Some(4)),
                (5, None, None),
                (6, away("refused"), Some(6)),
            ] {
                seen.looked("log.example/0", trouble, now_s);
                assert_eq!(seen.trouble.as_ref().map(|standing| standing.since_s), since_s);
            }
            assert_eq!(seen.checked_s, Some(5));
        });
        let mut said = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut said).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let expected = ["10.1.2.3:9 refused", "timed out", "/srv/mirror", "10.1.2.3:9 refused"];
        assert_eq!(lines.len(), expected.len(), "{said}");
        for (line, part) in lines.iter().zip(expected) {
            assert!(line.contains(part) && line.contains("log.example/0"), "{said}");
        }
        assert!(lines[0].contains("not_reached") && lines[2].contains("own"), "{said}");
    }
}
