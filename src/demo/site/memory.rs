//! What a site has seen, in order, for whoever holds it against the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// One workload that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The decision id that came with it.
    pub decision: String,
    pub path: String,
    /// Hex SHA-256 of the body as it arrived.
    pub body_digest: String,
    /// Whether leaf and receipt came too.
    pub receipt: bool,
    /// Names of all headers that came, sorted.
    #[serde(default)]
    pub headers: Vec<String>,
}

/// Everything a site says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub seen: Vec<Seen>,
    /// What came and should not have.
    pub unexpected: Vec<String>,
    /// Streams that were sent to their end, and streams whose reader went away.
    pub streams_whole: u64,
    pub streams_cut: u64,
}

#[derive(Default)]
pub(super) struct Memory(Mutex<Report>);

impl Memory {
    pub(super) fn keep(&self, seen: Seen) {
        let mut report = self.lock();
        if report.seen.len() < SEEN_MAX {
            report.seen.push(seen);
        } else {
            note(&mut report, format!("forgot {}: memory is full", seen.decision));
        }
    }

    pub(super) fn surprise(&self, what: String) {
        note(&mut self.lock(), what);
    }

    pub(super) fn streamed(&self, whole: bool) {
        let mut report = self.lock();
        if whole {
            report.streams_whole += 1;
        } else {
            report.streams_cut += 1;
        }
    }

    /// Everything, or of what was seen only that with one body.
    pub(super) fn report(&self, digest: Option<&str>) -> Report {
        let report = self.lock();
        let Some(digest) = digest else { return report.clone() };
        let of_digest = |seen: &&Seen| seen.body_digest == digest;
        Report {
            seen: report.seen.iter().filter(of_digest).cloned().collect(),
            unexpected: report.unexpected.clone(),
            ..*report
        }
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(report: &mut Report, what: String) {
    if report.unexpected.len() < UNEXPECTED_MAX {
        report.unexpected.push(what);
    }
}

/// 500 bytes each: 500 MB, more than a chaos run of an hour sends.
const SEEN_MAX: usize = 1_000_000;
const UNEXPECTED_MAX: usize = 1_000;
