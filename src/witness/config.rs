//! What a witness's operator may set, and why it cannot start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tlog::key::Kind;
use tlog::{Policy, Signer as _, SigningKey, VerifierKey};

use super::KEY_KIND;
use crate::{listen, telemetry};

/// The file of `haetae witness serve`; `witness.toml` in the project's root explains every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with the private key, as `haetae witness keygen` writes it.
    pub key: PathBuf,
    /// Which logs are witnessed: the `log` lines of a C2SP tlog-policy file.
    pub logs: PathBuf,
    /// Directory for what was cosigned last of each log. Whoever loses it must take a new key.
    pub state: PathBuf,
    pub listen: listen::Config,
    /// Health and metrics; nothing when absent.
    #[serde(default)]
    pub console: Option<listen::Config>,
    #[serde(default)]
    pub telemetry: telemetry::Config,
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
    #[error("the state in `{}` cannot be used: {cause}", path.display())]
    State { path: PathBuf, cause: String },
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [&mut self.key, &mut self.logs, &mut self.state].into_iter();
        let listeners = [Some(&mut self.listen), self.console.as_mut()].into_iter().flatten();
        own.chain(listeners.flat_map(listen::Config::paths_mut))
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
        let policy: Policy = read(&self.logs)?
            .parse()
            .map_err(|cause: tlog::policy::PolicyError| wrong(cause.to_string()))?;
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

pub(super) fn read(path: &Path) -> Result<String, WitnessError> {
    std::fs::read_to_string(path)
        .map_err(|cause| WitnessError::Read { path: path.to_owned(), cause })
}
