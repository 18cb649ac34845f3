//! What the reviewer knows of the log besides the file: checkpoints kept from earlier, and which lanes there are.
//!
//! A file can be whole in itself and still be a part, or an older state, of the log. Only what was kept outside shows it.

use std::collections::{BTreeMap, BTreeSet};

use tlog::{Checkpoint, Note, VerifierKey};

use crate::{
    export::LaneHeader,
    finding::{Finding, TreeFault},
    report::{Open, Report},
    trust::{Doubt, Trust},
};

/// A root that a lane must have had: its number, size and root.
pub(crate) type Root = (u16, u64, tlog::Hash);

/// Holds kept checkpoints against the lanes of the file; gives the roots that the second pass compares.
pub(crate) fn roots(
    kept: &[String],
    (trust, keys): (&Trust, &[VerifierKey]),
    lanes: &BTreeMap<u16, LaneHeader>,
    report: &mut Report,
) -> Vec<Root> {
    let mut roots = Vec::new();
    for note in kept {
        let (origin, stated) = match stated_in(note) {
            Some(Checkpoint { origin, size, .. }) => (origin, size),
            None => ("?".into(), 0),
        };
        let Some(header) = lanes.values().find(|header| header.origin == origin) else {
            report.open(Open::NotShown { origin });
            continue;
        };
        let &LaneHeader { lane, from, to, .. } = header;
        match trust.read(note, &origin, keys) {
            Err(Doubt::Unknown) => report.open(Open::Untrusted { lane, origin }),
            Err(doubt) => {
                let fault = TreeFault::Checkpoint { lane, size: stated, doubt };
                report.find(Finding::Tree(fault));
            }
            Ok(Checkpoint { size, .. }) if size > to => {
                report.find(Finding::Tree(TreeFault::Behind { lane, from: to, to: size }));
            }
            Ok(Checkpoint { size, .. }) if size < from => {
                report.open(Open::NotCompared { lane, size });
            }
            Ok(Checkpoint { size, root, .. }) => roots.push((lane, size, root)),
        }
    }
    roots
}

/// Lanes that heartbeats saw (`seen`, those of which there is any checkpoint left out), or whose keys the reviewer brought, and
/// of which the file shows nothing. That the header names a lane is no sign of it: anybody can write that it is empty.
pub(crate) fn absent(
    (seen, signed): (&BTreeSet<u16>, &BTreeSet<u16>),
    trust: &Trust,
    lanes: &BTreeMap<u16, LaneHeader>,
    report: &mut Report,
) {
    for lane in seen {
        // Each is there once.
        report.open.push(Open::LaneNotShown { lane: *lane });
    }
    let shown = lanes.values().filter(|header| signed.contains(&header.lane));
    let shown: BTreeSet<&str> = shown.map(|header| header.origin.as_str()).collect();
    for key in trust.brought() {
        if !shown.contains(key.name()) {
            report.open(Open::NotShown { origin: key.name().to_owned() });
        }
    }
}

/// What a note says of itself.
pub(crate) fn stated_in(note: &str) -> Option<Checkpoint> {
    let note: Note = note.parse().ok()?;
    note.text().parse().ok()
}
