//! Room on the file system of the state: what mirrors leave free, whatever a log signs, and how they share the rest.
//!
//! Cosigning goes on without room for mirrors: it replaces one small file of each log, and what is left free is for that and for
//! alarms. Not to cosign would let one log's size stop the others. When the disk takes nothing at all, nothing is cosigned: the
//! state is written first.
//!
//! What a mirror had at the start is its own. What was free then is divided among the logs that are mirrored, by the parts that the
//! operator gave each. A log here is a `[[mirror]]` with all its lanes: lanes are its owner's, and however many there are they have one
//! share. Nobody goes past it while others leave theirs unused: nothing is deleted, so they would find it taken. What an endless log
//! took counts as its own from the next start on, and it may take its part of what is left then: less each time, and never all.
//!
//! *Invariant:* a mirror writes nothing that needs room before it looked here; nothing that was verified is deleted to make room; and no
//! log takes more of it between two starts than its share, but for what its lanes write between two looks.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::alarms::Alarms;
use super::metrics::Counters;
use super::trouble::{Kind, Trouble};
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
    /// By log: those that are mirrored.
    taken: BTreeMap<String, Taken>,
}

struct Taken {
    parts: NonZeroU32,
    /// What its mirror had at the start.
    had: u64,
    bytes: u64,
    /// The hour (Unix) in which it was more than its share, and an alarm, last.
    hour: Option<i64>,
}

