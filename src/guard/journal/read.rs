//! A journal read back, and its chain checked.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Entry, What};
use crate::guard::GuardError;

/// What is there, up to where it ends or breaks.
pub(super) struct Chain {
    /// Digest of the last line; bytes of the lines.
    pub last: String,
    pub bytes: u64,
    pub newest_ns: Option<i64>,
    /// Of the machine when the newest guard began.
    pub boot: Option<String>,
    pub broken: Option<Broken>,
}

/// The first line that is not what it must be.
pub(super) struct Broken {
    pub line: u64,
    pub cause: &'static str,
    /// It is no line at all, as a power cut leaves it. One that was changed or taken out can be read, or the next one can.
    pub is_none: bool,
}

impl Broken {
    pub fn error(&self, path: &Path) -> GuardError {
        GuardError::Chain { path: path.to_owned(), line: self.line, cause: self.cause }
    }
}

/// Reads a journal and checks its chain.
///
/// # Errors
/// When it cannot be read, or a line is not what the next one says it was.
pub fn entries(path: &Path) -> Result<Vec<Entry<'static>>, GuardError> {
    let mut entries = Vec::new();
    let chain = chain(path, |entry| entries.push(entry))?;
    chain.broken.map_or(Ok(entries), |broken| Err(broken.error(path)))
}

/// Calls `each` for each entry up to where the chain ends or breaks. Half a line at the end is none.
pub(super) fn chain(
    path: &Path,
    mut each: impl FnMut(Entry<'static>),
) -> Result<Chain, GuardError> {
    let wrong = |cause| GuardError::Journal { path: path.to_owned(), cause };
    let mut reader = BufReader::new(File::open(path).map_err(wrong)?);
    let (newest_ns, boot, broken) = (None, None, None);
    let mut chain = Chain { last: FIRST.to_owned(), bytes: 0, newest_ns, boot, broken };
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        // Another's journal may be one line of gigabytes.
        let some = &mut reader.by_ref().take(LINE_MAX);
        let read = some.read_until(b'\n', &mut line).map_err(wrong)? as u64;
        number += 1;
        let broken = |cause, is_none| Some(Broken { line: number, cause, is_none });
        let Some(text) = line.strip_suffix(b"\n") else {
            if read == LINE_MAX {
                chain.broken = broken("it is longer than a line of a journal can be", true);
            }
            return Ok(chain);
        };
        let Ok(entry) = serde_json::from_slice::<Entry<'static>>(text) else {
            chain.broken = broken("it is not a line of a journal", true);
            return Ok(chain);
        };
        if entry.previous != chain.last {
            chain.broken =
                broken("the line before it is not the one that it was written after", false);
            return Ok(chain);
        }
        chain.last = hex::encode(Sha256::digest(text));
        chain.bytes += read;
        chain.newest_ns = chain.newest_ns.max(Some(entry.at_ns));
        if entry.what == What::Started {
            chain.boot = entry.boot.as_deref().map(str::to_owned);
        }
        each(entry);
    }
}

/// Bytes. A line names a decision and a lane: some hundred, and no more than a leaf can hold.
const LINE_MAX: u64 = 128 * 1024;
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard.jsonl");
        let said = |bytes: u64| {
            std::fs::write(&path, "x".repeat(usize::try_from(bytes).unwrap())).unwrap();
            entries(&path).map(|entries| entries.len()).map_err(|wrong| wrong.to_string())
        };
        assert_eq!(said(LINE_MAX - 1), Ok(0), "half a line, which somebody writes at this moment");
        let wrong = said(LINE_MAX + 1).unwrap_err();
        assert!(wrong.contains("longer than a line"), "{wrong}");
    }
}
