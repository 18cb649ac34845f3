//! What a replay found, as a text that can be signed.

use std::fmt;

use verdict::Rulebook;
use verdict::stamp::Stamp;

use super::Span;
use super::tally::{Change, Group, Told, Ways};
use crate::policy::rulebook::word;

/// The whole report.
#[derive(Debug)]
pub struct Report<'a> {
    pub rulebook: &'a Rulebook,
    /// Where the records came from: lines of text.
    pub source: &'a [String],
    pub span: Span,
    pub ways: &'a Ways,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (book, ways) = (self.rulebook.book(), self.ways);
        let stamp = |at| Stamp::at(at).map_or_else(|_| at.to_string(), |it| it.to_string());
        writeln!(out, "Haetae replay, version 1")?;
        writeln!(out, "under {} {} {}", book.name, book.version, self.rulebook.digest())?;
        for line in self.source {
            writeln!(out, "{line}")?;
        }
        let (since, until) = (stamp(self.span.since), stamp(self.span.until));
        writeln!(out, "recorded from {since} to before {until}")?;
        writeln!(out, "decisions: {}", ways.decisions)?;
        writeln!(out, "would change: {}", ways.changed())?;
        writeln!(
            out,
            "same outcome: {} ({} by another rule or reason)",
            ways.same, ways.other_reason
        )?;
        writeln!(out, "refused for the gateway's own causes, not compared: {}", ways.own_causes)?;
        writeln!(out, "facts not kept or not readable: {}", ways.not_judgeable.count)?;
        ids(out, &ways.not_judgeable)?;
        let mut changes: Vec<(&Change, &Group)> = ways.changes.iter().collect();
        changes.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        for (change, group) in changes.iter().take(CHANGES_MAX) {
            writeln!(out, "\n{change}: {}", group.count)?;
            ids(out, group)?;
        }
        let rest = changes.iter().skip(CHANGES_MAX);
        let rest = rest.fold((0_u64, 0_u64), |(ways, all), (_, it)| (ways + 1, all + it.count));
        if rest.0 > 0 {
            writeln!(out, "\nand {} further ways in which {} would change", rest.0, rest.1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (word(&self.before.outcome), word(&self.after.outcome));
        let elsewhere = if self.elsewhere { " at another site" } else { "" };
        write!(
            out,
            "{before} -> {after}{elsewhere}\n  before {}\n  after  {}\n  decisions",
            self.before, self.after
        )
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.rule.as_deref().unwrap_or("-"), self.reason)
    }
}

fn ids(out: &mut fmt::Formatter<'_>, group: &Group) -> fmt::Result {
    for id in &group.ids {
        writeln!(out, "  {id}")?;
    }
    let more = group.count.saturating_sub(group.ids.len() as u64);
    if more > 0 { writeln!(out, "  and {more} more") } else { Ok(()) }
}

/// From DENY to ALLOW first; then what becomes stricter, from ALLOW to DENY first.
fn order(change: &Change) -> impl Ord {
    (change.before.outcome.change_rank(change.after.outcome), change.clone())
}

/// With 20 ids each about 120 kB: a signed note may have 160.
const CHANGES_MAX: usize = 120;
