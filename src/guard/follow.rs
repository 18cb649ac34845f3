//! How the logs that the guard trusts grew, from what they publish: on a cadence the newest checkpoint of each lane, with the
//! proof that it extends the one before; and receipts' checkpoints held against that.
//!
//! A receipt proves its record in the tree that it brings along. That this tree is the one that everybody else sees is shown
//! here: one that is older than what was followed must be a part of it before it opens anything; one that is newer is
//! noted, and proven at the next look. So is one that cannot be proven because tiles are missing or are not the log's.
//!
//! *Invariant:* a lane of which two trees were seen that do not extend each other opens nothing any more, across restarts
//! too; and nothing is opened on receipts alone for longer than the configuration says: neither when the log does not answer
//! nor when it never shows the tree of one that opened. What was noted since the last look is forgotten when the process is
//! killed; what it opened is in the journal, which `haetae log reconcile` holds against the log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tlog::{Checkpoint, Hash, Policy};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::config::FollowConfig;
use super::followed::{self, Kept};
use super::lane::{Lane, State};
use super::metrics::Counters;
use super::noted::{AT_ONCE, Fits};
use super::{GuardError, Refused};
use crate::clock::Clock;
use crate::remote::{Remote, RemoteError};

pub(super) struct Follow {
    remote: Remote,
    lanes: BTreeMap<String, Lane>,
    /// What is kept of lanes that the trust file does not name at present.
    others: BTreeMap<String, Kept>,
    path: PathBuf,
    /// Whose turn it is to write there.
    turn: Mutex<()>,
    every: Duration,
    alone_ns: i64,
    counters: Counters,
    clock: Clock,
}

/// How a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    pub origin: String,
    /// Records up to which it was followed.
    pub size: u64,
    /// Seconds since it was last looked at with success.
    pub age_s: i64,
    /// Why the last look came to nothing.
    pub trouble: Option<String>,
    /// What contradicted itself.
    pub forked: Option<String>,
    /// Whether receipts of it open anything.
    pub open: bool,
}

impl Follow {
    pub fn open(
        config: &FollowConfig,
        trust: &Policy,
        counters: Counters,
        clock: Clock,
    ) -> Result<Self, GuardError> {
        let wrong = |cause: String| GuardError::Follow(cause);
        let remote = Remote::new(&config.remote).map_err(|cause| wrong(cause.to_string()))?;
        let mut kept = followed::read(&config.state).map_err(&wrong)?;
        let now_ns = clock.unix_ns();
        let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
        for log in &trust.logs {
            let origin = log.key.name();
            let Some(number) = number(origin, &config.log) else { continue };
            let lane = lanes.entry(origin.to_owned()).or_insert_with(|| {
                Lane::new(number, kept.remove(origin).unwrap_or_default(), now_ns)
            });
            lane.keys.push(log.key.clone());
        }
        if lanes.is_empty() {
            return Err(wrong(format!(
                "the trust file names no `{}/0` or other lane of it",
                config.log
            )));
        }
        let (path, every) =
            (config.state.clone(), Duration::from_secs(config.every_s.max(1).into()));
        let alone_ns = i64::from(config.alone_s) * NS;
        let turn = Mutex::default();
        Ok(Self { remote, lanes, others: kept, path, turn, every, alone_ns, counters, clock })
    }

    /// Looks from now on. Each lane by itself: none waits for another.
    pub async fn run(self: Arc<Self>) {
        join_all(self.lanes.iter().map(|(origin, lane)| self.look_on(origin, lane))).await;
    }

