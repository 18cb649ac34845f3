//! A verified client certificate becomes a caller, by the SPIFFE id or the DNS name in it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::claims::is_id;
use super::config::{CertificateConfig, ConfigError, matches_pattern};
use super::memo::Known;
use super::{Caller, CallerError, Connection, Credential, CredentialKind, PeerCertificate};

impl Connection {
    /// Parses the certificate once for all requests of the connection.
    #[must_use]
    pub fn new(remote: SocketAddr, leaf: Option<&CertificateDer<'_>>) -> Self {
        Self { remote, certificate: leaf.map(|leaf| Arc::new(PeerCertificate::new(leaf))) }
    }
}

impl PeerCertificate {
    /// A certificate that cannot be read names nobody and is never in force: it must not pass for none.
    fn new(leaf: &CertificateDer<'_>) -> Self {
        let digest: [u8; 32] = Sha256::digest(leaf.as_ref()).into();
        let mut this = Self {
            spiffe_ids: Vec::new(),
            dns_names: Vec::new(),
            sha256: hex::encode(digest),
            digest,
            not_before: i64::MAX,
            not_after: i64::MIN,
        };
        if let Ok((_, parsed)) = X509Certificate::from_der(leaf.as_ref()) {
            this.not_before = parsed.validity().not_before.timestamp();
            this.not_after = parsed.validity().not_after.timestamp();
            this.read_names(&parsed);
        }
        this
    }

    fn read_names(&mut self, parsed: &X509Certificate<'_>) {
        // an extension that is there twice is no extension: the names stay empty, and nobody is known
        let Ok(Some(names)) = parsed.subject_alternative_name() else { return };
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(uri) => self.spiffe_ids.push((*uri).to_owned()),
                GeneralName::DNSName(name) => self.dns_names.push(name.to_ascii_lowercase()),
                _ => {}
            }
        }
    }

    pub(super) const fn check(&self, now: i64) -> Result<(), CallerError> {
        if self.not_before <= now && now <= self.not_after {
            Ok(())
        } else {
            Err(CallerError::Certificate)
        }
    }

    /// The SPIFFE id, else the first DNS name.
    pub(super) fn id(&self) -> Option<&str> {
        self.spiffe_ids.first().or_else(|| self.dns_names.first()).map(String::as_str)
    }
}

/// Whom certificates stand for.
pub(super) struct Rules(Vec<Rule>);

pub(super) struct Rule {
    of: Of,
    pub organisation: Arc<str>,
    roles: Arc<[Arc<str>]>,
    config: CertificateConfig,
}

#[derive(PartialEq, Eq)]
enum Of {
    Spiffe { trust_domain: String, segments: Vec<String> },
    Dns(String),
}

