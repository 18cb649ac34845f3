//! The gateway as `haetae serve` runs it: its configuration file, its process, and the commands beside it.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::ports::Said;

/// What the configuration file is made of.
pub struct Settings<'a> {
    pub data: SocketAddr,
    pub console: SocketAddr,
    pub tiles: SocketAddr,
    pub database: &'a str,
    pub pki: &'a Path,
    pub policies: &'a Path,
    pub issuer: &'a str,
    pub jwks: &'a str,
    pub audience: &'a str,
    pub organisations: &'a [&'a str],
}

impl Settings<'_> {
    /// The text of `haetae.toml`.
    #[must_use]
    pub fn toml(&self) -> String {
        let pki = |name: &str| quoted(&self.pki.join(name).to_string_lossy());
        let port = self.data.port();
        let values: Vec<String> =
            self.organisations.iter().map(|org| format!("{} = \"=\"", quoted(org))).collect();
        let certificates: String = self.organisations.iter().map(|org| certificate(org)).collect();
        format!(
            r#"# Written by `haetae demo`. The example `haetae.toml` in the project's root explains every key.
authorities = ["localhost:{port}", "127.0.0.1:{port}"]

[listen]
address = "{data}"
tls = {{ certificate = {server}, key = {server_key}, client_certificates = "optional", client_cas = [{clients}] }}

[console]
address = "{console}"

[database]
url = {database}

[[identity.issuers]]
issuer = {issuer}
audiences = [{audience}]
algorithms = ["EdDSA", "ES256", "RS256"]
jwks_url = {jwks}
jwks_ca = {root}
organisation = {{ claim = {{ claim = "org", values = {{ {values}, {SUPERVISOR} = "=" }} }} }}
roles = {{ claim = "roles", values = {{ user = "user", reviewer = "reviewer", admin = "admin", auditor = "auditor" }} }}
{certificates}
[policy]
dir = {policies}

[audit]
origin = "{ORIGIN}"
key_file = "log.key"
high_water_file = "high-water.json"

[privacy]
keys = [{{ id = "demo", file = "privacy.key" }}]

[tiles]
readers = [{{ organisation = "{SUPERVISOR}", role = "auditor" }}]
listen = {{ address = "{tiles}", tls = {{ certificate = {server}, key = {server_key}, client_certificates = "optional", client_cas = [{clients}] }} }}

[forward]
client_certificate = {client}
client_key = {client_key}
"#,
            data = self.data,
            console = self.console,
            tiles = self.tiles,
            server = pki("gateway.pem"),
            server_key = pki("gateway.key"),
            clients = pki("clients.pem"),
            client = pki("gateway-client.pem"),
            client_key = pki("gateway-client.key"),
            root = pki("root.pem"),
            database = quoted(self.database),
            issuer = quoted(self.issuer),
            audience = quoted(self.audience),
            jwks = quoted(self.jwks),
            values = values.join(", "),
            policies = quoted(&self.policies.to_string_lossy()),
        )
    }
}

fn certificate(org: &str) -> String {
    format!(
        "\n[[identity.certificates]]\ntrust_domain = \"{org}.example\"\norganisation = \"{org}\"\nroles = [\"user\"]\n"
    )
}

/// A TOML basic string. JSON's escapes are a subset of TOML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// This program's own commands, as a person would type them.
pub struct Program {
    pub path: PathBuf,
    /// Where `log.key` and `haetae.toml` are.
    pub dir: PathBuf,
}

impl Program {
    /// Runs `haetae <args>` and gives its output; a failure carries what it said.
    pub async fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.command(args);
        let running = tokio::task::spawn_blocking(move || command.output());
        let output =
            tokio::time::timeout(COMMAND_WAIT_MAX, running).await.with_context(|| {
                format!(
                    "`haetae {}` did not end in {} s",
                    args.join(" "),
                    COMMAND_WAIT_MAX.as_secs()
                )
            })???;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!("`haetae {}` failed: {said}", args.join(" "));
        }
        Ok(output)
    }

    /// Starts `haetae <args>`, which ends when its input does, so also when this process is killed.
    pub fn serve(&self, args: &[&str], log: &Path) -> Result<Child> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("/bin/sh");
        without_settings(&mut command);
        let command = command
            .args(["-c", SERVE_UNTIL_INPUT_ENDS, "haetae-demo"])
            .arg(&self.path)
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0); // Ctrl-C is for us: we stop it in order
        command.spawn().with_context(|| format!("`{}` could not be started", self.path.display()))
    }

    /// `haetae <args>`, not yet run: for whoever wants its exit code too.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        without_settings(&mut command);
        command
    }
}

