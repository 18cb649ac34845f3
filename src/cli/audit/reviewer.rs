//! `haetae audit reviewer`: which logins of the database see which part of the log, with `psql` or any other tool.

use std::process::ExitCode;

use super::{Desk, event};
use crate::audit::{self, Reviewer};

#[derive(Debug, clap::Subcommand)]
pub(super) enum What {
    /// Let a login see the decisions that a regime touches, and nothing else. Takes the rights of the tables' owner.
    Add {
        /// The login: `create role NAME login` made it.
        role: String,
        /// For whom it reviews.
        #[arg(long)]
        authority: String,
        /// Regimes, as the rules name them, e.g. KR.PIPA; once for each.
        #[arg(long = "regime", required = true)]
        regimes: Vec<String>,
    },
    /// From now on it sees nothing.
    Remove { role: String },
    /// Who sees what.
    List,
}

pub(super) async fn run(desk: &Desk, what: What) -> anyhow::Result<ExitCode> {
    let owner = desk.owner().await?;
    match what {
        What::Add { role, authority, regimes } => {
            let reviewer = Reviewer { role, authority, regimes };
            audit::add_reviewer(&owner, &reviewer, event()?, desk.person()?).await?;
            println!("`{}` sees what {} touches", reviewer.role, reviewer.regimes.join(", "));
        }
        What::Remove { role } => {
            audit::remove_reviewer(&owner, &role, event()?, desk.person()?).await?;
            println!("`{role}` sees nothing more");
        }
        What::List => {
            for (Reviewer { role, authority, regimes }, sees_all) in
                audit::reviewers(&owner).await?
            {
                let more = match sees_all {
                    Some(false) => "",
                    Some(true) => "  SEES EVERYTHING: it was given other rights since",
                    None => "  (no such login any more)",
                };
                println!("{role}  {authority}  {}{more}", regimes.join(" "));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
