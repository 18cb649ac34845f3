//! What writes the lines, and knows how many of them are on the disk.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use super::{Entry, LOST_NS, What};

#[derive(Debug)]
pub(super) struct Pen {
    pub(super) file: File,
    /// Of the lines in the file: their bytes, and the digest of the last.
    length: u64,
    last: String,
    /// Something may stand behind them that could not be taken away.
    spoilt: bool,
    /// Lines that are not in the file yet, who hears of them, and the digest of the line that the next one follows.
    pending: Vec<u8>,
    together: Together,
    previous: String,
    /// The newest time of a line, in the file and pending, and of one that is on the disk.
    newest_ns: i64,
    synced_ns: Option<i64>,
    /// From this time on lines are perhaps not on the disk; nothing when all are.
    unsynced_ns: Option<i64>,
    /// The disk failed: what of the file is on it nobody knows, and it would not say so twice.
    failed: Option<ErrorKind>,
    /// Minute of the refusals counted here, how many had a line, and how many had none.
    minute: i64,
    written: u64,
    more: u64,
}

/// How the writing of some lines went, once it is known.
type Together = Arc<OnceLock<Result<(), ErrorKind>>>;

/// As far as the file was when somebody began to bring it to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct UpTo {
    length: u64,
    newest_ns: i64,
}

impl Pen {
    pub fn new(file: File, last: String, length: u64) -> Self {
        Self {
            file,
            length,
            previous: last.clone(),
            last,
            spoilt: false,
            pending: Vec::new(),
            together: Together::default(),
            newest_ns: i64::MIN,
            synced_ns: None,
            unsynced_ns: None,
            failed: None,
            minute: 0,
            written: 0,
            more: 0,
        }
    }

    pub fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.push(entry)?;
        self.flush()
    }

    /// Adds the line to those that are written next.
    pub fn push(&mut self, entry: &Entry<'_>) -> io::Result<Together> {
        self.is_sound()?;
        let start = self.pending.len();
        let entry = Entry { previous: (&*self.previous).into(), ..entry.clone() };
        if let Err(cause) = serde_json::to_writer(&mut self.pending, &entry) {
            self.pending.truncate(start);
            return Err(cause.into());
        }
        let line = self.pending.get(start..).unwrap_or_default();
        let at_ns = entry.at_ns;
        self.previous = hex::encode(Sha256::digest(line));
        self.pending.push(b'\n');
        self.newest_ns = self.newest_ns.max(at_ns);
        self.unsynced_ns.get_or_insert(at_ns);
        Ok(Arc::clone(&self.together))
    }

    /// Writes what is pending: all of it, or nothing stays in the file and everybody who waits hears of it.
    pub fn flush(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.pending);
        let outcome = self.append(&lines);
        match &outcome {
            Ok(()) => self.last.clone_from(&self.previous),
            Err(_) => self.previous.clone_from(&self.last),
        }
        // Each is settled here and nowhere else, with the pen in hand.
        let told = outcome.as_ref().copied().map_err(io::Error::kind);
        let _first = std::mem::take(&mut self.together).set(told);
        // Its room is used again.
        self.pending = lines;
        self.pending.clear();
        outcome
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.cut()?;
        if let Err(cause) = self.file.write_all(lines) {
            // A full disk may have taken half of it. If that cannot be taken away now, nothing is written until it is.
            self.spoilt = true;
            self.cut()?;
            return Err(cause);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Takes away what stands behind the lines.
    fn cut(&mut self) -> io::Result<()> {
        if self.spoilt {
            self.file.set_len(self.length)?;
            self.spoilt = false;
        }
        Ok(())
    }

    /// A line for a refusal, or one more that has none: in a minute that had many, and while the disk does not follow.
    pub fn refusal(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.is_sound()?;
        if self.written >= REFUSALS_A_MINUTE || self.is_overdue(entry.at_ns) {
            self.more += 1;
            return Ok(());
        }
        self.written += 1;
        self.write(entry)
    }

    /// Says at the end of a minute how many refusals had no line.
    pub fn turn(&mut self, now_ns: i64) -> io::Result<()> {
        let minute = now_ns.div_euclid(MINUTE_NS);
        if minute == self.minute || self.more > 0 && self.is_overdue(now_ns) {
            return Ok(());
        }
        let more = std::mem::take(&mut self.more);
        (self.minute, self.written) = (minute, 0);
        if more == 0 {
            return Ok(());
        }
        self.write(&Entry { count: Some(more), ..Entry::new(What::RefusedMore, now_ns) })
    }

    /// An error once the disk failed.
    pub fn is_sound(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| {
            let why = format!("an earlier part of it could not be brought to the disk ({kind})");
            Err(io::Error::new(kind, why))
        })
    }

    /// Lines of so long ago are not on the disk that another must wait.
    pub fn is_overdue(&self, at_ns: i64) -> bool {
        self.unsynced_ns.is_some_and(|since_ns| at_ns.saturating_sub(since_ns) > LOST_NS)
    }

    /// No line that is on the disk is new enough to bound what could be lost with this one.
    pub fn is_late(&self, at_ns: i64) -> bool {
        self.synced_ns.is_none_or(|synced_ns| at_ns.saturating_sub(synced_ns) > LOST_NS)
    }

    #[cfg(test)]
    pub const fn synced_ns(&self) -> Option<i64> {
        self.synced_ns
    }

    /// The file and how far it goes, where lines of it are perhaps not on the disk.
    pub fn unsynced(&mut self) -> io::Result<Option<(File, UpTo)>> {
        self.is_sound()?;
        self.flush()?;
        if self.unsynced_ns.is_none() {
            return Ok(None);
        }
        let upto = UpTo { length: self.length, newest_ns: self.newest_ns };
        Ok(Some((self.file.try_clone()?, upto)))
    }

    /// Notes how that went.
    pub fn synced(&mut self, upto: UpTo, outcome: io::Result<()>) -> io::Result<()> {
        if let Err(cause) = outcome {
            self.failed = Some(cause.kind());
            return Err(cause);
        }
        self.synced_ns = self.synced_ns.max(Some(upto.newest_ns));
        let is_whole = self.length == upto.length && self.pending.is_empty();
        self.unsynced_ns = if is_whole { None } else { Some(upto.newest_ns) };
        Ok(())
    }

    /// At the start, when nobody else writes.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some((file, upto)) = self.unsynced()? else { return Ok(()) };
        let synced = file.sync_data();
        self.synced(upto, synced)
    }
}

const MINUTE_NS: i64 = 60_000_000_000;
/// 250 bytes each: a stranger who floods the site writes 216 MB a day at the very most.
const REFUSALS_A_MINUTE: u64 = 600;
