//! The private Postgres of a first run and of the tests: a directory becomes a running cluster on a unix socket.
//!
//! The ladder: an address that is given wins; otherwise the distribution's own binaries run a private cluster; otherwise
//! one sentence says which command installs them here.
//!
//! *Invariant:* a private cluster never listens on TCP, and nothing here knows a table.

mod account;
mod binaries;
mod cluster;
mod leftover;
mod place;
mod standby;
mod store;

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

pub use binaries::{Binaries, install_hint};
pub use cluster::{Cluster, Options, Stop};
pub use store::{for_an_administrator, migrate};

/// A database to use: somebody else's, or our private cluster, which lives as long as this value.
pub enum Database {
    Given(Box<PgConnectOptions>),
    Private(Box<Cluster>),
}

impl Database {
    /// Climbs the ladder: `url` if there is one, else a private cluster as `options` say.
    pub async fn open(url: Option<&str>, options: Options) -> Result<Self, PostgresError> {
        match url {
            Some(url) => PgConnectOptions::from_str(url)
                .map(|options| Self::Given(Box::new(options)))
                .map_err(|error| PostgresError::Address(error.to_string())),
            None => Ok(Self::Private(Box::new(Cluster::start(options).await?))),
        }
    }

    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        match self {
            Self::Given(options) => (**options).clone(),
            Self::Private(cluster) => cluster.connect_options(),
        }
    }
}

/// Why there is no database. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("the database address is not a Postgres URL: {0}: write postgres://user@host/database")]
    Address(String),
    #[error(
        "no Postgres was found on this machine: install it with `{hint}`, or set DATABASE_URL to one you have"
    )]
    NoBinaries { hint: &'static str },
    #[error(
        "the cluster in `{dir}` was made by Postgres {major}, which is not installed: install that version, or choose another directory"
    )]
    OtherVersion { dir: PathBuf, major: u32 },
    #[error(
        "`{dir}` is not empty and holds no cluster of ours: choose an empty or a new directory"
    )]
    Occupied { dir: PathBuf },
    #[error("`{dir}` is in use by another haetae: stop that one, or choose another directory")]
    InUse { dir: PathBuf },
    #[error(
        "the user `{user}`, as whom Postgres must run because it refuses root, cannot enter `{parent}`: choose a directory under /tmp or /var/lib, or open `{parent}` with chmod o+x"
    )]
    NotTraversable { user: String, parent: PathBuf },
    #[error(
        "Postgres refuses to run as root and this machine has neither a user `postgres` nor `nobody`: run as an ordinary user"
    )]
    NoAccount,
    #[error(
        "the socket path `{path}` has {length} bytes and the system allows {max}: choose a shorter directory"
    )]
    SocketPath { path: PathBuf, length: usize, max: usize },
    #[error("`{path}` belongs to somebody else: remove it, or choose another directory")]
    Foreign { path: PathBuf },
    #[error("`{program}` failed: {stderr}")]
    Program { program: &'static str, stderr: String },
    #[error("Postgres stopped while starting: {tail}: the whole log is in `{log}`")]
    Died { tail: String, log: PathBuf },
    #[error("Postgres was not ready within {seconds} s: {cause}: its log is `{log}`")]
    NotReady { seconds: u64, cause: String, log: PathBuf },
    #[error("process {pid} of an earlier run did not stop within {seconds} s: end it by hand")]
    Leftover { pid: i32, seconds: u64 },
    #[error("`{path}`: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("a signal could not be sent to Postgres: {0}")]
    Signal(std::io::Error),
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the migrations failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}
