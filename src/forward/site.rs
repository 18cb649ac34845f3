//! The sites: how each is reached, its idle connections, its load and its health.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper::Uri;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::ServerName;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{
    Config, ConfigError, Failure, Site, SiteHealth,
    balance::Chance,
    breaker::Breaker,
    identity::{self, Own, Pin},
    link::Pool,
    metrics::{Meter, Metrics},
};
use crate::audit::Target;

/// All sites by id, swapped whole.
pub struct Sites {
    pub config: Config,
    pub metrics: Metrics,
    pub chance: Chance,
    provider: Arc<CryptoProvider>,
    own: Arc<Own>,
    by_id: ArcSwap<BTreeMap<Arc<str>, Arc<SiteState>>>,
    /// Held by the one who swaps.
    swap: Mutex<()>,
}

/// One site as it is now.
pub struct SiteState {
    pub site: Site,
    /// What is wrong with the entry, if it cannot be used.
    pub endpoint: Result<Endpoint, String>,
    pub pool: Pool,
    pub breaker: Breaker,
    in_flight: AtomicU64,
    meter: Meter,
}

/// Where and how a site is reached.
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub name: ServerName<'static>,
    pub pin: Pin,
    pub tls: TlsConnector,
    authority: String,
}

impl Sites {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let sites = Self {
            config: config.clone(),
            metrics: Metrics::new(),
            chance: Chance::new(),
            provider,
            own: Arc::default(),
            by_id: ArcSwap::default(),
            swap: Mutex::new(()),
        };
        sites.reload()?;
        Ok(sites)
    }

    pub fn reload(&self) -> Result<(), ConfigError> {
        self.own.0.store(self.config.certificate(&self.provider)?);
        Ok(())
    }

    pub fn set(&self, sites: Vec<Site>) {
        let _one_at_a_time = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.by_id.load_full();
        let kept = |site: &Site| old.get(&site.id).filter(|state| state.site == *site).cloned();
        let new = sites.into_iter().map(|site| {
            let id = Arc::clone(&site.id);
            (id, kept(&site).unwrap_or_else(|| Arc::new(self.state(site))))
        });
        self.by_id.store(Arc::new(new.collect()));
    }

    pub fn all(&self) -> Arc<BTreeMap<Arc<str>, Arc<SiteState>>> {
        self.by_id.load_full()
    }

    pub fn find(&self, id: &str) -> Option<Arc<SiteState>> {
        self.by_id.load().get(id).cloned()
    }

    fn state(&self, site: Site) -> SiteState {
        let endpoint = Endpoint::new(&site, &self.own, &self.provider);
        if let Err(why) = &endpoint {
            tracing::warn!(site = %site.id, why, "a site's entry cannot be used");
        }
        SiteState {
            endpoint,
            pool: Pool::new(&self.config),
            breaker: Breaker::default(),
            in_flight: AtomicU64::new(0),
            meter: self.metrics.meter(&site.id),
            site,
        }
    }
}

impl SiteState {
    /// True when this is still the site that the decision was about.
    pub fn is(&self, target: &Target) -> bool {
        let authority = self
            .endpoint
            .as_ref()
            .is_ok_and(|endpoint| endpoint.authority == target.authority.as_ref());
        authority && self.site.identity == target.identity
    }

    pub fn is_usable(&self, now: Instant) -> bool {
        self.endpoint.is_ok() && self.breaker.lets_through(self.in_flight(), now)
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn health(&self) -> SiteHealth {
        let failure = self.breaker.last().map(|(failure, _)| failure.code().to_owned());
        SiteHealth {
            id: Arc::clone(&self.site.id),
            usable: self.is_usable(Instant::now()),
            in_flight: self.in_flight(),
            failures: self.breaker.failures(),
            why: self.endpoint.as_ref().err().cloned().or(failure),
        }
    }

    pub fn began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.meter.in_flight.inc();
        self.meter.attempts.inc();
    }

    pub fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.meter.in_flight.dec();
    }

    pub fn answered(&self, after: Duration) {
        self.breaker.answered();
        self.meter.answered(after);
    }

    pub fn failed(&self, failure: Failure) {
        self.breaker.failed(failure);
        self.meter.failed(failure);
    }
}

impl Endpoint {
    /// `host[:port]`, as in the registry.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    fn new(site: &Site, own: &Arc<Own>, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let url: Uri = site.base_url.parse().map_err(|_| not_a_base(&site.base_url))?;
        let plain = url.scheme_str() == Some("https") && url.path() == "/" && url.query().is_none();
        let authority =
            url.authority().filter(|authority| plain && !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| not_a_base(&site.base_url))?;
        // An IPv6 address stands in brackets in a URL only.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| not_a_base(&site.base_url))?;
        let pin = Pin::parse(&site.identity)?;
        let tls = identity::client_config(&site.ca_pem, pin.clone(), Arc::clone(own), provider)?;
        Ok(Self {
            port: authority.port_u16().unwrap_or(443),
            host,
            name,
            pin,
            tls: TlsConnector::from(Arc::new(tls)),
            authority: authority.as_str().to_owned(),
        })
    }
}

fn not_a_base(url: &str) -> String {
    format!("the base url `{url}` is not `https://host[:port]` without a path")
}
