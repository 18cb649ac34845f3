//! Refusals of unidentified callers, counted by minute, so that a stranger cannot fill the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Stranger, leaf::Notice};

#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    rows: BTreeMap<Stranger, u64>,
    more: u64,
}

impl Strangers {
    pub fn count(&self, mut stranger: Stranger) {
        // Both are a stranger's words until they are cut.
        stranger.issuer = stranger.issuer.map(|issuer| cut(&issuer, ISSUER_CHARS_MAX));
        stranger.network = cut(&stranger.network, NETWORK_CHARS_MAX);
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = minute.rows.get_mut(&stranger) {
            *count += 1;
        } else if minute.rows.len() < ROWS_MAX {
            minute.rows.insert(stranger, 1);
        } else {
            minute.more += 1;
        }
    }

    /// What was counted since the last call, as the record of the minute that ended at `unix_s`.
    pub fn take(&self, unix_s: i64) -> Option<Notice> {
        let Minute { rows, more } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if rows.is_empty() {
            return None;
        }
        let minute = (unix_s - 1).div_euclid(60) * 60;
        Some(Notice::Unauthenticated { minute, rows: rows.into_iter().collect(), more })
    }
}

fn cut(words: &str, chars_max: usize) -> String {
    words.chars().take(chars_max).collect()
}

/// A character is at most 6 bytes when escaped, so a row is at most 6 x (80 + 43) + 200 bytes, and 64 rows are below
/// the 65,535 of a leaf.
const ROWS_MAX: usize = 64;
const ISSUER_CHARS_MAX: usize = 80;
/// The longest IPv6 prefix.
const NETWORK_CHARS_MAX: usize = 43;
