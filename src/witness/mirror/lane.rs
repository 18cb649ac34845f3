//! One lane, one round: the published checkpoint, the tiles up to it, the records under them, and one old bundle again.
//!
//! Of a tree that is much larger than ours the tiles above are fetched first and held against the signed root: what is under them is
//! fetched only up to roots that they give, piece by piece, so that whoever signs an enormous tree gets no more than a piece of
//! anything else onto our disk.

use std::cmp::Ordering;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use haetae_verify::export::Digest;
use hyper::StatusCode;
use tlog::tile::{self, Id};
use tlog::{Checkpoint, Hash, Note};

use super::texts::Gathered;
use super::tree::{Head, Tree};
use super::turns::Turn;
use super::{BUNDLE, Bundle, Mirror, Seen, aside, lock};
use crate::remote::RemoteError;
use crate::witness::Log;
use crate::witness::shelf::Weight;
use crate::witness::trouble::{Kind, Trouble};

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

    /// Fetches hashes up to a signed checkpoint, some pieces a round, and takes each over if it leads to the root there.
    async fn grow(
        &self,
        mirror: &Arc<Mirror>,
        turn: &Turn<'_>,
        head: &Head,
        signed: &Signed,
    ) -> Result<Grown, Trouble> {
        if let Err(trouble) = self.room(mirror).await? {
            return self.without_room(mirror, head, signed, trouble).await;
        }
        let (size, root) = signed.tree();
        let ends = ends(head.size, size);
        let way = if head.is_whole() && ends == [size] {
            // A piece is little: it is held against the signed root itself.
            vec![(size, root)]
        } else {
            match self.way(mirror, head, signed.tree(), &ends).await? {
                Ok(way) => way,
                Err(wrong) => return Ok(Grown::Wrong(wrong)),
            }
        };
        for to in way {
            if !self.extend(mirror, signed, to).await? {
                let wrong = self.unlike(mirror, head, signed.tree()).await?;
                return Ok(Grown::Wrong(wrong));
            }
            if turn.is_over() {
                break;
            }
            if let Err(trouble) = self.room(mirror).await? {
                return Ok(Grown::NoRoom(trouble));
            }
        }
        Ok(Grown::Yes)
    }

    /// The roots at these sizes on the way to a signed tree, which must extend what was seen; from tiles that lead to its root.
    async fn way(
        &self,
        mirror: &Mirror,
        head: &Head,
        signed: (u64, Hash),
        ends: &[u64],
    ) -> Result<Result<Vec<(u64, Hash)>, Wrong>, Trouble> {
        let new = signed.0;
        let seen = [(head.size, head.root), head.signed];
        let sizes = seen.iter().map(|(size, _)| *size).chain(ends.iter().copied()).collect();
        let roots = match mirror.remote.roots(self.number, signed, sizes).await {
            Ok(roots) => roots,
            Err(RemoteError::Content { .. }) => return Ok(Err(not_the_tree(new))),
            Err(cause) => return Err(cause.into()),
        };
        let other = seen.iter().find(|(size, root)| roots.get(size) != Some(root));
        if let Some((old, root)) = other {
            let there = roots.get(old).copied().unwrap_or(Hash::EMPTY);
            let about = format!(
                "the signed tree of {new} records does not extend the one of {old} that was seen before: its root there is {there}, and {root} was seen"
            );
            return Ok(Err(Wrong { what: "fork", about }));
        }
        Ok(Ok(ends.iter().filter_map(|end| Some((*end, *roots.get(end)?))).collect()))
    }

    /// Fetches the hashes up to a size, and takes them over if they lead to the root that the signed tree has there.
    async fn extend(
        &self,
        mirror: &Mirror,
        signed: &Signed,
        to: (u64, Hash),
    ) -> Result<bool, Trouble> {
        let tiles = self.tree().size() / BUNDLE..to.0.div_ceil(BUNDLE);
        let ids = tiles.map(|index| Id { level: 0, index }).collect();
        let tiles = mirror.remote.tiles(self.number, ids, signed.checkpoint.size).await;
        let hashes: Vec<Hash> = tiles?.into_values().flatten().collect();
        let head = signed.head(to);
        let taken = self.blocking(move |lane| lane.tree().go_on(&hashes, head)).await;
        self.seen().mirrored = self.tree().head().size;
        taken
    }

    /// What is signed is remembered when it extends what was seen, though there is no room to follow it: it is one small file.
    async fn without_room(
        &self,
        mirror: &Mirror,
        head: &Head,
        signed: &Signed,
        trouble: Trouble,
    ) -> Result<Grown, Trouble> {
        if head.signed == signed.tree() {
            return Ok(Grown::NoRoom(trouble));
        }
        if let Err(wrong) = self.way(mirror, head, signed.tree(), &[]).await? {
            return Ok(Grown::Wrong(wrong));
        }
        let head = signed.head((head.size, head.root));
        self.blocking(move |lane| lane.tree().commit(head)).await?;
        Ok(Grown::NoRoom(trouble))
    }

    async fn room(&self, mirror: &Arc<Mirror>) -> Result<Result<(), Trouble>, Trouble> {
        let looking = Arc::clone(mirror);
        self.blocking(move |_| Ok(looking.room())).await
    }

    /// Why what was served does not continue the mirrored tree: because the signed one does not, or because it is not of the signed one.
    async fn unlike(
        &self,
        mirror: &Mirror,
        head: &Head,
        signed: (u64, Hash),
    ) -> Result<Wrong, Trouble> {
        let way = self.way(mirror, head, signed, &[]).await?;
        Ok(way.err().unwrap_or_else(|| not_the_tree(signed.0)))
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

    /// Reads and judges records up to the mirrored tree, some bundles a round.
    async fn records(&self, mirror: &Arc<Mirror>, turn: &Turn<'_>) -> Result<bool, Trouble> {
        let size = self.tree().head().size;
        for _ in 0..BUNDLES_A_ROUND {
            let from = self.seen().judged;
            if from >= size {
                return Ok(true);
            }
            let (leaves, _) = self.bundle(mirror, from / BUNDLE, size).await?;
            self.bundle_judged(mirror, turn, from, leaves).await?;
            if turn.is_over() {
                break;
            }
        }
        Ok(self.seen().judged >= size)
    }

    /// Judges what is new in a bundle, as many records at a time as there are texts for in memory.
    async fn bundle_judged(
        &self,
        mirror: &Arc<Mirror>,
        turn: &Turn<'_>,
        from: u64,
        leaves: Vec<Vec<u8>>,
    ) -> Result<(), Trouble> {
        let end = from / BUNDLE * BUNDLE + leaves.len() as u64;
        let mut bundle = Bundle { leaves, from, count: usize::MAX };
        while bundle.from < end {
            let to;
            (bundle, to) = self.piece_judged(mirror, bundle).await?;
            self.seen().judged = to;
            (bundle.from, bundle.count) = (to, usize::MAX);
            if turn.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Judges the next records of a bundle; gives how far the lane is judged then.
    async fn piece_judged(
        &self,
        mirror: &Arc<Mirror>,
        mut bundle: Bundle,
    ) -> Result<(Bundle, u64), Trouble> {
        let mut texts = Gathered::default();
        for _ in 0..TRIES {
            let (wanting, all) = (Arc::clone(mirror), bundle);
            let (wants, all) = self.blocking(move |_| Ok((wanting.wants(&all), all))).await?;
            bundle = all;
            bundle.count = texts.bring(&wants, |digest| self.text(mirror, digest)).await?;
            let (judging, lane, all) = (Arc::clone(mirror), self.clone(), bundle);
            let judged = tokio::task::spawn_blocking(move || {
                let to = judging.judge(&lane, &all, &texts);
                (to, all, texts)
            });
            let to;
            (to, bundle, texts) = judged.await?;
            if let Some(to) = to? {
                return Ok((bundle, to));
            }
            bundle.count = usize::MAX;
        }
        let said = "what was known of other lanes was forgotten again and again";
        Err(Trouble::new(Kind::Own, said))
    }

    async fn bundle(
        &self,
        mirror: &Arc<Mirror>,
        index: u64,
        size: u64,
    ) -> Result<(Vec<Vec<u8>>, u16), Trouble> {
        let width = tile::width(Id { level: 0, index }, size);
        let leaves = mirror.remote.entries(self.number, index, width).await;
        Ok((leaves?, width))
    }

    /// A text from our own disk, else from the log; `None` when nobody keeps it.
    async fn text(&self, mirror: &Arc<Mirror>, digest: Digest) -> Result<Option<Vec<u8>>, Trouble> {
        let ours = Arc::clone(mirror);
        let kept = self.blocking(move |_| Ok(ours.shelf.text(&digest))).await?;
        if kept.is_some() {
            return Ok(kept);
        }
        let text = mirror.remote.text(self.number, digest.0).await;
        Ok(text?.map(Into::into))
    }

    /// One bundle of old records a round, in turn: is it still what stands in the tree?
    async fn compare(&self, mirror: &Arc<Mirror>) -> Result<(), Trouble> {
        let size = self.tree().head().size;
        // A mirror that began anew is not as far as it was judged.
        let judged = self.seen().judged.min(size);
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
            tokio::task::spawn_blocking(raised).await?;
        }
        Ok(())
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

/// Where the pieces of a round end.
fn ends(from: u64, signed: u64) -> Vec<u64> {
    let next = |at: u64| (at / BUNDLE).saturating_add(TILES_AT_ONCE).saturating_mul(BUNDLE);
    let next = |at: u64| (at < signed).then(|| next(at).min(signed));
    std::iter::successors(next(from), |at| next(*at)).take(PIECES_A_ROUND).collect()
}

fn not_the_tree(size: u64) -> Wrong {
    let about = format!(
        "the tiles that are served do not lead to the root that was signed for {size} records"
    );
    Wrong { what: "tree_root", about }
}

/// 16,384 hashes, half a MB, before they are written.
const TILES_AT_ONCE: u64 = 64;
/// 262,144 hashes, 8 MB.
const PIECES_A_ROUND: usize = 16;
/// 16,384 records.
const BUNDLES_A_ROUND: usize = 64;
/// Each time others must have been judged by the thousand in between.
const TRIES: usize = 10;
/// Rounds for which a smaller checkpoint may be published, or none; a log that was rolled back stays so.
const STALE_ROUNDS: u32 = 10;
/// Rounds for which a cosigned checkpoint may not be published.
const WITHHELD_ROUNDS: u32 = 60;
/// Records found edited that are named one by one.
const EDITED_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_goes_some_pieces_and_never_past_what_is_signed() {
        let piece = TILES_AT_ONCE * BUNDLE;
        assert_eq!(ends(0, 0), [0_u64; 0]);
        assert_eq!(ends(0, 1), [1]);
        assert_eq!(ends(7, piece), [piece]);
        assert_eq!(ends(300, piece + 300), [piece + 256, piece + 300]);
        assert_eq!(ends(piece, piece), [0_u64; 0]);
        let far = ends(piece + 1, 1 << 60);
        assert_eq!(
            (far.len(), far.first(), far.last()),
            (16, Some(&(2 * piece)), Some(&(17 * piece)))
        );
        assert_eq!(ends(u64::MAX - 1, u64::MAX), [u64::MAX]);
    }
}
