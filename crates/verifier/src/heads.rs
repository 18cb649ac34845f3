//! Heads that heartbeats keep of lanes beyond what the file shows of them: judged once it is known how long the log went on
//! after them, by its records and not by what the header says of itself alone.

use std::collections::BTreeMap;

use crate::{
    finding::{FileFault, Finding, Place, RecordFault},
    instant,
    record::{Head, Record},
    report::Report,
};

/// What is beyond the file, the oldest first.
#[derive(Default)]
pub(crate) struct Beyond {
    /// When the file was made, as its header says.
    created: Option<i64>,
    heads: BTreeMap<Key, Longer>,
}

/// When, and in which lane and index, a heartbeat spoke of which lane and size.
type Key = (i64, u16, u64, u16, u64);

struct Longer {
    place: Place,
    /// How much of the lane is shown.
    to: u64,
}

impl Beyond {
    /// False when this is no instant.
    pub(crate) fn created(&mut self, text: &str) -> bool {
        self.created = instant::parse(text);
        self.created.is_some()
    }

    /// A head of a lane of which only the records before `to` are shown.
    pub(crate) fn add(&mut self, head: &Head, place: Place, at: i64, to: u64) {
        let key = (at, place.lane, place.index, head.lane, head.size);
        self.heads.insert(key, Longer { place, to });
        // Whatever makes a head late makes every older one late, so the newest may be dropped.
        if self.heads.len() > Report::FINDINGS_MAX {
            self.heads.pop_last();
        }
    }

    /// After the last record, `newest` being the instant until which the log is known to have been written.
    pub(crate) fn close(&self, newest: Option<i64>, report: &mut Report) {
        let ahead =
            newest.zip(self.created).map(|(newest, created)| newest.saturating_sub(created));
        if let Some(ahead) = ahead.filter(|ahead| *ahead > TOLERANCE_NS) {
            let seconds = ahead.unsigned_abs() / 1_000_000_000;
            report.find(Finding::File(FileFault::CreatedEarly { seconds }));
        }
        let Some(until) = newest.max(self.created) else { return };
        for (&(at, _, _, lane, size), Longer { place, to }) in &self.heads {
            if until.saturating_sub(at) > TOLERANCE_NS {
                let fault = RecordFault::Shorter { lane, size, to: *to };
                report.find(Finding::Record(place.clone(), fault));
            }
        }
    }
}

/// By the records of one lane: until when it was written. While its clock is behind them (`clock`) their times are none.
#[derive(Default)]
pub(crate) struct Written {
    until: Option<i64>,
    /// The time of the `clock` record that the clock has not caught up with.
    behind: Option<i64>,
}

impl Written {
    pub(crate) fn record(&mut self, record: &Record) {
        let seen = record.text("seen").filter(|_| record.kind == "clock").and_then(instant::parse);
        if seen.is_some() {
            (self.until, self.behind) = (seen, Some(record.at));
        }
        let clamped = |since: i64| record.at.saturating_sub(since) < CLAMPED_NS;
        if !self.behind.is_some_and(clamped) {
            (self.until, self.behind) = (Some(record.at), None);
        }
    }

    /// Whether its times are none.
    pub(crate) const fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    pub(crate) const fn until(&self) -> Option<i64> {
        self.until
    }
}

/// Checkpoints follow commits within about a second, and clocks are nearer to each other than that: a minute is far past it.
const TOLERANCE_NS: i64 = 60_000_000_000;
/// Clamped times rise by a nanosecond a record: a billion records fit.
const CLAMPED_NS: i64 = 1_000_000_000;
