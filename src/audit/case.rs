//! One decision as it can be shown to others: its records, each with its proof, and the texts that they name.
//!
//! *Invariant:* reads only, in one snapshot; what is handed out is what was hashed, byte for byte, and nothing that the database says
//! of it is believed: kinds are those that were asked for, and places, ids and digests are held against the records.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};
use tlog::Hash;
use uuid::Uuid;

use super::{
    AuditError, Proven,
    prove::{differs, prove_of},
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
///
/// # Errors
/// When what the query tables say of it is not what was signed, or a text is not the one that was named.
pub async fn case(pool: &PgPool, id: Uuid) -> Result<Option<Case>, AuditError> {
    let mut snapshot = store::snapshot(pool).await?;
    let places = store::places_of(&mut snapshot, id).await?;
    if !places.iter().any(|(kind, _)| *kind == "decision") {
        return Ok(None);
    }
    let mut case = Case { records: Vec::new(), texts: Vec::new(), vkeys: BTreeSet::new() };
    for (kind, place) in places {
        let proven = prove_of(&mut snapshot, place, (kind, id)).await?;
        let newest = store::newest_checkpoint(&mut snapshot, place.0, Wanted::Cosigned).await?;
        case.vkeys.extend(newest.map(|StoredCheckpoint { vkey, .. }| vkey));
        if kind == "decision" {
            case.texts.extend(texts(&mut snapshot, &proven).await?);
        }
        case.records.push((kind.to_owned(), proven));
    }
    Ok(Some(case))
}

/// The texts that a decision names, as far as they are there.
async fn texts(
    connection: &mut PgConnection,
    proven: &Proven,
) -> Result<Vec<CaseText>, AuditError> {
    let leaf = Leaf::read(&proven.leaf).map_err(AuditError::Content)?;
    let mut texts = Vec::new();
    for (kind, digest) in [("facts", leaf.facts), ("detail", leaf.detail), ("bundle", leaf.bundle)]
    {
        let Some(digest) = digest.and_then(|text| text.parse::<Hash>().ok()) else { continue };
        // A text that was purged is not there: its digest in the record still is.
        let Some((_, bytes)) = store::text(connection, &digest.0).await? else { continue };
        if *Sha256::digest(&bytes) != digest.0 {
            let about = format!("its `{kind}` text was edited: the bytes have another digest");
            return Err(differs(proven.lane, proven.index, &about));
        }
        texts.push(CaseText { kind: kind.to_owned(), digest: digest.0, bytes });
    }
    Ok(texts)
}