impl Rules {
    pub fn new(configs: &[CertificateConfig]) -> Result<Self, ConfigError> {
        let mut rules: Vec<Rule> = Vec::with_capacity(configs.len());
        for config in configs {
            let rule = Rule::new(config).map_err(|problem| fault(config, problem))?;
            if rules.iter().any(|other| other.of == rule.of) {
                return Err(fault(config, "another rule is for the same certificates"));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// The rule for a certificate; the longest path prefix holds.
    pub fn find(&self, certificate: &PeerCertificate) -> Result<&Rule, CallerError> {
        let found = match certificate.spiffe_ids.as_slice() {
            [] => {
                let first = certificate.dns_names.first().ok_or(CallerError::Certificate)?;
                self.0.iter().find(|rule| matches!(&rule.of, Of::Dns(name) if name == first))
            }
            // exactly one URI (X.509-SVID, section 2)
            [id] => {
                let (domain, path) = spiffe(id).ok_or(CallerError::Certificate)?;
                self.0
                    .iter()
                    .filter_map(|rule| Some((rule.of.prefix(domain, &path)?, rule)))
                    .max_by_key(|(length, _)| *length)
                    .map(|(_, rule)| rule)
            }
            _ => None,
        };
        found.ok_or(CallerError::Certificate)
    }

    /// The caller whom a certificate alone stands for.
    pub fn caller(&self, certificate: &PeerCertificate) -> Result<Known, CallerError> {
        let rule = self.find(certificate)?;
        let id: Arc<str> = certificate.id().ok_or(CallerError::Certificate)?.into();
        let caller = Caller {
            org: Arc::clone(&rule.organisation),
            actor: Arc::clone(&id),
            actor_kind: rule.config.actor_kind,
            roles: Arc::clone(&rule.roles),
            credential: Credential {
                kind: CredentialKind::Certificate,
                issuer: None,
                token_digest: None,
                certificate_id: Some(id),
                certificate_digest: Some(certificate.sha256.as_str().into()),
            },
            place: rule.config.place.as_deref().map(Into::into),
            expires_at: certificate.not_after,
        };
        Ok(Known { caller: Arc::new(caller), until: certificate.not_after, key: None })
    }
}

impl Rule {
    fn new(config: &CertificateConfig) -> Result<Self, &'static str> {
        let of = match (&config.trust_domain, &config.dns) {
            (Some(domain), None) => {
                let path = config.path_prefix.as_deref().unwrap_or_default();
                let (_, segments) = spiffe(&format!("spiffe://{domain}{path}"))
                    .map(|(domain, path)| {
                        (domain.to_owned(), path.into_iter().map(str::to_owned).collect())
                    })
                    .ok_or("`trust_domain` or `path_prefix` is not as SPIFFE writes it")?;
                Of::Spiffe { trust_domain: domain.clone(), segments }
            }
            (None, Some(name)) if config.path_prefix.is_none() => {
                Of::Dns(name.to_ascii_lowercase())
            }
            _ => return Err("give either `trust_domain`, perhaps with `path_prefix`, or `dns`"),
        };
        let ids = std::iter::once(&config.organisation).chain(&config.roles).chain(&config.place);
        if !ids.into_iter().all(|id| is_id(id)) {
            return Err("`organisation`, `roles` and `place` are ids: A-Z a-z 0-9 . _ : / @ = + -");
        }
        Ok(Self {
            of,
            organisation: config.organisation.as_str().into(),
            roles: config.roles.iter().map(|role| role.as_str().into()).collect(),
            config: config.clone(),
        })
    }

    /// Whether a token of this subject may come over a connection with that certificate.
    pub fn may_carry(&self, subject: &str, certificate: &PeerCertificate) -> bool {
        certificate.id() == Some(subject)
            || self.config.token_subjects.iter().any(|pattern| matches_pattern(pattern, subject))
    }
}

impl Of {
    /// How many segments of the path this rule covers, if it is for the id at all.
    fn prefix(&self, domain: &str, path: &[&str]) -> Option<usize> {
        match self {
            Self::Spiffe { trust_domain, segments }
                if trust_domain == domain
                    && segments.len() <= path.len()
                    && segments.iter().zip(path).all(|(ours, theirs)| ours == theirs) =>
            {
                Some(segments.len())
            }
            _ => None,
        }
    }
}

fn fault(config: &CertificateConfig, problem: &'static str) -> ConfigError {
    let rule = config.trust_domain.as_ref().or(config.dns.as_ref()).cloned().unwrap_or_default();
    ConfigError::Certificate { rule, problem }
}

/// Trust domain and path segments of a SPIFFE id (SPIFFE-ID, sections 2.1 and 2.2).
fn spiffe(id: &str) -> Option<(&str, Vec<&str>)> {
    let rest = id.strip_prefix("spiffe://").filter(|_| id.len() <= SPIFFE_BYTES_MAX)?;
    let (domain, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let in_domain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    };
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if domain.is_empty() || domain.len() > DOMAIN_BYTES_MAX || !domain.bytes().all(in_domain) {
        return None;
    }
    let segments: Vec<&str> = match path.strip_prefix('/') {
        None => Vec::new(),
        Some(path) => path.split('/').collect(),
    };
    let plain = |segment: &&str| {
        !segment.is_empty() && *segment != "." && *segment != ".." && segment.bytes().all(in_path)
    };
    segments.iter().all(plain).then_some((domain, segments))
}

const SPIFFE_BYTES_MAX: usize = 2_048;
const DOMAIN_BYTES_MAX: usize = 255;
