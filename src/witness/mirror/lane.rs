//! One lane, one round: the published checkpoint, the tiles up to it ([`grow`]), the records under them, and one old bundle again
//! ([`records`]).
//!
//! Of a tree that is much larger than ours the tiles above are fetched first and held against the signed root: what is under them is
//! fetched only up to roots that they give, piece by piece, so that whoever signs an enormous tree gets no more than a piece of
//! anything else onto our disk.

use std::cmp::Ordering;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::StatusCode;
use tlog::{Checkpoint, Hash, Note};

use super::tree::{Head, Tree};
use super::turns::Turn;
use super::{Mirror, Seen, aside, lock};
use crate::remote::RemoteError;
use crate::witness::log::Log;
use crate::witness::shelf::Weight;
use crate::witness::trouble::{Kind, Trouble};

mod grow;
mod records;

#[derive(Clone)]
pub(super) struct Lane {
    pub number: u16,
    pub log: Arc<Log>,
    tree: Arc<Mutex<Tree>>,
    seen: Arc<Mutex<Seen>>,
}

/// Something that only an alarm can answer.
struct Wrong {
    what: &'static str,
    about: String,
}

impl Wrong {
    /// As what it keeps the lane from going on.
    fn trouble(&self) -> Trouble {
        let kind = match self.what {
            "checkpoint" => Kind::NotSigned,
            "tree_root" => Kind::NotReadable,
            _ => Kind::Contradicts,
        };
        Trouble::new(kind, self.about.clone())
    }
}

/// What a checkpoint came to.
enum Grown {
    /// As far as this turn goes.
    Yes,
    Wrong(Wrong),
    /// It is sound as far as that can be told, and there is no room to follow it.
    NoRoom(Trouble),
}

/// A checkpoint that a trusted key of the log signed.
struct Signed {
    note: Note,
    checkpoint: Checkpoint,
}

impl Signed {
    const fn tree(&self) -> (u64, Hash) {
        (self.checkpoint.size, self.checkpoint.root)
    }

    /// The head of a tree that goes so far of it.
    fn head(&self, (size, root): (u64, Hash)) -> Head {
        Head { size, root, signed: self.tree(), note: self.note.to_string() }
    }
}

