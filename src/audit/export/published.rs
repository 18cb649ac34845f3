//! At which of the published checkpoints what is shown ends.

mod store;

pub(super) use store::{Published, all};

/// The checkpoint at which what is shown ends: for whoever wants witnesses, the one that most of them cosigned, the newest of these. What
/// comes after it is some seconds old at most, as it would be with the newest: a witness is a second behind. Was something published
/// longer ago and is not cosigned, the witness is away, and the newest is shown: readers hold the end against what heartbeats say of it.
pub(super) fn end(all: &[Published]) -> Option<&Published> {
    let behind = all.iter().rposition(|one| !one.young).unwrap_or(0);
    all.get(behind..)?.iter().max_by_key(|one| one.cosignatures)
}

/// The checkpoint up to which somebody who wants the records before `wanted` is shown them: a cosigned one, if one follows soon.
pub(super) fn covering(all: &[Published], wanted: u64) -> Option<&Published> {
    let enough = || all.iter().filter(|one| one.stored.size >= wanted);
    enough().take(SOON).find(|one| one.cosignatures > 0).or_else(|| enough().next())
}

/// Checkpoints, one a second at most.
const SOON: usize = 10;

#[cfg(test)]
mod tests {
    //! Where an export ends.

    use super::*;
    use crate::audit::verify::store::StoredCheckpoint;

    /// Size, cosignatures, whether it is young.
    fn published(all: &[(u64, i64, bool)]) -> Vec<Published> {
        let one = |&(size, cosignatures, young): &(u64, i64, bool)| Published {
            stored: StoredCheckpoint { size, note: String::new(), vkey: String::new() },
            cosignatures,
            young,
        };
        all.iter().map(one).collect()
    }

    fn ends(all: &[(u64, i64, bool)]) -> Option<u64> {
        end(&published(all)).map(|end| end.stored.size)
    }

    #[test]
    fn it_ends_at_the_newest_that_most_witnesses_cosigned_unless_they_are_away() {
        assert_eq!(ends(&[]), None);
        assert_eq!(ends(&[(1, 0, false), (2, 0, true)]), Some(2), "there are no witnesses");
        assert_eq!(ends(&[(1, 1, false), (2, 1, true), (3, 0, true)]), Some(2));
        assert_eq!(ends(&[(1, 2, false), (2, 2, true), (3, 1, true)]), Some(2));
        assert_eq!(ends(&[(1, 1, false), (2, 1, true), (3, 1, true)]), Some(3));
        assert_eq!(ends(&[(1, 1, false), (2, 0, true)]), Some(1), "a quiet lane grew just now");
        assert_eq!(ends(&[(1, 1, false), (2, 0, false), (3, 0, true)]), Some(3), "they are away");
        assert_eq!(ends(&[(1, 1, false), (2, 0, false)]), Some(2), "it was stopped");
    }

    #[test]
    fn what_is_asked_for_ends_at_a_cosigned_one_if_one_follows_soon() {
        let all = published(&[(1, 1, false), (2, 0, false), (3, 1, false), (4, 0, false)]);
        let covers = |wanted| covering(&all, wanted).map(|one| one.stored.size);
        assert_eq!([1, 2, 3, 4, 5].map(covers), [Some(1), Some(3), Some(3), Some(4), None]);
    }
}
