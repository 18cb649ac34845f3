//! How many connections there can be at all: each is an open file of this process, and systems give a process a thousand
//! unless it asks for more.
//!
//! Where strangers' connections take all of them, nothing else can be opened: no way to a site, no file that is replaced, no
//! journal that reaches the disk. So the process asks for what it may have, and connections get a part of that.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Of `wanted` connections those for which there are files.
pub(super) fn fitting(wanted: usize) -> usize {
    let fits = part(raised());
    if fits < wanted {
        tracing::warn!(
            wanted,
            fits,
            "this process may not open so many files: raise its limit (`ulimit -Hn`, `LimitNOFILE=`) or lower `connections`"
        );
    }
    wanted.min(fits)
}

/// Files that this process may have open, after it asked for as many as it can get. None: any number.
fn raised() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is not given (some systems have a lower limit of their own) what there is counts.
    let _given = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}

/// Connections of one listener, of so many files.
fn part(files: Option<u64>) -> usize {
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files / PARTS).max(1)
}

/// Three listeners at most, what their connections lead to, and everything else.
const PARTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!([Some(1_024), Some(3), None].map(part), [204, 1, usize::MAX / PARTS]);
        assert_eq!(fitting(1), 1);
    }
}
