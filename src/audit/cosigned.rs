//! Published checkpoints for those who have them cosigned, and the cosignatures that came back.

use sqlx::PgPool;
use tlog::{Hash, proof};

use super::AuditError;
use super::prove::{incomplete, nodes};

mod store;

/// A published checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub lane: u16,
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// The newest published checkpoint of each lane.
///
/// # Errors
/// The database's.
pub async fn published(pool: &PgPool) -> Result<Vec<Published>, AuditError> {
    Ok(store::published(pool).await?)
}

/// The proof that the lane's tree of `new` leaves extends that of `old` leaves (RFC 6962, section 2.1.2).
///
/// # Errors
/// When the sizes are not ones of the lane, or the database lacks what it must have.
pub async fn consistency(
    pool: &PgPool,
    lane: u16,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, AuditError> {
    let needs = proof::consistency_needs(old, new).map_err(incomplete)?;
    let mut connection = pool.acquire().await?;
    let nodes = nodes(&mut connection, lane, needs).await?;
    proof::consistency(&nodes, old, new).map_err(incomplete)
}

/// Keeps a witness's signature line of a published checkpoint; the first of each witness stays.
///
/// # Errors
/// The database's.
pub async fn keep_cosignature(
    pool: &PgPool,
    checkpoint: &Published,
    witness: &str,
    at_s: u64,
    line: &str,
) -> Result<(), AuditError> {
    Ok(store::keep(pool, checkpoint, witness, at_s, line).await?)
}
