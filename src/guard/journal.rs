//! What was let in, and what was not: a file of lines, each naming the one before it by digest.
//!
//! A line of canonical JSON for each use of a receipt, written before the service is reached, and for each refusal as far
//! as there is room in the minute. `haetae log reconcile` holds it against the log.
//!
//! *Invariant:* only ever appended to. A line that was changed or taken out breaks the chain at the next one. A use goes on only while
//! some line of the last [`LOST_NS`] is known to be on the disk: so what a power cut can take away is bounded, and after one nothing is let
//! in that may have been used in that time, whatever the clock says then.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{GuardError, ticket::Proven};
use crate::clock::Clock;
use crate::disk;

mod pen;
mod read;
mod torn;

pub use read::entries;

use pen::Pen;

/// One line. Keys in the order in which they are written, which is byte order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<'e> {
    /// Nanoseconds since 1970, by the guard's clock.
    pub at_ns: i64,
    /// Of the machine, as long as it runs: what was written under another may have lost its end with the power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Cow<'e, str>>,
    /// How many refusals were not written one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Id of the decision, where a trusted log named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Cow<'e, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The lane's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Cow<'e, str>>,
    /// Where a refused request came from: /24 or /48.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Cow<'e, str>>,
    /// SHA-256 of the line before, in hex, without its newline; 64 zeros in the first.
    #[serde(default)]
    pub previous: Cow<'e, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Cow<'e, str>>,
    /// SHA-256, in hex, of what the power cut off and spoilt: it stands in a file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Cow<'e, str>>,
    pub v: u64,
    pub what: What,
    /// Code of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'e, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The guard began to serve; nothing from before is let in.
    Started,
    /// A receipt was used.
    Consumed,
    Refused,
    /// Refusals of a minute that had no room of their own.
    RefusedMore,
}

impl<'e> Entry<'e> {
    const fn new(what: What, at_ns: i64) -> Self {
        Self {
            at_ns,
            boot: None,
            count: None,
            decision: None,
            index: None,
            lane: None,
            network: None,
            previous: Cow::Borrowed(""),
            site: None,
            torn: None,
            v: 1,
            what,
            why: None,
        }
    }

    pub(super) fn consumed(proven: &'e Proven<'_>, at_ns: i64) -> Self {
        Self {
            decision: Some(Cow::Borrowed(&proven.decision)),
            index: Some(proven.index),
            lane: Some(Cow::Borrowed(&proven.tree.origin)),
            ..Self::new(What::Consumed, at_ns)
        }
    }

    pub(super) fn refused(
        why: &'e str,
        decision: Option<&'e str>,
        network: &'e str,
        at_ns: i64,
    ) -> Self {
        Self {
            decision: decision.map(Cow::Borrowed),
            network: Some(Cow::Borrowed(network)),
            why: Some(Cow::Borrowed(why)),
            ..Self::new(What::Refused, at_ns)
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    pen: Mutex<Pen>,
    /// Whoever brings the lines to the disk; the others wait and find theirs there.
    turn: tokio::sync::Mutex<()>,
}

/// When the guard starts, and by what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'s> {
    pub site: &'s str,
    /// Of the machine, where it can be told.
    pub boot: Option<&'s str>,
    pub now_ns: i64,
    /// Uses from here on are remembered.
    pub since_ns: i64,
    /// What the gateway's clock may be ahead.
    pub skew_ns: i64,
}

impl Journal {
    /// Checks what is there, takes the file for this process alone, and says that the guard starts. `used` is told the lane and
    /// index of each receipt that was used since an instant. Gives the instant before which no record is let in: that of the
    /// start, and after a power cut none that may have been used in what was lost.
    pub fn open(
        path: &Path,
        start: Start<'_>,
        mut used: impl FnMut(&str, u64),
    ) -> Result<(Self, i64), GuardError> {
        let wrong = |cause| GuardError::Journal { path: path.to_owned(), cause };
        let file =
            OpenOptions::new().create(true).append(true).read(true).open(path).map_err(wrong)?;
        file.try_lock().map_err(|cause| match cause {
            std::fs::TryLockError::Error(cause) => wrong(cause),
            std::fs::TryLockError::WouldBlock => {
                wrong(std::io::Error::new(ErrorKind::WouldBlock, "another guard writes it"))
            }
        })?;
        let mut each = |entry: &Entry<'_>| {
            let was_used = entry.what == What::Consumed && entry.at_ns >= start.since_ns;
            if let (true, Some(lane), Some(index)) = (was_used, &entry.lane, entry.index) {
                used(lane, index);
            }
        };
        let there = read::chain(path, |entry| each(&entry))?;
        let torn = there.broken.as_ref().map(|broken| torn::aside(path, &there, broken, &mut each));
        let torn = torn.transpose()?;
        let newest_ns = torn.as_ref().and_then(|torn| torn.newest_ns).max(there.newest_ns);
        let may_lack =
            torn.is_some() || start.boot.is_none() || there.boot.as_deref() != start.boot;
        let lost_ns = newest_ns.filter(|_| may_lack).unwrap_or(i64::MIN);
        let not_before_ns = lost_ns.saturating_add(LOST_NS + start.skew_ns).max(start.now_ns);
        // Half a line that a full disk left, or what now stands beside.
        file.set_len(there.bytes).map_err(wrong)?;
        let mut pen = Pen::new(file, there.last, there.bytes);
        pen.write(&Entry {
            boot: start.boot.map(Cow::Borrowed),
            site: Some(Cow::Borrowed(start.site)),
            torn: torn.map(|torn| Cow::Owned(torn.digest)),
            ..Entry::new(What::Started, start.now_ns)
        })
        .and_then(|()| pen.sync())
        .and_then(|()| disk::sync_directory(path))
        .map_err(wrong)?;
        Ok((Self { pen: Mutex::new(pen), turn: tokio::sync::Mutex::default() }, not_before_ns))
    }

