//! Which database a registrar's command works in, and who types it.

use std::path::PathBuf;

use anyhow::Context as _;
use sqlx::PgPool;

use crate::config::{Config, Database};

/// The same for every command that changes what is true.
#[derive(Debug, clap::Args)]
pub struct Registrar {
    /// The database, as a user who is a member of `haetae_registrar` (not the gateway's user).
    #[arg(long, env = "HAETAE_REGISTRAR_URL", hide_env_values = true, global = true)]
    database: Option<String>,
    /// The configuration file whose `database.registrar_url` is taken when `--database` is not given.
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml", global = true)]
    config: PathBuf,
    /// Who makes the change; kept with it.
    #[arg(long, env = "USER", global = true)]
    by: Option<String>,
}

impl Registrar {
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        let database = match &self.database {
            Some(url) => Database::at(url.clone()),
            None => Config::read(&self.config).context(WHICH_DATABASE)?.database,
        };
        database.registrar_pool().await
    }

    /// The configuration, for what it says beside the database.
    pub fn config(&self) -> anyhow::Result<Config> {
        Config::read(&self.config)
    }

    /// Who types it, where nobody may act unnamed.
    ///
    /// # Errors
    /// When no name is given, or one with white space at an end or a control character.
    pub fn person(&self) -> anyhow::Result<&str> {
        named(self.by.as_deref())
    }

    #[must_use]
    pub fn who(&self) -> &str {
        self.by.as_deref().unwrap_or("unknown")
    }
}

/// The name given as `--by`, where nobody may act unnamed.
pub(super) fn named(by: Option<&str>) -> anyhow::Result<&str> {
    let name = by.filter(|name| !name.is_empty()).context("say who: `--by NAME`")?;
    let plain = name.trim() == name && !name.chars().any(char::is_control);
    anyhow::ensure!(plain, "`--by` is a name without white space at its ends");
    Ok(name)
}

pub(super) const WHICH_DATABASE: &str =
    "say which database: `--database postgres://..`, HAETAE_REGISTRAR_URL, or `--config FILE`";
