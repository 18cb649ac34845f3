//! Bind, TLS, limits, stop: gives a connection with its peer certificate.
//!
//! *Invariant:* knows nothing of requests: no route, no caller, no policy.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// What the handshake established about the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    pub remote: SocketAddr,
    /// The client's leaf certificate, verified against the configured CAs; absent if none was given.
    pub certificate: Option<CertificateDer<'static>>,
    /// The server name the client asked for (SNI), lower case.
    pub server_name: Option<Arc<str>>,
    /// Negotiated protocol: `h2` or `http/1.1`.
    pub alpn: &'static str,
}
