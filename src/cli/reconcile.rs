//! `haetae log reconcile`: what sites say they let in against what the log allowed.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::{self, Allowed, Plain};
use crate::clock::Clock;
use crate::guard::{self, Allow, Entry, Report, What};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Journals of one site's guard, oldest first.
    #[arg(required = true)]
    journals: Vec<PathBuf>,
    /// From this instant on (RFC 3339), also where the journals begin later: what was sent in between was not let in by them.
    /// Without it from the first start of the guard.
    #[arg(long)]
    since: Option<String>,
    /// Only before this instant; without it until a minute ago, because what was just allowed may be on its way. Of journals that
    /// were copied, at most the instant of the copy: what came after it is in the log alone.
    #[arg(long)]
    until: Option<String>,
}

pub async fn run(pool: &PgPool, args: &Args, clock: &Clock) -> anyhow::Result<ExitCode> {
    let from = args.since.as_deref().map(instant).transpose()?;
    let until = args.until.as_deref().map(instant).transpose()?;
    let until = until.unwrap_or_else(|| settled(clock));
    // Nothing lies between them, and of nothing it would be said that all is well.
    if from.is_some_and(|from| from >= until) {
        bail!("`--since` is not before `--until` (which is a minute ago, where it is not given)");
    }
    let before = Reading::of(&args.journals)?;
    // Whoever names an instant asks from there on: what was sent before these journals begin is in none of them, and is told.
    let from = from.unwrap_or(before.first);
    let allows = before.allows(pool, (from, until)).await?;
    let after = Reading::of(&args.journals)?;
    let report = guard::reconcile([&before.entries, &after.entries], &allows, from, until);
    print(&before.site, &report);
    Ok(if report.mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Journals of one site as they were at one time.
pub(super) struct Reading {
    pub site: String,
    /// Of the first entry, and of the last line of the last journal: nanoseconds since 1970.
    pub first: i64,
    pub last: i64,
    entries: Vec<Entry<'static>>,
    /// Which of them are of which file.
    files: Vec<Range<usize>>,
}

/// What was allowed before this instant is not on its way any more; nanoseconds since 1970.
pub(super) fn settled(clock: &Clock) -> i64 {
    clock.unix_ns() - UNDER_WAY_NS
}

impl Reading {
    pub fn of(journals: &[PathBuf]) -> anyhow::Result<Self> {
        let (mut entries, mut files) = (Vec::new(), Vec::new());
        for path in journals {
            let first = entries.len();
            entries.extend(guard::entries(path)?);
            files.push(first..entries.len());
        }
        let site = site(&entries)?.to_owned();
        let first = entries.iter().map(|entry| entry.at_ns).min().unwrap_or(0);
        let last = entries.last().map_or(0, |entry| entry.at_ns);
        Ok(Self { site, first, last, entries, files })
    }

    /// SHA-256 over the SHA-256 of each file, as far as its lines are whole.
    pub fn digest(&self) -> anyhow::Result<[u8; 32]> {
        let mut digests = Sha256::new();
        for file in &self.files {
            digests.update(written(self.entries.get(file.clone()).unwrap_or_default())?);
        }
        Ok(digests.finalize().into())
    }

    /// Against the log, from the one instant (or the first entry) to the other; nanoseconds since 1970. The other was [`settled`]
    /// before this was read: so whatever was allowed until then and let in is in it.
    pub async fn held(
        &self,
        pool: &PgPool,
        (from, to): (Option<i64>, i64),
    ) -> anyhow::Result<Report> {
        let from = from.map_or(self.first, |from| from.max(self.first));
        let allows = self.allows(pool, (from, to)).await?;
        Ok(guard::reconcile([&self.entries, &self.entries], &allows, from, to))
    }

    /// By the gateway's clock, what was let in by the site's was allowed shortly before, or a little after. What is not among that is
    /// asked for by its place.
    async fn allows(&self, pool: &PgPool, (from, to): (i64, i64)) -> anyhow::Result<Vec<Allow>> {
        let (earlier, later) = (from.saturating_sub(EDGE_NS), to.saturating_add(EDGE_NS));
        let allows = audit::allows(pool, &self.site, earlier, later).await?;
        let mut allows: Vec<Allow> = allows.into_iter().map(allow).collect();
        let unknown = guard::unknown(&self.entries, &allows, from..to);
        let further = audit::allows_at(pool, &self.site, &unknown).await?;
        allows.extend(further.into_iter().map(allow));
        Ok(allows)
    }
}

/// Digest of a journal's lines, as a guard writes these entries: a second look at its file might see more of them.
fn written(entries: &[Entry<'_>]) -> anyhow::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    for entry in entries {
        digest.update(serde_json::to_vec(entry)?);
        digest.update(b"\n");
    }
    Ok(digest.finalize().into())
}

/// The one site that all journals are of.
fn site<'e>(entries: &'e [Entry<'_>]) -> anyhow::Result<&'e str> {
    let mut sites: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.what == What::Started)
        .filter_map(|entry| entry.site.as_deref())
        .collect();
    sites.sort_unstable();
    sites.dedup();
    match *sites.as_slice() {
        // It is printed and asked for.
        [site] if site.contains(char::is_control) => {
            bail!("the site that the journal names is none: is it the journal of a guard?")
        }
        [site] => Ok(site),
        [] => bail!("no journal says of which site it is: is it the journal of a guard?"),
        _ => {
            let sites = sites.join(", ");
            bail!("journals of {}: give those of one site at a time", Plain(&sites))
        }
    }
}

fn allow(row: Allowed) -> Allow {
    Allow {
        decision: row.id.to_string(),
        lane: row.origin,
        index: u64::try_from(row.index).unwrap_or(0),
        made_ns: row.made_ns,
        how: row.how,
    }
}

/// What a journal says are words of who is checked: none of them moves the cursor, or passes for a line of ours.
fn print(site: &str, report: &Report) {
    println!("{}", Plain(site));
    println!("hour (UTC)            allowed   let in  not sent  refused  mismatches");
    for (start, hour) in &report.hours {
        let start = OffsetDateTime::from_unix_timestamp(*start);
        let start = start.ok().and_then(|start| start.format(&Rfc3339).ok()).unwrap_or_default();
        println!(
            "{start:<20} {:>8} {:>8} {:>9} {:>8} {:>11}",
            hour.allowed, hour.let_in, hour.not_sent, hour.refused, hour.mismatches
        );
    }
    for mismatch in &report.mismatches {
        println!("{}", Plain(&mismatch.to_string()));
    }
    if let Some(conclusion) = conclusion(report) {
        println!("{conclusion}");
    }
}

/// What can be said where nothing is a mismatch. A start and refusals make an hour too, and are held against nothing.
fn conclusion(report: &Report) -> Option<&'static str> {
    let is_held = report.hours.values().any(|hour| hour.allowed + hour.let_in > 0);
    report.mismatches.is_empty().then_some(if is_held {
        "whoever was let in was allowed, and whoever was sent was let in"
    } else {
        "nothing was allowed or let in in this time"
    })
}

fn instant(text: &str) -> anyhow::Result<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok();
    let ns = at.and_then(|at| i64::try_from(at.unix_timestamp_nanos()).ok());
    ns.with_context(|| {
        format!("`{text}` is no instant from 1678 to 2262: write it like 2026-11-25T00:00:00Z")
    })
}

const UNDER_WAY_NS: i64 = 65_000_000_000;
/// A receipt is good for a minute, and clocks differ by seconds; an hour is generous to guards that were set otherwise.
const EDGE_NS: i64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    //! Nothing is said of what was not compared.

    use super::*;
    use crate::guard::Hour;

    #[test]
    fn an_hour_of_refusals_alone_says_that_nothing_was_held() {
        let of = |hour| Report { hours: [(0, hour)].into(), mismatches: Vec::new() };
        let said = |hour| conclusion(&of(hour)).unwrap();
        assert!(said(Hour { refused: 3, ..Hour::default() }).starts_with("nothing"));
        assert!(said(Hour { allowed: 1, not_sent: 1, ..Hour::default() }).starts_with("whoever"));
        assert!(said(Hour { let_in: 1, ..Hour::default() }).starts_with("whoever"));
    }
}