/// How the mirror of a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub used_bytes: u64,
    pub max_bytes: u64,
    /// Whether it waits, and others do not: a log that is mirrored alone waits for the disk.
    pub is_over: bool,
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

    /// A log is mirrored, and its mirror has so much already. Before the first look of any, or their shares would shrink.
    pub fn enter(&self, log: &str, parts: NonZeroU32, bytes: u64) {
        self.state().taken.insert(log.to_owned(), Taken { parts, had: bytes, bytes, hour: None });
    }

    /// Looks whether there is enough to mirror more of this log, whose mirror takes so much now. Blocks.
    pub fn look(&self, log: &str, used_bytes: u64) -> Result<(), Trouble> {
        let free = disk::room(&self.dir).map_err(|cause| {
            let said = format!("how much room the state has cannot be told: {cause}");
            Trouble::new(Kind::Own, said)
        })?;
        let hour = self.clock.unix_s().div_euclid(3_600);
        let is_short = free < self.min_bytes;
        let (share, is_first_short, is_first_over) = {
            let mut state = self.state();
            let share = state.look(log, used_bytes, free, self.min_bytes);
            let is_first_short = is_short && state.hour.replace(hour) != Some(hour);
            (share, is_first_short, share.is_some_and(|share| state.is_first(log, share, hour)))
        };
        self.counters.room(free, is_short);
        if is_first_short {
            self.alarms.raise(log, "no_room", self.short(free));
        }
        if let Some(share) = share {
            self.counters.share(log, share);
            if is_first_over {
                self.alarms.raise(log, "over_share", share.over());
            }
            if share.is_over {
                return Err(Trouble::new(Kind::OverShare, OVER));
            }
        }
        if is_short { Err(Trouble::new(Kind::NoRoom, TOO_LITTLE)) } else { Ok(()) }
    }

    fn short(&self, free: u64) -> String {
        format!(
            "{} MB are free where the state lies, and `room_min_mb` keeps {}: nothing further is mirrored until there is room, and records that are judged meanwhile are not kept; checkpoints are cosigned all the same",
            free / MB,
            self.min_bytes / MB
        )
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

    /// How the mirror of a log stands; `None` before room was looked at.
    pub fn share(&self, log: &str) -> Option<Share> {
        self.state().share(log, self.min_bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&mut self, log: &str, used: u64, free: u64, min: u64) -> Option<Share> {
        self.free_bytes = Some(free);
        self.taken.get_mut(log)?.bytes = used;
        self.share(log, min)
    }

    /// What it had at the start, and its part of what all may write since. What mirrors write does not change that, so each is told
    /// the same however far the others are; what others write on the same disk does.
    fn share(&self, log: &str, min: u64) -> Option<Share> {
        let of_log = self.taken.get(log)?;
        let grown = self.taken.values().map(|of| i128::from(of.bytes) - i128::from(of.had));
        let all = grown.sum::<i128>() + i128::from(self.free_bytes?) - i128::from(min);
        let parts = self.taken.values().map(|of| i128::from(of.parts.get())).sum::<i128>();
        let part = all.max(0) * i128::from(of_log.parts.get()) / parts.max(1);
        let max_bytes = of_log.had.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        let used_bytes = of_log.bytes;
        let is_over = self.taken.len() > 1 && used_bytes > max_bytes;
        Some(Share { used_bytes, max_bytes, is_over })
    }

    /// Whether it is over its share, and was not told so in this hour.
    fn is_first(&mut self, log: &str, share: Share, hour: i64) -> bool {
        let of_log = self.taken.get_mut(log).filter(|_| share.is_over);
        of_log.is_some_and(|of_log| of_log.hour.replace(hour) != Some(hour))
    }
}

impl Share {
    /// In words, with what to do.
    pub fn over(self) -> String {
        format!(
            "the mirror of this log takes {} MB, and its share of the room of all mirrors is {} MB: nothing further of it is mirrored, and the others go on; records of it that are judged meanwhile are not kept; its checkpoints are cosigned all the same. Whoever wants all of it gives it more `room_parts` in witness.toml, or the state a larger disk",
            self.used_bytes / MB,
            self.max_bytes / MB
        )
    }
}

/// Without numbers, so that it is said once while it stands.
const TOO_LITTLE: &str = "less is free where the state lies than `room_min_mb` keeps: make room, or lower it in witness.toml";
const OVER: &str = "the mirror of this log takes more than its share of the room of all mirrors: give it more `room_parts` in witness.toml, or the state a larger disk";
const MB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: u64 = 100;

    fn state(logs: &[(&str, u32)]) -> State {
        let mut state = State::default();
        for (log, parts) in logs {
            let parts = NonZeroU32::new(*parts).unwrap();
            state.taken.insert((*log).to_owned(), Taken { parts, had: 0, bytes: 0, hour: None });
        }
        state
    }

    /// Each writes as long as it may on a disk of this size, one after the other; gives how much each took.
    fn filled(state: &mut State, order: &[&str], disk: u64) -> Vec<u64> {
        let mut free = disk;
        let mut fill = |log: &&str| {
            let mut used = 0;
            while state.look(log, used, free, MIN).is_some_and(|share| !share.is_over)
                && free >= MIN
            {
                (used, free) = (used + 1, free - 1);
            }
            used
        };
        order.iter().map(&mut fill).collect()
    }

    #[test]
    fn an_endless_log_stops_at_its_share_and_leaves_the_others_theirs() {
        let mut logs = state(&[("endless", 1), ("b", 1), ("c", 1)]);
        // What is written between two looks is one byte here: the last to come lacks what the others wrote too much.
        assert_eq!(filled(&mut logs, &["endless", "b", "c"], 1_000), [301, 301, 299]);
        // The operator's word counts.
        let mut logs = state(&[("endless", 1), ("large", 7), ("c", 1)]);
        assert_eq!(filled(&mut logs, &["endless", "c", "large"], 1_000), [101, 101, 699]);
        // Alone it has all.
        assert_eq!(filled(&mut state(&[("a", 1)]), &["a"], 1_000), [901]);
    }

    /// As after the first start of a program that knows shares: no mirror was given parts yet.
    #[test]
    fn what_a_mirror_had_at_the_start_is_its_own() {
        let mut logs = state(&[("large", 1), ("b", 1)]);
        let start = |logs: &mut State, log: &str, had| {
            let of_log = logs.taken.get_mut(log).unwrap();
            (of_log.had, of_log.bytes) = (had, had);
        };
        start(&mut logs, "large", 10_000);
        start(&mut logs, "b", 100);
        let shares = |logs: &mut State, free| {
            let large = logs.look("large", 10_000, free, MIN).unwrap();
            let small = logs.look("b", 100, free, MIN).unwrap();
            [large, small].map(|share| (share.max_bytes, share.is_over))
        };
        assert_eq!(shares(&mut logs, 5_100), [(12_500, false), (2_600, false)]);
        // Without any room it has what it had, and nobody is over.
        assert_eq!(shares(&mut logs, 0), [(10_000, false), (100, false)]);
        // What one takes, or gives back, is not the other's.
        assert!(logs.look("large", 12_501, 2_599, MIN).unwrap().is_over);
        assert_eq!(logs.share("b", MIN).unwrap().max_bytes, 2_600);
        assert_eq!(logs.look("large", 9_000, 6_100, MIN).unwrap().max_bytes, 12_500);
        // At each start an endless one takes its part of the rest, and never all.
        let (mut used, mut free) = (0, 1_700);
        let mut logs = state(&[("endless", 1), ("b", 1)]);
        let took = [(); 4].map(|()| {
            start(&mut logs, "endless", used);
            let before = used;
            while logs.look("endless", used, free, MIN).is_some_and(|share| !share.is_over) {
                (used, free) = (used + 1, free - 1);
            }
            used - before
        });
        assert_eq!((took, free), ([801, 400, 200, 100], 199));
    }

    #[test]
    fn who_is_over_is_told_once_an_hour() {
        let mut logs = state(&[("a", 1), ("b", 1)]);
        assert_eq!(logs.share("a", MIN), None);
        let mut told = |log: &str, used, hour| {
            let share = logs.look(log, used, 1_000, MIN).unwrap();
            logs.is_first(log, share, hour)
        };
        assert!(!told("a", 10, 1) && told("a", 2_000, 1) && !told("a", 2_000, 1));
        assert!(told("a", 2_000, 2) && !told("b", 10, 2));
        assert_eq!(logs.look("of no mirror", 0, 1_000, MIN), None);
        // No number is too large.
        let share = logs.look("a", u64::MAX, u64::MAX, 0).unwrap();
        assert!(!logs.look("b", 0, u64::MAX, 0).unwrap().is_over, "{share:?}");
    }
}
