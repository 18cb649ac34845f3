//! Records and texts on our own disk: a file for each entry bundle (as tlog-tiles names it) and for each text.
//!
//! *Invariant:* of bounded size: the oldest bundles make room, and texts are no longer kept when they have used theirs up; those are
//! fetched again when they are wanted again.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use haetae_verify::export::Digest;
use sha2::{Digest as _, Sha256};
use tlog::bundle;
use tlog::tile::{Resource, WIDTH};

use super::lock;
use super::texts::Gathered;
use crate::disk;

#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    /// Bundles of a lane that are kept.
    bundles_max: u64,
    /// Locked while a text is written: lanes may want to keep the same one.
    texts_bytes: Mutex<u64>,
    texts_bytes_max: u64,
}

impl Shelf {
    pub fn open(dir: &Path, records_max: u64, texts_bytes_max: u64) -> io::Result<Self> {
        let texts = dir.join(TEXTS);
        std::fs::create_dir_all(&texts)?;
        let mut texts_bytes = 0;
        for entry in std::fs::read_dir(&texts)? {
            texts_bytes += on_disk(entry?.metadata()?.len());
        }
        let bundles_max = (records_max / u64::from(WIDTH)).max(1);
        let texts_bytes = Mutex::new(texts_bytes);
        Ok(Self { dir: dir.to_owned(), bundles_max, texts_bytes, texts_bytes_max })
    }

    /// Keeps the records of a bundle as far as it goes. One lane's are kept one after the other.
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

    /// A text, if it is kept and is the one that the digest names.
    pub fn text(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.path_of(digest)).ok()?;
        (Sha256::digest(&bytes).as_slice() == digest.0).then_some(bytes)
    }

    /// Keeps those that are not kept yet, as far as there is room.
    pub fn keep_texts(&self, texts: &Gathered) -> io::Result<()> {
        for (digest, bytes) in texts.all() {
            let (path, length) = (self.path_of(digest), bytes.len() as u64);
            let mut used = lock(&self.texts_bytes);
            let all = used.saturating_add(on_disk(length));
            let kept = std::fs::metadata(&path).is_ok_and(|of| of.len() == length);
            if kept || all > self.texts_bytes_max {
                continue;
            }
            disk::replace(&path, bytes)?;
            *used = all;
        }
        Ok(())
    }

    /// Whether there is room for further texts.
    pub fn has_room(&self) -> bool {
        *lock(&self.texts_bytes) + BLOCK <= self.texts_bytes_max
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
    pub texts: &'b Gathered,
    pub root: &'b dyn Fn(u16, u64) -> Option<tlog::Hash>,
}

impl haetae_verify::Texts for Beside<'_> {
    fn has(&self, digest: &Digest) -> bool {
        self.texts.get(digest).is_some()
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

/// A file takes whole blocks: whoever writes a log may name very many very small texts.
const fn on_disk(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

const TEXTS: &str = "text";
/// Of the usual file systems.
const BLOCK: u64 = 4_096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[tokio::test]
    async fn a_full_shelf_keeps_what_it_has_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let texts: Vec<Vec<u8>> = (0..3).map(|n| vec![n; 10]).collect();
        let digests: Vec<Digest> =
            texts.iter().map(|text| Digest(Sha256::digest(text).into())).collect();
        let all: BTreeMap<Digest, Vec<u8>> = digests.iter().copied().zip(texts).collect();
        let of = |digest: Digest| std::future::ready(Ok(all.get(&digest).cloned()));
        let mut gathered = Gathered::default();
        gathered.bring(std::slice::from_ref(&digests), of).await.unwrap();
        let kept = |shelf: &Shelf| digests.iter().filter(|one| shelf.text(one).is_some()).count();
        // Of ten bytes each: what counts is what they take.
        let shelf = Shelf::open(dir.path(), 1, 2 * BLOCK).unwrap();
        assert!(shelf.has_room());
        shelf.keep_texts(&gathered).unwrap();
        assert_eq!((kept(&shelf), shelf.has_room()), (2, false));
        let shelf = Shelf::open(dir.path(), 1, 3 * BLOCK).unwrap();
        assert!(shelf.has_room());
        shelf.keep_texts(&gathered).unwrap();
        assert_eq!((kept(&shelf), shelf.has_room()), (3, false));
    }
}
