//! How the logs that the guard trusts grew, from what they publish: on a cadence the newest checkpoint of each lane, with the
//! proof that it extends the one before; and receipts' checkpoints held against that.
//!
//! A receipt proves its record in the tree that it brings along. That this tree is the one that everybody else sees is shown
//! here: one that is older than what was followed must be a part of it before it opens anything; one that is newer is
//! noted, and proven at the next look.
//!
//! *Invariant:* a lane of which two trees were seen that do not extend each other opens nothing any more, across restarts
//! too; and nothing is opened on receipts alone for longer than the configuration says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tlog::{Checkpoint, Hash, Note, Policy, VerifierKey, proof};
use tokio::time::{MissedTickBehavior, interval};

use super::config::FollowConfig;
use super::followed::{self, Head};
use super::metrics::Counters;
use super::{GuardError, Refused};
use crate::clock::Clock;
use crate::remote::{Remote, RemoteError};

pub(super) struct Follow {
    remote: Remote,
    lanes: BTreeMap<String, Lane>,
    path: PathBuf,
    every: Duration,
    alone_ns: i64,
    between_max: u64,
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
    /// Receipts' trees that are newer than the head.
    noted: BTreeMap<u64, Hash>,
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
                let head = kept.remove(origin).unwrap_or_default();
                let state = State {
                    head,
                    noted: BTreeMap::new(),
                    stale: 0,
                    looked_ns: now_ns,
                    trouble: None,
                };
                let proven = Cache::new(PROVEN_MAX);
                Lane { number, keys: Vec::new(), state: Mutex::new(state), proven }
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
        let between_max = config.between_max;
        Ok(Self { remote, lanes, path, every, alone_ns, between_max, counters, clock })
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
        let (size, root) = (tree.size, tree.root);
        let head = {
            let mut state = lane.state();
            let head = &state.head;
            if head.forked.is_some() {
                return Err(Refused::Forked);
            }
            if self.is_late(&state) {
                return Err(Refused::NotFollowed);
            }
            match size.cmp(&head.size) {
                Ordering::Equal if root == head.root => return Ok(()),
                Ordering::Greater => return state.note(size, root),
                Ordering::Equal => None,
                Ordering::Less => Some((head.size, head.root)),
            }
        };
        let about = match head {
            Some(_) if lane.proven.get(&(size, root)).is_some() => return Ok(()),
            Some(head) => match self.extends(lane, (size, root), head).await {
                Ok(None) => {
                    lane.proven.insert((size, root), ());
                    return Ok(());
                }
                // The log cannot be asked: on receipts alone, for as long as the configuration says.
                Err(trouble) => {
                    lane.state().trouble = Some(trouble);
                    return Ok(());
                }
                Ok(Some(about)) => about,
            },
            None => format!(
                "a receipt's tree of {size} records has another root than the published one"
            ),
        };
        self.forked(lane, &tree.origin, about);
        Err(Refused::Forked)
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
        for (origin, lane) in &self.lanes {
            if lane.state().head.forked.is_some() {
                continue;
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
        self.keep();
        for stands in self.stands() {
            self.counters.follows(&stands);
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
        let seen = {
            let mut state = lane.state();
            state.stale = 0;
            state.up_to(new.0)
        };
        let from = first(&seen, old.0, new.0);
        let contradiction = if new.0 - from <= self.between_max {
            self.between(lane, from, new, &seen).await?
        } else {
            self.apart(lane, old, new, &seen).await?
        };
        if contradiction.is_none() {
            let mut state = lane.state();
            state.head = Head { size: new.0, root: new.1, forked: None };
            // What came meanwhile is for the next look.
            state.noted.retain(|size, _| !seen.contains_key(size));
        }
        Ok(contradiction)
    }

    /// Computes from the served tiles every root that was seen, the smallest of them at `from`; gives what contradicts.
    async fn between(
        &self,
        lane: &Lane,
        from: u64,
        new: (u64, Hash),
        seen: &BTreeMap<u64, Hash>,
    ) -> Result<Option<String>, String> {
        let tiles = self.remote.between(lane.number, from, new.0).await;
        let tiles = tiles.map_err(|cause| cause.to_string())?;
        let root = |size: u64| proof::root(&tiles, size).map_err(|_| wrong_tiles(size));
        if root(new.0)? != new.1 {
            return Err(wrong_tiles(new.0));
        }
        let (size, before) = lane.state().at();
        if size > 0 && root(size)? != before {
            return Ok(Some(format!(
                "the tree of {} records does not extend the one of {size}",
                new.0
            )));
        }
        for (size, seen) in seen {
            if root(*size)? != *seen {
                return Ok(Some(format!(
                    "a receipt's tree of {size} records is no part of the published log"
                )));
            }
        }
        Ok(None)
    }

    /// The same for roots that lie far apart: each is proven by itself, from far fewer tiles than lie between them.
    async fn apart(
        &self,
        lane: &Lane,
        old: (u64, Hash),
        new: (u64, Hash),
        seen: &BTreeMap<u64, Hash>,
    ) -> Result<Option<String>, String> {
        let seen = seen.iter().map(|(size, root)| (*size, *root));
        for one in std::iter::once(old).chain(seen) {
            let contradiction = self.extends(lane, one, new).await?;
            if contradiction.is_some() {
                return Ok(contradiction);
            }
        }
        Ok(None)
    }

    /// What shows that the larger tree does not extend the smaller one; nothing when it does.
    async fn extends(
        &self,
        lane: &Lane,
        old: (u64, Hash),
        new: (u64, Hash),
    ) -> Result<Option<String>, String> {
        if old.0 == new.0 {
            let about = format!("two trees of {} records have different roots", new.0);
            return Ok((old.1 != new.1).then_some(about));
        }
        let proof = match old.0 {
            0 => Vec::new(),
            size => {
                let proof = self.remote.consistency(lane.number, size, new.0).await;
                proof.map_err(|cause| cause.to_string())?
            }
        };
        if proof::verify_consistency((old.0, &old.1), (new.0, &new.1), &proof).is_ok() {
            return Ok(None);
        }
        // Tiles that are not the signed tree's prove nothing against it: that is a trouble of who serves them.
        let served =
            self.remote.root(lane.number, new.0).await.map_err(|cause| cause.to_string())?;
        if served != new.1 {
            return Err(wrong_tiles(new.0));
        }
        Ok(Some(format!("the tree of {} records does not extend the one of {}", new.0, old.0)))
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
        self.clock.unix_ns().saturating_sub(state.looked_ns) > self.alone_ns
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

    /// Receipts' trees of at most this size.
    fn up_to(&self, size: u64) -> BTreeMap<u64, Hash> {
        self.noted.range(..=size).map(|(size, root)| (*size, *root)).collect()
    }

    /// Two receipts of one size and different roots show a fork by themselves.
    fn note(&mut self, size: u64, root: Hash) -> Result<(), Refused> {
        match self.noted.get(&size) {
            Some(known) if *known == root => return Ok(()),
            Some(_) => {
                let about =
                    format!("two receipts have trees of {size} records with different roots");
                self.head.forked = Some(about);
                return Err(Refused::Forked);
            }
            None => {}
        }
        if self.noted.len() >= NOTED_MAX {
            self.noted.pop_first();
        }
        self.noted.insert(size, root);
        Ok(())
    }
}

/// The smallest size of which a root was seen since the last look, at most `new`.
fn first(seen: &BTreeMap<u64, Hash>, old: u64, new: u64) -> u64 {
    let old = if old == 0 { new } else { old };
    seen.first_key_value().map_or(old, |(first, _)| old.min(*first))
}

fn wrong_tiles(size: u64) -> String {
    format!("the served tiles do not lead to the signed root of {size} records")
}

/// The number of a lane of this deployment.
fn number(origin: &str, log: &str) -> Option<u16> {
    let number = origin.strip_prefix(log)?.strip_prefix('/')?;
    number.parse().ok().filter(|lane: &u16| lane.to_string() == number)
}

const STALE_LOOKS: u32 = 3;
const NS: i64 = 1_000_000_000;
/// Trees of a lane between two looks, the newest; a hundred commits a second for ten seconds.
const NOTED_MAX: usize = 1_024;
/// Older trees that receipts brought along.
const PROVEN_MAX: usize = 4_096;
