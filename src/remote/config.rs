//! Where a log is served, and what is shown to it.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the lanes are served: lane 0 under `<url>/0`. https, or http on this machine.
    pub url: String,
    /// PEM file of the CA that vouches for it; without one, those that the machine trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What is shown to be let in as a reader of records: a client certificate; PEM files.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Or a file with a bearer token, read anew for each request.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.ca
            .iter_mut()
            .chain(&mut self.certificate)
            .chain(&mut self.key)
            .chain(&mut self.token_file)
    }
}
