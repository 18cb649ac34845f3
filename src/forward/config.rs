//! Limits of forwarding, and the gateway's own certificate.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Deserialize;

/// How sites are reached. All times in milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The gateway's certificate chain, PEM: what sites know it by. With `client_key`, or neither.
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// TCP and TLS together. Half the world away is 0.3 s for each of three round trips.
    pub connect_ms: u64,
    /// From the request to the head of an answer that is not streamed: the whole generation. The SDKs give up after 600 s.
    pub first_byte_ms: u64,
    /// The same for a stream: a place in the site's queue, and the prompt.
    pub first_byte_stream_ms: u64,
    /// Between two pieces of a body; a model may think in silence.
    pub idle_ms: u64,
    /// Bytes of an answer that is not streamed. 2,048 embeddings of 3,072 numbers of 20 bytes are 126 MB.
    pub response_max_bytes: u64,
    /// Connections kept for each site.
    pub pool_max: usize,
    /// Uvicorn, under most model servers, closes after 5 s of silence: we close first, so that no request meets a
    /// closing connection.
    pub pool_idle_ms: u64,
    /// A connection is not reused after this age, so that a rotated certificate is soon seen on all.
    pub pool_age_ms: u64,
    /// How often a site without a live connection is tried.
    pub probe_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client_certificate: None,
            client_key: None,
            connect_ms: 2_000,
            first_byte_ms: 600_000,
            first_byte_stream_ms: 120_000,
            idle_ms: 120_000,
            response_max_bytes: 256 << 20,
            pool_max: 256,
            pool_idle_ms: 4_000,
            pool_age_ms: 300_000,
            probe_ms: 2_000,
        }
    }
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.client_certificate.iter_mut().chain(&mut self.client_key)
    }
}

/// Why forwarding cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("give both `client_certificate` and `client_key` of `forward`, or neither")]
    Half,
    #[error("cannot read the client certificate or key `{path}`: {cause}")]
    Pem { path: PathBuf, cause: rustls_pki_types::pem::Error },
    #[error("the file `{path}` holds no certificate")]
    Empty { path: PathBuf },
    #[error("the client certificate and its key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

impl Config {
    pub(super) fn first_byte(&self, stream: bool) -> Duration {
        Duration::from_millis(if stream { self.first_byte_stream_ms } else { self.first_byte_ms })
    }

    pub(super) const fn response_max(&self, stream: bool) -> u64 {
        if stream { u64::MAX } else { self.response_max_bytes }
    }

    /// Reads the gateway's certificate and key; `None` when none is configured.
    pub(super) fn certificate(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<CertifiedKey>>, ConfigError> {
        let (chain, key) = match (&self.client_certificate, &self.client_key) {
            (Some(chain), Some(key)) => (chain, key),
            (None, None) => return Ok(None),
            _ => return Err(ConfigError::Half),
        };
        let unread = |path: &PathBuf| {
            let path = path.clone();
            move |cause| ConfigError::Pem { path, cause }
        };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
            .map_err(unread(chain))?
            .collect::<Result<_, _>>()
            .map_err(unread(chain))?;
        if certificates.is_empty() {
            return Err(ConfigError::Empty { path: chain.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(unread(key))?;
        Ok(Some(Arc::new(CertifiedKey::from_der(certificates, key, provider)?)))
    }
}
