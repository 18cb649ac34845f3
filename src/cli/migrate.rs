//! `haetae migrate`: brings the database to the schema of this version, forward only.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::{Config, Database};
use crate::postgres;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration file that names the database.
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml")]
    config: PathBuf,
    /// Connect with this URL instead: that of the database's owner, who may change the schema.
    #[arg(long, env = "HAETAE_OWNER_URL", hide_env_values = true)]
    database: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database = match args.database {
        Some(url) => Database::at(url),
        None => Config::read(&args.config)?.database,
    };
    bring_up(&database).await?;
    eprintln!("the database has the schema of haetae {}", env!("CARGO_PKG_VERSION"));
    Ok(ExitCode::SUCCESS)
}

/// Runs the migrations that are missing.
///
/// # Errors
/// When the database cannot be reached or a migration fails; a failed one leaves nothing behind.
pub async fn bring_up(database: &Database) -> anyhow::Result<()> {
    let pool = database.owner_pool().await?;
    postgres::migrate(&pool).await.context("the schema could not be brought up to date")?;
    if let Some(statement) = postgres::for_an_administrator(&pool).await? {
        eprintln!(
            "any login of this database can keep gateways waiting; ask an administrator (a superuser of the server) to run, in this \
             database:\n{statement}"
        );
    }
    pool.close().await;
    Ok(())
}

const AFTER_HELP: &str = "\
Forward only, and again is the same as once. It makes the roles haetae_gateway (appends to the log), haetae_reader
(reads it) and haetae_registrar (changes the registry), all without a login: make your logins members of them, e.g.
  create role gateway login in role haetae_gateway;";
