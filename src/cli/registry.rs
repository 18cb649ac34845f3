//! `haetae registry`: what is true, from files into the database, and back to the eye.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::registrar::Registrar;
use crate::registry::store::{self, Applied, Version};
use crate::registry::tree::{self, Tree};
use crate::registry::{RegistryError, Sort};

/// Organisations, sites, datasets, grounds, authorities: check, apply, show. Orders: `haetae order`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    registrar: Registrar,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read a directory and say every fault with file and line. Needs no database.
    Check { dir: PathBuf },
    /// Make the registry say what the directory says, in one transaction. Twice is the same as once.
    Apply { dir: PathBuf },
    /// List what is in force, or print the entries of one kind: organisation, site, dataset, ground, order, list,
    /// outside, authority, `access_row`, `role_grant`.
    Show { kind: Option<String> },
    /// Register a legal ground, or suspend one.
    #[command(subcommand)]
    Ground(Ground),
    /// Register an authority and the keys that it signs its orders with.
    #[command(subcommand)]
    Authority(Authority),
    /// Print every version of an entry.
    History { id: String },
}

#[derive(Debug, Subcommand)]
enum Ground {
    /// Register or replace the ground in a TOML file. In force as soon as this returns.
    Add { file: PathBuf },
    /// Suspend a ground: nothing that rests on it is committed once this returns.
    Suspend { id: String },
}

#[derive(Debug, Subcommand)]
enum Authority {
    /// Register or replace the authority in a TOML file.
    Add { file: PathBuf },
}

/// Does it, and prints what changed or was found to standard output.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let What::Check { dir } = &args.what {
        println!("{}", summary(&tree::read(dir)?));
        return Ok(ExitCode::SUCCESS);
    }
    // What is wrong with a file is said before anything is asked of the database.
    let change = prepared(&args.what)?;
    let pool = args.registrar.pool().await?;
    let who = args.registrar.who();
    match (&args.what, change) {
        (What::Apply { .. }, Change::Tree(tree)) => {
            print_applied(&store::apply(&pool, &tree, who).await?);
        }
        (What::Ground(_), Change::Entry(entry)) => {
            print_applied(&store::put_ground(&pool, &entry, who).await?);
        }
        (What::Authority(_), Change::Entry(entry)) => {
            print_applied(&store::put_authority(&pool, &entry, who).await?);
        }
        (What::Ground(Ground::Suspend { id }), _) => {
            print_applied(&store::suspend_ground(&pool, id, who).await?);
        }
        (What::Show { kind }, _) => show(&pool, kind.as_deref()).await?,
        (What::History { id }, _) => history(&pool, id).await?,
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// What a command brings along from files.
enum Change {
    Tree(Tree),
    Entry(Box<tree::Entry>),
    Nothing,
}

fn prepared(what: &What) -> anyhow::Result<Change> {
    Ok(match what {
        What::Apply { dir } => Change::Tree(tree::read(dir)?),
        What::Ground(Ground::Add { file }) => {
            Change::Entry(Box::new(tree::read_one(Sort::Ground, file)?))
        }
        What::Authority(Authority::Add { file }) => {
            Change::Entry(Box::new(tree::read_one(Sort::Authority, file)?))
        }
        _ => Change::Nothing,
    })
}

async fn show(pool: &PgPool, kind: Option<&str>) -> anyhow::Result<()> {
    let sort = match kind {
        Some(kind) => {
            Some(Sort::named(kind).ok_or_else(|| RegistryError::UnknownSort(kind.to_owned()))?)
        }
        None => None,
    };
    let version = store::head(pool).await?;
    let entries = store::show(pool, sort).await?;
    println!("facts are at version {version}; {} entries", entries.len());
    for entry in entries {
        match sort {
            Some(_) => print_version(&entry)?,
            None => println!("{:<13} {:<32} since {}", entry.sort.name(), entry.id, entry.from),
        }
    }
    Ok(())
}

async fn history(pool: &PgPool, id: &str) -> anyhow::Result<()> {
    let versions = store::history(pool, id).await?;
    anyhow::ensure!(!versions.is_empty(), "nothing called `{id}` was ever registered");
    versions.iter().try_for_each(print_version)
}

fn print_version(version: &Version) -> anyhow::Result<()> {
    let until = version.until.map_or("now".to_owned(), |until| format!("before {until}"));
    let at = OffsetDateTime::from_unix_timestamp(version.applied_at)?.format(&Rfc3339)?;
    let Version { sort, id, from, how, applied_by, document, .. } = version;
    println!("\n{} {id}: version {from} until {until}, {how} by {applied_by} at {at}", sort.name());
    println!("{}", serde_json::to_string_pretty(document)?);
    Ok(())
}

pub(super) fn print_applied(applied: &Applied) {
    if applied.is_nothing() {
        println!("nothing changed: facts stay at version {}", applied.version);
        return;
    }
    let lines = [("+", &applied.added), ("~", &applied.changed), ("-", &applied.removed)];
    for (sign, keys) in lines {
        for (sort, id) in keys {
            println!("{sign} {} {id}", sort.name());
        }
    }
    println!("facts are now at version {}", applied.version);
}

fn summary(tree: &Tree) -> String {
    let counts: Vec<String> = Sort::ALL
        .into_iter()
        .map(|sort| (tree.documents().filter(|(other, ..)| *other == sort).count(), sort))
        .filter(|(count, _)| *count > 0)
        .map(|(count, sort)| format!("{count} {}", sort.name()))
        .collect();
    format!("no fault: {}", counts.join(", "))
}

const AFTER_HELP: &str = "\
The files are explained in deploy/registry-example/README.md, which is itself a registry:
  haetae registry check deploy/registry-example
  haetae registry --by kim apply deploy/registry-example
  haetae registry --by kim ground add deploy/ground-example.toml
  haetae registry show ground

Every gateway sees a change within a second, and no decision is committed on facts that were replaced before.";
