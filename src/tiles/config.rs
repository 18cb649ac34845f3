//! The room's part of the configuration: where it listens, and who may read records.

use std::path::PathBuf;

use serde::Deserialize;

use crate::listen;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where checkpoints and tiles are served. Open to everybody who reaches it.
    pub listen: listen::Config,
    /// Who may fetch entry bundles, which hold the records of every organisation.
    #[serde(default)]
    pub readers: Vec<Reader>,
}

/// Callers of this organisation who have this role (as `identity` says).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    pub organisation: String,
    pub role: String,
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.listen.paths_mut()
    }
}
