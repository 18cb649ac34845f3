//! A streaming standby of a private cluster, for whoever must see what a failover does.

use std::process::Stdio;

use super::{Cluster, Options, PostgresError};

impl Cluster {
    /// A hot standby of this cluster, made by `pg_basebackup` and fed over the unix socket. `name` is what
    /// `synchronous_standby_names` calls it.
    ///
    /// # Errors
    /// As [`Cluster::start`], and when the base backup fails.
    pub async fn standby(&self, name: &str, mut options: Options) -> Result<Self, PostgresError> {
        options.settings.push(("cluster_name".to_owned(), name.to_owned()));
        let mut standby = Self::prepare(options).await?;
        let fresh = standby.place.dir.join("data.new");
        let mut command = standby.command("pg_basebackup");
        command.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"]);
        command.args(["--username=postgres", "--port=5432", "--no-password"]);
        command.arg("--host").arg(&self.place.socket).arg("--pgdata").arg(&fresh);
        command.stdin(Stdio::null());
        standby.fill("pg_basebackup", command, &fresh).await?;
        standby.restart().await?;
        Ok(standby)
    }

    /// Makes a standby the server that writes (`pg_ctl promote`), and waits until it is.
    ///
    /// # Errors
    /// When `pg_ctl` fails: it was no standby, or its log could not be replayed.
    pub async fn promote(&self) -> Result<(), PostgresError> {
        let mut command = self.command("pg_ctl");
        command.arg("promote").arg("--wait").arg("--pgdata").arg(self.place.data());
        command.stdin(Stdio::null());
        self.output("pg_ctl", command).await
    }
}
