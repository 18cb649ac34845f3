//! `haetae serve`: runs until SIGTERM or SIGINT, then drains in two steps.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::{app, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration file; the example `haetae.toml` explains every key.
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml")]
    config: PathBuf,
    /// Bring the database to the schema of this version first (needs the rights of its owner).
    #[arg(long)]
    migrate: bool,
    /// Read the configuration, the bundle and the key that it names, and stop. Nothing is connected to.
    #[arg(long)]
    check: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.config)?;
    telemetry::start(&config.telemetry)?;
    if args.check {
        app::check(&config).await?;
        eprintln!("{}: the configuration can be used", args.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    if args.migrate {
        super::migrate::bring_up(&config.database).await?;
    }
    // Asked for before anything starts, so that an early signal is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let running = app::start(config).await?;
    let (data, console) = (running.data_address(), running.console_address());
    let tiles = running.tiles_address().map(|address| address.to_string());
    tracing::info!(%data, %console, tiles, "haetae is ready to serve");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new requests, those under way may end; a second signal ends them");
    tokio::select! {
        () = running.drain() => {}
        _ = terminate.recv() => running.abort(),
        _ = interrupt.recv() => running.abort(),
    }
    running.stopped().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

const AFTER_HELP: &str = "\
The first time:
  haetae keygen --origin gateway.example.kr/log --out secrets/log.key
  haetae serve --check      can this configuration be used?
  haetae serve --migrate    with a login that owns the schema; otherwise run `haetae migrate` before

It is ready when the console says so: curl http://127.0.0.1:8444/readyz (with the causes when it is not).
SIGTERM: nothing new is taken and what is under way may end; a second signal cuts it. SIGKILL loses no record.";
