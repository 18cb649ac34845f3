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

/// How many cases a property tries: this many, or as many as `HAETAE_PROOF_CASES` says.
fn cases(usual: u32) -> proptest::test_runner::Config {
    let wished = std::env::var("HAETAE_PROOF_CASES").ok().and_then(|count| count.parse().ok());
    proptest::test_runner::Config::with_cases(wished.unwrap_or(usual))
}
