//! Log, traces, metrics: how the gateway speaks of itself.
//!
//! *Invariant:* no token, prompt, body or personal field is ever a log field or a label.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `text` for people, `json` for machines.
    pub format: Format,
    /// A `tracing` filter, e.g. `info` or `haetae=debug,warn`.
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Text,
    Json,
}

/// The label of a counter of refusals: a published code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Why {
    pub why: &'static str,
}

/// What went wrong in setting up the log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("`telemetry.filter` is not a filter: {0}: use e.g. `info` or `haetae=debug,warn`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log was set up twice")]
    Twice,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned() }
    }
}

/// Sends the log to stderr from now on; stdout belongs to what a command prints.
///
/// # Errors
/// When the filter cannot be read or the process already has a log.
pub fn start(config: &Config) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = match config.format {
        Format::Json => log.json().flatten_event(true).try_init(),
        Format::Text => {
            log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
    started.map_err(|_| TelemetryError::Twice)
}

/// All metrics of the process, each named `haetae_...` by its room, in the names of the `OpenMetrics` text format.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let build = prometheus_client::metrics::info::Info::new(vec![(
            "version",
            env!("CARGO_PKG_VERSION"),
        )]);
        registry.register("haetae_build", "what runs here", build);
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Lets a room register its metrics.
    pub fn with(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The `OpenMetrics` text of all of them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match encode(&mut text, &registry) {
            Ok(()) => text,
            Err(fmt::Error) => String::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
