//! What was recorded, read back in bulk: leaves in pieces, and the facts that they name. From an export file or the database.
//!
//! Not a verification: whether a file is whole and what was signed, `haetae-verify` says; a text is held against its digest
//! all the same.

mod file;
mod store;

use sqlx::{PgPool, Postgres, Transaction};

use super::AuditError;
use super::store::small;
use super::verify;

pub use file::ExportFile;

use file::checked;

/// The log in the database, read in one snapshot.
pub struct Records {
    snapshot: Transaction<'static, Postgres>,
    /// Lanes still to be read: number, next index, size.
    lanes: Vec<(u16, u64, u64)>,
    /// What is read, for a report.
    pub about: Vec<String>,
}

impl Records {
    /// Everything from about an instant (Unix seconds) on: batches are dated when they are committed, later than their leaves.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn since(pool: &PgPool, since: i64) -> Result<Self, AuditError> {
        let mut snapshot = verify::store::snapshot(pool).await?;
        let (mut lanes, mut about) = (Vec::new(), Vec::new());
        for head in verify::store::heads(&mut snapshot).await? {
            let from = store::first_since(&mut snapshot, head.lane, since).await?;
            about.push(format!("lane {} of size {}, root {}", head.origin, head.size, head.root));
            lanes.push((head.lane, from.map_or(head.size, small), head.size));
        }
        lanes.reverse();
        Ok(Self { snapshot, lanes, about })
    }

    /// The next leaves, as [`Records::leaves`] reads them; `None` at the end.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        while let Some((lane, next, size)) = self.lanes.last_mut() {
            let batches = verify::store::batches(&mut self.snapshot, *lane, *next, BATCHES).await?;
            let last = batches.last().filter(|_| *next < *size);
            let Some(last) = last else {
                self.lanes.pop();
                continue;
            };
            *next = last.first + last.count.max(1);
            return Ok(Some(
                batches.iter().map(verify::store::StoredBatch::leaves).collect::<Vec<_>>().concat(),
            ));
        }
        Ok(None)
    }

    /// Calls back with each leaf of a piece.
    ///
    /// # Errors
    /// When the piece is not whole.
    pub fn leaves(piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), AuditError> {
        for leaf in tlog::bundle::leaves(piece) {
            each(leaf.map_err(|error| AuditError::Content(error.to_string()))?);
        }
        Ok(())
    }

    /// The facts text of this digest; `None` when it is not kept any more.
    ///
    /// # Errors
    /// When the database cannot be read, or what it has is not of that digest.
    pub async fn facts(pool: &PgPool, wanted: &[u8; 32]) -> Result<Option<Vec<u8>>, AuditError> {
        let mut connection = pool.acquire().await?;
        match verify::store::text(&mut connection, wanted).await? {
            Some((kind, text)) if kind == "facts" => checked(text, wanted).map(Some),
            _ => Ok(None),
        }
    }
}

/// Batches in memory at once: at most 64 MiB.
const BATCHES: i64 = 64;
