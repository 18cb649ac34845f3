//! What is kept of witnesses: each line is a cosignature of the witness under whose name it is kept. One that is none would spoil
//! every note that it is shown under.
//!
//! Whether it fits the checkpoint is for whoever has the witness's key.

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use tlog::note::Signature;

use super::{Walk, What, store};
use crate::audit::AuditError;

pub(super) async fn check(
    connection: &mut PgConnection,
    lane: u16,
    walk: &mut Walk,
) -> Result<(), AuditError> {
    let mut lines = store::cosignatures(connection, lane);
    while let Some((size, witness, at_s, line)) = lines.try_next().await? {
        if !is_cosignature(&witness, at_s, &line) {
            let about = format!(
                "what is kept as the cosignature of `{witness}` under the checkpoint of size {size} is none"
            );
            walk.find_lane(lane, What::Checkpoint, about);
        }
    }
    Ok(())
}

/// A time and an Ed25519 signature (C2SP tlog-cosignature).
fn is_cosignature(witness: &str, at_s: i64, line: &str) -> bool {
    let Ok(Signature { name, bytes, .. }) = line.parse() else { return false };
    let signed = bytes.split_first_chunk().filter(|(_, rest)| rest.len() == SIGNATURE_BYTES);
    let at = signed.and_then(|(at, _)| i64::try_from(u64::from_be_bytes(*at)).ok());
    name == witness && at == Some(at_s)
}

const SIGNATURE_BYTES: usize = 64;
