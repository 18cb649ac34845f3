//! What witnesses are asked: every second each lane's newest checkpoint goes to each witness, and the cosignature that comes
//! back is kept beside it (C2SP tlog-witness, the log's side).
//!
//! *Invariant:* nothing waits for a witness. One that is away, refuses or lies costs its cosignature and is said, no more. One that has
//! seen more of a lane than there is may be what remembers that the database was rolled back: that is a record.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use sqlx::PgPool;
use tlog::note::Signature;
use tlog::{Note, VerifierKey};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{self, Audit, Published};
use crate::clock::Clock;

mod client;
mod config;

pub use config::{Config, ConfigError, WitnessConfig};

use client::{Answer, Client};

/// The witnesses of this deployment. Cheap to clone.
#[derive(Clone)]
pub struct Cosign(Arc<Shared>);

struct Shared {
    witnesses: Vec<Arc<Seat>>,
    cosigned: Family<Of, Counter>,
    failed: Family<Of, Counter>,
    age: Family<Of, Gauge>,
    audit: Audit,
    clock: Clock,
}

/// One witness, as far as we know it.
struct Seat {
    name: Arc<str>,
    key: VerifierKey,
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// For each lane the size that the witness cosigned last, as far as it was told to us.
    sizes: HashMap<u16, u64>,
    /// When it cosigned last, Unix seconds, not after its answer came.
    last_s: Option<i64>,
    /// Lanes whose newest checkpoint it did not cosign, and why.
    troubles: BTreeMap<u16, String>,
    /// For each such lane which trouble was said last, and when.
    said: HashMap<u16, (String, Instant)>,
    /// Lanes of which it named another size each time: not asked before then, because each size costs a proof.
    rests: HashMap<u16, Instant>,
    /// For each lane of which it has cosigned more than is published: how many, and in how many looks.
    ahead: HashMap<u16, (u64, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    witness: String,
}

/// How a witness stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub witness: Arc<str>,
    /// Seconds since its last cosignature; none since this process began.
    pub age_s: Option<i64>,
    pub trouble: Option<String>,
}

impl Cosign {
    /// Asks from now on until `stop`. Does nothing when no witness is configured.
    ///
    /// # Errors
    /// When a witness's key, address or CA cannot be used.
    pub fn start(
        config: &Config,
        pool: &PgPool,
        audit: &Audit,
        clock: Clock,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, ConfigError> {
        let seat = |witness: &WitnessConfig| {
            let key = witness.key()?;
            Ok(Arc::new(Seat {
                name: key.name().into(),
                key,
                client: Client::new(witness)?,
                state: Mutex::default(),
            }))
        };
        let witnesses =
            config.witnesses.iter().map(seat).collect::<Result<Vec<_>, ConfigError>>()?;
        let mut names = HashSet::new();
        if let Some(twice) = witnesses.iter().find(|seat| !names.insert(&seat.name)) {
            return Err(ConfigError::Twice(twice.name.to_string()));
        }
        let shared = Arc::new(Shared {
            witnesses,
            cosigned: Family::default(),
            failed: Family::default(),
            age: Family::default(),
            audit: audit.clone(),
            clock,
        });
        for seat in &shared.witnesses {
            let run = Arc::clone(&shared).run(Arc::clone(seat), pool.clone());
            tracker.spawn(stop.clone().run_until_cancelled_owned(run));
        }
        Ok(Self(shared))
    }

    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("haetae_cosign");
        let Shared { cosigned, failed, age, .. } = &*self.0;
        registry.register("cosigned", "Cosignatures kept", cosigned.clone());
        registry.register("failed", "Cosignatures asked for in vain", failed.clone());
        registry.register("age_seconds", "Since the last cosignature", age.clone());
    }

    /// For `/readyz`: how old the last cosignature of each witness is.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let now_s = self.0.clock.unix_s();
        let health = |seat: &Arc<Seat>| {
            let state = seat.state();
            Health {
                witness: Arc::clone(&seat.name),
                age_s: state.last_s.map(|last| now_s - last),
                trouble: state.troubles.values().next().cloned(),
            }
        };
        self.0.witnesses.iter().map(health).collect()
    }
}

impl Shared {
    async fn run(self: Arc<Self>, seat: Arc<Seat>, pool: PgPool) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match audit::published(&pool).await {
                Ok(published) => self.all(&seat, &pool, &published).await,
                Err(cause) => tracing::debug!(%cause, "no checkpoints to have cosigned"),
            }
            let of = Of { witness: seat.name.to_string() };
            if let Some(last) = seat.state().last_s {
                self.age.get_or_create(&of).set(self.clock.unix_s() - last);
            }
        }
    }

    async fn all(&self, seat: &Seat, pool: &PgPool, published: &[Published]) {
        let of = Of { witness: seat.name.to_string() };
        for checkpoint in published {
            if seat.size(checkpoint.lane) == Some(checkpoint.size) || seat.rests(checkpoint.lane) {
                continue;
            }
            let asked = seat.cosign(pool, checkpoint).await;
            if let Some(about) = seat.knows_more(checkpoint) {
                self.audit.alarm("witness_knows_more", about, None);
            }
            let counter = if asked.is_ok() { &self.cosigned } else { &self.failed };
            counter.get_or_create(&of).inc();
            seat.heard(checkpoint.lane, asked, self.clock.unix_s());
        }
    }
}

