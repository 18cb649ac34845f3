//! What of a mirror does not fit itself: moved aside, and begun anew. No mirror keeps the witness from cosigning.
//!
//! What was seen of a log is not forgotten with it: the new tree begins with the signed checkpoint that the old one went up to, so a log
//! that comes back with another history is found out as before; and what was cosigned is held against the new one too.
//!
//! *Invariant:* of each there is one aside, the first: it has what was there before anything went wrong, while what came after it was
//! fetched again, as it can be once more. Nothing else is kept, so it takes no more of the disk than the mirror did.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tlog::{Hash, Note};

use super::tree::{self, Head, Tree};
use crate::disk;
use crate::witness::log::Log;

/// A lane's tree; and why it begins anew, where it does.
pub(super) fn open(dir: &Path, log: &Log) -> io::Result<(Tree, Option<io::Error>)> {
    let (mut tree, why) = match Tree::open(dir) {
        // A disk that does not answer may do so at the next start.
        Err(cause) if cause.kind() == ErrorKind::InvalidData => {
            begin_anew(dir, log)?;
            (Tree::open(dir)?, Some(cause))
        }
        other => (other?, None),
    };
    // Also when a start before this one stopped in between.
    if tree.head().note.is_empty()
        && let Some(head) = seen(&beside(dir), log)
    {
        tree.commit(head)?;
    }
    Ok((tree, why))
}

fn begin_anew(dir: &Path, log: &Log) -> io::Result<()> {
    if move_aside(dir)? {
        return Ok(());
    }
    match seen(dir, log) {
        // The hashes, which are past that, are cut off when it is opened.
        Some(head) => tree::write(dir, &head),
        None => tree::remove(dir),
    }
}

/// Moves a file or a directory aside, unless something of its name is there.
pub(super) fn move_aside(path: &Path) -> io::Result<bool> {
    let beside = beside(path);
    if beside.try_exists()? {
        return Ok(false);
    }
    disk::rename(path, &beside)?;
    Ok(true)
}

/// The head of an empty tree that knows what was seen: the checkpoint which was kept in a directory, if the log signed it.
fn seen(dir: &Path, log: &Log) -> Option<Head> {
    let head = tree::read(dir).ok()?;
    let note: Note = head.note.parse().ok()?;
    let is_of_log = note.text().lines().next() == Some(&*log.origin);
    let is_signed = is_of_log && note.verify(&log.keys).is_ok();
    is_signed.then_some(Head { size: 0, root: Hash::EMPTY, ..head })
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ASIDE);
    beside.into()
}

const ASIDE: &str = ".aside";
