//! A throw-away PKI: three authorities that do not vouch for each other's members, and a certificate for each part.
//!
//! - `root` vouches for what the demo itself runs: the gateway's server, the issuer, the gateway towards sites.
//! - `clients` vouches for the organisations' services.
//! - `sites` vouches for the GPU sites.
//!
//! *Invariant:* no key of an authority is ever written to disk: when the demo ends, nobody can issue from it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

pub struct Pki {
    dir: PathBuf,
    root: Authority,
    clients: Authority,
    sites: Authority,
    now: OffsetDateTime,
}

/// The paths of a certificate and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which authority vouches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Root,
    Clients,
    Sites,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Pki {
    /// Makes the three authorities and writes their certificates to `dir`.
    pub fn create(dir: &Path, now_unix_s: i64) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("`{}`", dir.display()))?;
        let now = OffsetDateTime::from_unix_timestamp(now_unix_s)?;
        let pki = Self {
            dir: dir.to_owned(),
            root: authority("Haetae demo root", now)?,
            clients: authority("Haetae demo clients", now)?,
            sites: authority("Haetae demo sites", now)?,
            now,
        };
        for by in [By::Root, By::Clients, By::Sites] {
            std::fs::write(pki.ca(by), pki.authority(by).pem())?;
        }
        Ok(pki)
    }

    /// The path of an authority's certificate.
    #[must_use]
    pub fn ca(&self, by: By) -> PathBuf {
        self.dir.join(match by {
            By::Root => "root.pem",
            By::Clients => "clients.pem",
            By::Sites => "sites.pem",
        })
    }

    /// A certificate for a server on this machine, with a SPIFFE id when it has one.
    pub fn server(&self, by: By, name: &str, spiffe: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::new(LOOPBACK.map(str::to_owned).to_vec())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(by, name, spiffe, params)
    }

    /// A client certificate whose only name is a SPIFFE id.
    pub fn client(&self, by: By, name: &str, spiffe: &str) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(by, name, Some(spiffe), params)
    }

    fn issue(
        &self,
        by: By,
        name: &str,
        spiffe: Option<&str>,
        mut params: CertificateParams,
    ) -> Result<Identity> {
        if let Some(id) = spiffe {
            params.subject_alt_names.push(SanType::URI(id.try_into()?));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = validity(self.now);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, self.authority(by))?;
        let identity = Identity {
            certificate: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        };
        std::fs::write(&identity.certificate, certificate.pem())?;
        write_private(&identity.key, &key.serialize_pem())?;
        Ok(identity)
    }

    const fn authority(&self, by: By) -> &Authority {
        match by {
            By::Root => &self.root,
            By::Clients => &self.clients,
            By::Sites => &self.sites,
        }
    }
}

/// Writes what only we may read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("`{}`", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}

fn authority(name: &str, now: OffsetDateTime) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(now);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// From an hour ago, for clocks that differ, to a month from now: longer than anybody leaves a demo running.
fn validity(now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
    (now - Duration::hours(1), now + Duration::days(30))
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
