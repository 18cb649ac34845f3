//! What the commit of a decision does besides writing its record: it confirms a reservation, or opens a hold.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{AuditError, Draft, chance, leaf::Stamp};

/// What is kept with a decision beside the log. Nothing for most.
#[derive(Debug, Clone, Default)]
pub struct Keeps {
    /// What it uses up is reserved under this id, which the record then has.
    pub reserved: Option<Uuid>,
    /// What persons need to release it, if it is held.
    pub held: Option<Arc<Held>>,
}

/// A question that was held, as far as a release of it must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// SHA-256 over what makes another request the same one.
    pub request: [u8; 32],
    /// Rules that hold it, ascending.
    pub rules: Vec<String>,
    /// How many different persons must agree.
    pub persons: u8,
    /// `verdict::held_digest` at the site of which the caller was told.
    pub facts: String,
    /// Digest of the rulebook.
    pub bundle: Arc<str>,
}

/// A row of `hold`. Who asked is kept as a digest with a salt of its own: enough to tell that somebody is not that person.
#[derive(Debug)]
pub(super) struct HeldRow {
    pub id: Uuid,
    pub org: Arc<str>,
    pub service: Arc<str>,
    pub operation: &'static str,
    pub at_s: i64,
    pub salt: [u8; 16],
    pub asked: [u8; 32],
    pub held: Arc<Held>,
    pub detail: [u8; 32],
}

impl HeldRow {
    pub fn of(draft: &Draft, held: &Arc<Held>, stamp: &Stamp) -> Result<Self, AuditError> {
        let salt = chance::bytes::<16>()?;
        let asked = Sha256::new().chain_update(salt).chain_update(draft.actor.as_bytes());
        Ok(Self {
            id: stamp.id,
            org: Arc::clone(&draft.org),
            service: Arc::clone(&draft.service),
            operation: draft.operation,
            at_s: draft.judged_at,
            salt,
            asked: asked.finalize().into(),
            held: Arc::clone(held),
            detail: draft.detail.digest,
        })
    }
}
