//! What the reviewer knows of the log besides the file: checkpoints kept from earlier, and which lanes there are.
//!
//! A file can be whole in itself and still be a part, or an older state, of the log. Only what was kept outside shows it.

use std::collections::BTreeSet;

use tlog::{Checkpoint, Note, VerifierKey};

use crate::{
    export::LaneHeader,
    finding::{Finding, TreeFault},
    report::{Open, Report},
    trust::Trust,
};

/// A root that a lane must have had: its number, size and root.
pub(crate) type Root = (u16, u64, tlog::Hash);

/// Holds kept checkpoints against the lanes of the file; gives the roots that the second pass compares.
pub(crate) fn roots(
    kept: &[String],
    (trust, stated): (&Trust, &[VerifierKey]),
    lanes: &[LaneHeader],
    report: &mut Report,
) -> Vec<Root> {
    let mut roots = Vec::new();
    for note in kept {
        let origin = origin(note).unwrap_or_else(|| "?".into());
        let Some(header) = lanes.iter().find(|header| header.origin == origin) else {
            report.open(Open::NotShown { origin });
            continue;
        };
        let &LaneHeader { lane, from, to, .. } = header;
        match trust.read(note, &origin, stated) {
            Err(doubt) => {
                let fault = TreeFault::Checkpoint { lane, size: 0, doubt };
                report.find(Finding::Tree(fault));
            }
            Ok(Checkpoint { size, .. }) if size > to => {
                report.find(Finding::Tree(TreeFault::Missing { lane, from: to, to: size }));
            }
            Ok(Checkpoint { size, .. }) if size < from => {
                report.open(Open::NotCompared { lane, size });
            }
            Ok(Checkpoint { size, root, .. }) => roots.push((lane, size, root)),
        }
    }
    roots
}

/// Lanes that heartbeats saw, or whose keys the reviewer brought, and of which the file shows nothing.
pub(crate) fn absent(
    seen: &BTreeSet<u16>,
    trust: &Trust,
    lanes: &[LaneHeader],
    report: &mut Report,
) {
    for lane in seen.iter().filter(|lane| lanes.iter().all(|header| header.lane != **lane)) {
        report.open(Open::LaneNotShown { lane: *lane });
    }
    for key in trust.brought() {
        if lanes.iter().all(|header| header.origin != key.name()) {
            report.open(Open::NotShown { origin: key.name().to_owned() });
        }
    }
}

fn origin(note: &str) -> Option<String> {
    let note: Note = note.parse().ok()?;
    let checkpoint: Checkpoint = note.text().parse().ok()?;
    Some(checkpoint.origin)
}
