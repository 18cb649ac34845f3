//! `haetae policy diff A B`: what changes from one bundle to another.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::table::instant;
use crate::clock::Clock;
use crate::policy::{Bundle, Diff};

/// Which two, and from when on.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Directory of the bundle as it was
    before: PathBuf,
    /// Directory of the bundle as it shall be
    after: PathBuf,
    /// From this date or instant on (`2026-11-20`, `2026-11-20T09:00:00+09:00`); from now on without it
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Prints what differs; 0 when nothing does, 1 when something does.
///
/// # Errors
/// When a bundle cannot be read or its rules cannot be laid out.
pub async fn run(args: Args) -> Result<ExitCode> {
    let now = Clock::system().unix_s();
    let at = instant(args.at.as_deref(), now)?;
    // read, not loaded: what a bundle says can be compared also when one of its cases fails
    let before = Bundle::read(&args.before, now).await?;
    let after = Bundle::read(&args.after, now).await?;
    let diff = Diff::new(before.rules(), after.rules(), at)?;
    print!("{diff}");
    let access = before.access_digest() == after.access_digest();
    if !access {
        println!("~ access sheets: {} -> {}", before.access_digest(), after.access_digest());
    }
    Ok(if diff.is_empty() && access { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const AFTER_HELP: &str = "\
Every combination of facts is compared, at the instant and after each later date at which something in either bundle turns;
what becomes milder comes first, from DENY to ALLOW on, each with the rules that decided before and after.
Exit codes: 0 nothing differs; 1 something does; 2 the command line was wrong.
  haetae policy diff policies proposed
  git worktree add ../old v1 && haetae policy diff ../old/policies policies";