    async fn look_on(&self, origin: &str, lane: &Lane) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = lane.many.notified() => sleep(SOON).await,
            }
            self.look_for(origin, lane).await;
        }
    }

    /// Whether a receipt's tree is one of the log that is followed, as far as can be told now.
    pub async fn fits(&self, tree: &Checkpoint) -> Result<(), Refused> {
        // A log of another deployment in the trust file: nobody follows it for us.
        let Some(lane) = self.lanes.get(&tree.origin) else { return Ok(()) };
        let one = (tree.size, tree.root);
        let now_ns = self.clock.unix_ns();
        let (head, noted) = {
            let mut state = lane.state();
            if state.head.forked.is_some() {
                return Err(Refused::Forked);
            }
            let head = state.at();
            // Another tree of the same size shows a fork whatever else is the matter.
            let waits = one.0 > head.0 || state.noted.has(one.0);
            let noted = waits.then(|| state.noted.add(one, now_ns));
            if state.noted.are_many() {
                lane.many.notify_one();
            }
            (head, noted)
        };
        let fits = match noted {
            Some(noted) => noted,
            None if one == head || lane.proven.get(&one).is_some() => Fits::Yes,
            None => {
                self.is_open(&tree.origin)?;
                self.fits_in(lane, one, head).await
            }
        };
        match fits {
            Fits::Fork(about) => {
                self.forked(lane, &tree.origin, about);
                Err(Refused::Forked)
            }
            Fits::Full => Err(Refused::NotFollowed),
            Fits::Yes => self.is_open(&tree.origin),
        }
    }

    /// Whether receipts of this log open anything at this moment.
    pub fn is_open(&self, origin: &str) -> Result<(), Refused> {
        let Some(lane) = self.lanes.get(origin) else { return Ok(()) };
        let state = lane.state();
        if state.head.forked.is_some() {
            return Err(Refused::Forked);
        }
        if self.is_late(&state) { Err(Refused::NotFollowed) } else { Ok(()) }
    }

    /// Whether a tree is a part of the head.
    async fn fits_in(&self, lane: &Lane, one: (u64, Hash), head: (u64, Hash)) -> Fits {
        let now_ns = self.clock.unix_ns();
        let asked = timeout(PROOF_MAX, self.contradiction(lane, &[one], head)).await;
        match asked.unwrap_or_else(|_| Err("the log takes long to answer".to_owned())) {
            Ok(None) => {
                lane.proven.insert(one, ());
                Fits::Yes
            }
            Ok(Some(about)) => Fits::Fork(about),
            // On receipts alone, for as long as the configuration says.
            Err(trouble) => {
                let mut state = lane.state();
                state.trouble = Some(trouble);
                state.noted.add(one, now_ns)
            }
        }
    }

    /// For the status: each lane.
    pub fn stands(&self) -> Vec<Stands> {
        self.lanes.iter().map(|(origin, lane)| self.stands_of(origin, lane)).collect()
    }

    fn stands_of(&self, origin: &str, lane: &Lane) -> Stands {
        let state = lane.state();
        let age_s = |since_ns| (self.clock.unix_ns() - since_ns) / NS;
        let unshown = || {
            let age_s = age_s(state.noted.since_ns()?);
            let is_late = age_s > self.alone_ns / NS;
            is_late.then(|| format!("the tree of a receipt is not shown since {age_s} s"))
        };
        Stands {
            origin: origin.to_owned(),
            size: state.head.size,
            age_s: age_s(state.looked_ns),
            trouble: state.trouble.clone().or_else(unshown),
            forked: state.head.forked.clone(),
            open: state.head.forked.is_none() && !self.is_late(&state),
        }
    }

    async fn look_for(&self, origin: &str, lane: &Lane) {
        if lane.state().head.forked.is_none() {
            match self.look_at(lane).await {
                Ok(None) => lane.state().looked(self.clock.unix_ns()),
                Ok(Some(about)) => self.forked(lane, origin, about),
                Err(trouble) => lane.state().troubled(origin, trouble),
            }
        }
        // Of one that is forked too: the disk may have been full when it was found.
        self.keep();
        self.counters.follows(&self.stands_of(origin, lane));
    }

    /// One look: what contradicts what was seen, if anything does. An error is a trouble that may pass.
    async fn look_at(&self, lane: &Lane) -> Result<Option<String>, String> {
        let published = match self.remote.checkpoint(lane.number).await {
            // Nothing was ever written, as far as anybody saw.
            Err(RemoteError::Status { status, .. })
                if status == 404 && lane.state().head.size == 0 =>
            {
                return Ok(None);
            }
            other => other.map_err(|cause| cause.to_string())?,
        };
        let tree = lane.read(&published)?;
        let (new, old) = ((tree.size, tree.root), lane.state().at());
        if new.0 < old.0 {
            // Another replica may show less for a while; a log that was rolled back does so for good, and is not followed any more.
            return match self.contradiction(lane, &[new], old).await {
                Ok(Some(about)) => Ok(Some(about)),
                _ => Err(format!("{} records are published, and {} were before", new.0, old.0)),
            };
        }
        loop {
            let (head, noted) = {
                let state = lane.state();
                (state.at(), state.noted.up_to(new.0))
            };
            let seen: Vec<(u64, Hash)> = std::iter::once(head).chain(noted).collect();
            let contradiction = self.contradiction(lane, &seen, new).await?;
            if contradiction.is_some() {
                return Ok(contradiction);
            }
            lane.follow(new, &seen);
            if seen.len() <= AT_ONCE {
                return Ok(None);
            }
        }
    }

    /// What shows that the larger tree does not extend these; nothing when it does. An error says nothing against it.
    async fn contradiction(
        &self,
        lane: &Lane,
        seen: &[(u64, Hash)],
        new: (u64, Hash),
    ) -> Result<Option<String>, String> {
        // Without asking: the tree itself, and the empty one, which is a part of each.
        let asked = seen.iter().filter(|one| **one != new && one.0 > 0);
        let asked: Vec<(u64, Hash)> = asked.copied().collect();
        if asked.iter().any(|(size, _)| *size == new.0) {
            return Ok(Some(format!("two trees of {} records have different roots", new.0)));
        }
        if asked.is_empty() {
            return Ok(None);
        }
        let sizes = asked.iter().map(|(size, _)| *size).collect();
        let roots = self.remote.roots(lane.number, new, sizes).await;
        let roots = roots.map_err(|cause| cause.to_string())?;
        let other = asked.iter().find(|(size, root)| roots.get(size) != Some(root));
        Ok(other.map(|(size, _)| {
            format!("the tree of {} records does not extend the one of {size}", new.0)
        }))
    }

    fn forked(&self, lane: &Lane, origin: &str, about: String) {
        tracing::error!(
            log = origin,
            about,
            "ALARM: the log contradicts itself: nothing of it is let in any more"
        );
        lane.state().head.forked = Some(about);
        self.keep();
    }

    fn is_late(&self, state: &State) -> bool {
        self.clock.unix_ns().saturating_sub(state.alone_since_ns()) > self.alone_ns
    }

    fn keep(&self) {
        // One at a time, so that none writes what it saw before another's.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = self.lanes.iter().map(|(origin, lane)| (origin.clone(), lane.state().kept()));
        let all = lanes.chain(self.others.clone());
        if let Err(cause) = followed::write(&self.path, all.collect()) {
            tracing::error!(%cause, "how far the logs were followed cannot be kept");
        }
    }
}

/// The number of a lane of this deployment.
fn number(origin: &str, log: &str) -> Option<u16> {
    let number = origin.strip_prefix(log)?.strip_prefix('/')?;
    number.parse().ok().filter(|lane: &u16| lane.to_string() == number)
}

/// A request waits for no longer until its tree is proven.
const PROOF_MAX: Duration = Duration::from_secs(2);
/// Between two looks when many trees wait.
const SOON: Duration = Duration::from_secs(1);
const NS: i64 = 1_000_000_000;
