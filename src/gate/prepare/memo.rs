//! Judgements that were made, by what was asked.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use super::Prepared;
use crate::registry::Ask;

pub(super) type Memo = Cache<Key, Arc<Prepared>, Bytes>;

/// An empty one.
pub(super) fn of(entries_max: usize) -> Memo {
    let entries_max = entries_max.max(1);
    let least = MEMO_BYTES_MAX / entries_max as u64;
    Cache::with_weighter(entries_max, MEMO_BYTES_MAX, Bytes { least })
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub ask: Ask,
    pub operation: &'static str,
    pub roles: Arc<[Arc<str>]>,
    /// Who asks, where the organisation's own entries say something of this one person or service.
    pub actor: Option<Arc<str>>,
}

/// What an entry of the memo takes. A caller's own words are part of the key (datasets, hosts of images), so entries
/// are made at will and only their bytes can be bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    /// So that there are no more entries than the configuration says, however small.
    least: u64,
}

impl Weighter<Key, Arc<Prepared>> for Bytes {
    fn weight(&self, _: &Key, prepared: &Arc<Prepared>) -> u64 {
        // The judgement itself is about as large as its text.
        let texts = prepared.facts.bytes.len() + 2 * prepared.detail.bytes.len();
        (texts as u64 + ENTRY_BYTES).max(self.least)
    }
}

/// The whole memo: some 2,000 entries of 3 sites, or all of those that only refuse.
const MEMO_BYTES_MAX: u64 = 48 << 20;
/// Key, keeping and the fields of an entry, about.
const ENTRY_BYTES: u64 = 1_024;
