//! What was typed becomes what it means: one file for each subcommand, exit codes that scripts can use.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// First: what follows prints by its macros.
#[macro_use]
mod out;

pub mod access;
mod aside;
pub mod audit;
pub mod decide;
pub mod demo;
pub mod guard;
pub mod hold;
pub mod keygen;
pub mod log;
pub mod migrate;
pub mod obligation;
pub mod order;
pub mod policy;
pub mod reconcile;
mod record;
pub mod registrar;
pub mod registry;
pub mod schema;
mod secret;
pub mod serve;
pub mod webhook;
pub mod witness;

/// A data-sovereignty policy gateway in front of GPU compute: it decides, records, proves, and only then forwards.
#[derive(Debug, Parser)]
#[command(name = "haetae", version, about, after_help = AFTER_HELP)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole system on this machine: real traffic, a table of what happened, a verified log.
    Demo(demo::Args),
    /// Run the gateway.
    Serve(serve::Args),
    /// Bring the database to the schema of this version.
    Migrate(migrate::Args),
    /// Check and test a policy bundle.
    Policy(policy::Args),
    /// Keep the registry: organisations, datasets, sites, grounds, authorities.
    Registry(registry::Args),
    /// Enter, end, list and check the orders of authorities, signed or not.
    Order(order::Args),
    /// What a rule held for review: list, show, release, refuse.
    Hold(hold::Args),
    /// What decisions asked for after they allowed: list, close with evidence.
    Obligation(obligation::Args),
    /// Who may do what: list, grant, revoke and explain an organisation's access entries.
    Access(access::Args),
    /// Where organisations are told of what runs out and of orders that touch them.
    Webhook(webhook::Args),
    /// Answer questions from a file: no server, no database.
    Decide(decide::Args),
    /// Print a JSON Schema: question, decision or record.
    Schema(schema::Args),
    /// Make the signing key of a log.
    Keygen(keygen::Args),
    /// Verify the log, export it, print its checkpoints.
    Log(log::Args),
    /// What the log keeps of people: disclose a field, erase a person, change the master key.
    Audit(audit::Args),
    /// At a GPU site, in front of its service: let in only what carries a valid, fresh, unused receipt.
    Guard(guard::Args),
    /// The regulator's own process and key: cosign that a log only grew.
    Witness(witness::Args),
    /// One demo GPU site (started by `haetae demo`).
    #[command(hide = true)]
    DemoSite(crate::demo::site::Args),
}

const AFTER_HELP: &str = "\
To see it:
  haetae demo                                  everything on loopback, with an explanation
  haetae policy test policies                  every case of every policy pack
  haetae decide --bundle policies --question FILE

To run it:
  haetae keygen --origin gateway.example.kr/log --out secrets/log.key
  haetae migrate                               the schema, in the database that haetae.toml names
  haetae registry apply DIR                    what is true of organisations, data and sites
  haetae order add FILE                        what an authority ordered: in force when this returns
  haetae serve                                 the gateway; the example haetae.toml explains every key

To check it:
  haetae log verify                            the log against itself, in the database
  haetae log export --out FILE                 then, anywhere and offline: haetae-verify FILE

Exit codes: 0 done; 1 it failed, or a check found something (stderr says what); 2 the command line was wrong. `haetae log verify` has
more, so that what was found is not taken for what could not be read: see its `--help`.";

/// The language of what a command says to people.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Lang {
    En,
    Ko,
}

impl From<Lang> for verdict::told::Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::En => Self::English,
            Lang::Ko => Self::Korean,
        }
    }
}

/// Unix seconds as people read them: RFC 3339, UTC.
fn instant(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

/// Runs the command line of this process.
///
/// # Errors
/// Whatever the command reports; `main` prints it.
pub fn run() -> anyhow::Result<ExitCode> {
    let line = Line::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dispatch(line.command)).and_then(out::written)
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Policy(args) => policy::run(args).await,
        Command::Registry(args) => registry::run(args).await,
        Command::Order(args) => order::run(args).await,
        Command::Hold(args) => hold::run(args).await,
        Command::Obligation(args) => obligation::run(args).await,
        Command::Access(args) => access::run(args).await,
        Command::Webhook(args) => webhook::run(args).await,
        Command::Decide(args) => decide::run(args).await,
        Command::Schema(args) => schema::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Log(args) => log::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Guard(args) => guard::run(args).await,
        Command::Witness(args) => witness::run(args).await,
        Command::DemoSite(args) => crate::demo::site::run(args).await,
    }
}
