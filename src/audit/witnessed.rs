//! Receipts that witnesses cosigned: a permit waits until the quorum of a trust file signed a tree that holds its record.
//!
//! *Invariant:* what waits has a permit and uses none: it leaves here with the witnessed receipt, or is ended as not forwarded.

use std::sync::Arc;
use std::time::Duration;

use tlog::{Hash, Policy, Receipt, proof, receipt};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::config::WitnessedConfig;
use super::prove::{incomplete, nodes};
use super::recorder::Shared;
use super::{AuditError, Ended, Grade, Permit, Proof};
use crate::byte_sequence;

mod store;

/// Whose cosignatures are enough.
pub(super) struct Quorum {
    trust: Policy,
    wait: Duration,
    places: Semaphore,
}

impl Quorum {
    pub fn read(config: &WitnessedConfig) -> Result<Self, AuditError> {
        let wrong = |cause: String| AuditError::Witnessed {
            path: config.trust.display().to_string(),
            cause,
        };
        let text =
            std::fs::read_to_string(&config.trust).map_err(|cause| wrong(cause.to_string()))?;
        let trust: Policy =
            text.parse().map_err(|cause: tlog::policy::PolicyError| wrong(cause.to_string()))?;
        if trust.is_enough(&[]) {
            let cause = "its quorum needs no witness: then every receipt would count as witnessed";
            return Err(wrong(cause.to_owned()));
        }
        let wait = Duration::from_millis(config.wait_ms_max);
        Ok(Self { trust, wait, places: Semaphore::new(WAITING_MAX) })
    }
}

pub(super) async fn wait(shared: &Arc<Shared>, permit: Permit) -> Result<Permit, Proof> {
    let mut end = End { shared, id: Some(Arc::clone(&permit.proof.id)), why: CALLER_GONE };
    let found = cosigned(shared, &permit.proof).await;
    let Some(receipt) = found else {
        end.why = NOT_WITNESSED;
        return Err(permit.proof);
    };
    end.id = None;
    let receipt = byte_sequence::write(receipt.as_bytes());
    let proof = Proof { receipt, grade: Grade::Witnessed, ..permit.proof };
    Ok(Permit { proof, ..permit })
}

async fn cosigned(shared: &Shared, proof: &Proof) -> Option<String> {
    let Some(quorum) = &shared.quorum else {
        tracing::error!(
            "a rule wants a witnessed receipt, and `audit.witnessed` is not configured"
        );
        return None;
    };
    // As many as the database is asked for at once without harm; one more is refused and not queued.
    let _place = quorum.places.try_acquire().ok()?;
    timeout(quorum.wait, look(shared, quorum, proof)).await.ok().flatten()
}

/// Looks until there is a cosigned tree with the record; `None` when the record cannot be placed.
async fn look(shared: &Shared, quorum: &Quorum, proof: &Proof) -> Option<String> {
    let text = String::from_utf8(byte_sequence::read(&proof.receipt)?).ok()?;
    let receipt: Receipt = text.parse().ok()?;
    let leaf = Hash::leaf(&byte_sequence::read(&proof.leaf)?);
    let origin = receipt.checkpoint.lines().next()?;
    let lane: u16 = origin.rsplit_once('/')?.1.parse().ok()?;
    loop {
        match witnessed(shared, quorum, lane, (receipt.index, &leaf)).await {
            Ok(Some(witnessed)) => return Some(witnessed),
            Ok(None) => {}
            Err(cause) => tracing::warn!(%cause, "cosignatures cannot be looked for"),
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn witnessed(
    shared: &Shared,
    quorum: &Quorum,
    lane: u16,
    (index, leaf): (u64, &Hash),
) -> Result<Option<String>, AuditError> {
    let mut connection = shared.pool.acquire().await?;
    let cosigned = store::cosigned(&mut connection, lane, index).await?;
    let enough = cosigned.into_iter().find(|(_, note)| quorum.trust.check(note).is_ok());
    let Some((size, note)) = enough else { return Ok(None) };
    let needs = proof::inclusion_needs(index, size).map_err(incomplete)?;
    let nodes = nodes(&mut connection, lane, needs).await?;
    let hashes = proof::inclusion(&nodes, index, size).map_err(incomplete)?;
    // What the tables say may not be what was cosigned.
    let tree = quorum.trust.check(&note).map(|trusted| trusted.checkpoint.root);
    let root = tree.map_err(|_| AuditError::Content("the cosigned note is not one".to_owned()))?;
    proof::verify_inclusion(leaf, index, size, &root, &hashes).map_err(|_| {
        AuditError::Content(format!(
            "lane {lane}, index {index} is not in the tree that was cosigned: `haetae log verify` says more"
        ))
    })?;
    Ok(Some(receipt::write(index, &hashes, &note)))
}

/// A decision whose permit waits: it is ended when that came to nothing, or nobody waits any more.
struct End<'s> {
    shared: &'s Shared,
    id: Option<Arc<str>>,
    why: &'static str,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.shared.queue.end(Ended::not_forwarded(id, self.why));
        }
    }
}

/// Published codes of what cut it short.
const NOT_WITNESSED: &str = "not_witnessed";
const CALLER_GONE: &str = "caller_gone";
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// 1,280 look-ups a second at most.
const WAITING_MAX: usize = 256;
