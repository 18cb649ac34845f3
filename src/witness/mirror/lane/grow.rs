//! From the tree that is here towards a larger one that was signed, piece by piece.
//!
//! *Invariant:* nothing is fetched under a root that no tiles gave which lead to the signed one.

use std::sync::Arc;

use tlog::Hash;
use tlog::tile::Id;

use super::{Grown, Lane, Signed, Wrong};
use crate::remote::RemoteError;
use crate::witness::mirror::tree::Head;
use crate::witness::mirror::turns::Turn;
use crate::witness::mirror::{BUNDLE, Mirror};
use crate::witness::trouble::Trouble;

impl Lane {
    /// Fetches hashes up to a signed checkpoint, some pieces a round, and takes each over if it leads to the root there.
    pub(super) async fn grow(
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
