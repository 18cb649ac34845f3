//! Room on the file system of the state: what a mirror leaves free, whatever a log signs.
//!
//! Cosigning goes on without room for mirrors: it replaces one small file of each log, and what is left free is for that and for
//! alarms. Not to cosign would let one log's size stop the others. When the disk takes nothing at all, nothing is cosigned: the
//! state is written first.
//!
//! *Invariant:* a mirror writes nothing before it looked here, and nothing that was verified is deleted to make room.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::alarms::Alarms;
use super::metrics::Counters;
use crate::clock::Clock;
use crate::disk;

pub(super) struct Room {
    /// The directory of the state.
    dir: PathBuf,
    min_bytes: u64,
    alarms: Arc<Alarms>,
    counters: Counters,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free_bytes: Option<u64>,
    /// The hour (Unix) in which too little of it was an alarm last.
    hour: Option<i64>,
}

impl Room {
    pub fn new(
        dir: PathBuf,
        min_mb: u64,
        alarms: Arc<Alarms>,
        counters: Counters,
        clock: Clock,
    ) -> Self {
        let min_bytes = min_mb.saturating_mul(MB);
        Self { dir, min_bytes, alarms, counters, clock, state: Mutex::default() }
    }

    /// Looks whether there is enough to mirror more of this log; an error says in words why not. Blocks.
    pub fn look(&self, log: &str) -> Result<(), String> {
        let free = disk::room(&self.dir)
            .map_err(|cause| format!("how much room the state has cannot be told: {cause}"))?;
        let is_short = free < self.min_bytes;
        self.counters.room(free, is_short);
        let hour = self.clock.unix_s().div_euclid(3_600);
        let is_first = {
            let mut state = self.state();
            state.free_bytes = Some(free);
            is_short && state.hour.replace(hour) != Some(hour)
        };
        if is_first {
            let about = format!(
                "{} MB are free where the state lies, and `room_min_mb` keeps {}: nothing further is mirrored until there is room; checkpoints are cosigned all the same",
                free / MB,
                self.min_bytes / MB
            );
            self.alarms.raise(log, "no_room", about);
        }
        if is_short { Err(TOO_LITTLE.to_owned()) } else { Ok(()) }
    }

    /// Bytes free when they were looked at last.
    pub fn free_bytes(&self) -> Option<u64> {
        self.state().free_bytes
    }

    pub const fn min_bytes(&self) -> u64 {
        self.min_bytes
    }

    /// Whether nothing further is mirrored.
    pub fn is_short(&self) -> bool {
        self.free_bytes().is_some_and(|free| free < self.min_bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without numbers, so that it is said once while it stands.
const TOO_LITTLE: &str = "less is free where the state lies than `room_min_mb` keeps: make room, or lower it in witness.toml";
const MB: u64 = 1 << 20;