/// What this terminal sets for another gateway is not meant for the demo's.
fn without_settings(command: &mut Command) {
    for name in SETTINGS {
        command.env_remove(name);
    }
}

/// The running gateway: a process that gets SIGTERM when this one ends, in whatever way.
pub struct Gateway {
    process: Child,
    log: PathBuf,
    said: Said,
}

impl Gateway {
    /// Starts `haetae serve` and waits until it listens and the console says that it is ready.
    pub async fn start(program: &Program, console: SocketAddr, client: &Client) -> Result<Self> {
        let mut gateway = Self::launch(program)?;
        gateway.until_ready(console, client).await?;
        Ok(gateway)
    }

    /// Starts `haetae serve` and does not wait.
    pub fn launch(program: &Program) -> Result<Self> {
        let log = program.dir.join("gateway.log");
        let said = Said::after(&log);
        let process = program.serve(&["serve", "--config", "haetae.toml"], &log)?;
        Ok(Self { process, log, said })
    }

    async fn until_ready(&mut self, console: SocketAddr, client: &Client) -> Result<()> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("the gateway ended ({status}): {}", self.log_tail());
            }
            let said = match client.get(&format!("http://{console}/readyz")).await {
                // Without its own word the console could be that of another demo.
                Ok(reply) if reply.status.is_success() && self.said.is_ready()? => return Ok(()),
                Ok(reply) => reply.text(),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("the gateway was not ready in time: {said}: {}", self.log_tail());
            }
            sleep(POLL).await;
        }
    }

    /// The last lines of its log.
    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default();
        format!("{} (all of it is in `{}`)", last.join(" | "), self.log.display())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to drain (SIGTERM) and does not wait.
    pub fn terminate(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill()?;
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(())
    }

    /// Drains it and waits for its end.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        self.terminate();
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + STOP_WAIT_MAX;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the gateway did not stop in {} s", STOP_WAIT_MAX.as_secs());
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.terminate();
            let _reaped = self.process.wait();
        }
    }
}

/// Name of the demo's log.
pub const ORIGIN: &str = "demo.haetae.example/log";
/// Who may fetch the records of all organisations there.
pub const SUPERVISOR: &str = "kr-supervisor";

/// The shell becomes the gateway; a small child of its waits for the end of its input, which comes however we end. The
/// pipe is kept as 3: a shell gives a background job the null device as its input.
const SERVE_UNTIL_INPUT_ENDS: &str = r#"
exec 3<&0
( cat <&3 > /dev/null; kill -TERM $$ 2> /dev/null ) &
exec "$@" 3<&- < /dev/null
"#;

const SETTINGS: [&str; 6] = [
    "DATABASE_URL",
    "HAETAE_CONFIG",
    "HAETAE_OWNER_URL",
    "HAETAE_READER_URL",
    "HAETAE_REGISTRAR_URL",
    "HAETAE_PRIVACY_URL",
];
const COMMAND_WAIT_MAX: Duration = Duration::from_mins(1);
/// The bundle's cases run first: seconds on a machine that does other things.
const READY_WAIT_MAX: Duration = Duration::from_mins(1);
/// The gateway's own drain takes at most 25 s.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    //! What the demo writes is a configuration that the gateway takes.
    use super::*;

    #[test]
    fn the_configuration_is_read_without_an_unknown_key() {
        let settings = Settings {
            data: ([127, 0, 0, 1], 8443).into(),
            console: ([127, 0, 0, 1], 8444).into(),
            tiles: ([127, 0, 0, 1], 8445).into(),
            database: "postgres://postgres@localhost/haetae?host=/tmp/a \"b\"",
            pki: Path::new("/tmp/demo/pki"),
            policies: Path::new("/tmp/demo/policies"),
            issuer: "https://localhost:9000",
            jwks: "https://localhost:9000/.well-known/jwks.json",
            audience: "haetae",
            organisations: &["kr-retailer", "de-bank"],
        };
        let config = crate::config::Config::parse(&settings.toml()).unwrap();
        assert_eq!(config.authorities, ["localhost:8443", "127.0.0.1:8443"]);
        assert_eq!(config.database.url, settings.database);
        assert_eq!(config.identity.certificates.len(), 2);
        assert_eq!(config.audit.origin, ORIGIN);
    }
}
