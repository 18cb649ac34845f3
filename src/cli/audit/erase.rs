//! `haetae audit erase|rewrap|vacuum`: what is kept of a person is destroyed, or put under another master key; and what of it
//! lies in files.

use std::process::ExitCode;

use anyhow::Context as _;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Desk, privacy, reason};
use crate::audit::{self, Confirmed, EraseError, Erased, Subject};
use crate::config::Config;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The person, as the records name them: a token's `sub`, a certificate's id. Both persons write it.
    #[arg(long)]
    subject: String,
    /// Only as of this organisation. Absent: of every one.
    #[arg(long)]
    org: Option<String>,
    #[command(flatten)]
    persons: TwoPersons,
}

/// One asks, another confirms.
#[derive(Debug, clap::Args)]
pub(super) struct TwoPersons {
    /// The first person: why, in one line that names nobody: it stays in the log.
    #[arg(long, required_unless_present = "confirm")]
    reason: Option<String>,
    /// The second person: do what another asked for, by the id that was printed then.
    #[arg(long, value_name = "ID", conflicts_with = "reason")]
    pub confirm: Option<Uuid>,
    /// Leave what lies in files for `haetae audit vacuum`, at a quieter hour.
    #[arg(long, requires = "confirm")]
    later: bool,
}

impl TwoPersons {
    /// Why the first person asks.
    pub fn why(&self) -> anyhow::Result<&str> {
        reason(self.reason.as_deref().unwrap_or_default())
    }

    /// What is gone from the tables goes from their files too, now or later.
    pub async fn end(&self, config: &Config) -> anyhow::Result<ExitCode> {
        if self.later {
            println!("what lies in files is left for `haetae audit vacuum`");
            return Ok(ExitCode::SUCCESS);
        }
        vacuum(config).await
    }
}

pub(super) async fn run(desk: &Desk, args: Args) -> anyhow::Result<ExitCode> {
    let config = desk.config()?;
    let (privacy, pool) = (privacy(&config)?, desk.pool(&config).await?);
    let subject = Subject { name: &args.subject, org: args.org.as_deref() };
    let by = desk.person()?;
    let Some(id) = args.persons.confirm else {
        let why = args.persons.why()?;
        match audit::ask_erasure(&pool, &privacy, subject, by, why).await? {
            None => println!("nothing is kept of this person: nothing was done"),
            Some(id) => println!(
                "asked for: erasure {id}. Somebody else, within a week, with a login of their own and the same --subject and --org:\n  \
                 haetae audit --by NAME --database URL erase --subject SUBJECT --confirm {id}"
            ),
        }
        return Ok(ExitCode::SUCCESS);
    };
    match audit::confirm_erasure(&pool, &privacy, id, subject, by).await {
        Ok(Confirmed::Already(at)) => {
            println!("erased already at {}: nothing was done", crate::cli::instant(at));
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Confirmed::Erased(erased)) => tell(&erased),
        Err(error @ EraseError::Another) => {
            return Err(anyhow::Error::new(error).context("nothing was erased"));
        }
        Err(error) => return Err(error.into()),
    }
    args.persons.end(&config).await
}

fn tell(erased: &Erased) {
    let Erased { keys, values, holds, holds_left } = erased;
    println!(
        "erased: {values} values and {keys} data keys, for good; the log says so, and every proof stays"
    );
    if *holds > 0 {
        println!("  {holds} digests of the person beside holds that are over are nobody's now");
    }
    if *holds_left > 0 {
        println!(
            "  {holds_left} beside holds that are not over are left: settle them, and ask again"
        );
    }
}

pub(super) async fn vacuum(config: &Config) -> anyhow::Result<ExitCode> {
    files(&config.database.owner_pool().await?).await
}

/// Exit code 1 when something is left to do.
async fn files(owner: &PgPool) -> anyhow::Result<ExitCode> {
    let (steps, seers) = audit::vacuum(owner).await.context("the tables were not rewritten")?;
    let mut whole = seers.is_empty();
    for step in &steps {
        match &step.fault {
            None => println!("done      {}", step.statement),
            Some(cause) => println!("NOT done  {}: {cause}", step.statement),
        }
        whole &= step.fault.is_none();
    }
    for seer in &seers {
        println!("NOT done  {seer} keeps the database as it was");
    }
    if !whole {
        println!("{AGAIN}");
    }
    println!("{BEYOND}");
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn rewrap(desk: &Desk) -> anyhow::Result<ExitCode> {
    let config = desk.config()?;
    let (privacy, pool) = (privacy(&config)?, desk.pool(&config).await?);
    let done = audit::rewrap(&pool, &privacy, desk.person()?).await?;
    println!("{} data keys are wrapped anew, under the master key `{}`", done.keys, privacy.id());
    if done.sealed > 0 {
        println!(
            "{} values that an earlier version kept in clear are sealed: run `haetae audit vacuum`, so that the files have them \
             no longer",
            done.sealed
        );
    }
    for (master, count) in &done.left {
        println!(
            "NOT done: {count} came under `{master}` meanwhile: some process wraps with it still. Restart it and run this again"
        );
    }
    if done.left.is_empty() && done.keys == 0 {
        println!(
            "this database needs no other master key. If every process was started with `{}` as its first key before this \
             command, take former ones out of `[privacy] keys` and destroy them: then no older backup or write-ahead log opens \
             any more, for anybody",
            privacy.id()
        );
    } else if done.left.is_empty() {
        println!(
            "keep the former keys for now: start every process with `{}` as its first key (one that still has another first \
             goes on wrapping with it), and run this again until it finds nothing",
            privacy.id()
        );
    }
    Ok(if done.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const AGAIN: &str = "\
What is NOT done is to be done: end what keeps the database as it was (a session by `pg_terminate_backend`, a prepared transaction by
`rollback prepared`; a slot or a standby's session when the standby has caught up, or is gone), then run `haetae audit vacuum` again.";

const BEYOND: &str = "\
Beyond this database's own files: backups, standbys, archived write-ahead log, and log files that are recycled (`wal_recycle = on`) or
kept (slots, `wal_keep_size`, an archive that is behind), made before now, still have
- the sealed values with their wrapped keys. They open only with a master key of that time: put a new one first
  (`haetae audit rewrap`) and destroy the former, or let them expire;
- in clear, names of who acted through the database (granted, voted, disclosed, erased), to whom something was disclosed or a role
  given: they pass through `log_outbox`. No master key helps there: let them expire, or destroy them.";

const AFTER_HELP: &str = "\
Two persons, each with a login of their own (members of `haetae_privacy`) and the master key:
  export HAETAE_PRIVACY_URL=postgres://kim@db.internal/haetae
  haetae audit --by kim erase --subject min-jun.kim@org.example --org org --reason 'request 2026-31, Art. 17 GDPR'
  export HAETAE_PRIVACY_URL=postgres://lee@db.internal/haetae
  haetae audit --by lee erase --subject min-jun.kim@org.example --org org --confirm ID

The database itself wants two different logins, and destroys nothing unless both name the same keys; names (--by) are taken on trust beside
them, and both are in the log, as salted digests.

The records stay, with their digests, as long as the law wants them; what named the person is gone. Rewriting the tables
locks them: new people's requests are answered 503 meanwhile (a second for each few hundred thousand people), so choose a quiet
hour, or give --later. It takes the tables' owner (`database.owner_url`), and a superuser for the write-ahead log.
Names in the registry, in policy approvals and in webhooks are the operator's books of who administers: not erased here.";
