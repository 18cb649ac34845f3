//! `haetae log verify`: the log held against itself, with a line that says how far it is, and a state to go on with.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use tlog::{Policy, VerifierKey};
use tokio::time::Instant;

use crate::audit::{self, Newest, Plain, Progress, Report, State, Watch};
use crate::clock::Clock;
use crate::registry::{RegistryError, store};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Trust this public key (a line of `haetae keygen`; give it once for each lane) instead of those in the database. A lane whose key is
    /// trusted must be there.
    #[arg(long = "vkey", conflicts_with = "trust")]
    vkeys: Vec<String>,
    /// Trust the logs of this trust file (C2SP tlog-policy), and hold what is kept of its witnesses against the checkpoints.
    #[arg(long)]
    trust: Option<PathBuf>,
    /// Keep in this file how far it is, so that the same command goes on from there when it was interrupted.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Look at everything again, whatever the state says.
    #[arg(long, requires = "state")]
    from_start: bool,
    /// Print one JSON object instead of sentences.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(pool: &PgPool, args: &Args) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let (trusted, witnesses) = trust(&args.vkeys, args.trust.as_deref())?;
    let open = |path: &PathBuf| State::open(path, &trusted, args.from_start);
    let state = args.state.as_ref().map(open).transpose()?;
    let witnesses = witnesses.as_ref();
    let now_ns = Clock::system().unix_ns();
    let verified = audit::verify_watched(pool, &trusted, witnesses, now_ns, watch(began), state);
    let report = match &args.state {
        None => verified.await?,
        Some(path) => tokio::select! {
            report = verified => report?,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("\ninterrupted: the same command goes on from `{}`", path.display());
                return Ok(ExitCode::from(INTERRUPTED));
            }
        },
    };
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
    let altered = store::check(pool).await.map_or_else(altered, |()| Ok(None))?;
    if args.json {
        println!("{}", json(&report, altered.as_deref(), now_ns));
    } else {
        print(&report, altered.as_deref(), now_ns);
        print_rate(&report, began);
    }
    if trusted.is_empty() {
        eprintln!("the keys are those that the database states: give `--vkey` to trust your own");
    }
    Ok(if report.is_whole() && altered.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_rate(report: &Report, began: Instant) {
    let seconds = began.elapsed().as_secs_f64().max(f64::EPSILON);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = (report.records - report.before) as f64 / seconds;
    println!("{seconds:.1} s, {rate:.0} records a second");
    if report.before > 0 {
        println!(
            "{} of the records were looked at before an interruption, and not again: `--from-start` does",
            report.before
        );
    }
}

/// Whom the reader trusts, nobody in particular when nothing was given; and which witnesses.
fn trust(
    vkeys: &[String],
    trust: Option<&Path>,
) -> anyhow::Result<(Vec<VerifierKey>, Option<Policy>)> {
    let read =
        |vkey: &String| vkey.parse().with_context(|| format!("`{vkey}` is not a public key"));
    let Some(path) = trust else {
        return Ok((vkeys.iter().map(read).collect::<Result<_, _>>()?, None));
    };
    let file = || format!("the trust file `{}`", path.display());
    let policy: Policy =
        std::fs::read_to_string(path).with_context(file)?.parse().with_context(file)?;
    Ok((policy.logs.iter().map(|log| log.key.clone()).collect(), Some(policy)))
}

/// A line that says how far it is, several times a second, where somebody sees it.
fn watch(began: Instant) -> Watch {
    if !std::io::stderr().is_terminal() {
        return Arc::new(|_| {});
    }
    let told = AtomicU64::new(0);
    Arc::new(move |progress: Progress| {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if ms.saturating_sub(told.load(Ordering::Relaxed)) < TELL_EVERY_MS {
            return;
        }
        told.store(ms, Ordering::Relaxed);
        eprint!("\r{}\u{1b}[K", bar(progress, ms));
    })
}

/// `[########------------]  41 %  412,000 of 1,000,000 records, 97,000 a second`.
fn bar(Progress { records, of, before }: Progress, ms: u64) -> String {
    let part = |whole: u64| records.min(of) * whole / of.max(1);
    let done = usize::try_from(part(BAR)).unwrap_or(0);
    let left = usize::try_from(BAR).unwrap_or(0).saturating_sub(done);
    let rate = records.saturating_sub(before) * 1_000 / ms.max(1);
    format!(
        "[{}{}] {:3} %  {records} of {of} records, {rate} a second",
        "#".repeat(done),
        "-".repeat(left),
        part(100)
    )
}

/// What is wrong with the facts that decisions are made on.
fn altered(cause: RegistryError) -> anyhow::Result<Option<String>> {
    match cause {
        RegistryError::Altered { .. } => Ok(Some(cause.to_string())),
        other => Err(other.into()),
    }
}

fn print(report: &Report, altered: Option<&str>, now_ns: i64) {
    for finding in &report.findings {
        println!("{finding}");
    }
    if let Some(altered) = altered {
        println!("the facts: {altered}");
    }
    let verdict = match report.findings.len() + usize::from(altered.is_some()) {
        0 if report.lanes == 0 => "nothing: there is no log in this database".to_owned(),
        0 => "whole".to_owned(),
        1 => "1 difference".to_owned(),
        many => format!("{many} differences"),
    };
    println!(
        "{verdict}: {} records in {} lanes, {} checkpoints, {} texts, {} rows",
        report.records, report.lanes, report.checkpoints, report.texts, report.rows
    );
    println!(
        "beyond the newest signed checkpoint: {} records; not in the query tables yet: {} records",
        report.uncovered, report.unprojected
    );
    for one in &report.newest {
        println!("{}", newest(one, now_ns));
    }
    let oldest = report.oldest_open.map(|id| format!(", the oldest decision {id}"));
    println!(
        "allows of more than {} minutes ago that have no end in the log: {}{}",
        audit::OPEN_S / 60,
        report.open,
        oldest.unwrap_or_default()
    );
    print_witnessed(report);
    for name in &report.to_come {
        println!(
            "not there yet: `{name}`, whose key is trusted; an earlier lane of its slot is alive"
        );
    }
}

/// How long ago a lane was written to last. For people to judge: a gateway that was stopped writes nothing, and one that serves does, into
/// one of its lanes every ten seconds.
fn newest(Newest { lane, at_ns }: &Newest, now_ns: i64) -> String {
    let Some(at_ns) = at_ns else {
        return format!("lane {lane}: no record says when it was written");
    };
    let at = crate::cli::instant(at_ns.div_euclid(NS));
    let ago_s = now_ns.saturating_sub(*at_ns) / NS;
    let ago = match ago_s {
        0.. => format!("{ago_s} s before"),
        _ => format!("{} s after", ago_s.unsigned_abs()),
    };
    format!("lane {lane}: the newest record says {at}, {ago} this was asked by the clock here")
}

/// The same for programs.
fn json(report: &Report, altered: Option<&str>, now_ns: i64) -> Value {
    let findings = report.findings.iter().map(|found| {
        let lane = (found.lane != audit::NO_LANE).then_some(found.lane);
        let id = found.id.as_ref().map(|id| Plain(id).to_string());
        json!({
            "lane": lane, "index": found.index, "record": id, "what": found.what.code(),
            "about": Plain(&found.about).to_string(),
        })
    });
    let newest = report.newest.iter().map(|one| {
        let age = one.at_ns.map(|at_ns| now_ns.saturating_sub(at_ns) / NS);
        let at = one.at_ns.map(|at_ns| crate::cli::instant(at_ns.div_euclid(NS)));
        json!({ "lane": one.lane, "newest_at": at, "newest_age_s": age })
    });
    let unwitnessed = report.unwitnessed.iter().map(|one| {
        let since = one.since_ns.map(|since_ns| crate::cli::instant(since_ns.div_euclid(NS)));
        json!({ "lane": one.lane, "records": one.records, "since": since })
    });
    json!({
        "whole": report.is_whole() && altered.is_none(),
        "facts": altered,
        "findings": findings.collect::<Vec<_>>(),
        "lanes": newest.collect::<Vec<_>>(),
        "not_witnessed": unwitnessed.collect::<Vec<_>>(),
        "to_come": report.to_come,
        "allows_without_end": { "count": report.open, "older_than_s": audit::OPEN_S, "oldest": report.oldest_open },
        "counts": {
            "lanes": report.lanes, "records": report.records, "before": report.before, "checkpoints": report.checkpoints,
            "texts": report.texts, "rows": report.rows, "beyond_checkpoint": report.uncovered, "without_rows": report.unprojected,
        },
    })
}

/// What no quorum vouches for, where one was asked for.
fn print_witnessed(report: &Report) {
    let lanes = &report.unwitnessed;
    for one in lanes.iter().filter(|one| one.records > 0) {
        let since = one.since_ns.map(|ns| crate::cli::instant(ns.div_euclid(1_000_000_000)));
        let since = since.map(|since| format!(" (from {since} on)")).unwrap_or_default();
        println!(
            "lane {}: the newest {} records{since} are under no checkpoint that a quorum of the witnesses cosigned",
            one.lane, one.records
        );
    }
    if !lanes.is_empty() && lanes.iter().all(|one| one.records == 0) {
        println!("every record is under a checkpoint that a quorum of the witnesses cosigned");
    }
}

/// As `haetae-verify` has it: not everything was looked at.
const INTERRUPTED: u8 = 3;
/// Often enough to be seen moving.
const TELL_EVERY_MS: u64 = 200;
const NS: i64 = 1_000_000_000;
/// Characters of the bar.
const BAR: u64 = 24;

const AFTER_HELP: &str = "\
Beside the log itself: that the registry's entries are those of the newest change's digest, and each digest the one that the log told;
and that acts that stand in the database (orders, bundles in force, ends of holds) are told or wait to be, and the reverse.

Exit codes: 0 whole; 1 something differs (each difference a line), or there is no log at all in this database; 2 it could not be verified:
the command line, the database, the trust file or the state; 3 interrupted (Ctrl-C with `--state`), so that not everything was looked at.

How old the newest record of each lane is, and how many old allows have no end, is said and is no difference: a gateway that was stopped
writes nothing, and an answer may take long. Where one serves, some lane has a record of the last ten seconds: is this its database?

With `--state FILE` an interrupted run (Ctrl-C, kill, power) loses about a second of work: the same command goes on where it was.
  Looked at again: all texts, everything between lanes, and whatever came after the point where it stopped. And that the log
  is the one that was looked at: the same names and keys, the same tree at that point, the same signed checkpoint.
  Not looked at again: records, rows, tiles and checkpoints before that point, but for the newest checkpoint there that was
  found to agree. A record edited there since is not found (but for the last few, of which the tree is made again), nor is a
  checkpoint that was changed or deleted there; `--from-start` looks at everything.
A state of another log, under other keys, or one that was changed, is refused. It is about 70 bytes a record, and is removed
when the run has ended; past a record that was edited nothing is kept. Whoever can write it can forge it: keep it where only you can.";

#[cfg(test)]
mod tests {
    //! The bar is full at the end, and says how fast.
    use super::*;

    #[test]
    fn the_bar_says_how_far_and_how_fast() {
        let half = bar(Progress { records: 500, of: 1_000, before: 0 }, 250);
        assert_eq!(half, "[############------------]  50 %  500 of 1000 records, 2000 a second");
        assert!(bar(Progress { records: 3, of: 2, before: 0 }, 0).contains("100 %"));
        let resumed = bar(Progress { records: 900, of: 1_000, before: 800 }, 1_000);
        assert!(resumed.ends_with("900 of 1000 records, 100 a second"), "{resumed}");
        assert!(bar(Progress { records: 0, of: 0, before: 0 }, 1).contains("  0 %"));
    }
}
