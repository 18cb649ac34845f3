//! Which witnesses are asked.

use std::path::PathBuf;

use serde::Deserialize;
use tlog::VerifierKey;
use tlog::key::Kind;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Each is asked for a cosignature of every published checkpoint.
    pub witnesses: Vec<WitnessConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Its public key, a C2SP vkey of type 4.
    pub vkey: String,
    /// Its submission prefix: `/add-checkpoint` is asked under it.
    pub url: String,
    /// PEM file of the CA that vouches for it; without one, those that the machine trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// Why a witness cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("`{vkey}` is no key of a witness: {cause}")]
    Key { vkey: String, cause: String },
    #[error(
        "two witnesses are called `{0}`: what each says is kept under its name, so list one of them"
    )]
    Twice(String),
    #[error("`{0}` is no address of a witness: write https://..., or http:// on this machine")]
    Url(String),
    #[error("the CA of `{url}` cannot be used: {cause}")]
    Ca { url: String, cause: String },
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.witnesses.iter_mut().filter_map(|witness| witness.ca.as_mut())
    }
}

impl WitnessConfig {
    pub(super) fn key(&self) -> Result<VerifierKey, ConfigError> {
        let wrong =
            |cause: &str| ConfigError::Key { vkey: self.vkey.clone(), cause: cause.to_owned() };
        let key: VerifierKey =
            self.vkey.parse().map_err(|cause: tlog::key::KeyError| wrong(&cause.to_string()))?;
        if key.kind() == Kind::Cosignature { Ok(key) } else { Err(wrong("it is of another type")) }
    }
}
