//! `haetae policy`: is this bundle sound, does it say what its cases say, and what does it say in all? And in [`life`]
//! and [`people`]: how another bundle comes into force, and whose signature that takes.

pub mod diff;
pub mod replay;
pub mod table;

mod life;
mod people;
mod shadow;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::clock::Clock;
use crate::policy::{Bundle, BundleError};

/// Look at a bundle of policies before it is used, and bring it into force
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a bundle strictly, run its cases, and print what was loaded, what to look after, and its digest
    Check {
        /// Directory of the bundle, e.g. `policies`
        dir: PathBuf,
    },
    /// Run every case of a bundle by name
    Test {
        /// Directory of the bundle, e.g. `policies`
        dir: PathBuf,
    },
    /// Print every combination that facts can make, and its outcome: the policy as a regulator reads it
    Table(table::Args),
    /// Print every combination whose outcome is another in a second bundle, and everything that is written otherwise
    Diff(diff::Args),
    #[command(flatten)]
    Life(life::Command),
    #[command(flatten)]
    People(people::Command),
    /// Judge a proposed bundle beside the one in force, on live traffic, and see what it would decide otherwise
    #[command(subcommand)]
    Shadow(shadow::Command),
    /// Judge recorded decisions again under another bundle, and report what would have been decided otherwise
    Replay(replay::Args),
}

/// Runs the subcommand; 0 when the bundle is sound, 1 when it is not.
///
/// # Errors
/// Those of the subcommand; what is wrong with a bundle under check is printed, not returned.
pub async fn run(args: Args) -> Result<ExitCode> {
    let at = Clock::system().unix_s();
    Ok(match args.command {
        Command::Check { dir } => check(Bundle::load(&dir, at).await),
        Command::Test { dir } => test(Bundle::read(&dir, at).await),
        Command::Table(args) => return table::run(args).await,
        Command::Diff(args) => return diff::run(args).await,
        Command::Life(command) => life::run(command).await?,
        Command::People(command) => people::run(command).await?,
        Command::Shadow(command) => shadow::run(command).await?,
        Command::Replay(args) => return replay::run(args).await,
    })
}

fn check(loaded: Result<Bundle, BundleError>) -> ExitCode {
    let bundle = match loaded {
        Ok(bundle) => bundle,
        Err(error) => return refused(&error),
    };
    for notice in bundle.notices() {
        println!("{notice}");
    }
    println!("{} cases and canaries pass", bundle.test().len());
    for warning in bundle.warnings() {
        println!("warning: {warning}");
    }
    println!("digest {}", bundle.digest());
    println!("access {}", bundle.access_digest());
    ExitCode::SUCCESS
}

fn test(read: Result<Bundle, BundleError>) -> ExitCode {
    let bundle = match read {
        Ok(bundle) => bundle,
        Err(error) => return refused(&error),
    };
    let results = bundle.test();
    for result in &results {
        match &result.failure {
            None => println!("pass  {}: {}", result.pack, result.name),
            Some(failure) => println!("FAIL  {}: {}: {failure}", result.pack, result.name),
        }
    }
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    println!("{} passed, {failed} failed", results.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refused(error: &BundleError) -> ExitCode {
    for fault in &error.faults {
        eprintln!("error: {fault}");
    }
    eprintln!("the bundle is not usable: {} faults", error.faults.len());
    ExitCode::FAILURE
}

const AFTER_HELP: &str = "\
A bundle is a directory; policies/README.md explains its files. A slip in it is an error with file and line.
  haetae policy check policies    is it sound? (a gateway takes no other)
  haetae policy test policies     does it say what its cases say?
  haetae policy table policies    what does it say, for everything that can be asked?

How another bundle comes into force (docs/policy-life.md):
  haetae policy propose policies --purpose 'HR data: the new annex'
  haetae policy shadow start DIGEST --reason '...'  judge it on live traffic first; no answer changes
  haetae policy shadow report                      what it would decide otherwise, DENY -> ALLOW first
  haetae policy approve DIGEST --key kim.key       two approvers, one not a platform administrator
  haetae policy activate DIGEST                    from its commit on, no decision rests on the one of before
  haetae policy rollback --reason '...' --key park.key
  haetae policy break-glass DIGEST --reason '...' --minutes 30 --key kim.key
  haetae policy status; haetae policy history";
