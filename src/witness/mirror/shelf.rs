//! Records and texts on our own disk: a file for each entry bundle (as tlog-tiles names it) and for each text.
//!
//! *Invariant:* of bounded size: the oldest bundles make room, and texts are no longer kept when they have used theirs up; those are
//! fetched again when they are wanted again. While the disk or the mirror's share of it has no room ([`room`](crate::witness::room)), a
//! bundle is kept as far as older ones went, and no text.

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
    records: Mutex<Records>,
    /// Locked while a text is written: lanes may want to keep the same one.
    texts_bytes: Mutex<u64>,
    texts_bytes_max: u64,
}

/// Of all bundles.
#[derive(Debug)]
struct Records {
    bytes: u64,
    /// What they took when there was room last: what replaces others needs none.
    most: u64,
}

impl Shelf {
    pub fn open(dir: &Path, records_max: u64, texts_bytes_max: u64) -> io::Result<Self> {
        let texts = dir.join(TEXTS);
        disk::make_directory(&texts)?;
        let texts_bytes = Mutex::new(taken(&texts)?);
        let bundles_max = (records_max / u64::from(WIDTH)).max(1);
        let mut records_bytes = 0;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // Lanes that are mirrored no more take their room all the same.
            let is_lane = |name: &str| name.parse::<u16>().is_ok();
            if entry.file_name().to_str().is_some_and(is_lane) {
                records_bytes += taken(&entry.path())?;
            }
        }
        let records = Mutex::new(Records { bytes: records_bytes, most: records_bytes });
        let dir = dir.to_owned();
        Ok(Self { dir, bundles_max, records, texts_bytes, texts_bytes_max })
    }

    /// Bytes that records and texts take: measured once, and counted from there on.
    pub fn bytes(&self) -> u64 {
        let records = lock(&self.records).bytes;
        records.saturating_add(*lock(&self.texts_bytes))
    }

    /// Keeps the records of a bundle as far as it goes; unless all may grow, only in the place of others. One lane's are kept one after
    /// the other.
    pub fn keep(
        &self,
        lane: u16,
        index: u64,
        leaves: &[Vec<u8>],
        may_grow: bool,
    ) -> io::Result<()> {
        if let Some(oldest) = index.checked_sub(self.bundles_max) {
            self.remove(lane, oldest)?;
        }
        let bytes = bundle::encode(leaves.iter().map(Vec::as_slice)).map_err(io::Error::other)?;
        let path = self.bundle(lane, index);
        let before = length(&path)?;
        if !may_grow && !lock(&self.records).is_enough(before, bytes.len() as u64) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            disk::make_directory(parent)?;
        }
        disk::replace(&path, &bytes)?;
        lock(&self.records).count(before, Some(bytes.len() as u64), may_grow);
        Ok(())
    }

    /// Older than those that are kept: whether or not what comes in its place can be.
    fn remove(&self, lane: u16, index: u64) -> io::Result<()> {
        let path = self.bundle(lane, index);
        let before = length(&path)?;
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => {
                lock(&self.records).count(before, None, false);
                Ok(())
            }
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

impl Records {
    /// What all take when a bundle's file had this length, and has that one.
    fn with(&self, before: Option<u64>, now: Option<u64>) -> u64 {
        let more = self.bytes.saturating_add(now.map_or(0, on_disk));
        more.saturating_sub(before.map_or(0, on_disk))
    }

    fn is_enough(&self, before: Option<u64>, now: u64) -> bool {
        let all = self.with(before, Some(now));
        all <= self.most || all <= self.bytes
    }

    fn count(&mut self, before: Option<u64>, now: Option<u64>, has_room: bool) {
        self.bytes = self.with(before, now);
        if has_room {
            self.most = self.bytes;
        }
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

/// Length of a file, where there is one.
fn length(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(of) => Ok(Some(of.len())),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// What the files under a folder take; as deep as tlog-tiles names bundles.
fn taken(dir: &Path) -> io::Result<u64> {
    let (mut all, mut dirs) = (0_u64, vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let of = entry.metadata()?;
            if of.is_dir() {
                dirs.push(entry.path());
            } else {
                all = all.saturating_add(on_disk(of.len()));
            }
        }
    }
    Ok(all)
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

    /// While it goes on and after a restart.
    #[test]
    fn what_records_take_is_counted_as_it_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Shelf::open(dir.path(), 2 * u64::from(WIDTH), BLOCK).unwrap();
        let shelf = open();
        let full = vec![vec![b'x'; 100]; 256];
        let bytes = on_disk(256 * 102);
        for (lane, index, leaves, expected) in [
            (0, 0, &full[..1], BLOCK),
            (0, 0, &full[..], bytes),
            (0, 0, &full[..], bytes),
            (1, 0, &full[..2], bytes + BLOCK),
            (0, 1, &full[..], 2 * bytes + BLOCK),
            // The oldest makes room.
            (0, 2, &full[..1], bytes + 2 * BLOCK),
        ] {
            shelf.keep(lane, index, leaves, true).unwrap();
            assert_eq!((shelf.bytes(), open().bytes()), (expected, expected), "{lane}/{index}");
        }
        std::fs::write(shelf.path_of(&Digest([7; 32])), b"text").unwrap();
        assert_eq!(open().bytes(), bytes + 3 * BLOCK);
    }

    #[test]
    fn without_room_records_are_kept_in_the_place_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path(), 2 * u64::from(WIDTH), BLOCK).unwrap();
        let full = vec![vec![b'x'; 100]; 256];
        let bytes = on_disk(256 * 102);
        let kept = |index| shelf.bundle(0, index).exists();
        shelf.keep(0, 0, &full, true).unwrap();
        shelf.keep(0, 1, &full, false).unwrap();
        assert_eq!((kept(0), kept(1), shelf.bytes()), (true, false, bytes));
        shelf.keep(0, 1, &full, true).unwrap();
        // It comes record by record, and goes as far as the one that went.
        for (leaves, expected) in [(&full[..1], bytes + BLOCK), (&full[..], 2 * bytes)] {
            shelf.keep(0, 2, leaves, false).unwrap();
            assert_eq!((kept(0), kept(2), shelf.bytes()), (false, true, expected));
        }
        // Others are larger: the oldest is beyond what is kept nevertheless.
        let larger = vec![vec![b'x'; 200]; 256];
        shelf.keep(0, 3, &larger, false).unwrap();
        assert_eq!((kept(1), kept(3), shelf.bytes()), (false, false, bytes));
    }

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