impl Lane {
    /// Gives too why it begins anew, where what was there does not fit itself.
    pub fn open(number: u16, log: Arc<Log>, dir: &Path) -> io::Result<(Self, Option<io::Error>)> {
        let (tree, why) = aside::open(dir, &log)?;
        let seen = Seen { mirrored: tree.head().size, ..Seen::default() };
        let tree = Arc::new(Mutex::new(tree));
        // A log is mirrored once: `Config::lanes` sees to it.
        let _first = log.mirrored.set(Arc::clone(&tree));
        Ok((Self { number, log, tree, seen: Arc::new(Mutex::new(seen)) }, why))
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.tree)
    }

    /// True when everything that is published is mirrored and judged. An error says what stood in the way.
    pub async fn round(&self, mirror: &Arc<Mirror>, turn: &Turn<'_>) -> Result<bool, Trouble> {
        let note = match mirror.remote.checkpoint(self.number).await {
            Err(RemoteError::Status { status: StatusCode::NOT_FOUND, .. }) => {
                return self.nothing_published(mirror).await;
            }
            other => other?,
        };
        self.settle().await?;
        let grown = match self.read(&note) {
            Ok(signed) => {
                let before = self.tree().head().signed.0;
                self.seen().shown(signed.checkpoint.size, before);
                let signed = Arc::new(signed);
                self.look(mirror, Some(Arc::clone(&signed))).await?;
                self.up_to(mirror, turn, &signed).await?
            }
            Err(wrong) if self.may_pass() => return Err(wrong.trouble()),
            Err(wrong) => Grown::Wrong(wrong),
        };
        let no_room = match grown {
            Grown::Yes => None,
            Grown::NoRoom(trouble) => Some(trouble),
            Grown::Wrong(wrong) => {
                let trouble = wrong.trouble();
                self.alarm(mirror, wrong, Some(note)).await;
                return Err(trouble);
            }
        };
        self.cosigned(mirror).await?;
        self.shows_all(mirror).await?;
        self.seen().standing.clear();
        let done = if mirror.entries { self.records(mirror, turn).await } else { Ok(true) };
        // Whatever keeps us from new records: the old ones are looked at.
        let compared = self.compare(mirror).await;
        let done = done?;
        compared?;
        no_room.map_or(Ok(done && self.tree().head().is_whole()), Err)
    }

    /// A head that the disk did not take, or may have: nothing is held against another one meanwhile.
    async fn settle(&self) -> Result<(), Trouble> {
        let settled = self.blocking(|lane| lane.tree().settle()).await;
        self.seen().mirrored = self.tree().head().size;
        settled
    }

    /// What the log shows may tell that the state of what was cosigned was lost.
    async fn look(&self, mirror: &Arc<Mirror>, shown: Option<Arc<Signed>>) -> Result<(), Trouble> {
        let mirror = Arc::clone(mirror);
        self.blocking(move |lane| {
            let shown = shown.as_ref().map(|signed| (&signed.note, &signed.checkpoint));
            lane.log.look(shown, &mirror.with.own, &mirror.with.alarms);
            Ok(())
        })
        .await
    }

    async fn nothing_published(&self, mirror: &Arc<Mirror>) -> Result<bool, Trouble> {
        let size = self.tree().head().signed.0;
        if size == 0 {
            self.look(mirror, None).await?;
            return self.shows_all(mirror).await.map(|()| true);
        }
        let about = format!("no checkpoint is published any more; there was one of {size} records");
        let wrong = Wrong { what: "rolled_back", about };
        let trouble = wrong.trouble();
        if !self.may_pass() {
            self.alarm(mirror, wrong, None).await;
        }
        Err(trouble)
    }

    /// Whether what is published otherwise than before may be a passing fault, of a replica or of what stands before it.
    fn may_pass(&self) -> bool {
        let mut seen = self.seen();
        seen.stale += 1;
        seen.stale < STALE_ROUNDS
    }

    /// What this witness cosigned must be shown too, sooner or later.
    async fn shows_all(&self, mirror: &Arc<Mirror>) -> Result<(), Trouble> {
        let cosigned = self.log.state().known().map_or(0, |known| known.size);
        let shown = self.tree().head().signed.0;
        let rounds = {
            let mut seen = self.seen();
            seen.withheld = if cosigned > shown { seen.withheld + 1 } else { 0 };
            seen.withheld
        };
        if rounds < WITHHELD_ROUNDS {
            return Ok(());
        }
        let about = format!("{cosigned} records were cosigned, and {shown} are shown");
        let wrong = Wrong { what: "withheld", about };
        let trouble = wrong.trouble();
        if rounds == WITHHELD_ROUNDS {
            self.alarm(mirror, wrong, None).await;
        }
        Err(trouble)
    }

    /// The checkpoint, when a trusted key of the log signed it.
    fn read(&self, note: &str) -> Result<Signed, Wrong> {
        let wrong = |about: &str| Wrong { what: "checkpoint", about: about.to_owned() };
        let note: Note = note.parse().map_err(|_| wrong("what is published is no signed note"))?;
        let checkpoint: Checkpoint =
            note.text().parse().map_err(|_| wrong("what is published is no checkpoint"))?;
        if checkpoint.origin != self.log.origin {
            return Err(wrong("the published checkpoint is of another log"));
        }
        note.verify(&self.log.keys)
            .map_err(|_| wrong("no trusted key of the log signed the published checkpoint"))?;
        Ok(Signed { note, checkpoint })
    }

    async fn up_to(
        &self,
        mirror: &Arc<Mirror>,
        turn: &Turn<'_>,
        signed: &Signed,
    ) -> Result<Grown, Trouble> {
        let head = self.tree().head().clone();
        let (size, root) = signed.tree();
        match size.cmp(&head.signed.0) {
            Ordering::Less => self.smaller(mirror, &head, signed).await,
            Ordering::Equal if root != head.signed.1 => {
                let about = format!(
                    "two signed checkpoints of {size} records have different roots: {root}, and {} before",
                    head.signed.1
                );
                Ok(Grown::Wrong(Wrong { what: "fork", about }))
            }
            Ordering::Equal if head.is_whole() => Ok(Grown::Yes),
            Ordering::Equal | Ordering::Greater => self.grow(mirror, turn, &head, signed).await,
        }
    }

    /// What a checkpoint comes to that is smaller than one that was seen.
    async fn smaller(
        &self,
        mirror: &Mirror,
        head: &Head,
        signed: &Signed,
    ) -> Result<Grown, Trouble> {
        let ((size, root), (seen, seen_root)) = (signed.tree(), head.signed);
        let found = self.root(mirror, head, size).await;
        if let Ok(found) = found
            && found != Some(root)
        {
            let found = found.unwrap_or(Hash::EMPTY);
            let about = format!(
                "the signed tree of {size} records is no part of the one of {seen} that was seen before: its root is {root}, and {found} there"
            );
            return Ok(Grown::Wrong(Wrong { what: "fork", about }));
        }
        if self.may_pass() {
            return found.map(|_| Grown::Yes);
        }
        // Whoever goes back no longer serves the tiles that would tell what it is: it went back all the same.
        let untold =
            if found.is_err() { ", and no tiles show that it is a part of that" } else { "" };
        let about = format!(
            "the published checkpoint has {size} records; one of {seen} was seen before{untold}: its root is {root}, and {seen_root} was seen"
        );
        Ok(Grown::Wrong(Wrong { what: "rolled_back", about }))
    }

    /// The root that the tree which was seen has at a smaller size: ours, or where ours does not go so far yet, from served tiles.
    async fn root(&self, mirror: &Mirror, head: &Head, size: u64) -> Result<Option<Hash>, Trouble> {
        let ours = self.blocking(move |lane| Ok(lane.tree().signed_root(size))).await?;
        if ours.is_some() || size <= head.size {
            return Ok(ours);
        }
        let roots = mirror.remote.roots(self.number, head.signed, vec![size]).await;
        Ok(roots?.get(&size).copied())
    }

    /// What this witness cosigned is what is mirrored.
    async fn cosigned(&self, mirror: &Arc<Mirror>) -> Result<(), Trouble> {
        let known = self.log.state().known().cloned();
        let head = self.tree().head().clone();
        // What goes further than all that is shown waits: `shows_all` counts for how long.
        let Some(known) = known.filter(|known| known.size <= head.signed.0) else { return Ok(()) };
        let (size, root) = known.tree();
        if self.seen().fits == Some((size, root)) {
            return Ok(());
        }
        let found = match self.root(mirror, &head, size).await {
            Ok(found) => found,
            Err(cause) => return Err(self.untold(mirror, size, cause).await),
        };
        self.seen().untold = 0;
        if found == Some(root) {
            self.seen().fits = Some((size, root));
            return Ok(());
        }
        let found = found.unwrap_or(Hash::EMPTY);
        let about = format!(
            "the mirrored tree has another root at {size} records than was cosigned: {found}, and {root} was cosigned"
        );
        let wrong = Wrong { what: "fork", about };
        let trouble = wrong.trouble();
        self.alarm(mirror, wrong, Some(known.note)).await;
        Err(trouble)
    }

    /// Nothing that is served tells whether what was cosigned is a part of what is published: after some rounds that is an alarm.
    async fn untold(&self, mirror: &Arc<Mirror>, size: u64, cause: Trouble) -> Trouble {
        let rounds = {
            let mut seen = self.seen();
            seen.untold += 1;
            seen.untold
        };
        if rounds < STALE_ROUNDS {
            return cause;
        }
        let about = format!(
            "{size} records were cosigned, and no tiles are served that show them to be a part of what is published"
        );
        let said = format!("{about}: {}", cause.said);
        let wrong = Wrong { what: "withheld", about };
        let trouble = Trouble { said, ..wrong.trouble() };
        self.alarm(mirror, wrong, None).await;
        trouble
    }

    /// Raised once while it stands; the note that shows it is kept.
    async fn alarm(&self, mirror: &Arc<Mirror>, wrong: Wrong, note: Option<String>) {
        let is_news = self.seen().standing.insert(wrong.what);
        // Only what the log signed is evidence against it; tried again until it is on the disk.
        let note = note.filter(|_| wrong.what != "checkpoint");
        if !is_news && note.is_none() {
            return;
        }
        let weight = if wrong.what == "tree_root" { Weight::Tiles } else { Weight::Tree };
        let (alarms, log) = (Arc::clone(&mirror.with.alarms), Arc::clone(&self.log));
        let before = Some(self.tree().head().note.clone()).filter(|note| !note.is_empty());
        let now_s = mirror.with.clock.unix_s();
        let raised = tokio::task::spawn_blocking(move || {
            if let Some(note) = note {
                log.evidence(&mut log.state(), &note, before.as_deref(), now_s, weight);
            }
            if is_news {
                alarms.raise(&log.origin, wrong.what, wrong.about);
            }
        });
        if raised.await.is_err() {
            tracing::error!("an alarm was not raised");
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Trouble> {
        let lane = self.clone();
        Ok(tokio::task::spawn_blocking(move || work(&lane)).await??)
    }
}

impl Seen {
    /// A checkpoint of this size is published, after one of `before`.
    const fn shown(&mut self, size: u64, before: u64) {
        self.published = size;
        if size >= before {
            self.stale = 0;
        }
    }

    /// Whether a record was not told of before.
    fn is_news(&mut self, index: u64) -> bool {
        self.edited.len() < EDITED_MAX && self.edited.insert(index)
    }
}

/// Rounds for which a smaller checkpoint may be published, or none; a log that was rolled back stays so.
const STALE_ROUNDS: u32 = 10;
/// Rounds for which a cosigned checkpoint may not be published.
const WITHHELD_ROUNDS: u32 = 60;
/// Records found edited that are named one by one.
const EDITED_MAX: usize = 1_000;
