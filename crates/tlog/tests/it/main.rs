//! One test binary. Each module is one topic and opens with what it proves.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail by panicking, and every number here is small"
)]

mod notes;
mod receipts;
mod tiles;
mod tree;

use tlog::Hash;

/// `n` leaf hashes, each of another leaf.
fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|i| Hash::leaf(format!("leaf {i}").as_bytes())).collect()
}
