//! What a record says, wherever it was read from: its form, its kind, its decision judged again, and how it fits what other
//! records say.

use std::collections::BTreeSet;

use crate::{
    export::Digest,
    finding::{FileFault, Finding, Place, RecordFault, TreeFault},
    joins::Joins,
    judge::{self, Evidence, Judge, Judgeable},
    record::Record,
    report::Report,
};

/// The texts that records name by digest.
pub trait Texts {
    fn has(&self, digest: &Digest) -> bool;

    /// Under which kind a text is kept, where kinds are kept.
    fn kind(&self, _digest: &Digest) -> Option<&str> {
        None
    }

    /// Its bytes, which were held against the digest.
    fn text(&self, digest: &Digest) -> Option<Vec<u8>>;
}

/// What was said so far.
#[derive(Default)]
pub(crate) struct Said {
    pub judge: Judge,
    pub joins: Joins,
    /// Texts that decisions named.
    pub named: BTreeSet<Digest>,
    /// Those that one named under another kind than they are kept under.
    mixed: BTreeSet<Digest>,
}

impl Said {
    /// What the records of one file say.
    pub(crate) fn of_a_file() -> Self {
        Self { judge: Judge::of_a_file(), ..Self::default() }
    }

    /// A record that is what was written: what it says. `evidence`: whether a record of its lane kept by which access rows
    /// its caller was let in, before it.
    pub(crate) fn record<T: Texts + ?Sized>(
        &mut self,
        record: &Record,
        place: &Place,
        evidence: &mut bool,
        texts: &T,
        report: &mut Report,
    ) {
        if !record.canonical {
            report.find(Finding::Record(place.clone(), RecordFault::NotCanonical));
        }
        if !KINDS.contains(&record.kind.as_str()) {
            report.unknown(&record.kind);
        }
        self.joins.add(record, place.lane);
        match record.kind.as_str() {
            "decision" | "preflight" => {
                self.decision(record, place, evidence, texts, report);
            }
            "rollback" => rollback(record, place, report),
            _ => {}
        }
    }

    fn decision<T: Texts + ?Sized>(
        &mut self,
        record: &Record,
        place: &Place,
        evidence: &mut bool,
        texts: &T,
        report: &mut Report,
    ) {
        report.counts.decisions += 1;
        for kind in ["facts", "detail", "bundle"] {
            let Some(digest) = record.digest(kind) else {
                let fault = RecordFault::Unreadable(kind);
                report.find(Finding::Record(place.clone(), fault));
                continue;
            };
            let other = texts.kind(&digest).is_some_and(|kept| kept != kind);
            self.named.insert(digest);
            if other && self.mixed.insert(digest) {
                report.find(Finding::File(FileFault::TextKind { digest }));
            }
        }
        for key in DECISION_KEYS.into_iter().filter(|key| !is_said(record, key)) {
            report.find(Finding::Record(place.clone(), RecordFault::Unreadable(key)));
        }
        if judge::is_ahead(record) {
            report.ahead();
        }
        if report.is_full() {
            // It is described well enough, and judging takes long.
            report.counts.unjudged += 1;
            return;
        }
        match self.judge.again(record, texts) {
            Ok(Judgeable::Same(kept)) => {
                report.counts.judged += 1;
                let_in(kept, place, evidence, report);
            }
            Ok(Judgeable::Purged) => report.counts.not_judgeable += 1,
            Ok(Judgeable::SecondEngine) => report.counts.second_engine += 1,
            Ok(Judgeable::TooMuch) => report.counts.unjudged += 1,
            Err(judged) => {
                let fault = RecordFault::Judged(judged);
                report.find(Finding::Record(place.clone(), fault));
            }
        }
    }
}

/// Whose decision it was, and on which facts: no check of a value goes by without.
fn is_said(record: &Record, key: &str) -> bool {
    match key {
        "actor" => record.digest(key).is_some(),
        "fact_version" => record.number(key).is_some(),
        _ => record.text(key).is_some(),
    }
}

/// A lane's allows keep their access evidence from the first record on that has it: what is written later was written by a
/// gateway that records it, so an allow without it was not let in by the access rows.
fn let_in(kept: Evidence, place: &Place, evidence: &mut bool, report: &mut Report) {
    match kept {
        Evidence::Kept => *evidence = true,
        Evidence::Missing if *evidence => {
            report.find(Finding::Record(place.clone(), RecordFault::NoAccess));
        }
        Evidence::Missing => report.counts.without_access += 1,
        Evidence::NotNeeded => {}
    }
}

/// The log itself says that records of a lane were lost.
fn rollback(record: &Record, place: &Place, report: &mut Report) {
    let lane = record.number("of").and_then(|lane| u16::try_from(lane).ok());
    let (Some(lane), Some(size), Some(found)) =
        (lane, record.number("size"), record.number("found"))
    else {
        let fault = RecordFault::Unreadable("of");
        return report.find(Finding::Record(place.clone(), fault));
    };
    let fault = if size > found {
        TreeFault::Missing { lane, from: found, to: size }
    } else {
        TreeFault::Root { lane, from: 0, to: size }
    };
    report.find(Finding::Tree(fault));
}

/// What every decision says of itself, whoever asked for what.
const DECISION_KEYS: [&str; 3] = ["actor", "fact_version", "org"];
/// Kinds of version 1, the reserved ones included.
const KINDS: [&str; 26] = [
    "decision",
    "preflight",
    "started",
    "ended",
    "unauthenticated",
    "lane_open",
    "lane_close",
    "fact_change",
    "policy_change",
    "clock",
    "alarm",
    "heartbeat",
    "hold_vote",
    "hold_resolved",
    "order",
    "override",
    "access_change",
    "obligation_closed",
    "read",
    "export",
    "review",
    "legal_hold",
    "purge",
    "erase",
    "key_event",
    "rollback",
];
