//! Another master key: every data key is wrapped anew, no value and no record is touched; how it was wrapped before is kept beside
//! it (migration 0051). Rows of versions that kept values in clear are sealed on the way.

pub(super) mod store;

use sqlx::PgPool;
use zeroize::Zeroizing;

use crate::audit::{AuditError, chance, store::small};
use crate::privacy::{Place, Privacy, PrivacyError};

/// What was done, and what is left to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    pub keys: u64,
    /// Values that lay in clear.
    pub sealed: u64,
    /// Keys that another process wrapped under another master key meanwhile, by its name.
    pub left: Vec<(String, i64)>,
}

/// Wraps all data keys under the first master key. It may be stopped and run again at any time. Each thousand is one statement,
/// which says itself what it did: one that was the last before a stop too.
pub async fn rewrap(pool: &PgPool, privacy: &Privacy, by: &str) -> Result<Rewrapped, AuditError> {
    let mut connection = pool.acquire().await?;
    let mut done = Rewrapped::default();
    loop {
        // If we stop in between, some are wrapped under the old key and some under the new one: both open.
        let former = store::former(&mut connection, privacy.id(), BATCH).await?;
        if former.is_empty() {
            break;
        }
        let mut anew = Vec::new();
        for wrapped in &former {
            let id = wrapped.id;
            let again = privacy.rewrap(wrapped, chance::bytes()?);
            anew.extend(again.map_err(|cause| AuditError::DataKey { id, cause })?);
        }
        done.keys += small(store::replace(&mut connection, privacy.id(), &anew, by).await?);
    }
    loop {
        let clear = store::clear(&mut connection, BATCH).await?;
        if clear.is_empty() {
            break;
        }
        let sealed = clear.iter().map(|row| seal(privacy, row)).collect::<Result<Vec<_>, _>>()?;
        done.sealed += small(store::seal(&mut connection, privacy.id(), &sealed, by).await?);
    }
    done.left = store::left(pool, privacy.id()).await?;
    Ok(done)
}

/// A value in clear, sealed under a new key of its person.
fn seal(privacy: &Privacy, row: &store::Clear) -> Result<store::Sealed, AuditError> {
    let damaged = |_| AuditError::Privacy(PrivacyError::Damaged);
    let digest: [u8; 32] = row.digest.as_slice().try_into().map_err(damaged)?;
    let salt: [u8; 16] = row.salt.as_slice().try_into().map_err(damaged)?;
    let chance = Zeroizing::new(chance::bytes::<60>()?);
    let (key, wrapped) = privacy.new_key(&row.org, &row.value, &chance)?;
    // Their first record is not known; the digest is bound all the same.
    let place = Place { lane: 0, index: 0, field: &row.kind, digest: &digest };
    let bytes = key.seal(place, &salt, &row.value, chance::bytes()?)?;
    Ok(store::Sealed { key: wrapped, digest, bytes })
}

/// Some hundred kB at a time, locked for some milliseconds.
const BATCH: i64 = 1_000;
