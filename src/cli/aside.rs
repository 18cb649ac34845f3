//! What the processes beside the gateway have in common on the command line: a configuration file, and an end on a signal.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::aside::Running;

/// Reads a configuration; relative paths in it are meant from its own directory.
pub fn read<T: DeserializeOwned>(
    path: &Path,
    resolve: impl FnOnce(&mut T, &dyn Fn(&mut PathBuf)),
) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration `{}`", path.display()))?;
    let mut config: T = toml::from_str(&text)
        .with_context(|| format!("the configuration `{}` cannot be used", path.display()))?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    resolve(&mut config, &|named| *named = directory.join(&*named));
    Ok(config)
}

/// The signals that end a process, waited for from before it serves, so that an early one is not lost.
pub struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Serves until a signal; a second one cuts what is under way.
    pub async fn serve(mut self, running: &Running) {
        self.next().await;
        tracing::info!("stopping: what is under way may end; a second signal ends it");
        tokio::select! {
            () = running.stop() => return,
            () = self.next() => {}
        }
        running.abort();
        running.stop().await;
    }
}
