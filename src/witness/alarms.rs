//! What was found wrong: said at once in the log line, on the status page and in the metrics, and kept as a record of the
//! witness's own log.
//!
//! *Invariant:* a log that is wrong throughout fills neither the disk nor the page: past [`HOURLY_MAX`] alarms of one log in
//! an hour the rest is counted, and the count is recorded. Of those, and of the places on the page, contradictions have their own.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::{counter::Counter, family::Family};
use serde_json::{Value, json};

use super::own::Own;
use crate::clock::Clock;
use crate::telemetry::Why;

pub(super) struct Alarms {
    own: Own,
    counter: Family<Why, Counter>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    newest: VecDeque<Alarm>,
    total: u64,
    /// By log: the hour, how many were recorded in it, how many were not.
    hours: BTreeMap<String, (i64, u64, u64)>,
    /// Alarms that could not be written yet, oldest first.
    waiting: VecDeque<Alarm>,
    /// Why.
    unwritten: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    pub at_s: i64,
    /// Origin of the log that it is about.
    pub log: String,
    /// Published code.
    pub what: &'static str,
    /// One sentence, without personal values.
    pub about: String,
}

impl Alarm {
    /// Whether it says that trees contradict each other, or that this witness is in doubt about its own: whoever makes others by the
    /// hundred takes no room from those.
    fn is_grave(&self) -> bool {
        matches!(self.what, "fork" | "rolled_back" | "contradiction" | "state_lost")
    }
}

impl Alarms {
    pub fn new(own: Own, counter: Family<Why, Counter>, clock: Clock) -> Self {
        Self { own, counter, clock, state: Mutex::default() }
    }

    /// Blocks for as long as the disk takes to sync.
    pub fn raise(&self, log: &str, what: &'static str, mut about: String) {
        // A record has room for some hundred characters more, and a log may have a say in the sentence.
        about.truncate(about.floor_char_boundary(ABOUT_MAX));
        tracing::error!(log, what, about, "ALARM");
        self.counter.get_or_create(&Why { why: what }).inc();
        let at_s = self.clock.unix_s();
        let alarm = Alarm { at_s, log: log.to_owned(), what, about };
        let (room, more) = self.state().count(&alarm);
        if let Some(more) = more {
            let about =
                format!("{more} further alarms of the hour before were not recorded one by one");
            self.record(&Alarm { what: "more_alarms", about, ..alarm.clone() });
        }
        if room {
            self.record(&alarm);
        }
    }

    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Newest first.
    pub fn newest(&self) -> Vec<Alarm> {
        self.state().newest.iter().rev().cloned().collect()
    }

    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// Why alarms are not in the log of alarms.
    pub fn unwritten(&self) -> Option<String> {
        self.state().unwritten.clone()
    }

    /// Writes what could not be written before. Blocks for as long as the disk takes to sync.
    pub fn write_waiting(&self) {
        // Taken one by one, so that none is written twice.
        while let Some(alarm) = self.next_waiting() {
            if !self.write(&alarm) {
                return self.state().waiting.push_front(alarm);
            }
        }
    }

    fn next_waiting(&self) -> Option<Alarm> {
        self.state().waiting.pop_front()
    }

    fn record(&self, alarm: &Alarm) {
        self.write_waiting();
        let mut state = self.state();
        if state.waiting.is_empty() {
            drop(state);
            if self.write(alarm) {
                return;
            }
            state = self.state();
        }
        if state.waiting.len() < WAITING_MAX {
            state.waiting.push_back(alarm.clone());
        }
    }

    fn write(&self, alarm: &Alarm) -> bool {
        let Alarm { log, what, about, .. } = alarm;
        let record = json!({ "log": log, "what": what, "about": about });
        let written = match record {
            Value::Object(keys) => self.own.append("alarm", keys),
            _ => Err(io::Error::other("not an object")),
        };
        let unwritten = written.err().map(|cause| {
            tracing::error!(%cause, "an alarm cannot be recorded yet");
            cause.to_string()
        });
        let mut state = self.state();
        state.unwritten = unwritten;
        state.unwritten.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is room to record it, and how many of an hour that is over were not.
    fn count(&mut self, alarm: &Alarm) -> (bool, Option<u64>) {
        self.total += 1;
        // Of each log: one that raises many does not push out another's.
        if self.newest.iter().filter(|known| known.log == alarm.log).count() >= NEWEST_MAX {
            let is_of_log = |known: &&Alarm| known.log == alarm.log;
            let places = || self.newest.iter().enumerate().filter(|(_, known)| is_of_log(known));
            let light = places().find(|(_, known)| !known.is_grave());
            let oldest = light.or_else(|| places().next()).map(|(place, _)| place);
            oldest.map(|oldest| self.newest.remove(oldest));
        }
        self.newest.push_back(alarm.clone());
        let hour = alarm.at_s.div_euclid(3_600);
        let of_log = self.hours.entry(alarm.log.clone()).or_insert((hour, 0, 0));
        let mut more = None;
        if of_log.0 != hour {
            more = Some(of_log.2).filter(|more| *more > 0);
            *of_log = (hour, 0, 0);
        }
        let max = if alarm.is_grave() { HOURLY_MAX } else { HOURLY_MAX - GRAVE_HOURLY };
        let room = of_log.1 < max;
        if room {
            of_log.1 += 1;
        } else {
            of_log.2 += 1;
        }
        (room, more)
    }
}

/// Bytes of the sentence.
const ABOUT_MAX: usize = 500;
/// On the page, of each log.
const NEWEST_MAX: usize = 20;
/// As many as an hour of ten logs.
const WAITING_MAX: usize = 1_000;
/// Half a kB each.
const HOURLY_MAX: u64 = 100;
/// Of them for contradictions alone.
const GRAVE_HOURLY: u64 = 30;

#[cfg(test)]
mod tests {
    use tlog::SigningKey;
    use tlog::key::Kind;

    use super::super::status;
    use super::*;

    fn alarm(number: usize, what: &'static str) -> Alarm {
        Alarm { at_s: 7, log: "log.example/0".to_owned(), what, about: number.to_string() }
    }

    #[test]
    fn what_contradicts_is_recorded_and_shown_beside_hundreds_of_others() {
        let mut state = State::default();
        let mut recorded = |number, what| state.count(&alarm(number, what)).0;
        assert!(recorded(0, "contradiction"));
        let others = (0..300).filter(|number| recorded(*number, "tree_root")).count();
        assert_eq!(others, 69);
        assert!(recorded(1, "fork") && recorded(2, "rolled_back"));
        assert!((0..200).all(|number| !recorded(number, "tree_root")));
        let shown = state.newest.iter().filter(|known| known.is_grave()).count();
        assert_eq!((shown, state.newest.len()), (3, NEWEST_MAX));
    }

    #[test]
    fn that_one_is_not_recorded_is_shown_without_the_cause() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(0));
        let key = SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap();
        let own = Own::open(dir.path(), &dir.path().join("key"), &key, clock.clone()).unwrap();
        let alarms = Alarms::new(own, Family::default(), clock);
        let shown = || {
            let mut page = String::new();
            status::raised(&mut page, &alarms);
            (page, status::raised_json(&alarms))
        };
        let (page, json) = shown();
        assert!(!page.contains("not recorded") && json["unwritten"] == false, "{page}");
        alarms.state().unwritten = Some("/srv/log/entries: os error 28".to_owned());
        let (page, json) = shown();
        assert!(page.contains("not recorded yet") && json["unwritten"] == true, "{page}");
        assert!(!format!("{page}{json}").contains("os error"), "{page}");
    }
}
