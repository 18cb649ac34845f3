//! One file becomes one [`Config`], made of the rooms' own Configs. An unknown key refuses to start.
//!
//! *Invariant:* no secret stands in the file: it names files that hold them.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failover::{Host, Servers};
use crate::{audit, caller, cosign, forward, gate, listen, privacy, telemetry, tiles, webhook};

/// The whole configuration; `haetae.toml` in the project's root explains every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names under which clients reach the gateway: what `Host` and `:authority` may say.
    pub authorities: Vec<String>,
    /// The data plane.
    pub listen: listen::Config,
    /// Health, metrics and the reviewers' API.
    pub console: listen::Config,
    pub database: Database,
    pub identity: caller::Config,
    #[serde(default)]
    pub policy: Policy,
    pub audit: audit::Config,
    /// The log's public listener; absent: tiles are not served.
    #[serde(default)]
    pub tiles: Option<tiles::Config>,
    #[serde(default)]
    pub cosign: cosign::Config,
    #[serde(default)]
    pub forward: forward::Config,
    #[serde(default)]
    pub gate: gate::Config,
    /// What values behind salted digests are sealed with.
    #[serde(default)]
    pub privacy: privacy::Config,
    #[serde(default)]
    pub webhooks: webhook::Config,
    #[serde(default)]
    pub telemetry: telemetry::Config,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Directory of the bundle, for as long as none was activated in the database. Absent: nothing is decided before that.
    #[serde(default)]
    pub dir: Option<PathBuf>,
}

/// How Postgres is reached. Several logins with rights of their own; one may serve for all on a developer's machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The gateway's own login: member of `haetae_gateway`.
    pub url: String,
    /// The schema's owner, for `haetae migrate` and `serve --migrate`. Absent: `url`.
    #[serde(default)]
    pub owner_url: Option<String>,
    /// The console's login: member of `haetae_reader`. Absent: `url`.
    #[serde(default)]
    pub reader_url: Option<String>,
    /// Who may change the registry: member of `haetae_registrar`. Absent: `url`.
    #[serde(default)]
    pub registrar_url: Option<String>,
    /// For `haetae audit`: member of `haetae_privacy`. Absent: `url`.
    #[serde(default)]
    pub privacy_url: Option<String>,
    /// A file with the password of `url`, so that it stands in no configuration.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The servers that the database may be at, in place of the one in each URL: whichever of them accepts writes.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// Which one that is; shared by the pools of one process.
    #[serde(skip)]
    servers: Servers,
}

impl Config {
    /// Reads the file. Relative paths in it are meant from the file's own directory.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key or a value of the wrong kind: says where.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration `{}`", path.display()))?;
        let mut config = Self::parse(&text)
            .with_context(|| format!("the configuration `{}` cannot be used", path.display()))?;
        config.root(path.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// # Errors
    /// When a key is unknown, missing or of the wrong kind.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        if config.authorities.is_empty() {
            bail!("`authorities` is empty: name the host (and port) that clients use");
        }
        config.check_console()?;
        Ok(config)
    }

    /// The console shows every organisation's decisions and asks nobody who they are: beyond this machine only to those
    /// with a certificate of the configured CAs.
    fn check_console(&self) -> anyhow::Result<()> {
        if self.console.is_for_known_peers() {
            return Ok(());
        }
        bail!(
            "`console.address` is not a loopback address, and anybody who reaches it could read all decisions: set \
             `console.tls.client_certificates` to \"required\" and `client_cas`, or listen on 127.0.0.1"
        )
    }

    fn root(&mut self, directory: &Path) {
        let mut paths: Vec<&mut PathBuf> = Vec::new();
        paths.extend(self.policy.dir.as_mut());
        paths.extend(self.listen.paths_mut());
        paths.extend(self.console.paths_mut());
        paths.extend(self.database.password_file.as_mut());
        paths.extend(self.identity.paths_mut());
        paths.extend(self.audit.paths_mut());
        paths.extend(self.tiles.iter_mut().flat_map(tiles::Config::paths_mut));
        paths.extend(self.forward.paths_mut());
        paths.extend(self.cosign.paths_mut());
        paths.extend(self.webhooks.paths_mut());
        paths.extend(self.privacy.paths_mut());
        for path in paths {
            *path = directory.join(&*path);
        }
    }
}

