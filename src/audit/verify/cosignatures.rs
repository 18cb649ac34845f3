//! What is kept of witnesses: each line is a cosignature of the witness under whose name it is kept. One that is none would spoil
//! every note that it is shown under.
//!
//! Whether it fits the checkpoint is for whoever has the witness's key: with a trust file each is held against its checkpoint, and
//! the newest one that the quorum cosigned is looked for.

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use tlog::note::{NoteError, Signature};
use tlog::policy::TrustError;
use tlog::{Checkpoint, Note, Policy};

use super::store::{self, Cosigned};
use crate::audit::AuditError;

/// What the checkpoints of a lane have of witnesses.
#[derive(Default)]
pub(super) struct Found {
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
    /// Size of the newest one that a quorum cosigned; 0 when none is.
    pub vouched: u64,
}

/// `is_right` says whether a checkpoint that is kept under a size is the lane's own.
pub(super) async fn read(
    connection: &mut PgConnection,
    lane: u16,
    witnesses: Option<&Policy>,
    is_right: impl Fn(u64, &Checkpoint) -> bool,
) -> Result<Found, AuditError> {
    let mut found = Found::default();
    let mut all = store::cosignatures(connection, lane);
    while let Some(one) = all.try_next().await? {
        found.faults.extend(none(&one, witnesses));
        let Some(note) = &one.note else {
            let size = one.size;
            found.faults.push(format!(
                "cosignatures are kept of a checkpoint of size {size}, and there is none"
            ));
            continue;
        };
        if let Some(policy) = witnesses.filter(|policy| may_speak(policy, &one)) {
            found.held(policy, (&one, note), &is_right);
        }
    }
    Ok(found)
}

impl Found {
    /// Holds what witnesses said against the checkpoint.
    fn held(
        &mut self,
        policy: &Policy,
        (one, note): (&Cosigned, &str),
        is_right: &impl Fn(u64, &Checkpoint) -> bool,
    ) {
        let lines: Vec<String> = one.kept.iter().map(|(_, _, line)| line.clone()).collect();
        let note = store::cosigned(note.to_owned(), &lines);
        match policy.check(&note) {
            Ok(trusted) if is_right(one.size, &trusted.checkpoint) => self.vouched = one.size,
            Ok(_) | Err(TrustError::Quorum { .. }) => {}
            Err(_) => self.faults.extend(bad(policy, one.size, &note)),
        }
    }
}

/// Lines that are no cosignatures of those under whose names they are kept. One in the log's own name would spoil the note too.
fn none(one: &Cosigned, policy: Option<&Policy>) -> impl Iterator<Item = String> {
    let logs = policy.map_or(&[][..], |policy| &policy.logs);
    let is_one = move |witness: &str, at_s, line: &str| {
        let signature = line.parse().ok().filter(|line| is_cosignature(witness, at_s, line));
        signature.is_some_and(|signature| !logs.iter().any(|log| signature.is_of(&log.key)))
    };
    let odd = one.kept.iter().filter(move |(witness, at_s, line)| !is_one(witness, *at_s, line));
    odd.map(|(witness, ..)| {
        format!(
            "what is kept as the cosignature of `{witness}` under the checkpoint of size {} is none",
            one.size
        )
    })
}

/// Of most checkpoints no witness said anything: a signature is not checked for them.
fn may_speak(policy: &Policy, one: &Cosigned) -> bool {
    let named =
        |note: &str| policy.witnesses.iter().any(|witness| note.contains(witness.key.name()));
    !one.kept.is_empty() || one.note.as_deref().is_some_and(named)
}

/// Cosignatures of known witnesses that do not fit. Whatever else is wrong with the note was said when it was come by.
fn bad(policy: &Policy, size: u64, note: &str) -> Vec<String> {
    let Ok(note) = note.parse::<Note>() else { return Vec::new() };
    let keys = policy.witnesses.iter().map(|witness| &witness.key);
    let misfits = keys.filter(|key| matches!(note.verify([*key]), Err(NoteError::BadSignature(_))));
    let about = |name: &str| {
        format!("the cosignature of `{name}` under the checkpoint of size {size} does not fit it")
    };
    misfits.map(|key| about(key.name())).collect()
}

/// A time and an Ed25519 signature (C2SP tlog-cosignature).
fn is_cosignature(witness: &str, at_s: i64, Signature { name, bytes, .. }: &Signature) -> bool {
    let signed = bytes.split_first_chunk().filter(|(_, rest)| rest.len() == SIGNATURE_BYTES);
    let at = signed.and_then(|(at, _)| i64::try_from(u64::from_be_bytes(*at)).ok());
    name == witness && at == Some(at_s)
}

const SIGNATURE_BYTES: usize = 64;
