//! The lanes of one deployment, pulled again and again: every record is in the signed tree, the tree only grew, and what the
//! records say holds when it is judged again.
//!
//! Reading order: [`tree`] (hashes on our disk), [`shelf`] (records and texts), [`lane`] (one lane, one round), this file
//! (all lanes, and what was found).
//!
//! *Invariant:* nothing counts as mirrored that a signed checkpoint does not cover, and a tree that does not extend the
//! mirrored one is never followed: it is an alarm, and the mirror stays as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haetae_verify::export::Digest;
use haetae_verify::{Finding, Follower, Piece, Report};
use sha2::{Digest as _, Sha256};
use tokio::time::{MissedTickBehavior, interval};

use super::alarms::Alarms;
use super::config::MirrorConfig;
use super::metrics::Counters;
use super::{Log, WitnessError};
use crate::clock::Clock;
use crate::disk;
use crate::remote::Remote;

mod lane;
mod shelf;
mod tree;

use lane::Lane;
use shelf::{Beside, Shelf};
pub(super) use tree::Tree;

/// One deployment's log, as it is mirrored.
pub(super) struct Mirror {
    /// Origin of the deployment.
    log: String,
    remote: Remote,
    lanes: Vec<Lane>,
    /// Whether records are read, and not only hashes.
    entries: bool,
    follower: Mutex<Follower>,
    /// Where the follower is written.
    path: PathBuf,
    shelf: Mutex<Shelf>,
    counts: Mutex<Judged>,
    with: With,
}

/// What a mirror tells, and the time.
pub(super) struct With {
    pub alarms: Arc<Alarms>,
    pub counters: Counters,
    pub clock: Clock,
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
    /// Why the last round came to nothing.
    pub trouble: Option<String>,
    /// Rounds in which a smaller checkpoint was published than before, none, or something else.
    stale: u32,
    /// Rounds in which more records were cosigned than are published.
    withheld: u32,
    /// What is wrong with the tree at present, by code.
    standing: BTreeSet<&'static str>,
    /// Records that were found edited after they were mirrored.
    edited: BTreeSet<u64>,
    /// The bundle that is compared next.
    compare: u64,
}

