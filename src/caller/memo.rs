//! Credentials that were verified before, under the digest of the whole token and of the certificate it came with.
//!
//! The digest covers `iss`, and an issuer is configured once, so the issuer is part of the key. An entry is good until
//! the token's `exp` and only while the key that signed it is in its issuer's fresh key set.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::keys::Key as SigningKey;
use super::{Caller, PeerCertificate};

pub(super) struct Memo(Cache<Key, Arc<Known>>);

/// SHA-256 of the token and of the certificate; zeros where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    token: [u8; 32],
    certificate: [u8; 32],
}

/// A caller and what it rests on.
pub(super) struct Known {
    pub caller: Arc<Caller>,
    /// Unix seconds; for a token its `exp`, without leeway.
    pub until: i64,
    pub key: Option<Arc<SigningKey>>,
}

impl Key {
    pub fn of(token: Option<&str>, certificate: Option<&PeerCertificate>) -> Self {
        Self {
            token: token.map_or([0; 32], |token| Sha256::digest(token.as_bytes()).into()),
            certificate: certificate.map_or([0; 32], |certificate| certificate.digest),
        }
    }
}

impl Memo {
    pub fn new(entries: usize) -> Self {
        Self(Cache::new(entries))
    }

    pub fn find(&self, key: &Key, now: i64) -> Option<Arc<Caller>> {
        let known = self.0.get(key)?;
        let good = now < known.until && known.key.as_ref().is_none_or(|key| key.is_usable(now));
        if good {
            return Some(Arc::clone(&known.caller));
        }
        self.0.remove(key);
        None
    }

    pub fn keep(&self, key: Key, known: Known) {
        self.0.insert(key, Arc::new(known));
    }
}
