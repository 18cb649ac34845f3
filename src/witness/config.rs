//! What a witness's operator may set, and why it cannot start.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use haetae_verify::export::Digest;
use serde::Deserialize;
use tlog::key::{KeyError, Kind};
use tlog::{Policy, Signer as _, SigningKey, VerifierKey};

use super::KEY_KIND;
use crate::{listen, remote, telemetry};

/// The file of `haetae witness serve`; `witness.toml` in the project's root explains every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with the private key, as `haetae witness keygen` writes it.
    pub key: PathBuf,
    /// Which logs are witnessed: the `log` lines of a C2SP tlog-policy file.
    pub logs: PathBuf,
    /// Directory for what was cosigned last of each log. Whoever loses it must take a new key and a new, empty state: a mark
    /// beside the key says of which logs it has cosigned.
    pub state: PathBuf,
    /// Megabytes that mirrors leave free on the file system of the state.
    #[serde(default = "room_min_mb")]
    pub room_min_mb: u64,
    pub listen: listen::Config,
    /// Logs that are pulled and judged again, each with all its lanes that `logs` names.
    #[serde(default)]
    pub mirror: Vec<MirrorConfig>,
    /// Health and metrics; nothing when absent.
    #[serde(default)]
    pub console: Option<listen::Config>,
    #[serde(default)]
    pub telemetry: telemetry::Config,
}

/// A log that is mirrored.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorConfig {
    /// Origin of the deployment: `gw.example/log` when its lanes are `gw.example/log/0` and so on.
    pub log: String,
    pub remote: remote::Config,
    /// Whether records are read and judged too, which the log must grant; otherwise only the tree is followed.
    #[serde(default)]
    pub entries: bool,
    /// File with the digests of approved bundles, one a line; without it those count that the log says are in force.
    #[serde(default)]
    pub bundles: Option<PathBuf>,
    /// Newest records of each lane that are kept; the hashes of all are.
    #[serde(default = "records_max")]
    pub records_max: u64,
    /// Bytes of texts that are kept.
    #[serde(default = "texts_bytes_max")]
    pub texts_bytes_max: u64,
    /// Parts of the room of all mirrors that this one may take, with all its lanes, where each other has its own number of them.
    #[serde(default = "room_parts")]
    pub room_parts: NonZeroU32,
}

/// Why a witness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("`{}` is no witness key: {cause}; make one with `haetae witness keygen`", path.display())]
    Key { path: PathBuf, cause: String },
    #[error("`{}` does not say which logs to witness: {cause}", path.display())]
    Logs { path: PathBuf, cause: String },
    #[error("`mirror` of `{log}`: {cause}")]
    Mirror { log: String, cause: String },
    #[error("the state in `{}` cannot be used: {cause}", path.display())]
    State { path: PathBuf, cause: String },
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [&mut self.key, &mut self.logs, &mut self.state].into_iter();
        let listeners = [Some(&mut self.listen), self.console.as_mut()].into_iter().flatten();
        let mirrors = self.mirror.iter_mut().flat_map(MirrorConfig::paths_mut);
        own.chain(listeners.flat_map(listen::Config::paths_mut)).chain(mirrors)
    }

    /// Two mirrors of one log would write the same files.
    pub(super) fn is_mirrored_once(&self) -> Result<(), WitnessError> {
        let mut logs = BTreeSet::new();
        let Some(twice) = self.mirror.iter().find(|mirror| !logs.insert(&mirror.log)) else {
            return Ok(());
        };
        let cause = "there are two `[[mirror]]` of it: leave one".to_owned();
        Err(WitnessError::Mirror { log: twice.log.clone(), cause })
    }

    pub(super) fn signer(&self) -> Result<SigningKey, WitnessError> {
        let wrong = |cause: String| WitnessError::Key { path: self.key.clone(), cause };
        let text = read(&self.key)?;
        let key = SigningKey::from_skey(text.trim()).map_err(|cause| wrong(cause.to_string()))?;
        if key.verifier().kind() != KEY_KIND {
            return Err(wrong("it is a key for notes, not for cosignatures".to_owned()));
        }
        Ok(key)
    }

    /// Origins with their keys.
    pub(super) fn logs(&self) -> Result<BTreeMap<String, Vec<VerifierKey>>, WitnessError> {
        let wrong = |cause: String| WitnessError::Logs { path: self.logs.clone(), cause };
        let text = read(&self.logs)?;
        say_skipped(&text);
        let policy: Policy =
            text.parse().map_err(|cause: tlog::policy::PolicyError| wrong(cause.to_string()))?;
        let mut logs: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
        for log in policy.logs {
            if log.key.kind() != Kind::Ed25519 {
                return Err(wrong(format!("`{}` is not a key of a log", log.key)));
            }
            logs.entry(log.key.name().to_owned()).or_default().push(log.key);
        }
        if logs.is_empty() {
            return Err(wrong("it has no `log` line".to_owned()));
        }
        Ok(logs)
    }
}

impl MirrorConfig {
    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.remote.paths_mut().chain(&mut self.bundles)
    }

    /// The lanes among the logs that the witness knows, by number.
    pub(super) fn lanes<L: Clone>(
        &self,
        logs: &BTreeMap<String, L>,
    ) -> Result<Vec<(u16, L)>, WitnessError> {
        let number = |origin: &str| {
            let number = origin.strip_prefix(&self.log)?.strip_prefix('/')?;
            number.parse().ok().filter(|lane: &u16| lane.to_string() == number)
        };
        let lanes: Vec<(u16, L)> =
            logs.iter().filter_map(|(origin, log)| Some((number(origin)?, log.clone()))).collect();
        if lanes.is_empty() {
            let cause = format!("`logs` names no `{}/0` or other lane of it", self.log);
            return Err(WitnessError::Mirror { log: self.log.clone(), cause });
        }
        Ok(lanes)
    }

    pub(super) fn approved(&self) -> Result<Option<Vec<Digest>>, WitnessError> {
        let Some(path) = &self.bundles else { return Ok(None) };
        let text = read(path)?;
        Digest::read_list(&text).map(Some).map_err(|line| {
            let cause = format!("`{line}` in `{}` is no digest of a bundle", path.display());
            WitnessError::Mirror { log: self.log.clone(), cause }
        })
    }
}

const fn room_min_mb() -> u64 {
    ROOM_MIN_MB
}

const fn records_max() -> u64 {
    RECORDS_MAX
}

const fn texts_bytes_max() -> u64 {
    TEXTS_BYTES_MAX
}

const fn room_parts() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// Years of alarms, and more than all lanes write between two looks.
const ROOM_MIN_MB: u64 = 1_024;
/// 120 GB at 1.2 kB a record.
const RECORDS_MAX: u64 = 100_000_000;
/// 10 GiB.
const TEXTS_BYTES_MAX: u64 = 10 << 30;

/// A trust file may have keys of types that we do not check: nobody is to believe that a log is witnessed by them.
fn say_skipped(policy: &str) {
    for line in policy.lines() {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let (Some("log"), Some(vkey)) = (words.next(), words.next()) else { continue };
        if let Err(cause @ KeyError::Unsupported(_)) = vkey.parse::<VerifierKey>() {
            let log = vkey.split('+').next().unwrap_or_default();
            tracing::warn!(log, %cause, "a `log` line is passed over: by its key nothing is witnessed");
        }
    }
}

pub(super) fn read(path: &Path) -> Result<String, WitnessError> {
    std::fs::read_to_string(path)
        .map_err(|cause| WitnessError::Read { path: path.to_owned(), cause })
}
