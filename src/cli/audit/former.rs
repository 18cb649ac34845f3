//! `haetae audit forget`: what keys were before a rewrap is destroyed, against a former master key that leaked.

use std::process::ExitCode;

use super::{Desk, erase::TwoPersons, privacy};
use crate::audit::{self, Forgot};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The former master key, by its name in `[privacy] keys`. Both persons write it.
    #[arg(long)]
    master: String,
    #[command(flatten)]
    persons: TwoPersons,
}

pub(super) async fn run(desk: &Desk, args: Args) -> anyhow::Result<ExitCode> {
    let config = desk.config()?;
    let (privacy, pool) = (privacy(&config)?, desk.pool(&config).await?);
    let (by, master) = (desk.person()?, args.master.as_str());
    let Some(id) = args.persons.confirm else {
        let why = args.persons.why()?;
        match audit::ask_forget(&pool, &privacy, master, by, why).await? {
            None => println!("no key is kept as it was under `{master}`: nothing was done"),
            Some(id) => println!(
                "asked for: {id}. Somebody else, within a week, with a login of their own:\n  \
                 haetae audit --by NAME --database URL forget --master {master} --confirm {id}"
            ),
        }
        return Ok(ExitCode::SUCCESS);
    };
    match audit::confirm_forget(&pool, &privacy, id, master, by).await? {
        Forgot::Already(at) => {
            println!("forgotten already at {}: nothing was done", crate::cli::instant(at));
            return Ok(ExitCode::SUCCESS);
        }
        Forgot::Keys { keys, left } => {
            println!(
                "forgotten: what {keys} keys were under `{master}`; each opens as it is wrapped now, and the log says what was done"
            );
            if left > 0 {
                println!("  {left} were replaced after it was asked for, and are left: ask again");
            }
        }
    }
    args.persons.end(&config).await
}

const AFTER_HELP: &str = "\
A key stays as it was before `haetae audit rewrap`, beside what it is now: one login could put rubbish in its place. So a
master key that leaked still opens it. When the new one has proved itself, two persons, each with a login of their own
(members of `haetae_privacy`):
  haetae audit --by kim forget --master privacy-2025 --reason 'leaked, incident 2026-9'
  haetae audit --by lee forget --master privacy-2025 --confirm ID

Each of the two commands first opens every key as it is now, and a value that is sealed under it, and does nothing while one does
not open. What is replaced after it was asked for stays.
Backups and archived write-ahead log of before still have both: let them expire.";
