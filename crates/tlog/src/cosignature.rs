//! Cosignatures (C2SP tlog-cosignature, `cosignature/v1`): "at this time this was the largest tree I have seen".

use alloc::{format, string::String, vec::Vec};

use crate::{
    key::{Kind, SignError, Signer, VerifierKey},
    note::{Note, Signature},
};

/// Signs a checkpoint as a witness does. `at` is in Unix seconds; the caller has checked that the tree only grew.
pub fn cosign<S: Signer + ?Sized>(
    checkpoint: &Note,
    signer: &S,
    at: u64,
) -> Result<Signature, SignError> {
    let key = signer.verifier();
    if key.kind() != Kind::Cosignature {
        return Err(SignError::Kind(key.kind()));
    }
    if !TIMES.contains(&at) {
        return Err(SignError::Text);
    }
    let mut bytes = Vec::from(at.to_be_bytes());
    bytes.extend(signer.sign(message(checkpoint.text(), at).as_bytes())?);
    Ok(Signature { name: key.name().into(), id: key.id(), bytes })
}

/// The time of a good cosignature.
pub(crate) fn check(text: &str, bytes: &[u8], key: &VerifierKey) -> Option<u64> {
    let (at, signature) = bytes.split_first_chunk()?;
    let at = u64::from_be_bytes(*at);
    (TIMES.contains(&at) && key.verify(message(text, at).as_bytes(), signature)).then_some(at)
}

fn message(text: &str, at: u64) -> String {
    format!("cosignature/v1\ntime {at}\n{text}")
}

/// Set by the specification: a cosignature of this kind has a time.
const TIMES: core::ops::RangeInclusive<u64> = 1..=(1 << 63) - 1;
