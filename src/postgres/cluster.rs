//! One private cluster: made, started, broken on purpose, started again, stopped.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::time::{Instant, sleep};

use super::leftover::{self, Watcher};
use super::{PostgresError, account::Account, binaries::Binaries, place::Place, store};

/// What kind of cluster is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's own directory: made if it is missing, used again if it was made by us.
    pub dir: PathBuf,
    /// `false` only for tests that do not ask what survives a power cut.
    pub fsync: bool,
    /// Remove `dir` when the cluster is dropped or this process dies.
    pub ephemeral: bool,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A cluster that keeps what it was told: fsync on, kept after we stop.
    #[must_use]
    pub fn durable(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), fsync: true, ephemeral: false, settings: Vec::new() }
    }
}

/// How to stop: Postgres' own three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Waits until every client has left.
    Smart,
    /// Ends sessions, rolls back, writes a checkpoint.
    Fast,
    /// Like a crash: the next start recovers from the log.
    Immediate,
}

/// A running private cluster. Dropping it stops the server; so does the death of this process.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    pub(super) place: Place,
    account: Option<Account>,
    binaries: Binaries,
    server: Option<Child>,
    watcher: Watcher,
}

impl Cluster {
    /// Makes the cluster if it is new, stops what an earlier run left, starts it, and waits until it answers.
    pub async fn start(options: Options) -> Result<Self, PostgresError> {
        let mut cluster = Self::prepare(options).await?;
        if cluster.place.major().is_none() {
            cluster.init().await?;
        }
        cluster.restart().await?;
        cluster.create_database(DATABASE, None).await?;
        Ok(cluster)
    }

    /// Everything but the data and the server.
    pub(super) async fn prepare(options: Options) -> Result<Self, PostgresError> {
        let account = Account::to_lend()?;
        let place = Place::prepare(&options.dir, account.as_ref())?;
        let binaries = Binaries::required(&place.dir, place.major())?;
        leftover::stop(&place).await?;
        let ours = [place.dir.as_path(), place.socket.as_path()];
        let watcher = Watcher::start(&place, if options.ephemeral { &ours } else { &[] })
            .map_err(|source| PostgresError::File { path: "/bin/sh".into(), source })?;
        Ok(Self { options, place, account, binaries, server: None, watcher })
    }

