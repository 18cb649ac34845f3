//! `haetae guard serve`: a site's own process, in front of its service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::guard::Config;
use crate::{app, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Let in what carries a valid, fresh, unused receipt; refuse and write down everything else.
    Serve {
        /// The configuration file; the example `guard.toml` explains every key.
        #[arg(long, short, default_value = "guard.toml")]
        config: PathBuf,
    },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Serve { config } = args.command;
    let config = read(&config)?;
    telemetry::start(&config.telemetry)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let site = config.site.clone();
    let running = app::guard::start(config).await?;
    tracing::info!(site, address = %running.site_address(), "the guard is ready to serve");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: what is under way may end; a second signal ends it");
    tokio::select! {
        () = running.stop() => return Ok(ExitCode::SUCCESS),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.abort();
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Relative paths in the file are meant from its own directory.
fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration `{}`", path.display()))?;
    let mut config: Config = toml::from_str(&text)
        .with_context(|| format!("the configuration `{}` cannot be used", path.display()))?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    for named in config.paths_mut() {
        *named = directory.join(&*named);
    }
    Ok(config)
}

const AFTER_HELP: &str = "\
The site's operator runs it with the site's own TLS certificate, and a trust file (C2SP tlog-policy) that says which logs
may open the site, one line for each lane, and which witnesses must have cosigned:
  log gateway.example.kr/log/0+9a1c…
  quorum none
`haetae keygen --of KEY --trust` at the gateway prints it. `haetae log reconcile` holds the journals against the log.
Nothing from before its own start is let in: whether it was used then, it does not know.";
