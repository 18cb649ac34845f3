//! What the witness knows, for people and for machines.

use std::fmt::Write as _;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Log, Witness};

/// One paragraph for each log.
pub(super) fn text(witness: &Witness) -> String {
    let mut text = format!("witness {}\n", witness.vkey());
    for log in witness.logs.values() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", log.origin);
        let state = log.state();
        let _ = match &state.kept {
            Some(kept) => writeln!(
                text,
                "  {} records, root {}, cosigned {}",
                kept.size,
                kept.root,
                instant(i64::try_from(kept.at_s).unwrap_or(0))
            ),
            None => writeln!(text, "  nothing was ever cosigned"),
        };
        if let Some((at, why)) = state.refused {
            let _ = writeln!(
                text,
                "  ALARM: {} signed checkpoints did not extend the last one; the latest at {}: {}",
                state.refusals,
                instant(at),
                why.message()
            );
        }
        let kept = log.shelf.evidences();
        if kept > 0 {
            let _ = writeln!(text, "  evidence kept: {kept} signed checkpoints");
        }
        let _ = writeln!(text, "  checkpoint: /{}/checkpoint", log.shelf.name());
    }
    text
}

pub(super) fn json(witness: &Witness) -> String {
    let logs: Vec<_> = witness.logs.values().map(|log| of(log)).collect();
    json!({ "witness": witness.vkey(), "logs": logs }).to_string()
}

fn of(log: &Log) -> serde_json::Value {
    let state = log.state();
    let kept = state.kept.as_ref();
    json!({
        "origin": log.origin,
        "size": kept.map(|kept| kept.size),
        "root": kept.map(|kept| kept.root.to_string()),
        "cosigned": kept.map(|kept| kept.at_s),
        "contradictions": state.refusals,
        "evidence": log.shelf.evidences(),
        "checkpoint": format!("/{}/checkpoint", log.shelf.name()),
    })
}

fn instant(at_s: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at_s).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}
