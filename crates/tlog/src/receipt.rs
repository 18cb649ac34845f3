//! Receipts (C2SP tlog-proof, `c2sp.org/tlog-proof@v1`): that one leaf is in a signed tree, in one text.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, fmt::Write as _, str::FromStr};

use crate::{
    base64,
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
    // 60 characters for the first lines.
    let mut text = String::with_capacity(60 + HASH_LINE * proof.len() + checkpoint.len());
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
        let (magic, mut rest) = line(text)?;
        if magic != MAGIC {
            return Err(ReceiptError::Shape);
        }
        let mut extra = None;
        if let Some(after) = rest.strip_prefix(EXTRA) {
            let (bytes, after) = line(after)?;
            extra = Some(base64::decode(bytes).ok_or(ReceiptError::Shape)?);
            rest = after;
        }
        let (index, mut rest) = line(rest)?;
        let index = index.strip_prefix(INDEX).and_then(decimal).ok_or(ReceiptError::Shape)?;
        let mut proof = Vec::with_capacity(PROOF_MAX.min(rest.len() / HASH_LINE));
        loop {
            let (hash, after) = line(rest)?;
            rest = after;
            if hash.is_empty() {
                return Ok(Self { extra, index, proof, checkpoint: rest.to_string() });
            }
            if proof.len() == PROOF_MAX {
                return Err(ReceiptError::Shape);
            }
            proof.push(hash.parse().map_err(|_| ReceiptError::Shape)?);
        }
    }
}

/// The first line without its newline, and what follows.
fn line(text: &str) -> Result<(&str, &str), ReceiptError> {
    text.split_once('\n').ok_or(ReceiptError::Shape)
}

fn push(text: &mut String, extra: Option<&[u8]>, index: u64, proof: &[Hash], checkpoint: &str) {
    text.push_str(MAGIC);
    text.push('\n');
    if let Some(extra) = extra {
        text.push_str(EXTRA);
        base64::push(extra, text);
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
/// Characters of a hash with its newline.
const HASH_LINE: usize = 45;
/// A tree's size is a `u64`, so no proof is longer.
const PROOF_MAX: usize = 64;