    /// Stops the server if it runs, and starts it again.
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        self.stop(Stop::Fast).await?;
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            let logged = std::fs::metadata(self.log()).map_or(0, |log| log.len());
            self.spawn()?;
            let started = self.until_ready(deadline).await;
            // After kill -9 the old children hold the shared memory for a moment, and say their last words among those of the new
            // server: a second start succeeds.
            let held = matches!(started, Err(PostgresError::Died { .. }))
                && self.logged_since(logged).contains("shared memory block");
            if !held || Instant::now() > deadline {
                return started;
            }
            sleep(RETRY).await;
        }
    }

    /// Stops the server and waits for its end. A frozen one is thawed first; one that has stopped is left alone.
    pub async fn stop(&mut self, how: Stop) -> Result<(), PostgresError> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        let pid = Pid::from_child(&server);
        leftover::thaw(pid);
        let deadline = Instant::now() + STOP_WAIT_MAX;
        let _gone_already = kill_process(pid, how.signal());
        let mut harder = false;
        while matches!(server.try_wait(), Ok(None)) {
            if Instant::now() > deadline && !harder {
                let _gone_already = kill_process(pid, Signal::QUIT); // Postgres itself kills the rest after 5 s
                harder = true;
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Kills the server with SIGKILL and reaps it; its backends end when they notice. [`Cluster::restart`] recovers.
    pub fn kill9(&mut self) -> Result<(), PostgresError> {
        if let Some(mut server) = self.server.take() {
            server.kill().and_then(|()| server.wait()).map_err(PostgresError::Signal)?;
        }
        Ok(())
    }

    /// Stops every process of the server with SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&self) -> Result<(), PostgresError> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let signal = |pid| kill_process(pid, Signal::STOP);
        signal(pid).map_err(|error| PostgresError::Signal(error.into()))?; // first: now it makes no new ones
        for child in leftover::children(pid) {
            let _gone_already = signal(child);
        }
        Ok(())
    }

    /// Undoes [`Cluster::freeze`].
    pub fn thaw(&self) {
        if let Some(pid) = self.pid() {
            leftover::thaw(pid);
        }
    }

    /// How to reach database `haetae` as the cluster's owner.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.place.socket)
            .port(5432)
            .username(OWNER)
            .database(DATABASE)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The same as a URL, for `psql` and for configuration files.
    #[must_use]
    pub fn url(&self) -> String {
        let socket = self.place.socket.to_string_lossy().replace('%', "%25").replace(' ', "%20");
        format!("postgres://{OWNER}@localhost/{DATABASE}?host={socket}&sslmode=disable")
    }

    /// Creates a database, as a copy of `template` when one is given (nobody may be connected to that one).
    pub async fn create_database(
        &self,
        name: &str,
        template: Option<&str>,
    ) -> Result<(), PostgresError> {
        let maintenance = self.connect_options().database("postgres");
        Ok(store::create_database(&maintenance, name, template).await?)
    }

    /// The server's process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.server.as_ref().map(Pid::from_child)
    }

    /// What the server wrote to its standard error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.place.log()
    }

    #[must_use]
    pub const fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Runs `initdb` beside the place of the data and moves the result there whole.
    async fn init(&self) -> Result<(), PostgresError> {
        let fresh = self.place.dir.join("data.new");
        let mut command = self.command("initdb");
        command.arg("-D").arg(&fresh).args(INITDB);
        if !self.options.fsync {
            command.arg("--no-sync");
        }
        command.stdin(Stdio::null());
        self.fill("initdb", command, &fresh).await
    }

    /// Has `program` make `fresh`, and moves it whole to the place of the data.
    pub(super) async fn fill(
        &self,
        program: &'static str,
        command: Command,
        fresh: &Path,
    ) -> Result<(), PostgresError> {
        let file = |source| PostgresError::File { path: fresh.to_owned(), source };
        if fresh.exists() {
            std::fs::remove_dir_all(fresh).map_err(file)?;
        }
        self.output(program, command).await?;
        // If we stop here, `data.new` is thrown away by the next start.
        std::fs::rename(fresh, self.place.data()).map_err(file)?;
        if !self.options.fsync {
            return Ok(());
        }
        let directory = std::fs::File::open(&self.place.dir);
        directory.and_then(|directory| directory.sync_all()).map_err(file)
    }

    /// Runs a program to its end; what it said when it failed.
    pub(super) async fn output(
        &self,
        program: &'static str,
        mut command: Command,
    ) -> Result<(), PostgresError> {
        let file = |source| PostgresError::File { path: program.into(), source };
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.map_err(|error| file(error.into()))?.map_err(file)?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(PostgresError::Program { program, stderr })
    }

    fn spawn(&mut self) -> Result<(), PostgresError> {
        let path = self.place.log();
        let file = |source| PostgresError::File { path: path.clone(), source };
        let log = OpenOptions::new().create(true).append(true).open(&path).map_err(file)?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.place.data()).arg("-k").arg(&self.place.socket);
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(file)?).stderr(log);
        command.process_group(0); // Ctrl-C in the terminal is for us: we stop it in order
        // If we stop here, the watcher stops the server.
        self.server = Some(command.spawn().map_err(file)?);
        Ok(())
    }

    fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let on = if self.options.fsync { "on" } else { "off" };
        let ours = SETTINGS.into_iter().chain([("fsync", on), ("full_page_writes", on)]);
        ours.chain(self.options.settings.iter().map(|(name, value)| (&**name, &**value)))
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.bin.join(program));
        command.current_dir(&self.place.dir).env("LC_ALL", "C").env("TZ", "UTC");
        for name in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGOPTIONS"] {
            command.env_remove(name);
        }
        if let Some(account) = &self.account {
            account.lend(&mut command);
        }
        command
    }

    async fn until_ready(&mut self, deadline: Instant) -> Result<(), PostgresError> {
        let options = self.connect_options().database("postgres");
        loop {
            if let Some(server) = &mut self.server
                && !matches!(server.try_wait(), Ok(None))
            {
                self.server = None;
                return Err(PostgresError::Died { tail: self.log_tail(), log: self.log() });
            }
            let cause = match tokio::time::timeout(ASK_WAIT_MAX, store::ask(&options)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() > deadline {
                let seconds = READY_WAIT_MAX.as_secs();
                return Err(PostgresError::NotReady { seconds, cause, log: self.log() });
            }
            sleep(POLL).await;
        }
    }

    /// The last lines of the log, on one line.
    fn log_tail(&self) -> String {
        let text = self.logged_since(0);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" | ")
    }

    /// What is in the log after so many bytes.
    fn logged_since(&self, bytes: u64) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let new = usize::try_from(bytes).ok().and_then(|start| log.get(start..));
        String::from_utf8_lossy(new.unwrap_or_default()).into_owned()
    }
}

impl Drop for Cluster {
    /// Ends sessions and stops the server, at most for [`DROP_WAIT_MAX`]; the watcher does what is left.
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_child(&server);
            leftover::thaw(pid);
            let how = if self.options.ephemeral { Stop::Immediate } else { Stop::Fast };
            let _gone_already = kill_process(pid, how.signal());
            let start = Instant::now();
            while matches!(server.try_wait(), Ok(None)) && start.elapsed() < DROP_WAIT_MAX {
                std::thread::sleep(POLL);
            }
        }
        self.watcher.finish();
    }
}

impl Stop {
    /// The server's signals, postgres(1).
    const fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

const OWNER: &str = "postgres";
const DATABASE: &str = "haetae";

/// Whoever can enter the socket's directory (mode 0700) is the owner; nothing else can reach the server.
const INITDB: [&str; 7] = [
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
];

const SETTINGS: [(&str, &str); 6] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("max_connections", "200"),
];

/// Recovery after kill -9 replays at most one checkpoint's worth of log (1 GB by default).
const READY_WAIT_MAX: Duration = Duration::from_mins(1);
const ASK_WAIT_MAX: Duration = Duration::from_secs(5);
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);
const DROP_WAIT_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(100);
