//! One hidden field of one record, shown: value and salt, so that whoever has the record makes its digest again (as in SD-JWT).
//!
//! *Invariant:* what is shown gives the digest that stands in the record, or nothing is shown.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use tlog::Hash;
use uuid::Uuid;

use super::store::{self, Kept};
use crate::audit::verify::store::snapshot;
use crate::audit::{Act, ActKind, AuditError, Proven};
use crate::privacy::{Hidden, Place, Privacy, PrivacyError, Wrapped};

/// A record, and the hidden values of one of its fields.
pub struct Disclosure {
    pub proven: Proven,
    /// Id of the record, and its organisation if it has one.
    pub id: String,
    pub org: Option<String>,
    pub field: String,
    /// In the order of the record; each with the digest that hides it.
    pub values: Vec<([u8; 32], Hidden)>,
}

/// Why nothing is disclosed.
#[derive(Debug, thiserror::Error)]
pub enum DiscloseError {
    #[error("the record has no hidden field `{field}`: it hides {has}")]
    NoField { field: String, has: String },
    #[error("nothing is kept behind the digest `{0}`: it was erased, or never kept")]
    NothingKept(String),
    #[error("what is kept behind the digest `{0}` is not what it hides: somebody changed it")]
    Changed(String),
    #[error("{0}")]
    Privacy(#[from] PrivacyError),
    #[error("{0}")]
    Audit(#[from] AuditError),
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Opens a field of the record that was proven.
pub async fn disclose(
    pool: &PgPool,
    privacy: &Privacy,
    proven: Proven,
    field: &str,
) -> Result<Disclosure, DiscloseError> {
    let mut snapshot = snapshot(pool).await?;
    let leaf: Map<String, Value> = serde_json::from_slice(&proven.leaf)
        .map_err(|cause| AuditError::Content(cause.to_string()))?;
    let digests = hidden_in(&leaf, field)?;
    let mut values = Vec::new();
    for digest in digests {
        let kept = store::kept(&mut snapshot, &digest).await?;
        let text = || STANDARD.encode(digest);
        let kept = kept.ok_or_else(|| DiscloseError::NothingKept(text()))?;
        let hidden =
            open(privacy, &kept, &digest)?.ok_or_else(|| DiscloseError::NothingKept(text()))?;
        if hidden.digest() != digest {
            return Err(DiscloseError::Changed(text()));
        }
        values.push((digest, hidden));
    }
    let text = |key: &str| leaf.get(key).and_then(Value::as_str).map(str::to_owned);
    let (id, org) = (text("id").unwrap_or_default(), text("org"));
    Ok(Disclosure { proven, id, org, field: field.to_owned(), values })
}

/// The digests of a field: one, or those of its array.
fn hidden_in(leaf: &Map<String, Value>, field: &str) -> Result<Vec<[u8; 32]>, DiscloseError> {
    let read = |value: &Value| value.as_str()?.parse::<Hash>().ok().map(|hash| hash.0);
    let found = match leaf.get(field).filter(|_| FIELDS.contains(&field)) {
        Some(Value::Array(all)) => all.iter().map(read).collect(),
        Some(one) => read(one).map(|digest| vec![digest]),
        None => None,
    };
    found.ok_or_else(|| {
        let has: Vec<&str> = FIELDS.into_iter().filter(|key| leaf.contains_key(*key)).collect();
        let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
        DiscloseError::NoField { field: field.to_owned(), has }
    })
}

/// `None` when the key is no longer there.
pub(super) fn open(
    privacy: &Privacy,
    kept: &Kept,
    digest: &[u8; 32],
) -> Result<Option<Hidden>, PrivacyError> {
    if let (Some(salt), Some(value)) = (&kept.salt, &kept.value) {
        let salt = salt.as_slice().try_into().map_err(|_| PrivacyError::Damaged)?;
        return Ok(Some(Hidden { salt, value: value.clone() }));
    }
    let (Some(wrapped), Some(sealed)) = (wrapped(kept), &kept.sealed) else { return Ok(None) };
    let lane = kept.lane.and_then(|lane| u16::try_from(lane).ok()).ok_or(PrivacyError::Damaged)?;
    let index = kept.index.and_then(|at| u64::try_from(at).ok()).ok_or(PrivacyError::Damaged)?;
    let place = Place { lane, index, field: &kept.kind, digest };
    privacy.unwrap(&wrapped)?.open(place, sealed).map(Some)
}

fn wrapped(kept: &Kept) -> Option<Wrapped> {
    let key = &kept.key;
    Some(Wrapped {
        id: key.id?,
        org: kept.org.clone(),
        subject: key.subject.as_deref()?.try_into().ok()?,
        master: key.master.clone()?,
        bytes: key.wrapped.clone()?,
    })
}

impl Disclosure {
    /// That it was shown, by whom, to whom and why: recorded before it is handed out.
    #[must_use]
    pub fn act(&self, event: Uuid, by: &str, to: &str, reason: &str) -> Act {
        let body = json!({
            "act": "disclosed", "record": self.id, "of_lane": self.proven.lane, "of_index": self.proven.index,
            "field": self.field, "org": self.org, "reason": reason,
        });
        Act::new(event, ActKind::Read, &[by, to], &body)
    }

    /// What is handed to the reader beside the record's proof: one canonical JSON object (docs/record.md, "Disclosures").
    pub fn document(&self) -> Result<Vec<u8>, AuditError> {
        let value = |(digest, hidden): &([u8; 32], Hidden)| {
            json!({
                "digest": STANDARD.encode(digest),
                "salt": STANDARD.encode(hidden.salt),
                "value": hidden.value,
            })
        };
        let values: Vec<Value> = self.values.iter().map(value).collect();
        let document = json!({
            "field": self.field, "format": "haetae-disclosure", "id": self.id, "index": self.proven.index,
            "lane": self.proven.lane, "v": 1, "values": values,
        });
        verdict::canonical(&document).map_err(|cause| AuditError::Content(cause.to_string()))
    }
}

/// Keys of leaves that are salted digests.
const FIELDS: [&str; 3] = ["actor", "certificate", "people"];
