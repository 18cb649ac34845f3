//! Receipts (C2SP tlog-proof, `c2sp.org/tlog-proof@v1`): that one leaf is in a signed tree, in one text.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, fmt::Write as _, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::decimal,
    hash::Hash,
    policy::{Policy, TrustError, Trusted},
    proof::{self, ProofError},
};

/// A proof of inclusion with the checkpoint it leads to. Holds no leaf: who checks it brings the leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Opaque and unauthenticated.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf, from 0.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl Receipt {
    /// Checks the signatures under the policy and the proof against the checkpoint's root.
    pub fn verify<'p>(&self, leaf: &Hash, policy: &'p Policy) -> Result<Trusted<'p>, ReceiptError> {
        let trusted = policy.check(&self.checkpoint).map_err(ReceiptError::Checkpoint)?;
        let (size, root) = (trusted.checkpoint.size, &trusted.checkpoint.root);
        proof::verify_inclusion(leaf, self.index, size, root, &self.proof)
            .map_err(ReceiptError::Proof)?;
        Ok(trusted)
    }
}

/// Writes a receipt from its parts: `checkpoint` is a whole signed note, shared by a batch.
#[must_use]
pub fn write(index: u64, proof: &[Hash], checkpoint: &str) -> String {
    // 45 characters a hash, 60 for the first lines.
    let mut text = String::with_capacity(60 + 45 * proof.len() + checkpoint.len());
    push(&mut text, None, index, proof, checkpoint);
    text
}

impl fmt::Display for Receipt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        push(&mut text, self.extra.as_deref(), self.index, &self.proof, &self.checkpoint);
        out.write_str(&text)
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Self, ReceiptError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ReceiptError::Shape)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(MAGIC) {
            return Err(ReceiptError::Shape);
        }
        let extra = lines.next_if(|line| line.starts_with(EXTRA));
        let extra =
            extra.and_then(|line| line.strip_prefix(EXTRA)).map(|text| STANDARD.decode(text));
        let extra = extra.transpose().map_err(|_| ReceiptError::Shape)?;
        let index = lines.next().and_then(|line| decimal(line.strip_prefix(INDEX)?));
        let proof: Result<Vec<Hash>, _> = lines.map(str::parse).collect();
        match (index, proof) {
            (Some(index), Ok(proof)) if proof.len() <= PROOF_MAX => {
                Ok(Self { extra, index, proof, checkpoint: checkpoint.to_string() })
            }
            _ => Err(ReceiptError::Shape),
        }
    }
}

fn push(text: &mut String, extra: Option<&[u8]>, index: u64, proof: &[Hash], checkpoint: &str) {
    text.push_str(MAGIC);
    text.push('\n');
    if let Some(extra) = extra {
        text.push_str(EXTRA);
        STANDARD.encode_string(extra, text);
        text.push('\n');
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{INDEX}{index}");
    for hash in proof {
        hash.push_base64(text);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(checkpoint);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptError {
    Shape,
    Checkpoint(TrustError),
    Proof(ProofError),
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => write!(out, "not a receipt of the form `{MAGIC}`"),
            Self::Checkpoint(cause) => {
                write!(out, "the receipt's checkpoint is not to be trusted: {cause}")
            }
            Self::Proof(cause) => write!(out, "the receipt does not prove this leaf: {cause}"),
        }
    }
}

impl core::error::Error for ReceiptError {}

const MAGIC: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";
/// A tree's size is a `u64`, so no proof is longer.
const PROOF_MAX: usize = 64;
