//! One lane, one round: the published checkpoint, the tiles up to it, the records under them, and one old bundle again.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use haetae_verify::export::Digest;
use hyper::StatusCode;
use sha2::{Digest as _, Sha256};
use tlog::tile::{self, Id};
use tlog::{Checkpoint, Hash, Note};

use super::tree::Tree;
use super::{BUNDLE, Mirror, Seen, lock};
use crate::remote::RemoteError;
use crate::witness::Log;

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

/// What a checkpoint came to.
enum Grown {
    Yes,
    Wrong(Wrong),
}

impl Lane {
    pub fn open(number: u16, log: Arc<Log>, dir: &Path) -> io::Result<Self> {
        let tree = Tree::open(dir)?;
        let seen = Seen { mirrored: tree.head().size, ..Seen::default() };
        let tree = Arc::new(Mutex::new(tree));
        // A log is mirrored once: `Config::lanes` sees to it.
        let _first = log.mirrored.set(Arc::clone(&tree));
        Ok(Self { number, log, tree, seen: Arc::new(Mutex::new(seen)) })
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.tree)
    }

    /// True when everything that is published is mirrored and judged. An error says in words what stood in the way.
    pub async fn round(&self, mirror: &Arc<Mirror>) -> Result<bool, String> {
        let note = match mirror.remote.checkpoint(self.number).await {
            Err(RemoteError::Status { status: StatusCode::NOT_FOUND, .. }) => {
                return self.nothing_published(mirror).await;
            }
            other => other.map_err(|cause| cause.to_string())?,
        };
        let grown = match self.read(&note) {
            Ok(checkpoint) => {
                self.seen().shown(checkpoint.size);
                self.up_to(mirror, &note, &checkpoint).await?
            }
            Err(wrong) if self.may_pass() => return Err(wrong.about),
            Err(wrong) => Grown::Wrong(wrong),
        };
        if let Grown::Wrong(wrong) = grown {
            let trouble = wrong.about.clone();
            self.alarm(mirror, wrong, Some(note)).await;
            return Err(trouble);
        }
        self.cosigned(mirror).await?;
        self.shows_all(mirror).await?;
        self.seen().standing.clear();
        let done = if mirror.entries { self.records(mirror).await? } else { true };
        self.compare(mirror).await?;
        Ok(done)
    }

    async fn nothing_published(&self, mirror: &Arc<Mirror>) -> Result<bool, String> {
        let size = self.tree().head().size;
        if size == 0 {
            return self.shows_all(mirror).await.map(|()| true);
        }
        let about = format!("no checkpoint is published any more; there was one of {size} records");
        if !self.may_pass() {
            let wrong = Wrong { what: "rolled_back", about: about.clone() };
            self.alarm(mirror, wrong, None).await;
        }
        Err(about)
    }

    /// Whether what is published otherwise than before may be a passing fault, of a replica or of what stands before it.
    fn may_pass(&self) -> bool {
        let mut seen = self.seen();
        seen.stale += 1;
        seen.stale < STALE_ROUNDS
    }

    /// What this witness cosigned must be shown too, sooner or later.
    async fn shows_all(&self, mirror: &Arc<Mirror>) -> Result<(), String> {
        let cosigned = self.log.state().kept.as_ref().map_or(0, |kept| kept.size);
        let shown = self.tree().head().size;
        let rounds = {
            let mut seen = self.seen();
            seen.withheld = if cosigned > shown { seen.withheld + 1 } else { 0 };
            seen.withheld
        };
        if rounds < WITHHELD_ROUNDS {
            return Ok(());
        }
        let about = format!("{cosigned} records were cosigned, and {shown} are shown");
        if rounds == WITHHELD_ROUNDS {
            self.alarm(mirror, Wrong { what: "withheld", about: about.clone() }, None).await;
        }
        Err(about)
    }

    /// The checkpoint, when a trusted key of the log signed it.
    fn read(&self, note: &str) -> Result<Checkpoint, Wrong> {
        let wrong = |about: &str| Wrong { what: "checkpoint", about: about.to_owned() };
        let parsed: Note =
            note.parse().map_err(|_| wrong("what is published is no signed note"))?;
        let checkpoint: Checkpoint =
            parsed.text().parse().map_err(|_| wrong("what is published is no checkpoint"))?;
        if checkpoint.origin != self.log.origin {
            return Err(wrong("the published checkpoint is of another log"));
        }
        parsed
            .verify(&self.log.keys)
            .map_err(|_| wrong("no trusted key of the log signed the published checkpoint"))?;
        Ok(checkpoint)
    }

    async fn up_to(
        &self,
        mirror: &Arc<Mirror>,
        note: &str,
        checkpoint: &Checkpoint,
    ) -> Result<Grown, String> {
        let head = self.tree().head().clone();
        let wrong = |what, about| Ok(Grown::Wrong(Wrong { what, about }));
        let size = checkpoint.size;
        match size.cmp(&head.size) {
            Ordering::Less => {
                let found = self.blocking(move |lane| Ok(lane.tree().root(size))).await?;
                if found != Some(checkpoint.root) {
                    return wrong(
                        "fork",
                        format!(
                            "the signed tree of {size} records is no part of the one of {} that was seen before",
                            head.size
                        ),
                    );
                }
                if self.may_pass() {
                    return Ok(Grown::Yes);
                }
                wrong(
                    "rolled_back",
                    format!(
                        "the published checkpoint has {size} records; one of {} was seen before",
                        head.size
                    ),
                )
            }
            Ordering::Equal if checkpoint.root != head.root => wrong(
                "fork",
                format!("two signed checkpoints of {size} records have different roots"),
            ),
            Ordering::Equal => Ok(Grown::Yes),
            Ordering::Greater => match self.grow(mirror, note, checkpoint).await {
                Ok(None) => Ok(Grown::Yes),
                Ok(Some(found)) => Ok(Grown::Wrong(found)),
                Err(trouble) => {
                    // What was appended has no signed root.
                    self.blocking(|lane| lane.tree().roll_back()).await?;
                    Err(trouble)
                }
            },
        }
    }

    /// Fetches the hashes up to a signed checkpoint, and takes them over if they lead to its root.
    async fn grow(
        &self,
        mirror: &Arc<Mirror>,
        note: &str,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Wrong>, String> {
        let (old, new) = (self.tree().head().clone(), checkpoint.size);
        let old = (old.size, old.root);
        while self.tree().size() < new {
            let from = self.tree().size();
            let first = from / BUNDLE;
            let last = first.saturating_add(TILES_AT_ONCE).min(new.div_ceil(BUNDLE));
            let ids = (first..last).map(|index| Id { level: 0, index }).collect();
            let tiles = mirror.remote.tiles(self.number, ids, new).await;
            let tiles = tiles.map_err(|cause| cause.to_string())?;
            let hashes: Vec<Hash> = tiles.into_values().flatten().collect();
            let (before, fresh) = hashes
                .split_at_checked(usize::try_from(from % BUNDLE).unwrap_or(usize::MAX))
                .ok_or("a tile is too short")?;
            let (before, fresh) = (before.to_vec(), fresh.to_vec());
            let same = self.blocking(move |lane| lane.tree().go_on(from, &before, &fresh)).await?;
            if !same {
                break;
            }
        }
        let (taken, note) = (checkpoint.clone(), note.to_owned());
        let grown = self
            .blocking(move |lane| {
                let mut tree = lane.tree();
                let fits = tree.size() == taken.size && tree.root(taken.size) == Some(taken.root);
                if fits {
                    tree.commit(&note, &taken)?;
                } else {
                    tree.roll_back()?;
                }
                Ok(fits)
            })
            .await?;
        if grown {
            self.seen().mirrored = new;
            return Ok(None);
        }
        let signed = (new, checkpoint.root);
        self.unlike(mirror, old, signed).await.map(Some)
    }

    /// Why what was served does not continue the mirrored tree: because the signed one does not, or because it is not of the signed one.
    async fn unlike(
        &self,
        mirror: &Arc<Mirror>,
        (old, root): (u64, Hash),
        signed: (u64, Hash),
    ) -> Result<Wrong, String> {
        let new = signed.0;
        Ok(match mirror.remote.roots(self.number, signed, vec![old]).await {
            Ok(roots) if roots.get(&old) != Some(&root) => Wrong {
                what: "fork",
                about: format!(
                    "the signed tree of {new} records does not extend the one of {old} that was seen before"
                ),
            },
            Ok(_) | Err(RemoteError::Content { .. }) => Wrong {
                what: "tree_root",
                about: format!(
                    "the tiles that are served do not lead to the root that was signed for {new} records"
                ),
            },
            Err(cause) => return Err(cause.to_string()),
        })
    }

    /// What this witness cosigned is what is mirrored.
    async fn cosigned(&self, mirror: &Arc<Mirror>) -> Result<(), String> {
        let kept = self.log.state().kept.clone();
        let Some(kept) = kept else { return Ok(()) };
        let (size, root) = (kept.size, kept.root);
        let found = self.blocking(move |lane| Ok(lane.tree().root(size))).await?;
        if found.is_none_or(|found| found == root) {
            return Ok(());
        }
        let about =
            format!("the mirrored tree has another root at {size} records than was cosigned");
        self.alarm(mirror, Wrong { what: "fork", about: about.clone() }, Some(kept.note)).await;
        Err(about)
    }

    /// Reads and judges records up to the mirrored tree, some bundles a round.
    async fn records(&self, mirror: &Arc<Mirror>) -> Result<bool, String> {
        let size = self.tree().head().size;
        for _ in 0..BUNDLES_A_ROUND {
            let from = self.seen().judged;
            if from >= size {
                return Ok(true);
            }
            let (leaves, _) = self.bundle(mirror, from / BUNDLE, size).await?;
            let skip = usize::try_from(from % BUNDLE).unwrap_or(usize::MAX);
            let wants = lock(&mirror.follower).wants(leaves.get(skip..).unwrap_or_default());
            let texts = self.texts(mirror, wants).await?;
            let (judging, lane) = (Arc::clone(mirror), self.clone());
            let judged = move || judging.judge(&lane, from, &leaves, texts);
            let to =
                tokio::task::spawn_blocking(judged).await.map_err(|cause| cause.to_string())?;
            self.seen().judged = to.map_err(|cause| cause.to_string())?;
        }
        Ok(self.seen().judged >= size)
    }

    async fn bundle(
        &self,
        mirror: &Arc<Mirror>,
        index: u64,
        size: u64,
    ) -> Result<(Vec<Vec<u8>>, u16), String> {
        let width = tile::width(Id { level: 0, index }, size);
        let leaves = mirror.remote.entries(self.number, index, width).await;
        leaves.map(|leaves| (leaves, width)).map_err(|cause| cause.to_string())
    }

    /// Texts from our own disk, else from the log; those that nobody keeps are left out.
    async fn texts(
        &self,
        mirror: &Arc<Mirror>,
        wants: Vec<Digest>,
    ) -> Result<BTreeMap<Digest, Vec<u8>>, String> {
        let mut texts = BTreeMap::new();
        for digest in wants {
            let kept = lock(&mirror.shelf).text(&digest);
            let kept = kept.filter(|bytes| Sha256::digest(bytes).as_slice() == digest.0);
            let found = if kept.is_some() {
                kept
            } else {
                let text = mirror.remote.text(self.number, digest.0).await;
                text.map_err(|cause| cause.to_string())?.map(Into::into)
            };
            texts.extend(found.map(|bytes| (digest, bytes)));
        }
        Ok(texts)
    }

    /// One bundle of old records a round, in turn: is it still what stands in the tree?
    async fn compare(&self, mirror: &Arc<Mirror>) -> Result<(), String> {
        let (size, judged) = (self.tree().head().size, self.seen().judged);
        if !mirror.entries || judged == 0 {
            return Ok(());
        }
        let index = self.seen().compare;
        let first = index * BUNDLE;
        // The next round takes the next one, whatever comes of this one.
        self.seen().compare = if first + BUNDLE >= judged { 0 } else { index + 1 };
        let (leaves, width) = self.bundle(mirror, index, size).await?;
        let to = first + u64::from(width);
        let hashes = self.blocking(move |lane| lane.tree().leaves(first, to)).await?;
        let places = (first..).zip(leaves.iter().zip(&hashes));
        let edited: Vec<u64> = places
            .filter(|(_, (leaf, hash))| Hash::leaf(leaf) != **hash)
            .map(|(index, _)| index)
            .filter(|index| *index < judged && self.seen().is_news(*index))
            .collect();
        for index in edited {
            let about =
                format!("the record at index {index} is served with other bytes than before");
            let (alarms, log) = (Arc::clone(&mirror.with.alarms), self.log.origin.clone());
            let raised = move || alarms.raise(&log, "record_edited", about);
            tokio::task::spawn_blocking(raised).await.map_err(|cause| cause.to_string())?;
        }
        Ok(())
    }

    /// Raised once while it stands; the note that shows it is kept.
    async fn alarm(&self, mirror: &Arc<Mirror>, wrong: Wrong, note: Option<String>) {
        if !self.seen().standing.insert(wrong.what) {
            return;
        }
        let (alarms, log) = (Arc::clone(&mirror.with.alarms), Arc::clone(&self.log));
        let before = Some(self.tree().head().note.clone()).filter(|note| !note.is_empty());
        let now_s = mirror.with.clock.unix_s();
        let raised = tokio::task::spawn_blocking(move || {
            // Only what the log signed is evidence against it.
            if let Some(note) = note.filter(|_| wrong.what != "checkpoint") {
                log.shelf.evidence(&note, before.as_deref(), now_s, false);
            }
            alarms.raise(&log.origin, wrong.what, wrong.about);
        });
        if raised.await.is_err() {
            tracing::error!("an alarm was not raised");
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let lane = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&lane)).await;
        done.map_err(|cause| cause.to_string())?
            .map_err(|cause| format!("the mirror's files: {cause}"))
    }
}

impl Seen {
    /// A checkpoint of this size is published.
    const fn shown(&mut self, size: u64) {
        self.published = size;
        if size >= self.mirrored {
            self.stale = 0;
        }
    }

    /// Whether a record was not told of before.
    fn is_news(&mut self, index: u64) -> bool {
        self.edited.len() < EDITED_MAX && self.edited.insert(index)
    }
}

/// 16,384 hashes, half a MB, before they are written.
const TILES_AT_ONCE: u64 = 64;
/// 16,384 records a second at most, so that one lane does not keep the others waiting.
const BUNDLES_A_ROUND: usize = 64;
/// Rounds for which a smaller checkpoint may be published, or none; a log that was rolled back stays so.
const STALE_ROUNDS: u32 = 10;
/// Rounds for which a cosigned checkpoint may not be published.
const WITHHELD_ROUNDS: u32 = 60;
/// Records found edited that are named one by one.
const EDITED_MAX: usize = 1_000;
