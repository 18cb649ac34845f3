//! Private keys as files: what makes one, whoever's it is.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::disk;

/// Writes a private key into a new file that only we may read; never over another, and on the disk when it returns.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make `{}`", path.display()))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(cause) = written.and_then(|()| disk::sync_directory(path)) {
        // Half a key helps nobody, and would keep the next try from its name.
        let _gone = std::fs::remove_file(path);
        return Err(cause).with_context(|| format!("cannot write `{}`", path.display()));
    }
    Ok(())
}

/// 32 random bytes, for a new key.
pub fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the operating system gives no random bytes")?;
    Ok(seed)
}
