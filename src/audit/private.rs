//! Salted digests of people and certificates. A salt serves one value of one organisation for one calendar month, so
//! that what is kept beside the log grows with people, not with requests.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{AuditError, chance};

/// A value behind a digest: a row of `audit_private`.
#[derive(Debug, Clone)]
pub(super) struct Private {
    pub digest: [u8; 32],
    pub kind: &'static str,
    pub org: Arc<str>,
    pub salt: [u8; 16],
    pub value: Arc<str>,
}

/// The digests of this month. Owned by one lane; forgotten whenever a commit did not go through.
#[derive(Debug, Default)]
pub(super) struct Salts {
    month: (i32, u8),
    digests: HashMap<(Arc<str>, Arc<str>), [u8; 32]>,
}

impl Salts {
    /// The digest of a value; a new one is added to `fresh` and must be committed with the record.
    pub fn digest(
        &mut self,
        kind: &'static str,
        org: &Arc<str>,
        value: &Arc<str>,
        fresh: &mut Vec<Private>,
    ) -> Result<[u8; 32], AuditError> {
        let key = (Arc::clone(org), Arc::clone(value));
        if let Some(digest) = self.digests.get(&key) {
            return Ok(*digest);
        }
        if self.digests.len() >= DIGESTS_MAX {
            self.digests.clear();
        }
        let salt = chance::bytes::<16>()?;
        let digest =
            Sha256::new().chain_update(salt).chain_update(value.as_bytes()).finalize().into();
        fresh.push(Private { digest, kind, org: Arc::clone(org), salt, value: Arc::clone(value) });
        self.digests.insert(key, digest);
        Ok(digest)
    }

    /// A new month takes new salts.
    pub fn turn(&mut self, at_ns: i64) {
        let at = OffsetDateTime::from_unix_timestamp_nanos(at_ns.into());
        let month = at.map_or((0, 0), |at| (at.year(), u8::from(at.month())));
        if month != self.month {
            *self = Self { month, digests: HashMap::new() };
        }
    }

    pub fn clear(&mut self) {
        self.digests.clear();
    }
}

/// About 200 bytes each: 13 MB a lane.
const DIGESTS_MAX: usize = 65_536;
