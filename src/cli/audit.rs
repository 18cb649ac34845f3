//! `haetae audit`: what the log keeps of people, shown to one reviewer, destroyed, or put under another master key.

mod disclose;
mod erase;
mod former;
mod reviewer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use sqlx::PgPool;
use uuid::Uuid;

use super::secret;
use crate::config::Config;
use crate::privacy::Privacy;

/// What the log keeps of people, sealed: disclose it, erase it, change the master key.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    desk: Desk,
    #[command(subcommand)]
    what: What,
}

/// Which database, which keys, and who acts.
#[derive(Debug, clap::Args)]
struct Desk {
    /// The database, as a user who is a member of `haetae_privacy`.
    #[arg(long, env = "HAETAE_PRIVACY_URL", hide_env_values = true, global = true)]
    database: Option<String>,
    /// The configuration file: it names the master keys, and the database when `--database` does not.
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml", global = true)]
    config: PathBuf,
    /// Who acts; in the log as a salted digest.
    #[arg(long, env = "USER", global = true)]
    by: Option<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a master key: 32 random bytes in a new file.
    Keygen {
        /// Where it goes; made with mode 0600, never overwritten.
        #[arg(long)]
        out: PathBuf,
    },
    /// Show one hidden field of one record to one reviewer. That it was shown becomes a record, before it is.
    Disclose(disclose::Args),
    /// Destroy what is kept of a person. One person asks, another confirms; the records stay, and prove what they proved.
    Erase(erase::Args),
    /// Rewrite the tables and files that had what was erased, as the tables' owner. `erase` does it unless told `--later`.
    Vacuum,
    /// Put every data key under the first master key of `[privacy] keys`, so that former ones can be destroyed.
    Rewrap,
    /// Destroy what keys were before a rewrap, against a former master key that leaked. One person asks, another confirms.
    Forget(former::Args),
    /// Which logins of the database see which part of the log, with `psql` or any other tool.
    #[command(subcommand)]
    Reviewer(reviewer::What),
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Keygen { out } => keygen(&out),
        What::Disclose(what) => disclose::run(&args.desk, what).await,
        What::Erase(what) => erase::run(&args.desk, what).await,
        What::Vacuum => erase::vacuum(&args.desk.config()?).await,
        What::Rewrap => erase::rewrap(&args.desk).await,
        What::Forget(what) => former::run(&args.desk, what).await,
        What::Reviewer(what) => reviewer::run(&args.desk, what).await,
    }
}

impl Desk {
    fn config(&self) -> anyhow::Result<Config> {
        Config::read(&self.config)
    }

    async fn pool(&self, config: &Config) -> anyhow::Result<PgPool> {
        let database = &config.database;
        match &self.database {
            Some(url) => crate::config::Database::at(url.clone()).privacy_pool().await,
            None => database.privacy_pool().await,
        }
    }

    /// The database as the owner of its tables.
    async fn owner(&self) -> anyhow::Result<PgPool> {
        match &self.database {
            Some(url) => crate::config::Database::at(url.clone()).owner_pool().await,
            None => self.config()?.database.owner_pool().await,
        }
    }

    fn person(&self) -> anyhow::Result<&str> {
        super::registrar::named(self.by.as_deref())
    }
}

/// The master keys, which these commands cannot do without.
fn privacy(config: &Config) -> anyhow::Result<Privacy> {
    let keys = Privacy::read(&config.privacy).context("`privacy`")?;
    keys.context("the configuration has no `[privacy] keys`: no value behind a digest is kept")
}

fn keygen(out: &Path) -> anyhow::Result<ExitCode> {
    let key = zeroize::Zeroizing::new(secret::seed()?);
    secret::write(out, &zeroize::Zeroizing::new(format!("{}\n", hex::encode(&key[..]))))?;
    eprintln!(
        "the master key is in `{}`: name it first in `[privacy] keys`, and keep a copy apart from the database's backups",
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Why, in one line.
fn reason(text: &str) -> anyhow::Result<&str> {
    let text = text.trim();
    let plain =
        (1..=REASON_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    anyhow::ensure!(plain, "say why, in one line of 1 to {REASON_MAX} characters");
    Ok(text)
}

/// Names an act.
fn event() -> anyhow::Result<Uuid> {
    let mut chance = [0; 16];
    getrandom::fill(&mut chance).context("the operating system gives no random bytes")?;
    Ok(uuid::Builder::from_random_bytes(chance).into_uuid())
}

const REASON_MAX: usize = 200;

const AFTER_HELP: &str = "\
For example:
  haetae audit keygen --out secrets/privacy-2026.key
  haetae audit --by kim disclose ID --field actor --to inspector@pipc.example --reason 'case 2026-17' --out case-17
  haetae-verify case-17/record.tlog-proof --disclosure case-17/actor.json --key VKEY     what the reader does with it

Names are taken on trust from whoever has the login and the master key. Reasons stay in the log for good, as they are
written: put no personal data into them.";
