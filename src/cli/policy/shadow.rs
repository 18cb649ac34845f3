//! `haetae policy shadow start|stop|report|list`: a proposed bundle judged beside the one in force.

use std::process::ExitCode;

use anyhow::Context as _;
use sqlx::PgPool;
use uuid::Uuid;

use super::life::{abbreviated, instant, now};
use crate::cli::registrar::Registrar;
use crate::mandate::replica::{Readiness, readiness, store as replicas};
use crate::mandate::store::find;
use crate::shadow::{Counts, Group, Trial, Way, What, store};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    /// Begin: every decision that is recorded from now on is also judged with this bundle. No answer changes or waits
    Start {
        /// Digest of a proposed bundle, or the first 8 digits or more
        digest: String,
        /// Why, in one line
        #[arg(long)]
        reason: String,
        /// It ends by itself after so many days
        #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=90))]
        days: u16,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// End it. What was found stays
    Stop {
        /// Why, in one line
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// What the bundle would have decided otherwise so far: exit code 1 when there is something, 0 when there is nothing
    Report {
        /// Which one; the newest without it
        id: Option<Uuid>,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// All that were begun, the newest first
    List {
        #[command(flatten)]
        registrar: Registrar,
    },
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Start { digest, reason, days, registrar } => {
            start(&digest, &reason, days, &registrar).await
        }
        Command::Stop { reason, registrar } => {
            let pool = registrar.pool().await?;
            let trial = store::stop(&pool, &reason, (registrar.who(), now())).await?;
            println!("ended: bundle {} is no longer judged beside the one in force", trial.bundle);
            println!("next: haetae policy shadow report {}", trial.id);
            Ok(ExitCode::SUCCESS)
        }
        Command::Report { id, registrar } => report(&registrar.pool().await?, id).await,
        Command::List { registrar } => list(&registrar.pool().await?).await,
    }
}

/// For `haetae policy status`.
pub(super) async fn line(pool: &PgPool) -> anyhow::Result<Option<String>> {
    let Some(trial) = store::running(pool).await?.filter(|trial| now() < trial.until_s) else {
        return Ok(None);
    };
    let counts = store::counts(pool, trial.id).await?;
    Ok(Some(format!(
        "bundle {} is judged beside it until {}: {}",
        abbreviated(&trial.bundle),
        instant(trial.until_s)?,
        said(&counts)
    )))
}

async fn start(
    digest: &str,
    reason: &str,
    days: u16,
    registrar: &Registrar,
) -> anyhow::Result<ExitCode> {
    let pool = registrar.pool().await?;
    let bundle = find(&pool, digest).await?;
    let lasts_s = i64::from(days) * 86_400;
    let trial = store::start(&pool, &bundle, lasts_s, reason, (registrar.who(), now())).await?;
    println!("shadow {}", trial.id);
    println!("bundle {} ({})", bundle.digest, bundle.title);
    println!("until  {}", instant(trial.until_s)?);
    match readiness(&replicas::alive(&pool).await?, &bundle.digest) {
        Readiness::Ready(count) => println!("{count} replicas have loaded it"),
        Readiness::Loading(have, of) => {
            println!("{have} of {of} replicas have loaded it; the others do so now");
        }
        Readiness::Bad(why) => println!("not every replica can judge with it: {why}"),
    }
    println!("next: haetae policy shadow report");
    Ok(ExitCode::SUCCESS)
}

async fn list(pool: &PgPool) -> anyhow::Result<ExitCode> {
    for trial in store::list(pool, LISTED_MAX).await? {
        let bundle = abbreviated(&trial.bundle);
        println!("{}  {bundle}  {}: {}", trial.id, span(&trial)?, trial.reason);
    }
    Ok(ExitCode::SUCCESS)
}

async fn report(pool: &PgPool, id: Option<Uuid>) -> anyhow::Result<ExitCode> {
    let trials = store::list(pool, LISTED_MAX).await?;
    let trial = trials.into_iter().find(|trial| id.is_none_or(|id| trial.id == id));
    let trial = trial.context("there is no such shadow: `haetae policy shadow list` lists them")?;
    let differences = store::differences(pool, trial.id).await?;
    println!("shadow {} of bundle {}", trial.id, trial.bundle);
    println!("{}, by {}: {}", span(&trial)?, trial.started_by, trial.reason);
    let counts = store::counts(pool, trial.id).await?;
    println!("decisions: {}", said(&counts));
    if counts.crowded > 0 {
        println!(
            "{} of those that differ are not in the list: there were too many ways",
            counts.crowded
        );
    }
    for (way, group) in &differences {
        print!("{}", shown(way, group)?);
    }
    let none = differences.is_empty() && counts.differing == 0;
    Ok(if none { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn span(trial: &Trial) -> anyhow::Result<String> {
    let from = instant(trial.started_at_s)?;
    Ok(match &trial.stopped {
        Some((by, at)) => format!("from {from} to {} (ended by {by})", instant(*at)?),
        None => format!("from {from}, until {} at most", instant(trial.until_s)?),
    })
}

fn said(counts: &Counts) -> String {
    let Counts { same, differing, dropped, moved, uncounted, .. } = counts;
    format!(
        "{} compared: {same} the same, {differing} otherwise; not compared: {dropped} dropped (no room), {moved} whose facts were \
         replaced, {uncounted} whose counters were not looked at",
        same + differing
    )
}

fn shown(way: &Way, group: &Group) -> anyhow::Result<String> {
    let (was, would) = (&way.was, &way.would);
    let how = match way.what {
        What::Outcome => "",
        What::Site => " at another site",
        What::Obligations => " on other obligations",
    };
    let ids: Vec<String> = group.examples.iter().map(Uuid::to_string).collect();
    Ok(format!(
        "\n{} -> {}{how}: {}\n  cell   {} {} to {}\n  was    {} {}\n  would  {} {}\n  rules in force {}\n  from {} to {}\n  records {}\n",
        was.outcome.name(),
        would.outcome.name(),
        group.count,
        way.regime,
        way.flow,
        way.place,
        was.rule,
        was.reason,
        would.rule,
        would.reason,
        abbreviated(&way.in_force),
        instant(group.first_at_s)?,
        instant(group.last_at_s)?,
        ids.join("\n          ")
    ))
}

const LISTED_MAX: i64 = 100;

const AFTER_HELP: &str = "\
For example:
  haetae policy propose proposed --purpose 'HR data: the new annex'
  haetae policy shadow start DIGEST --reason 'two weeks before approval' --days 14
  haetae policy shadow report
  haetae policy shadow stop --reason 'seen enough'

What is compared: every decision on a request that was recorded while it ran, with the facts it was made on, at its own
instant. Not compared: requests that could not be read, lists of models, looks ahead, management. Decisions wait in a short
queue and are dropped (and counted) when it is full. The beginning and the end are records of the log.";
