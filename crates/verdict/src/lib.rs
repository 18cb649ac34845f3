//! The decision, pure: facts in, decision out. No clock, no I/O, no allocation of identities.
//!
//! Reading order: [`question`] (the facts), [`decision`] (what comes out), [`rule`] (rows of symbols) and [`atom`] (the
//! predicates they may use), `flow` (a question means many flows), `evaluate` and `papers` (when a predicate is true,
//! false or unknown), `symbols` (a cell made abstract), [`cell`] (the key, and rows matched by it), `compose` (rows back
//! to reasons), `judge` (over candidate sites), `remedy`; before it all,
//! [`access`] (may the caller ask this at all). The gateway and the offline verifier both judge with this crate.
//!
//! *Invariant:* nothing here reads a clock, a file or a random number; the same bytes in give the same bytes out.
#![no_std]
extern crate alloc;

pub mod access;
mod area;
pub mod atom;
pub mod cell;
mod check;
mod compose;
mod deciding;
pub mod decision;
mod evaluate;
mod explain;
pub mod facts;
mod finding;
mod flow;
mod judge;
mod papers;
pub mod place;
pub mod question;
pub mod read;
pub mod reason;
mod release;
mod remedy;
pub mod rule;
mod rulebook;
pub mod stamp;
mod symbols;
mod terms;
pub mod told;
pub mod volume;

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;
use sha2::{Digest, Sha256};

pub use judge::{decide, decide_with, facts_digest, judge, judge_with};
pub use release::held_digest;
pub use rule::Rulebook;
pub use terms::{QuestionError, is_eccn, not_an_eccn};

/// The canonical bytes of a value: the subset of RFC 8785 that records use (strings, integers below 2^53, booleans,
/// arrays, objects with ASCII keys). `serde_json`'s map is ordered by key bytes, which for ASCII keys is the order of
/// RFC 8785, and its string escapes are the same.
///
/// # Errors
/// When the value cannot be written as JSON (a map with keys that are not strings).
pub fn canonical<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&serde_json::to_value(value)?)
}

/// `sha256:` and hex.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // writing to a String does not fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}
