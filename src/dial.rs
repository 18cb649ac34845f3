//! Whom this program believes when it calls somebody: CA files and the TLS settings of its HTTPS clients, which hosts are
//! this machine, the only one that may be called without TLS, and a plain client for one address ([`Http`]).
//!
//! *Invariant:* one crypto provider (aws-lc), named and never the process's default; no CA file that vouches for nobody.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

mod http;

pub use http::{Http, HttpError, Limits};

#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Whether a host, as it stands in an address, is this machine.
#[must_use]
pub fn is_here(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The CAs of a PEM file.
///
/// # Errors
/// In words, with the file: when it cannot be read, is no PEM of certificates, or holds none.
pub fn roots(path: &Path) -> Result<RootCertStore, String> {
    let wrong = |cause: &dyn std::fmt::Display| format!("`{}`: {cause}", path.display());
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(path).map_err(|cause| wrong(&cause))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|cause| wrong(&cause))?).map_err(|cause| wrong(&cause))?;
    }
    if roots.is_empty() { Err(wrong(&"it holds no certificate")) } else { Ok(roots) }
}

/// TLS settings that believe these CAs; whether a certificate of our own is shown is the caller's to say.
///
/// # Errors
/// When the provider has no protocol version in common with us.
pub fn tls(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

/// A certificate of our own with its key; PEM files.
#[derive(Debug, Clone, Copy)]
pub struct Own<'p> {
    pub certificate: &'p Path,
    pub key: &'p Path,
}

/// The settings with what we show of ourselves.
///
/// # Errors
/// In words: when the files cannot be read, or do not fit each other.
pub fn showing(
    tls: ConfigBuilder<ClientConfig, WantsClientCert>,
    own: Option<Own<'_>>,
) -> Result<ClientConfig, String> {
    let Some(Own { certificate, key }) = own else { return Ok(tls.with_no_client_auth()) };
    let wrong =
        |path: &Path, cause: &dyn std::fmt::Display| format!("`{}`: {cause}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|cause| wrong(certificate, &cause))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|cause| wrong(key, &cause))?;
    tls.with_client_auth_cert(chain, secret).map_err(|cause| wrong(certificate, &cause))
}
