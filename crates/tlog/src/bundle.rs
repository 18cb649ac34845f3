//! Entry bundles (C2SP tlog-tiles): leaves one after another, each behind its length (2 bytes, big-endian).

use alloc::vec::Vec;
use core::fmt;

/// Longest leaf that a bundle can hold.
pub const LEAF_MAX: usize = u16::MAX as usize;

/// Appends a leaf to a bundle.
pub fn push(bundle: &mut Vec<u8>, leaf: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(leaf.len()).map_err(|_| BundleError::TooLarge)?;
    bundle.extend(length.to_be_bytes());
    bundle.extend(leaf);
    Ok(())
}

/// A bundle of these leaves.
pub fn encode<'l>(leaves: impl IntoIterator<Item = &'l [u8]>) -> Result<Vec<u8>, BundleError> {
    let mut bundle = Vec::new();
    leaves.into_iter().try_for_each(|leaf| push(&mut bundle, leaf))?;
    Ok(bundle)
}

/// The leaves of a bundle. After an error nothing follows.
#[must_use]
pub const fn leaves(bundle: &[u8]) -> Leaves<'_> {
    Leaves { rest: bundle }
}

#[derive(Debug, Clone)]
pub struct Leaves<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Leaves<'b> {
    type Item = Result<&'b [u8], BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        let Some((length, rest)) = rest.split_first_chunk() else {
            return Some(Err(BundleError::Cut));
        };
        let Some((leaf, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
            return Some(Err(BundleError::Cut));
        };
        self.rest = rest;
        Some(Ok(leaf))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleError {
    TooLarge,
    Cut,
}

impl fmt::Display for BundleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TooLarge => "a leaf is longer than 65,535 bytes",
            Self::Cut => "the bundle ends in the middle of a leaf",
        })
    }
}

impl core::error::Error for BundleError {}
