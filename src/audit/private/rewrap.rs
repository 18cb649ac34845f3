//! Another master key: every data key is wrapped anew, no value and no record is touched. Rows of versions that kept values in
//! clear are sealed on the way.

pub(super) mod store;

use serde_json::json;
use sqlx::PgPool;
use zeroize::Zeroizing;

use crate::audit::{Act, ActKind, AuditError, chance};
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

/// Wraps all data keys under the first master key. It may be stopped and run again at any time.
pub async fn rewrap(pool: &PgPool, privacy: &Privacy, by: &str) -> Result<Rewrapped, AuditError> {
    let told = Told { master: privacy.id(), by };
    let mut done = Rewrapped::default();
    loop {
        // If we stop in between, some are wrapped under the old key and some under the new one: both open.
        let mut transaction = pool.begin().await?;
        let former = store::former(&mut transaction, privacy.id(), BATCH).await?;
        let mut anew = Vec::new();
        for wrapped in &former {
            anew.extend(privacy.rewrap(wrapped, chance::bytes()?)?);
        }
        if former.is_empty() {
            break;
        }
        store::replace(&mut transaction, &anew).await?;
        let keys = anew.len() as u64;
        told.act("keys", keys)?.tell(&mut transaction).await?;
        transaction.commit().await?;
        done.keys += keys;
    }
    loop {
        let sealed = seal(pool, privacy, &told).await?;
        if sealed == 0 {
            break;
        }
        done.sealed += sealed;
    }
    done.left = store::left(pool, privacy.id()).await?;
    Ok(done)
}

/// Each transaction says itself what it did: one that was the last before a stop too.
struct Told<'a> {
    master: &'a str,
    by: &'a str,
}

impl Told<'_> {
    fn act(&self, what: &str, count: u64) -> Result<Act, AuditError> {
        let event = uuid::Builder::from_random_bytes(chance::bytes()?).into_uuid();
        let body = json!({ "act": "rewrapped", "master": self.master, what: count });
        Ok(Act::new(event, ActKind::KeyEvent, &[self.by], &body))
    }
}

/// Seals some rows in clear; gives how many.
async fn seal(pool: &PgPool, privacy: &Privacy, told: &Told<'_>) -> Result<u64, AuditError> {
    let mut transaction = pool.begin().await?;
    let clear = store::clear(&mut transaction, BATCH).await?;
    for row in &clear {
        let damaged = |_| AuditError::Privacy(PrivacyError::Damaged);
        let digest: [u8; 32] = row.digest.as_slice().try_into().map_err(damaged)?;
        let salt: [u8; 16] = row.salt.as_slice().try_into().map_err(damaged)?;
        let chance = Zeroizing::new(chance::bytes::<60>()?);
        let (key, wrapped) = privacy.new_key(&row.org, &row.value, &chance)?;
        // Their first record is not known; the digest is bound all the same.
        let place = Place { lane: 0, index: 0, field: &row.kind, digest: &digest };
        let sealed = key.seal(place, &salt, &row.value, chance::bytes()?)?;
        store::seal(&mut transaction, &wrapped, &digest, &sealed).await?;
    }
    let sealed = clear.len() as u64;
    if sealed > 0 {
        told.act("sealed", sealed)?.tell(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(sealed)
}

/// Some hundred kB at a time, locked for some milliseconds.
const BATCH: i64 = 1_000;
