//! Salted digests of people and certificates. A salt serves one value of one organisation for one calendar month, so
//! that what is kept beside the log grows with people, not with requests. What is kept is sealed (`privacy`), under a key of
//! the person that this process made and never reads back; without a master key nothing is kept.

pub(super) mod disclose;
pub(super) mod erase;
pub(super) mod former;
pub(super) mod rewrap;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{AuditError, chance};
use crate::privacy::{DataKey, Place, Privacy, Wrapped};

/// A value behind a digest: a row of `audit_private`, and of `audit_key` when its key is new.
#[derive(Debug, Clone)]
pub(super) struct Private {
    pub digest: [u8; 32],
    pub field: &'static str,
    pub org: Arc<str>,
    /// The first record that has the digest.
    pub index: u64,
    pub key: Uuid,
    pub made: Option<Wrapped>,
    pub sealed: Vec<u8>,
}

/// Whose value, and in which field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person<'a> {
    pub field: &'static str,
    pub org: &'a Arc<str>,
    pub value: &'a Arc<str>,
}

/// The digests of this month, and the keys of who is in them. Owned by one lane; forgotten whenever a commit did not go
/// through, and when somebody was erased.
#[derive(Debug, Default)]
pub(super) struct Salts {
    privacy: Option<Arc<Privacy>>,
    month: (i32, u8),
    digests: HashMap<(Arc<str>, Arc<str>), [u8; 32]>,
    keys: HashMap<(Arc<str>, Arc<str>), DataKey>,
}

impl Salts {
    pub fn new(privacy: Option<Arc<Privacy>>) -> Self {
        Self { privacy, ..Self::default() }
    }

    /// The digest of a value; what is kept of a new one is added to `fresh` and must be committed with the record at `place`
    /// (lane and index).
    pub fn digest(
        &mut self,
        person: Person<'_>,
        place: (u16, u64),
        fresh: &mut Vec<Private>,
    ) -> Result<[u8; 32], AuditError> {
        let of = (Arc::clone(person.org), Arc::clone(person.value));
        if let Some(digest) = self.digests.get(&of) {
            return Ok(*digest);
        }
        if self.digests.len() >= DIGESTS_MAX {
            self.digests.clear();
        }
        let salt = Zeroizing::new(chance::bytes::<16>()?);
        let value = person.value.as_bytes();
        let digest = Sha256::new().chain_update(&salt[..]).chain_update(value).finalize().into();
        fresh.extend(self.seal(person, place, &digest, &salt)?);
        self.digests.insert(of, digest);
        Ok(digest)
    }

    /// `None` without a master key.
    fn seal(
        &mut self,
        person: Person<'_>,
        (lane, index): (u16, u64),
        digest: &[u8; 32],
        salt: &[u8; 16],
    ) -> Result<Option<Private>, AuditError> {
        let Some(privacy) = &self.privacy else { return Ok(None) };
        let Person { field, org, value } = person;
        if self.keys.len() >= DIGESTS_MAX {
            self.keys.clear();
        }
        let (of, mut made) = ((Arc::clone(org), Arc::clone(value)), None);
        if !self.keys.contains_key(&of) {
            let chance = Zeroizing::new(chance::bytes::<60>()?);
            let (key, wrapped) = privacy.new_key(org, value, &chance)?;
            made = Some(wrapped);
            self.keys.insert(of.clone(), key);
        }
        let Some(key) = self.keys.get(&of) else { return Ok(None) };
        let place = Place { lane, index, field, digest };
        let sealed = key.seal(place, salt, value, chance::bytes()?)?;
        let (digest, org, key) = (*digest, Arc::clone(org), key.id());
        Ok(Some(Private { digest, field, org, index, key, made, sealed }))
    }

    /// A new month takes new salts.
    pub fn turn(&mut self, at_ns: i64) {
        let at = OffsetDateTime::from_unix_timestamp_nanos(at_ns.into());
        let month = at.map_or((0, 0), |at| (at.year(), u8::from(at.month())));
        if month != self.month {
            self.month = month;
            self.digests.clear();
        }
    }

    pub fn clear(&mut self) {
        self.digests.clear();
        self.keys.clear();
    }
}

/// About 200 bytes each, and 250 for a key: 30 MB a lane.
const DIGESTS_MAX: usize = 65_536;