    /// Returns when the line has left this process, and some line of the last [`LOST_NS`] has reached the disk: a kill does not lose
    /// it, and a power cut loses no more than that time. If we stop before, the line is written by whoever is next.
    pub async fn write(self: &Arc<Self>, entry: Entry<'_>) -> std::io::Result<()> {
        let at_ns = entry.at_ns;
        // A disk that is slow must not make what a power cut can spoil longer.
        if self.pen().is_overdue(at_ns) {
            self.bring(at_ns).await?;
        }
        let together = self.pen().push(&entry)?;
        // Requests that are as far as this one add their lines, and the first of them that goes on writes all.
        tokio::task::yield_now().await;
        let is_late = {
            let mut pen = self.pen();
            // Somebody may have written it while we waited for the pen.
            let outcome = together.get().copied();
            outcome.map_or_else(|| pen.flush(), |outcome| outcome.map_err(Into::into))?;
            pen.is_late(at_ns)
        };
        if is_late { self.bring(at_ns).await } else { Ok(()) }
    }

    /// Brings all lines to the disk, unless somebody did since.
    async fn bring(self: &Arc<Self>, at_ns: i64) -> std::io::Result<()> {
        let _turn = self.turn.lock().await;
        {
            let pen = self.pen();
            pen.is_sound()?;
            if !pen.is_overdue(at_ns) && !pen.is_late(at_ns) {
                return Ok(());
            }
        }
        let journal = Arc::clone(self);
        let synced = tokio::task::spawn_blocking(move || journal.sync()).await;
        synced.map_err(std::io::Error::other)?
    }

    /// The same for a refusal, at once: a stranger can send any number, so only some have a line.
    pub fn refusal(&self, entry: &Entry<'_>) -> std::io::Result<()> {
        let mut pen = self.pen();
        pen.turn(entry.at_ns)?;
        pen.refusal(entry)
    }

    /// Why nothing is let in any more, until the guard is started again.
    pub fn trouble(&self) -> Option<String> {
        self.pen().is_sound().err().map(|cause| cause.to_string())
    }

    /// Until the guard stops: what was written reaches the disk within a second.
    pub async fn keep(self: Arc<Self>, clock: Clock, stop: CancellationToken) {
        loop {
            let stopping = tokio::time::timeout(SYNC_EVERY, stop.cancelled()).await.is_ok();
            let (journal, now_ns) = (Arc::clone(&self), clock.unix_ns());
            let _turn = self.turn.lock().await;
            let synced = tokio::task::spawn_blocking(move || {
                journal.pen().turn(now_ns)?;
                journal.sync()
            });
            if let Ok(Err(cause)) = synced.await {
                tracing::error!(%cause, "the journal cannot be brought to the disk");
            }
            if stopping {
                return;
            }
        }
    }

    /// Blocks for as long as the disk takes; others may write meanwhile.
    fn sync(&self) -> std::io::Result<()> {
        let Some((file, upto)) = self.pen().unsynced()? else { return Ok(()) };
        let synced = file.sync_data();
        self.pen().synced(upto, synced)
    }

    fn pen(&self) -> std::sync::MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes with each start of the machine; nothing where that cannot be told.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= 64)
}

/// No more of the newest lines is lost, or spoilt, by a power cut.
const LOST_NS: i64 = 2_000_000_000;
const SYNC_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
