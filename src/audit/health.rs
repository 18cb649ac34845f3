//! How the room is: lanes held, what waits, whether the database keeps what it is told to keep.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tlog::VerifierKey;
use tokio::sync::watch;

use super::leaf::Head;

/// For /readyz. Ready: at least one lane is held and there is no cause against it.
#[derive(Debug, Clone)]
pub struct Health {
    pub ready: bool,
    /// Why it is not ready, each a sentence for the operator.
    pub causes: Vec<String>,
    /// What a commit waits for, as the database is set: a sentence.
    pub durability: String,
    pub lanes: Vec<LaneHealth>,
    pub waiting_decisions: usize,
    pub waiting_notices: usize,
    pub last_commit: Duration,
    /// Records that are committed but not yet in the query tables.
    pub projection_lag: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneHealth {
    pub lane: u16,
    pub held: bool,
    /// Tree size after the last commit of this process.
    pub size: u64,
    /// Why it is not held.
    pub cause: Option<String>,
}

/// What the lanes' tasks say of themselves, and what was last seen of the database.
#[derive(Debug)]
pub(super) struct Board {
    lanes: Mutex<Vec<Seen>>,
    held: watch::Sender<usize>,
    database: Mutex<Look>,
    /// Why the high-water file could not be written.
    water: Mutex<Option<String>>,
    /// Why nobody can look whether the database still has what was committed.
    unseen: Mutex<Option<String>>,
    /// Why a signed checkpoint is not where it was published.
    unpublished: Mutex<Option<String>>,
    /// The heads of all lanes, and in which of ours they are to be written: by turns, so that each lane bears witness to the others.
    beat: Mutex<Beat>,
}

#[derive(Debug, Default)]
struct Beat {
    /// The slot whose turn it was last.
    last: u16,
    due: Option<(u16, Vec<Head>)>,
}

/// What was seen of the database's settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// What speaks against keeping a log in it.
    pub causes: Vec<String>,
    /// What a commit waits for.
    pub durability: String,
}

#[derive(Debug, Clone)]
struct Seen {
    health: LaneHealth,
    signed: Option<Signed>,
}

/// The newest checkpoint of a lane.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub lane: u16,
    pub size: u64,
    pub note: String,
    pub vkey: String,
}

impl Board {
    pub fn new(lanes: u16) -> Self {
        let seen = |lane| Seen {
            health: LaneHealth { lane, held: false, size: 0, cause: Some("starting".to_owned()) },
            signed: None,
        };
        Self {
            lanes: Mutex::new((0..lanes).map(seen).collect()),
            held: watch::Sender::new(0),
            database: Mutex::new(Look {
                causes: vec!["the database was not yet looked at".to_owned()],
                durability: String::new(),
            }),
            water: Mutex::new(None),
            unseen: Mutex::new(None),
            unpublished: Mutex::new(None),
            beat: Mutex::default(),
        }
    }

    pub fn held(&self, lane: u16) {
        self.change(lane, |seen| (seen.health.held, seen.health.cause) = (true, None));
    }

    pub fn lost(&self, lane: u16, cause: String) {
        self.change(lane, |seen| (seen.health.held, seen.health.cause) = (false, Some(cause)));
    }

    pub fn stopped(&self, lane: u16) {
        self.lost(lane, "stopped".to_owned());
    }

    /// `slot` is the lane's place here; `lane` is its number in the log.
    pub fn grew(&self, (slot, lane): (u16, u16), size: u64, note: &str, key: &VerifierKey) {
        self.change(slot, |seen| {
            seen.health.lane = lane;
            seen.health.size = size;
            seen.signed = Some(Signed { lane, size, note: note.to_owned(), vkey: key.to_string() });
        });
    }

    /// The next of the lanes that we hold is to write these heads.
    pub fn next_beat(&self, heads: Vec<Head>) {
        let lanes = self.lock();
        let held = (0_u16..).zip(lanes.iter()).filter(|(_, seen)| seen.health.held);
        let held: Vec<u16> = held.map(|(slot, _)| slot).collect();
        drop(lanes);
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        let next = held.iter().find(|slot| **slot > beat.last).or(held.first());
        if let Some(slot) = next {
            *beat = Beat { last: *slot, due: Some((*slot, heads)) };
        }
    }

    /// Heads that this lane is to write now.
    pub fn beat(&self, slot: u16) -> Option<Vec<Head>> {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        beat.due.take_if(|(of, _)| *of == slot).map(|(_, heads)| heads)
    }

    pub fn lanes_held(&self) -> usize {
        *self.held.borrow()
    }

    /// Whether this very lane is held here.
    pub fn holds(&self, lane: u16) -> bool {
        self.lock().iter().any(|seen| seen.health.held && seen.health.lane == lane)
    }

    pub fn watch(&self) -> watch::Receiver<usize> {
        self.held.subscribe()
    }

    pub fn signed(&self) -> Vec<Signed> {
        self.lock().iter().filter_map(|seen| seen.signed.clone()).collect()
    }

    pub fn lanes(&self) -> Vec<LaneHealth> {
        self.lock().iter().map(|seen| seen.health.clone()).collect()
    }

    pub fn database(&self, look: Look) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }

    pub fn durability(&self) -> String {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).durability.clone()
    }

    pub fn water(&self, cause: Option<String>) {
        *self.water.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    pub fn unseen(&self, cause: Option<String>) {
        *self.unseen.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    pub fn unpublished(&self, cause: Option<String>) {
        *self.unpublished.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    /// Everything that speaks against readiness.
    pub fn causes(&self) -> Vec<String> {
        let look = self.database.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut causes = look.causes;
        for one in [&self.water, &self.unseen, &self.unpublished] {
            causes.extend(one.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        if self.lanes_held() == 0 {
            let each = self.lanes().into_iter();
            let each = each.map(|lane| (lane.lane, lane.cause.unwrap_or_default()));
            causes.extend(each.map(|(lane, cause)| format!("lane {lane} is not held: {cause}")));
        }
        causes
    }

    fn change(&self, lane: u16, change: impl FnOnce(&mut Seen)) {
        let mut lanes = self.lock();
        if let Some(seen) = lanes.get_mut(usize::from(lane)) {
            change(seen);
        }
        let held = lanes.iter().filter(|seen| seen.health.held).count();
        drop(lanes);
        self.held.send_if_modified(|now| std::mem::replace(now, held) != held);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