impl Mirror {
    /// Reads what was mirrored. `logs` are those that the witness knows, by origin.
    pub fn open(
        config: &MirrorConfig,
        state: &std::path::Path,
        logs: &BTreeMap<String, Arc<Log>>,
        with: With,
    ) -> Result<Self, WitnessError> {
        let dir = state.join("mirror").join(hex::encode(Sha256::digest(&config.log)));
        let wrong = |cause: String| WitnessError::State { path: dir.clone(), cause };
        let remote = Remote::new(&config.remote).map_err(|cause| WitnessError::Mirror {
            log: config.log.clone(),
            cause: cause.to_string(),
        })?;
        let mut lanes = Vec::new();
        for (number, log) in config.lanes(logs)? {
            let lane = Lane::open(number, log, &dir.join(format!("lane-{number}")));
            lanes.push(lane.map_err(|cause| wrong(cause.to_string()))?);
        }
        let approved = config.approved()?;
        let path = dir.join("followed.json");
        let follower = match std::fs::read_to_string(&path) {
            Ok(text) => Follower::resume(&config.log, approved, &text)
                .ok_or_else(|| wrong("`followed.json` is not what was written".to_owned()))?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                Follower::new(&config.log, approved)
            }
            Err(cause) => return Err(wrong(cause.to_string())),
        };
        for lane in &lanes {
            lane.seen().judged = follower.size(lane.number);
            if follower.size(lane.number) > lane.seen().mirrored {
                return Err(wrong(format!(
                    "lane {} was judged further than it is mirrored",
                    lane.number
                )));
            }
        }
        let shelf = Shelf::open(&dir, config.records_max, config.texts_bytes_max)
            .map_err(|cause| wrong(cause.to_string()))?;
        Ok(Self {
            log: config.log.clone(),
            remote,
            lanes,
            entries: config.entries,
            follower: Mutex::new(follower),
            path,
            shelf: Mutex::new(shelf),
            counts: Mutex::default(),
            with,
        })
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
        lock(&self.shelf).has_room()
    }

    /// Pulls from now on.
    pub async fn run(self: Arc<Self>) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.round().await;
        }
    }

    async fn round(self: &Arc<Self>) {
        let before = self.counts().records;
        let mut all = true;
        for lane in &self.lanes {
            let done = lane.round(self).await;
            all &= matches!(done, Ok(true));
            let now_s = self.with.clock.unix_s();
            lane.seen().looked(&lane.log.origin, done.err(), now_s);
        }
        for (origin, seen) in self.lanes() {
            self.with.counters.mirrored(origin, &seen, self.with.clock.unix_s());
        }
        let (mirror, settles) = (Arc::clone(self), all && self.entries);
        let written = self.counts().records != before;
        let closed = tokio::task::spawn_blocking(move || mirror.close(settles, written)).await;
        if let Ok(Err(cause)) = closed {
            tracing::error!(%cause, "how far the log was judged cannot be kept");
        }
    }

    /// After a round: what waited in vain, and how far we are.
    fn close(&self, settles: bool, written: bool) -> std::io::Result<()> {
        self.with.alarms.write_waiting();
        if settles {
            let report = lock(&self.follower).settle(self.with.clock.unix_ns());
            self.found(&report);
        }
        if !written {
            return Ok(());
        }
        // If we stop here, the records since the last time are judged once more.
        let text = lock(&self.follower).written();
        disk::replace(&self.path, text.as_bytes())
    }

    /// Judges the next records of a lane, and keeps them. Blocks.
    fn judge(
        &self,
        lane: &Lane,
        from: u64,
        leaves: &[Vec<u8>],
        texts: BTreeMap<Digest, Vec<u8>>,
    ) -> std::io::Result<u64> {
        let skip = usize::try_from(from % BUNDLE).unwrap_or(usize::MAX);
        let fresh = leaves.get(skip..).unwrap_or_default();
        let to = from + fresh.len() as u64;
        let (hashes, root) = {
            let tree = lane.tree();
            (tree.leaves(from, to)?, tree.root(to))
        };
        let root = root.ok_or_else(|| std::io::Error::other("the tree is shorter"))?;
        let roots = |number: u16, size: u64| {
            self.lanes.iter().find(|lane| lane.number == number)?.tree().root(size)
        };
        let beside = Beside { texts, root: &roots };
        let now_ns = self.with.clock.unix_ns();
        let piece = Piece { lane: lane.number, leaves: fresh, hashes: &hashes, root, now_ns };
        // Before they are judged: what cannot be kept is fetched and judged again.
        self.keep(lane.number, from / BUNDLE, leaves, &beside.texts)?;
        let (report, size) = {
            let mut follower = lock(&self.follower);
            let report = follower.follow(&piece, &beside);
            (report, follower.size(lane.number))
        };
        self.found(&report);
        lock(&self.counts).add(&report);
        if size == from {
            return Err(std::io::Error::other("the records do not lead to the tree"));
        }
        Ok(size)
    }

    fn keep(
        &self,
        lane: u16,
        bundle: u64,
        leaves: &[Vec<u8>],
        texts: &BTreeMap<Digest, Vec<u8>>,
    ) -> std::io::Result<()> {
        let mut kept = lock(&self.shelf);
        kept.keep(lane, bundle, leaves)?;
        for (digest, bytes) in texts {
            if kept.text(digest).is_none() {
                kept.keep_text(digest, bytes)?;
            }
        }
        Ok(())
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

impl Seen {
    /// A round is over; the same trouble is said once.
    fn looked(&mut self, log: &str, trouble: Option<String>, now_s: i64) {
        match &trouble {
            None => self.checked_s = Some(now_s),
            Some(said) if self.trouble.as_ref() == Some(said) => {}
            Some(said) => tracing::warn!(log, trouble = said, "the mirror stands still"),
        }
        self.trouble = trouble;
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As often as checkpoints are published.
const EVERY: Duration = Duration::from_secs(1);
/// Records in an entry bundle.
const BUNDLE: u64 = tlog::tile::WIDTH as u64;
