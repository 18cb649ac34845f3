//! Dates of facts: kept as written, compared in UTC seconds.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// A date (`2026-11-20`) or an instant with offset (`2025-09-16T00:00:00+09:00`, RFC 3339), kept as written.
///
/// As a start a bare date is 00:00 UTC of that day; as an end it includes the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp {
    text: String,
}
