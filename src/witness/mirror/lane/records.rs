//! The records under the mirrored tree: read and judged as they come, and old ones looked at again.

use std::sync::Arc;

use haetae_verify::export::Digest;
use tlog::Hash;
use tlog::tile::{self, Id};

use super::Lane;
use crate::witness::mirror::texts::Gathered;
use crate::witness::mirror::turns::Turn;
use crate::witness::mirror::{BUNDLE, Bundle, Mirror};
use crate::witness::trouble::{Kind, Trouble};

impl Lane {
    /// Reads and judges records up to the mirrored tree, some bundles a round.
    pub(super) async fn records(
        &self,
        mirror: &Arc<Mirror>,
        turn: &Turn<'_>,
    ) -> Result<bool, Trouble> {
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
    pub(super) async fn compare(&self, mirror: &Arc<Mirror>) -> Result<(), Trouble> {
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
}

/// 16,384 records.
const BUNDLES_A_ROUND: usize = 64;
/// Each time others must have been judged by the thousand in between.
const TRIES: usize = 10;
