//! The log's arithmetic, pure: leaf hashes in; roots, proofs, tiles and signed texts out.
//!
//! Reading order: [`hash`] (RFC 6962), [`frontier`] (a tree that only grows), [`proof`] (inclusion and consistency),
//! [`tile`] and [`bundle`] (C2SP tlog-tiles), [`key`] and [`note`] (signed-note), [`checkpoint`], [`cosignature`],
//! [`policy`] (tlog-policy: whom to trust), [`receipt`] (tlog-proof).
//!
//! *Invariant:* nothing here reads a clock, a file, a socket or a random number, and nothing that an outsider sends
//! (a proof, a note, a tile, a policy) can make it panic.
#![no_std]
extern crate alloc;

/// An error that has one cause: its sentence says it all.
macro_rules! one_error {
    ($name:ident, $sentence:literal) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;

        impl core::fmt::Display for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                out.write_str($sentence)
            }
        }

        impl core::error::Error for $name {}
    };
}
pub(crate) use one_error;

mod base64;
pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod frontier;
pub mod hash;
pub mod key;
pub mod note;
pub mod policy;
pub mod proof;
pub mod receipt;
pub mod tile;

pub use checkpoint::Checkpoint;
pub use frontier::{Batch, Frontier};
pub use hash::Hash;
pub use key::{Signer, SigningKey, VerifierKey};
pub use note::Note;
pub use policy::Policy;
pub use receipt::Receipt;
