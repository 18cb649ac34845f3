//! Which program this is, for those who ask later what wrote a record: name and version, and the digest of its file.
//!
//! *Invariant:* the digest is of the file that runs, also when another one lies in its place by now.

use std::fs::File;
use std::io::Read as _;
use std::sync::OnceLock;

use aws_lc_rs::digest::{Context, SHA256};

/// Name and version: `haetae 0.1.0`.
pub const BUILD: &str = concat!("haetae ", env!("CARGO_PKG_VERSION"));

/// SHA-256 of the running program's file; read once, in a fraction of a second. `None` when it cannot be read.
pub fn digest() -> Option<[u8; 32]> {
    static DIGEST: OnceLock<Option<[u8; 32]>> = OnceLock::new();
    *DIGEST.get_or_init(|| of(running().ok()?).ok())
}

/// Linux keeps the file of a process open to it, whatever happens to its name.
fn running() -> std::io::Result<File> {
    File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))
}

fn of(mut file: File) -> std::io::Result<[u8; 32]> {
    let (mut sum, mut part) = (Context::new(&SHA256), vec![0; PART_BYTES]);
    loop {
        let read = file.read(&mut part)?;
        let Some(bytes) = part.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        sum.update(bytes);
    }
    sum.finish().as_ref().try_into().map_err(std::io::Error::other)
}

const PART_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_digest_is_the_one_of_the_running_file() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(digest(), Some(Sha256::digest(&bytes).into()));
        assert_eq!(digest(), digest());
    }
}
