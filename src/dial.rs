//! Whom this program believes when it calls somebody: CA files and the TLS settings of its HTTPS clients, and which hosts are
//! this machine, the only one that may be called without TLS.
//!
//! *Invariant:* one crypto provider (aws-lc), named and never the process's default; no CA file that vouches for nobody.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

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
