//! One token issuer: its rules and its keys, which are swapped whole and only for a set that parses.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::Validation;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::config::{Algorithm, ConfigError, IssuerConfig};
use super::fetch::Source;
use super::keys::{Freshness, Key, KeySet};
use super::metrics::Metrics;
use super::{CallerError, claims::Mapping};
use crate::clock::Clock;

pub(super) struct Issuer {
    pub name: Arc<str>,
    pub mapping: Mapping,
    pub typ: Vec<String>,
    validations: Vec<(Algorithm, Validation)>,
    algorithms: Vec<Algorithm>,
    source: Source,
    keys: ArcSwapOption<KeySet>,
    freshness: Arc<Freshness>,
    /// Held by whoever reads the source: one at a time.
    reading: tokio::sync::Mutex<()>,
    /// For requests that wait for a read: others are told at once that the keys are being read.
    waiting: Semaphore,
    /// Unix nanoseconds before which an unknown key id starts no read. Written under `reading`.
    not_before: AtomicI64,
    trouble: Mutex<Option<String>>,
    refresh: Duration,
    cooldown_ns: i64,
    stale_max_s: i64,
    clock: Clock,
    metrics: Metrics,
}

impl Issuer {
    pub fn new(config: &IssuerConfig, clock: Clock, metrics: Metrics) -> Result<Self, ConfigError> {
        let bad = |problem| ConfigError::Issuer { issuer: config.issuer.clone(), problem };
        let source = Source::new(config).map_err(bad)?;
        let refresh = if source.is_file() { FILE_LOOK_S } else { config.refresh_s };
        Ok(Self {
            name: config.issuer.as_str().into(),
            mapping: Mapping::new(config).map_err(bad)?,
            typ: config.typ.clone(),
            validations: config
                .algorithms
                .iter()
                .map(|alg| (*alg, validation(config, *alg)))
                .collect(),
            algorithms: config.algorithms.clone(),
            source,
            keys: ArcSwapOption::empty(),
            freshness: Arc::new(Freshness::never()),
            reading: tokio::sync::Mutex::new(()),
            waiting: Semaphore::new(WAITING_MAX),
            not_before: AtomicI64::new(i64::MIN),
            trouble: Mutex::new(None),
            refresh: Duration::from_secs(refresh.into()),
            cooldown_ns: i64::from(config.cooldown_s) * 1_000_000_000,
            stale_max_s: config.stale_max_s.into(),
            clock,
            metrics,
        })
    }

    /// The rules for a token that says it is signed with `algorithm`, if this issuer may use that.
    pub fn validation(&self, algorithm: Algorithm) -> Option<&Validation> {
        self.validations.iter().find(|(ours, _)| *ours == algorithm).map(|(_, rules)| rules)
    }

    /// The key, after one look at the source if it is not known yet.
    pub async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Key>, CallerError> {
        if let Ok(key) = self.known_key(kid, algorithm) {
            return Ok(key);
        }
        {
            // whoever waits keeps a place of the gateway, and needs no credential for it
            let Ok(_place) = self.waiting.try_acquire() else {
                return Err(CallerError::KeysUnavailable);
            };
            // waits for a read under way; whoever comes after it finds its result, or the cool-down
            let _one = self.reading.lock().await;
            let known = self.known_key(kid, algorithm);
            let now = self.clock.unix_ns();
            if known.is_ok() || now < self.not_before.load(Ordering::Relaxed) {
                return known;
            }
            // set first: a caller who goes away in mid-read must not buy the next one a read
            self.cool_down(self.cooldown_ns);
            self.read().await;
            // again: a read may take as long as the cool-down, and the next one who waits would start another
            self.cool_down(self.cooldown_ns);
        }
        let key = self.known_key(kid, algorithm)?;
        // the read paid off: a rotation is under way, and the next key may come soon
        self.cool_down(PAUSE_NS.min(self.cooldown_ns));
        Ok(key)
    }

    fn cool_down(&self, for_ns: i64) {
        self.not_before.store(self.clock.unix_ns().saturating_add(for_ns), Ordering::Relaxed);
    }

    fn known_key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, CallerError> {
        let keys = self.keys.load();
        let Some(keys) = keys.as_ref().filter(|_| self.freshness.holds(self.clock.unix_s())) else {
            return Err(CallerError::KeysUnavailable);
        };
        keys.find(kid, algorithm).cloned().ok_or(CallerError::UnknownKey)
    }

    /// Reads the source once, whatever the cool-down says.
    pub async fn refresh(&self) {
        let _one = self.reading.lock().await;
        self.read().await;
    }

    async fn read(&self) {
        let asked_at = self.clock.unix_s();
        let before = self.keys.load_full();
        let parsed = self.source.read().await.and_then(|json| {
            KeySet::parse(&json, &self.algorithms, before.as_deref(), &self.freshness)
        });
        let trouble = match parsed {
            Ok(after) => {
                let after = Arc::new(after);
                self.keys.store(Some(Arc::clone(&after)));
                if let Some(before) = before {
                    before.retire(&after);
                }
                // a file is there or not; an address is believed for a while
                let silence = if self.source.is_file() { i64::MAX } else { self.stale_max_s };
                self.freshness.extend(asked_at.saturating_add(silence));
                self.metrics.fetched(&self.name, "taken");
                None
            }
            Err(cause) => {
                self.metrics.fetched(&self.name, "failed");
                tracing::warn!(issuer = %self.name, cause, "the issuer's keys were not read");
                Some(cause)
            }
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Refreshes until `stop`. For a file this is how a change is seen.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.refresh) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.refresh() => {}
            }
        }
    }

    /// A key file that cannot be read at the start is a mistake of the operator, not an outage.
    pub fn check_file(&self) -> Result<(), ConfigError> {
        match (self.source.is_file(), self.trouble()) {
            (true, Some(problem)) => {
                Err(ConfigError::Issuer { issuer: self.name.to_string(), problem })
            }
            _ => Ok(()),
        }
    }

    pub fn health(&self) -> (String, bool, String) {
        let usable = self.freshness.holds(self.clock.unix_s());
        let keys = self.keys.load();
        let (count, skipped) = keys.as_ref().map_or((0, 0), |keys| (keys.len(), keys.skipped));
        let words = match (self.trouble(), usable) {
            (None, _) => format!("{count} keys, {skipped} not usable"),
            (Some(cause), true) => format!("{count} keys from before: {cause}"),
            (Some(cause), false) => format!("no fresh keys: {cause}"),
        };
        (self.name.to_string(), usable, words)
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `set_issuer` and `set_audience` alone accept a token without the claim, hence the required ones. Time is checked
/// by `token`, with the clock that this room was given; `exp` is still required here.
fn validation(config: &IssuerConfig, algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm.verifier());
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.set_issuer(&[&config.issuer]);
    rules.set_audience(&config.audiences);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules
}

/// Seconds between looks at a key file.
const FILE_LOOK_S: u8 = 5;
/// After a read that brought the key: a second, so that a fast rotation is followed and a flood is not.
const PAUSE_NS: i64 = 1_000_000_000;
/// Requests of one issuer that wait for its keys: more than come with a new key while it is read, and few of the gateway's places.
const WAITING_MAX: usize = 64;