impl Database {
    /// The database at one URL, for every purpose.
    #[must_use]
    pub fn at(url: String) -> Self {
        Self {
            url,
            owner_url: None,
            reader_url: None,
            registrar_url: None,
            privacy_url: None,
            password_file: None,
            hosts: Vec::new(),
            servers: Servers::default(),
        }
    }

    /// Keeps the pools that were made here at the server that accepts writes.
    pub fn follow(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        self.servers.follow(tracker, stop);
    }

    /// How the gateway itself connects.
    ///
    /// # Errors
    /// When the URL or the password file cannot be read.
    pub fn options(&self) -> anyhow::Result<PgConnectOptions> {
        let options = address(&self.url, "database.url")?;
        let Some(path) = &self.password_file else { return Ok(options) };
        let password = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read `database.password_file`: `{}`", path.display())
        })?;
        Ok(options.password(password.trim_end()))
    }

    /// # Errors
    /// When the database cannot be reached.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        self.connect(self.options()?, "database.url").await
    }

    /// # Errors
    /// When the database cannot be reached.
    pub async fn owner_pool(&self) -> anyhow::Result<PgPool> {
        self.other(self.owner_url.as_deref(), "database.owner_url").await
    }

    /// # Errors
    /// When the database cannot be reached.
    pub async fn reader_pool(&self) -> anyhow::Result<PgPool> {
        let (options, key) = match &self.reader_url {
            Some(url) => (address(url, "database.reader_url")?, "database.reader_url"),
            None => (self.options()?, "database.url"),
        };
        // Also when it is the gateway's own login: what is shown is never written.
        self.connect(options.options([("default_transaction_read_only", "on")]), key).await
    }

    /// # Errors
    /// When the database cannot be reached.
    pub async fn registrar_pool(&self) -> anyhow::Result<PgPool> {
        self.other(self.registrar_url.as_deref(), "database.registrar_url").await
    }

    /// # Errors
    /// When the database cannot be reached.
    pub async fn privacy_pool(&self) -> anyhow::Result<PgPool> {
        self.other(self.privacy_url.as_deref(), "database.privacy_url").await
    }

    async fn other(&self, url: Option<&str>, key: &str) -> anyhow::Result<PgPool> {
        match url {
            Some(url) => self.connect(address(url, key)?, key).await,
            None => self.pool().await,
        }
    }

    async fn connect(&self, options: PgConnectOptions, key: &str) -> anyhow::Result<PgPool> {
        let pool = PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_WAIT_MAX);
        self.servers
            .pool(pool, options.application_name("haetae"), &self.hosts)
            .await
            .with_context(|| format!("Postgres at `{key}` cannot be reached"))
    }
}

fn address(url: &str, key: &str) -> anyhow::Result<PgConnectOptions> {
    // The URL may hold a password: the error must not repeat it.
    let options = PgConnectOptions::from_str(url).ok().with_context(|| {
        format!("`{key}` is not a Postgres URL: write postgres://user@host/database")
    })?;
    Ok(searching(options))
}

/// Which tables a name of ours means is the client's to say: what a session asks for at its start outranks what the server has set for
/// its role or its database, which would show us other tables under the same names. A path that the operator's own URL (or
/// `PGOPTIONS`) names stays.
fn searching(options: PgConnectOptions) -> PgConnectOptions {
    // Postgres reads names of settings in any case, and `-` as `_` where they follow `--`.
    let asked = options.get_options().unwrap_or_default().to_lowercase().replace('-', "_");
    if asked.contains("search_path") {
        return options;
    }
    options.options([("search_path", SEARCH_PATH)])
}

/// `pg_catalog` is searched before them, and is not named, so that migrations make their tables in `public`. Temporary tables come last.
const SEARCH_PATH: &str = "public,pg_temp";

/// Registry, projection and reads; the lanes of the log have connections of their own.
const POOL_CONNECTIONS_MAX: u32 = 6;
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