impl Seat {
    /// Asks for a cosignature and keeps it; gives its time. A witness that remembers another size is asked once more.
    async fn cosign(&self, pool: &PgPool, checkpoint: &Published) -> Result<u64, String> {
        let mut old = self.size(checkpoint.lane).unwrap_or(0);
        for _ in 0..2 {
            if old > checkpoint.size {
                self.state().ahead.entry(checkpoint.lane).or_insert((old, 0));
                return Err(format!(
                    "the witness has cosigned {old} records of lane {}, and there are {}: was the database rolled back?",
                    checkpoint.lane, checkpoint.size
                ));
            }
            let proof = audit::consistency(pool, checkpoint.lane, old, checkpoint.size).await;
            let proof = proof.map_err(|cause| cause.to_string())?;
            match self.client.add_checkpoint(old, &proof, &checkpoint.note).await? {
                Answer::Conflict(size) => old = size,
                Answer::Lines(lines) => {
                    let (at_s, line) = self.read(&checkpoint.note, &lines)?;
                    let kept =
                        audit::keep_cosignature(pool, checkpoint, &self.name, at_s, &line).await;
                    kept.map_err(|cause| cause.to_string())?;
                    self.state().sizes.insert(checkpoint.lane, checkpoint.size);
                    return Ok(at_s);
                }
            }
        }
        self.state().rests.insert(checkpoint.lane, Instant::now() + REST);
        Err("the witness remembers another size each time: does somebody else submit for this log?"
            .to_owned())
    }

    fn rests(&self, lane: u16) -> bool {
        self.state().rests.get(&lane).is_some_and(|until| Instant::now() < *until)
    }

    /// Said once, when it stays so: another replica may have had a newer checkpoint cosigned a moment ago.
    fn knows_more(&self, published: &Published) -> Option<String> {
        let Published { lane, size, .. } = published;
        let mut state = self.state();
        let (cosigned, looks) = state.ahead.get_mut(lane)?;
        if size >= cosigned {
            state.ahead.remove(lane);
            return None;
        }
        *looks += 1;
        (*looks == AHEAD_LOOKS).then(|| {
            format!(
                "the witness {} has cosigned {cosigned} records of lane {lane}, and {size} are published: was the database rolled back?",
                self.name
            )
        })
    }

    /// The line that this witness's key signed under what was published, and its time. What else the answer has, lines of other keys
    /// of the witness or anything, is not kept.
    fn read(&self, note: &str, lines: &str) -> Result<(u64, String), String> {
        let mut cosigned: Note = note.parse().map_err(|_| "the published checkpoint is no note")?;
        let mut lines = lines.lines().filter_map(|line| line.parse::<Signature>().ok());
        let line = lines.find(|line| line.is_of(&self.key));
        let line = line.ok_or("the witness's answer has no line of its key")?;
        cosigned.push(line.clone());
        let verified = cosigned.verify([&self.key]);
        let at_s = verified.ok().and_then(|all| all.first()?.at);
        let at_s = at_s.ok_or("the witness's answer is not signed with its key")?;
        Ok((at_s, line.to_string()))
    }

    /// What came of asking. The same trouble with a lane is said once, and another not at every second: its words are the witness's.
    fn heard(&self, lane: u16, asked: Result<u64, String>, now_s: i64) {
        let mut state = self.state();
        let cause = match asked {
            Ok(at_s) => {
                return state.cosigned(lane, at_s, now_s);
            }
            Err(cause) => cause,
        };
        let now = Instant::now();
        let is_new = state
            .said
            .get(&lane)
            .is_none_or(|(said, at)| *said != cause && now.duration_since(*at) >= SAY_EVERY);
        if is_new {
            tracing::warn!(witness = &*self.name, lane, cause, "a checkpoint is not cosigned");
            state.said.insert(lane, (cause.clone(), now));
        }
        state.troubles.insert(lane, cause);
    }

    fn size(&self, lane: u16) -> Option<u64> {
        self.state().sizes.get(&lane).copied()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A witness whose clock was ahead once says so from then on: it would never be old.
    fn cosigned(&mut self, lane: u16, at_s: u64, now_s: i64) {
        self.last_s = Some(i64::try_from(at_s).unwrap_or(i64::MAX).min(now_s));
        self.troubles.remove(&lane);
        self.said.remove(&lane);
    }
}

/// In seconds: a published checkpoint is known to every replica by then.
const AHEAD_LOOKS: u32 = 10;
const REST: Duration = Duration::from_secs(10);
const SAY_EVERY: Duration = Duration::from_secs(10);
/// As often as checkpoints are published.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_whose_clock_is_ahead_grows_old_all_the_same() {
        let mut state = State::default();
        for (at_s, expected) in [(90, 90), (100, 100), (1_000_000, 100), (u64::MAX, 100)] {
            state.cosigned(0, at_s, 100);
            assert_eq!(state.last_s, Some(expected), "{at_s}");
        }
    }
}
