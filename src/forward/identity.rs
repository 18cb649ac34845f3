//! Who a site must be: its CA from the registry, and a pinned SPIFFE id or public key. Its DNS name proves nothing here.
//!
//! *Invariant:* there is no way to connect without a pin.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

/// What a site's certificate must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The one URI among its alternative names (X509-SVID, 2).
    Spiffe(Arc<str>),
    /// SHA-256 of its `SubjectPublicKeyInfo` (RFC 7469, 2.4), with the pin as written; one of them.
    Spki(Vec<([u8; 32], Arc<str>)>),
}

impl Pin {
    /// Reads `spiffe://domain/path` or `spki:sha256/<base64>[,spki:sha256/<base64>...]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.strip_prefix("spiffe://").is_some_and(|id| {
            id.split_once('/').is_some_and(|(domain, path)| !domain.is_empty() && !path.is_empty())
        }) {
            return Ok(Self::Spiffe(text.into()));
        }
        text.split(',').map(spki).collect::<Option<Vec<_>>>().map(Self::Spki).ok_or_else(|| {
            format!("the identity `{text}` is neither `spiffe://domain/path` nor `spki:sha256/` and 32 bytes in base64")
        })
    }

    /// The identity that the certificate shows, if it is the pinned one.
    pub fn seen(&self, certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        match self {
            Self::Spiffe(id) => (only_uri(&certificate)? == id.as_ref()).then(|| Arc::clone(id)),
            Self::Spki(pins) => {
                let shown: [u8; 32] = Sha256::digest(certificate.public_key().raw).into();
                pins.iter().find(|(pin, _)| *pin == shown).map(|(_, text)| Arc::clone(text))
            }
        }
    }
}

/// The gateway's own certificate, swapped whole when it is read again.
#[derive(Debug, Default)]
pub struct Own(pub ArcSwapOption<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }

    fn has_certs(&self) -> bool {
        self.0.load().is_some()
    }
}

/// The TLS settings for one site. Sessions are not resumed: each connection proves the identity anew.
pub fn client_config(
    ca_pem: &str,
    pin: Pin,
    own: Arc<Own>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|cause| format!("the ca is not pem: {cause}"))?;
        roots.add(certificate).map_err(|cause| format!("the ca cannot be used: {cause}"))?;
    }
    if roots.is_empty() {
        return Err("the ca holds no certificate".to_owned());
    }
    let verifier = Pinned { roots, pin, provider: Arc::clone(provider) };
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| format!("no tls version can be used: {cause}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(own);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// True for a handshake that failed because of who the site is, not because of the network.
pub fn is_mismatch(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(cause, Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented))
}

/// Chain to the site's own CA, dates and server purpose as webpki checks them; then the pin.
#[derive(Debug)]
struct Pinned {
    roots: RootCertStore,
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        if self.pin.seen(end_entity).is_none() {
            let other = NotPinned { shown: shown(end_entity) };
            return Err(CertificateError::Other(OtherError(Arc::new(other))).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the certificate does not show the pinned identity but {shown}")]
struct NotPinned {
    shown: String,
}

/// Both things that could have been pinned, for the log. The id is a stranger's words: quoted, and cut.
fn shown(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return "nothing that can be read".to_owned();
    };
    let key = STANDARD.encode(Sha256::digest(certificate.public_key().raw));
    let id = only_uri(&certificate).map_or_else(
        || "no single URI".to_owned(),
        |id| format!("{:?}", id.chars().take(SHOWN_MAX).collect::<String>()),
    );
    format!("{id} and the key spki:sha256/{key}")
}

/// Characters of an id: a path of the registry's own is shorter.
const SHOWN_MAX: usize = 200;

fn spki(text: &str) -> Option<([u8; 32], Arc<str>)> {
    let digest = STANDARD.decode(text.strip_prefix("spki:sha256/")?).ok()?;
    Some((digest.try_into().ok()?, text.into()))
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let only = uris.next()?;
    uris.next().is_none().then_some(only)
}
