//! What a power cut leaves of the lines that were not on the disk yet: blocks of zeros or of something else, and whole lines between
//! and behind them.
//!
//! *Invariant:* nothing is thrown away: what stands behind the first spoilt line goes into a file beside the journal, which names it by
//! its digest. A break that no power cut can have made, because lines of more than [`LOST_NS`] stand behind it, stays where it is.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::read::{Broken, Chain};
use super::{Entry, LOST_NS};
use crate::disk;
use crate::guard::GuardError;

/// What now stands beside.
pub(super) struct Torn {
    /// SHA-256 in hex.
    pub digest: String,
    pub newest_ns: Option<i64>,
}

/// Puts what begins with the broken line into a file of its own; `each` is told of the lines in it that can be read.
///
/// # Errors
/// The break itself, where it is not the work of a power cut; and what the disk says.
pub(super) fn aside(
    path: &Path,
    there: &Chain,
    broken: &Broken,
    each: &mut impl FnMut(&Entry<'_>),
) -> Result<Torn, GuardError> {
    let wrong = |cause| GuardError::Journal { path: path.to_owned(), cause };
    let rest = rest(path, there.bytes).map_err(wrong)?;
    let rest = rest.filter(|_| broken.is_none).ok_or_else(|| broken.error(path))?;
    let lines: Vec<Option<(Entry<'_>, &[u8])>> = rest
        .split(|byte| *byte == b'\n')
        .map(|line| Some((serde_json::from_slice(line).ok()?, line)))
        .collect();
    let times = || lines.iter().flatten().map(|(entry, _)| entry.at_ns);
    let (oldest_ns, newest_ns) = (times().min(), times().max());
    let span_ns = newest_ns.zip(oldest_ns).map_or(0, |(newest, oldest)| newest - oldest);
    if span_ns > LOST_NS || !lines.windows(2).all(are_one_chain) {
        return Err(broken.error(path));
    }
    lines.iter().flatten().for_each(|(entry, _)| each(entry));
    let digest = hex::encode(Sha256::digest(&rest));
    let beside = beside(path, &digest);
    disk::replace(&beside, &rest).map_err(wrong)?;
    tracing::error!(
        journal = %path.display(), line = broken.line, beside = %beside.display(),
        "the end of the journal was spoilt, as by a power cut: it stands in a file beside it, and nothing is let in that may have been used in it"
    );
    Ok(Torn { digest, newest_ns })
}

/// What stands behind the whole lines; nothing when it is longer than what can be lost.
fn rest(path: &Path, from: u64) -> io::Result<Option<Vec<u8>>> {
    let (mut file, mut rest) = (File::open(path)?, Vec::new());
    file.seek(SeekFrom::Start(from))?;
    file.take(REST_MAX + 1).read_to_end(&mut rest)?;
    Ok(Some(rest).filter(|rest| rest.len() as u64 <= REST_MAX))
}

/// Of two neighbours that can be read, the second follows the first.
fn are_one_chain(two: &[Option<(Entry<'_>, &[u8])>]) -> bool {
    let [Some((_, first)), Some((second, _))] = two else { return true };
    second.previous == hex::encode(Sha256::digest(first))
}

fn beside(path: &Path, digest: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".torn-{}", digest.get(..16).unwrap_or(digest)));
    beside.into()
}

/// Bytes: of 250 a line, 130,000 uses a second and refusals beside them.
const REST_MAX: u64 = 64 * 1024 * 1024;
