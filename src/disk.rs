//! Files that are old or new and never half, and how much room there is for further ones.
//!
//! *Invariant:* when [`replace`] returns, the new bytes are on the disk under their name.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes beside, syncs, renames, and syncs the directory too.
///
/// # Errors
/// When the disk does not take it; the old file stands then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    // Two processes that were given one file by mistake do not write into each other's.
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // If we stop here, the old file stands.
    std::fs::rename(&beside, path)?;
    sync_directory(path)
}

/// Makes the name of a new file durable.
///
/// # Errors
/// When the directory cannot be synced.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Bytes that this process may still write on the file system of a directory.
///
/// # Errors
/// When the file system cannot be asked.
pub fn room(directory: &Path) -> io::Result<u64> {
    let of = rustix::fs::statvfs(directory)?;
    // What is left to the superuser alone does not count.
    Ok(of.f_bavail.saturating_mul(of.f_frsize))
}
