//! One decision as it can be shown to others: its records, each with its proof, and the texts that they name.
//!
//! *Invariant:* reads only, in one snapshot; what is handed out is what was hashed, byte for byte.

use std::collections::BTreeSet;

use sqlx::PgPool;
use tlog::Hash;
use uuid::Uuid;

use super::{
    AuditError, Proven,
    prove::prove_at,
    row::Leaf,
    verify::store::{self, StoredCheckpoint, Wanted},
};

/// A decision with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The decision, its `started` and its `ended`, as far as they are there; each with its kind.
    pub records: Vec<(String, Proven)>,
    pub texts: Vec<CaseText>,
    /// Keys that the database states for the lanes of these records, the newest of each.
    pub vkeys: BTreeSet<String>,
}

/// A text that the decision names.
#[derive(Debug, Clone)]
pub struct CaseText {
    /// `facts`, `detail` or `bundle`.
    pub kind: String,
    pub digest: [u8; 32],
    pub bytes: Vec<u8>,
}

/// Gathers a decision by its id; `None` when the query tables do not know it (yet).
pub async fn case(pool: &PgPool, id: Uuid) -> Result<Option<Case>, AuditError> {
    let mut snapshot = store::snapshot(pool).await?;
    let places = store::places_of(&mut snapshot, id).await?;
    if places.is_empty() {
        return Ok(None);
    }
    let mut case = Case { records: Vec::new(), texts: Vec::new(), vkeys: BTreeSet::new() };
    for (lane, index) in places {
        let Some(proven) = prove_at(&mut snapshot, lane, index).await? else { continue };
        let newest = store::newest_checkpoint(&mut snapshot, lane, Wanted::Cosigned).await?;
        case.vkeys.extend(newest.map(|StoredCheckpoint { vkey, .. }| vkey));
        let leaf = Leaf::read(&proven.leaf).map_err(AuditError::Content)?;
        let named = [("facts", leaf.facts), ("detail", leaf.detail), ("bundle", leaf.bundle)];
        for (kind, digest) in named {
            let Some(digest) = digest.and_then(|text| text.parse::<Hash>().ok()) else { continue };
            // A text that was purged is not there: its digest in the record still is.
            if let Some((_, bytes)) = store::text(&mut snapshot, &digest.0).await? {
                case.texts.push(CaseText { kind: kind.to_owned(), digest: digest.0, bytes });
            }
        }
        let kind = leaf.kind.to_string();
        case.records.push((kind, proven));
    }
    Ok(Some(case))
}
