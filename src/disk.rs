//! Files that are old or new and never half, and how much room there is for further ones.
//!
//! *Invariant:* when [`replace`] returns, the new bytes are on the disk under their name; and so are those that [`read`] gives.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Writes beside, syncs, renames, and syncs the directory too.
///
/// # Errors
/// When the disk does not take it. The old file stands then, or the new one: whether a name is on the disk is not known after
/// an error, and nothing is to be built on either before it was [`read`].
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path)?;
    let renamed = write(&beside, path, bytes).and_then(|()| std::fs::rename(&beside, path));
    // If we stop before, the old file stands.
    if let Err(cause) = renamed {
        // Nobody comes back to it: the next try, after a failed sync too, writes a file of its own.
        let _gone = std::fs::remove_file(&beside);
        return Err(cause);
    }
    sync_directory(path)
}

fn write(beside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(beside)?;
    file.write_all(bytes)?;
    sync(&file, path)
}

/// Of chance: two processes that were given one file by mistake do not write into each other's, and in containers all have one id.
///
/// # Errors
/// When the system gives no chance.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).map_err(io::Error::other)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}{PART}", hex::encode(chance)));
    Ok(beside.into())
}

/// What a file has; `None` where there is none. Who wrote it may have been killed between the rename and the sync of the directory: then
/// it is in memory alone, and the next power cut brings the old one back. So both are synced before it counts.
///
/// # Errors
/// When it cannot be read or synced. Both work also where nobody may write; a file system that cannot sync keeps nothing to count on.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    sync(&file, path)?;
    sync_directory(path)?;
    Ok(Some(bytes))
}

/// The same of a file of text.
///
/// # Errors
/// As [`read`], and when it is no text.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    let text = read(path)?.map(String::from_utf8).transpose();
    text.map_err(|cause| io::Error::new(ErrorKind::InvalidData, cause))
}

/// Gives a file, or a directory, another name in the directory in which it lies, for good.
///
/// # Errors
/// When it cannot be renamed, or the new name is perhaps not on the disk.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_directory(to)
}

/// Makes the name of a new file durable.
///
/// # Errors
/// When the directory cannot be synced.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = parent(path);
    sync(&File::open(directory)?, directory)
}

/// Makes a directory and those above it that are missing, each durable before there is one in it.
///
/// # Errors
/// When one cannot be made, or its name is not on the disk.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        // Whoever made it may have been killed before it was synced.
        return match sync_directory(path) {
            // Not by us: nobody makes one where he may not read, nor where nothing can be synced, as in the image that a
            // container begins from.
            Err(cause)
                if matches!(
                    cause.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::InvalidInput
                ) =>
            {
                Ok(())
            }
            other => other,
        };
    }
    let above = parent(path);
    if above != Path::new(".") {
        make_directory(above)?;
    }
    match std::fs::create_dir(path) {
        // Somebody else just did.
        Err(_) if path.is_dir() => {}
        other => other?,
    }
    sync_directory(path)
}

/// Takes away, in a directory and those in it, what [`replace`] left behind in processes that were killed. For whoever alone writes there.
///
/// # Errors
/// When a directory cannot be read: then some may be left.
pub fn clear(directory: &Path) -> io::Result<()> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_str().is_some_and(is_part) {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Chance in hex, or the process's number as it was once.
fn is_part(name: &str) -> bool {
    let of = name.strip_suffix(PART).and_then(|name| name.rsplit_once('.'));
    of.is_some_and(|(_, of)| !of.is_empty() && of.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn parent(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or_else(|| Path::new("."))
}

/// `path` is its name now, or will be.
fn sync(of: &File, path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::met(path)?;
    #[cfg(not(test))]
    let _ = path;
    of.sync_all()
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

const PART: &str = ".part";

/// A disk that does not sync, for the tests of whoever must not believe it.
#[cfg(test)]
pub mod faults {
    use std::cell::RefCell;
    use std::io;
    use std::path::{Path, PathBuf};

    thread_local! {
        static AT: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    /// From now on, in this thread, the sync of each of these files and directories fails.
    pub fn at(paths: &[&Path]) {
        AT.set(paths.iter().map(|path| path.to_path_buf()).collect());
    }

    /// Of this file first the sync fails, and then that of its directory: each time this must hold.
    pub fn each(path: &Path, mut holds: impl FnMut() -> bool) {
        for unsynced in [path, super::parent(path)] {
            at(&[unsynced]);
            assert!(holds(), "{}", unsynced.display());
            at(&[]);
        }
    }

    pub(super) fn met(path: &Path) -> io::Result<()> {
        let is_met = AT.with_borrow(|at| at.iter().any(|one| one == path));
        if is_met { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_read_is_on_the_disk_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, b"old").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"old"[..]));
        faults::each(&path, || read(&path).is_err() && replace(&path, b"new").is_err());
        // Renamed, and perhaps not on the disk: what is told as an error may be there.
        assert_eq!(read_text(&path).unwrap().as_deref(), Some("new"));
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn nothing_is_left_beside_after_an_error_or_from_a_process_that_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        faults::at(&[&path]);
        assert!(replace(&path, b"new").is_err());
        faults::at(&[]);
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(names(dir.path()), ["note"]);
        for left in ["a.1.part", "note/b.evidence-0.00ff.part", "note/kept.part", "note/c.x.part"] {
            std::fs::write(dir.path().join(left), "").unwrap();
        }
        clear(dir.path()).unwrap();
        assert_eq!(
            (names(dir.path()), names(&path)),
            (vec!["note".to_owned()], vec!["c.x.part".to_owned(), "kept.part".to_owned()])
        );
        // What a writer takes is of the form that is cleared, and another one's each time.
        let [one, other] = [(); 2].map(|()| beside(&path).unwrap());
        assert_ne!(one, other);
        assert!(is_part(one.file_name().unwrap().to_str().unwrap()));
    }

    #[test]
    fn a_directory_is_on_the_disk_before_there_is_one_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (above, below) = (dir.path().join("a"), dir.path().join("a/b"));
        faults::at(&[dir.path()]);
        assert!(make_directory(&below).is_err());
        // It is there, and was never synced.
        assert!(above.is_dir() && !below.exists() && make_directory(&above).is_err());
        faults::at(&[]);
        make_directory(&below).unwrap();
        assert!(below.is_dir());
        make_directory(&below).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_directory(&dir.path().join("file/b")).is_err());
    }
}
