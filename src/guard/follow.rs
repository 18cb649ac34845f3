//! How the logs that the guard trusts grew, from what they publish: on a cadence the newest checkpoint of each lane, with the
//! proof that it extends the one before; and receipts' checkpoints held against that.
//!
//! A receipt proves its record in the tree that it brings along. That this tree is the one that everybody else sees is shown
//! here: one that is older than what was followed must be a part of it before it opens anything; one that is newer is
//! noted, and proven at the next look. So is one that cannot be proven because tiles are missing or are not the log's.
//!
//! *Invariant:* a lane of which two trees were seen that do not extend each other opens nothing any more, across restarts
//! too; and nothing is opened on receipts alone for longer than the configuration says: neither when the log does not answer
//! nor when it never shows the tree of one that opened. Trees that are noted when the process ends are forgotten; what they
//! opened is in the journal, which `haetae log reconcile` holds against the log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use quick_cache::sync::Cache;
use tlog::{Checkpoint, Hash, Note, Policy, VerifierKey};
use tokio::time::{MissedTickBehavior, interval};

use super::config::FollowConfig;
use super::followed::{self, Head};
use super::metrics::Counters;
use super::noted::{AT_ONCE, Fits, Noted};
use super::{GuardError, Refused};
use crate::clock::Clock;
use crate::remote::{Remote, RemoteError};

pub(super) struct Follow {
    remote: Remote,
    lanes: BTreeMap<String, Lane>,
    path: PathBuf,
    every: Duration,
    alone_ns: i64,
    counters: Counters,
    clock: Clock,
}

struct Lane {
    number: u16,
    keys: Vec<VerifierKey>,
    state: Mutex<State>,
    /// Trees that were proven to be parts of what was followed.
    proven: Cache<(u64, Hash), ()>,
}

#[derive(Debug)]
struct State {
    head: Head,
    noted: Noted,
    /// Looks that found less than before.
    stale: u32,
    /// Of the last look that came to something; of the start before the first.
    looked_ns: i64,
    trouble: Option<String>,
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
                let state = Mutex::new(State::new(kept.remove(origin).unwrap_or_default(), now_ns));
                Lane { number, keys: Vec::new(), state, proven: Cache::new(PROVEN_MAX) }
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
        Ok(Self { remote, lanes, path, every, alone_ns, counters, clock })
    }

    /// Looks from now on.
    pub async fn run(self: Arc<Self>) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look().await;
        }
    }

    /// Whether a receipt's tree is one of the log that is followed, as far as can be told now.
    pub async fn fits(&self, tree: &Checkpoint) -> Result<(), Refused> {
        // A log of another deployment in the trust file: nobody follows it for us.
        let Some(lane) = self.lanes.get(&tree.origin) else { return Ok(()) };
        let one = (tree.size, tree.root);
        let now_ns = self.clock.unix_ns();
        let head = {
            let mut state = lane.state();
            if state.head.forked.is_some() {
                return Err(Refused::Forked);
            }
            if self.is_late(&state) {
                return Err(Refused::NotFollowed);
            }
            let head = state.at();
            if one.0 > head.0 {
                let noted = state.noted.add(one, now_ns);
                drop(state);
                return self.fits_as(lane, &tree.origin, noted);
            }
            head
        };
        if one == head || lane.proven.get(&one).is_some() {
            return Ok(());
        }
        let fits = match self.contradiction(lane, &[one], head).await {
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
        };
        self.fits_as(lane, &tree.origin, fits)
    }

    fn fits_as(&self, lane: &Lane, origin: &str, fits: Fits) -> Result<(), Refused> {
        match fits {
            // Something else may have been found while the log was asked.
            Fits::Yes if lane.state().head.forked.is_some() => Err(Refused::Forked),
            Fits::Yes => Ok(()),
            Fits::Full => Err(Refused::NotFollowed),
            Fits::Fork(about) => {
                self.forked(lane, origin, about);
                Err(Refused::Forked)
            }
        }
    }

    /// For the status: each lane.
    pub fn stands(&self) -> Vec<Stands> {
        let now_ns = self.clock.unix_ns();
        let stand = |(origin, lane): (&String, &Lane)| {
            let state = lane.state();
            Stands {
                origin: origin.clone(),
                size: state.head.size,
                age_s: (now_ns - state.looked_ns) / NS,
                trouble: state.trouble.clone(),
                forked: state.head.forked.clone(),
                open: state.head.forked.is_none() && !self.is_late(&state),
            }
        };
        self.lanes.iter().map(stand).collect()
    }

    async fn look(&self) {
        join_all(self.lanes.iter().map(|(origin, lane)| self.look_for(origin, lane))).await;
        self.keep();
        for stands in self.stands() {
            self.counters.follows(&stands);
        }
    }

    async fn look_for(&self, origin: &str, lane: &Lane) {
        if lane.state().head.forked.is_some() {
            return;
        }
        match self.look_at(lane).await {
            Ok(None) => {
                let mut state = lane.state();
                state.looked_ns = self.clock.unix_ns();
                state.trouble = None;
            }
            Ok(Some(about)) => self.forked(lane, origin, about),
            Err(trouble) => lane.state().troubled(origin, trouble),
        }
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
            // A replica may show for a moment what another has gone past; a log that was rolled back stays so.
            let mut state = lane.state();
            state.stale += 1;
            let about = format!("{} records are published, and {} were before", new.0, old.0);
            return if state.stale < STALE_LOOKS { Err(about) } else { Ok(Some(about)) };
        }
        lane.state().stale = 0;
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
        let since_ns = state
            .noted
            .since_ns()
            .map_or(state.looked_ns, |since_ns| since_ns.min(state.looked_ns));
        self.clock.unix_ns().saturating_sub(since_ns) > self.alone_ns
    }

    fn keep(&self) {
        let heads =
            self.lanes.iter().map(|(origin, lane)| (origin.clone(), lane.state().head.clone()));
        if let Err(cause) = followed::write(&self.path, heads.collect()) {
            tracing::error!(%cause, "how far the logs were followed cannot be kept");
        }
    }
}

