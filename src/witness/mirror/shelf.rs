//! Records and texts on our own disk: a file for each entry bundle (as tlog-tiles names it) and for each text.
//!
//! *Invariant:* of bounded size: the oldest bundles make room, and texts are no longer kept when they have used theirs up.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use haetae_verify::export::Digest;
use tlog::bundle;
use tlog::tile::{Resource, WIDTH};

use crate::disk;

#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    /// Bundles of a lane that are kept.
    bundles_max: u64,
    texts_bytes: u64,
    texts_bytes_max: u64,
}

impl Shelf {
    pub fn open(dir: &Path, records_max: u64, texts_bytes_max: u64) -> io::Result<Self> {
        let texts = dir.join(TEXTS);
        std::fs::create_dir_all(&texts)?;
        let mut texts_bytes = 0;
        for entry in std::fs::read_dir(&texts)? {
            texts_bytes += entry?.metadata()?.len();
        }
        let bundles_max = (records_max / u64::from(WIDTH)).max(1);
        Ok(Self { dir: dir.to_owned(), bundles_max, texts_bytes, texts_bytes_max })
    }

    /// Keeps the records of a bundle as far as it goes.
    pub fn keep(&self, lane: u16, index: u64, leaves: &[Vec<u8>]) -> io::Result<()> {
        let bytes = bundle::encode(leaves.iter().map(Vec::as_slice)).map_err(io::Error::other)?;
        let path = self.bundle(lane, index);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        disk::replace(&path, &bytes)?;
        let Some(oldest) = index.checked_sub(self.bundles_max) else { return Ok(()) };
        match std::fs::remove_file(self.bundle(lane, oldest)) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        }
    }

    pub fn text(&self, digest: &Digest) -> Option<Vec<u8>> {
        std::fs::read(self.path_of(digest)).ok()
    }

    pub fn keep_text(&mut self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.texts_bytes + length > self.texts_bytes_max {
            return Ok(());
        }
        disk::replace(&self.path_of(digest), bytes)?;
        self.texts_bytes += length;
        Ok(())
    }

    /// Whether there is room for further texts.
    pub const fn has_room(&self) -> bool {
        self.texts_bytes < self.texts_bytes_max
    }

    fn bundle(&self, lane: u16, index: u64) -> PathBuf {
        let name = Resource::Entries { index, width: WIDTH }.to_string();
        self.dir.join(lane.to_string()).join(name)
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        self.dir.join(TEXTS).join(hex::encode(digest.0))
    }
}

/// What a piece of the log is judged with.
pub(super) struct Beside<'b> {
    pub texts: BTreeMap<Digest, Vec<u8>>,
    pub root: &'b dyn Fn(u16, u64) -> Option<tlog::Hash>,
}

impl haetae_verify::Texts for Beside<'_> {
    fn has(&self, digest: &Digest) -> bool {
        self.texts.contains_key(digest)
    }

    fn text(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.texts.get(digest).cloned()
    }
}

impl haetae_verify::Beside for Beside<'_> {
    fn root(&self, lane: u16, size: u64) -> Option<tlog::Hash> {
        (self.root)(lane, size)
    }
}

const TEXTS: &str = "text";
