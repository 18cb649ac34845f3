//! A Postgres of our own with migrated databases. It ends with this process.

use std::path::PathBuf;
use std::time::Duration;

use haetae::postgres::{Cluster, Options, migrate};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::cpu;

pub struct Private(Cluster);

impl Private {
    /// `fsync` off where what is measured does not write.
    pub async fn start(name: &str, fsync: bool) -> anyhow::Result<Self> {
        let dir = PathBuf::from(format!("/tmp/haetae-bench-{}-{name}", std::process::id()));
        let settings =
            [("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("max_connections", "200")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = Options { ephemeral: true, fsync, settings, ..Options::durable(dir) };
        Ok(Self(Cluster::start(options).await?))
    }

    /// A migrated database of its own.
    pub async fn database(&self, name: &str) -> anyhow::Result<PgPool> {
        self.0.create_database(name, None).await?;
        let options = self.0.connect_options().database(name);
        let pool = PgPoolOptions::new().max_connections(16).connect_with(options).await?;
        migrate(&pool).await?;
        Ok(pool)
    }

    /// CPU time of the server and its sessions.
    pub fn cpu(&self) -> Duration {
        let server = self.0.pid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        server.map(cpu::with_children).unwrap_or_default()
    }
}