impl Lane {
    /// A checkpoint that a trusted key of the lane signed; witnesses are for receipts.
    fn read(&self, note: &str) -> Result<Checkpoint, String> {
        let note: Note = note.parse().map_err(|_| "what is published is no signed note")?;
        note.verify(&self.keys)
            .map_err(|_| "no trusted key of the log signed what is published")?;
        let tree: Checkpoint =
            note.text().parse().map_err(|_| "what is published is no checkpoint")?;
        let own = self.keys.iter().any(|key| key.name() == tree.origin);
        if own { Ok(tree) } else { Err("what is published is of another log".to_owned()) }
    }

    /// From now on this is the tree, and these are parts of it.
    fn follow(&self, new: (u64, Hash), parts: &[(u64, Hash)]) {
        let mut state = self.state();
        // A fork that was found meanwhile stays one.
        (state.head.size, state.head.root) = new;
        state.noted.remove(parts);
        for part in parts {
            self.proven.insert(*part, ());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn new(head: Head, now_ns: i64) -> Self {
        Self { head, noted: Noted::new(), stale: 0, looked_ns: now_ns, trouble: None }
    }

    /// The same trouble is said once.
    fn troubled(&mut self, log: &str, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(log, trouble, "the log is not followed at present");
        }
        self.trouble = Some(trouble);
    }

    const fn at(&self) -> (u64, Hash) {
        (self.head.size, self.head.root)
    }
}

/// The number of a lane of this deployment.
fn number(origin: &str, log: &str) -> Option<u16> {
    let number = origin.strip_prefix(log)?.strip_prefix('/')?;
    number.parse().ok().filter(|lane: &u16| lane.to_string() == number)
}

const STALE_LOOKS: u32 = 3;
const NS: i64 = 1_000_000_000;
/// Older trees that receipts brought along.
const PROVEN_MAX: usize = 4_096;
