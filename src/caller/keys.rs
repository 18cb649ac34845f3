//! A JSON Web Key Set (RFC 7517) becomes the keys that may verify: public, for signatures, of a known kind, strong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::config::Algorithm;

/// Keys of one issuer at one time.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
    /// Keys that were in the file and are not used, and why; for health.
    pub skipped: usize,
}

/// One key. Shared with the cache, which asks it whether it is still in force.
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Jwk,
    pub decoding: DecodingKey,
    removed: AtomicBool,
    freshness: Arc<Freshness>,
}

/// Until when an issuer's keys may be used without news from it. Unix seconds.
pub(super) struct Freshness(AtomicI64);

impl Freshness {
    pub const fn never() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    pub fn extend(&self, until: i64) {
        self.0.store(until, Ordering::Release);
    }

    pub fn holds(&self, now: i64) -> bool {
        now <= self.0.load(Ordering::Acquire)
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    /// A private key has no place in a published set: it is skipped, and a person should be told.
    d: Option<serde_json::Value>,
}

impl KeySet {
    /// Keeps the keys of `before` that are still there, and marks the others as removed.
    pub fn parse(
        json: &[u8],
        allowed: &[Algorithm],
        before: Option<&Self>,
        freshness: &Arc<Freshness>,
    ) -> Result<Self, String> {
        let jwks: Jwks = serde_json::from_slice(json)
            .map_err(|_| "the answer is not a JSON Web Key Set".to_owned())?;
        if jwks.keys.len() > KEYS_MAX {
            return Err(format!("the key set has more than {KEYS_MAX} keys"));
        }
        let found = jwks.keys.len();
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for jwk in jwks.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()) {
            let Some(key) = Key::new(jwk, allowed, freshness) else { continue };
            let twin = keys.iter().find(|other| {
                other.kid == key.kid
                    && other.algorithms.iter().any(|alg| key.algorithms.contains(alg))
            });
            if twin.is_some_and(|twin| twin.kid.is_some()) {
                return Err("two keys of the set share an id".to_owned());
            }
            let same = before
                .and_then(|before| before.keys.iter().find(|old| old.material == key.material));
            keys.push(same.map_or_else(|| Arc::new(key), Arc::clone));
        }
        if keys.is_empty() {
            return Err("the key set has no key that could verify a token".to_owned());
        }
        Ok(Self { skipped: found - keys.len(), keys })
    }

    /// Marks what is here and not in `after`: cached tokens of these keys are good no longer.
    pub fn retire(&self, after: &Self) {
        for key in &self.keys {
            if !after.keys.iter().any(|new| Arc::ptr_eq(new, key)) {
                key.removed.store(true, Ordering::Release);
            }
        }
    }

    /// The key with this id for this algorithm. Without an id only if there is one candidate: nothing is tried out.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        let mut fitting = self.keys.iter().filter(|key| {
            key.algorithms.contains(&algorithm) && (kid.is_none() || key.kid.as_deref() == kid)
        });
        let first = fitting.next()?;
        (kid.is_some() || fitting.next().is_none()).then_some(first)
    }

    pub const fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Key {
    fn new(jwk: Jwk, allowed: &[Algorithm], freshness: &Arc<Freshness>) -> Option<Self> {
        let signs = jwk.r#use.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || jwk.d.is_some() {
            return None;
        }
        let (fits, decoding) = decoding(&jwk)?;
        let algorithms: Vec<Algorithm> = fits
            .iter()
            .filter(|alg| jwk.alg.as_deref().is_none_or(|said| said == alg.name()))
            .filter(|alg| allowed.contains(alg))
            .copied()
            .collect();
        (!algorithms.is_empty()).then(|| Self {
            kid: jwk.kid.clone(),
            algorithms,
            material: jwk,
            decoding,
            removed: AtomicBool::new(false),
            freshness: Arc::clone(freshness),
        })
    }

    /// Neither removed by its issuer nor past the time for which the issuer may be silent.
    pub fn is_usable(&self, now: i64) -> bool {
        !self.removed.load(Ordering::Acquire) && self.freshness.holds(now)
    }
}

/// Symmetric keys (`oct`) have no place here: with one, who can verify can also sign.
fn decoding(jwk: &Jwk) -> Option<(&'static [Algorithm], DecodingKey)> {
    use Algorithm::{ES256, ES384, EdDsa, PS256, RS256};
    let part = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => {
            let x = part(&jwk.x).filter(|x| x.len() == ED25519_BYTES)?;
            Some((&[EdDsa], DecodingKey::from_ed_der(&x)))
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (bytes, fits): (_, &[_]) =
                if curve == "P-256" { (P256_BYTES, &[ES256]) } else { (P384_BYTES, &[ES384]) };
            let x = part(&jwk.x).filter(|x| x.len() == bytes)?;
            let y = part(&jwk.y).filter(|y| y.len() == bytes)?;
            // uncompressed point of SEC 1, section 2.3.3
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            Some((fits, DecodingKey::from_ec_der(&point)))
        }
        ("RSA", None) => {
            let n = part(&jwk.n).filter(|n| n.len() >= RSA_BYTES_MIN)?;
            let e = part(&jwk.e)?;
            Some((&[RS256, PS256], DecodingKey::from_rsa_raw_components(&n, &e)))
        }
        _ => None,
    }
}

impl Algorithm {
    /// As in `alg` (RFC 7518, section 3.1; RFC 8037).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::ES256, Self::ES384, Self::RS256, Self::PS256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    pub(super) const fn verifier(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

/// Published sets have 2 to 10.
const KEYS_MAX: usize = 64;
const ED25519_BYTES: usize = 32;
const P256_BYTES: usize = 32;
const P384_BYTES: usize = 48;
/// 2,048 bits (NIST SP 800-131A).
const RSA_BYTES_MIN: usize = 256;
