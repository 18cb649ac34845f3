//! Roots and proofs are those of RFC 6962: held against its published vectors and against two other implementations,
//! and a proof that was touched anywhere proves nothing.

use std::collections::BTreeMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use tlog::{
    Frontier, Hash,
    frontier::NotAFrontier,
    proof::{self, Path, ProofError, verify_consistency, verify_inclusion},
};

use crate::leaves;

/// Leaves and roots of the certificate-transparency reference implementation, sizes 1 to 8.
const VECTORS: [(&str, &str); 8] = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (
        "606162636465666768696a6b6c6d6e6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
];

#[test]
fn roots_are_the_published_ones() {
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), Hash::EMPTY);
    for (leaf, root) in VECTORS {
        frontier.append(Hash::leaf(&unhex(leaf)));
        assert_eq!(frontier.root().0.to_vec(), unhex(root), "size {}", frontier.size());
    }
}

#[test]
fn every_small_proof_is_ct_merkles() {
    let bytes: Vec<String> = (0..40).map(|i| format!("leaf {i}")).collect();
    let ours = leaves(40);
    let mut theirs = MemoryBackedTree::<Sha256, String>::new();
    for size in 1..=40_u64 {
        theirs.push(bytes[size as usize - 1].clone());
        let root = proof::root(&ours, size).unwrap();
        assert_eq!(root.as_ref(), theirs.root().as_bytes().as_slice());
        for index in 0..size {
            let proof = proof::inclusion(&ours, index, size).unwrap();
            assert_eq!(Hash::concat(&proof), theirs.prove_inclusion(index as usize).as_bytes());
            verify_inclusion(&ours[index as usize], index, size, &root, &proof).unwrap();
        }
        for old in 1..=size {
            let proof = proof::consistency(&ours, old, size).unwrap();
            let added = (size - old) as usize;
            assert_eq!(Hash::concat(&proof), theirs.prove_consistency(added).as_bytes());
            let old_root = proof::root(&ours, old).unwrap();
            verify_consistency((old, &old_root), (size, &root), &proof).unwrap();
        }
    }
}

#[test]
fn proofs_at_the_borders_of_tiles_are_those_of_tlog_tiles() {
    let all = leaves(65_537);
    let stored = Stored::of(&all);
    // From nothing in one batch: every complete subtree is at hand.
    let ours = Frontier::new().append_batch(&all);
    for size in [1, 2, 3, 255, 256, 257, 65_535, 65_536, 65_537] {
        let root = proof::root(&ours, size).unwrap();
        assert_eq!(root.0, tlog_tiles::tree_hash(size, &stored).unwrap().0, "size {size}");
        for index in [0, 1, 2, 127, 254, 255, 256, 40_000, 65_534, 65_535, 65_536] {
            if index >= size {
                assert_eq!(proof::inclusion(&ours, index, size), Err(ProofError::OutOfRange));
                continue;
            }
            let proof = proof::inclusion(&ours, index, size).unwrap();
            let theirs = tlog_tiles::prove_record(size, index, &stored).unwrap();
            assert_eq!(same(&proof), theirs, "leaf {index} of {size}");
            verify_inclusion(&all[index as usize], index, size, &root, &proof).unwrap();
        }
        for old in [1, 2, 3, 128, 255, 256, 257, 65_535, 65_536].into_iter().filter(|o| *o <= size)
        {
            let proof = proof::consistency(&ours, old, size).unwrap();
            let theirs = tlog_tiles::prove_tree(size, old, &stored).unwrap();
            assert_eq!(same(&proof), theirs, "{old} to {size}");
            let old_root = proof::root(&ours, old).unwrap();
            verify_consistency((old, &old_root), (size, &root), &proof).unwrap();
        }
    }
}

#[test]
fn the_largest_tree_can_be_asked_for_without_overflow() {
    for size in [1 << 62, 1 << 63, (1 << 63) + 1, u64::MAX] {
        for index in [0, 1, size / 2, size - 1] {
            let nodes = proof::inclusion_needs(index, size).unwrap();
            assert!((1..=128).contains(&nodes.len()), "{} of {size}", nodes.len());
            let err = verify_inclusion(&Hash::EMPTY, index, size, &Hash::EMPTY, &[Hash::EMPTY]);
            assert!(err.is_err(), "{index} of {size}");
        }
        assert!(matches!(proof::root(&leaves(3), size), Err(ProofError::Missing { .. })));
    }
}

#[test]
fn stored_subtrees_and_nothing_more_make_the_same_proof() {
    let ours = leaves(1000);
    for (index, size) in [(0, 1000), (511, 1000), (512, 1000), (999, 1000), (6, 7), (0, 1)] {
        let nodes = proof::inclusion_needs(index, size).unwrap();
        let with = |ours: &Vec<Hash>, (level, index)| {
            ((level, index), proof::Subtrees::subtree(ours, level, index).unwrap())
        };
        let stored: BTreeMap<_, _> = nodes.iter().map(|node| with(&ours, *node)).collect();
        assert_eq!(proof::inclusion(&stored, index, size), proof::inclusion(&ours, index, size));
        for node in &nodes {
            let mut less = stored.clone();
            less.remove(node);
            let found = proof::inclusion(&less, index, size);
            assert!(matches!(found, Err(ProofError::Missing { .. })), "{node:?}");
        }
    }
}

#[test]
fn bytes_that_are_no_frontier_are_refused() {
    let mut frontier = Frontier::new();
    for leaf in leaves(7) {
        frontier.append(leaf);
    }
    let bytes = frontier.to_bytes();
    assert_eq!(bytes.len(), 8 + 3 * 32);
    let mut larger = bytes.clone();
    larger[0] = 0x80;
    for bad in [&bytes[..7], &bytes[..8], &bytes[..bytes.len() - 1], &bytes[..72], &larger, &[]] {
        assert_eq!(Frontier::from_bytes(bad), Err(NotAFrontier));
    }
    assert_eq!(Frontier::from_bytes(&Frontier::new().to_bytes()), Ok(Frontier::new()));
}

#[test]
fn nothing_is_proved_about_no_leaves() {
    let root = proof::root(&leaves(3), 3).unwrap();
    assert_eq!(verify_consistency((0, &Hash::EMPTY), (3, &root), &[]), Ok(()));
    assert_eq!(verify_consistency((0, &root), (3, &root), &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency((0, &Hash::EMPTY), (3, &root), &[root]), Err(ProofError::Length));
    assert_eq!(verify_consistency((3, &root), (3, &root), &[]), Ok(()));
    assert_eq!(verify_consistency((4, &root), (3, &root), &[]), Err(ProofError::OutOfRange));
    assert_eq!(verify_consistency((2, &root), (3, &root), &[]), Err(ProofError::Length));
    assert_eq!(verify_inclusion(&root, 0, 0, &root, &[]), Err(ProofError::OutOfRange));
    for size in 0..40 {
        let mut frontier = Frontier::new();
        for leaf in leaves(size) {
            frontier.append(leaf);
        }
        assert_eq!(frontier.append_batch(&[]).root(), frontier.root(), "{size}");
    }
    let empty = Frontier::new().append_batch(&[]);
    assert_eq!((empty.root(), empty.proof(0), empty.size()), (Hash::EMPTY, None, 0));
}

proptest! {
    #![proptest_config(crate::cases(64))]

    #[test]
    fn a_batchs_proofs_are_the_whole_trees(sizes in prop::collection::vec(0_usize..90, 1..9)) {
        let all = leaves(sizes.iter().sum::<usize>() as u64);
        let (mut frontier, mut single, mut from) = (Frontier::new(), Frontier::new(), 0);
        for size in sizes {
            let batch = frontier.append_batch(&all[from..from + size]);
            all[from..from + size].iter().for_each(|leaf| single.append(*leaf));
            prop_assert_eq!(batch.first_index(), from as u64);
            prop_assert_eq!(batch.leaves(), size as u64);
            prop_assert_eq!(batch.root(), proof::root(&all, batch.size()).unwrap());
            for i in 0..size {
                let whole = proof::inclusion(&all, (from + i) as u64, batch.size()).unwrap();
                prop_assert_eq!(batch.proof(i), Some(whole));
            }
            prop_assert_eq!(batch.proof(size), None);
            let consistency = proof::consistency(&all, from as u64, batch.size());
            prop_assert_eq!(batch.consistency(), consistency);
            frontier = batch.into_frontier();
            prop_assert_eq!(&frontier, &single);
            prop_assert_eq!(frontier.root(), single.root());
            prop_assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Ok(frontier.clone()));
            from += size;
        }
    }

    #[test]
    fn a_mutated_inclusion_proof_never_verifies(
        (size, index) in (1_u64..400).prop_flat_map(|size| (Just(size), 0..size)),
        touch in touch(),
    ) {
        let all = leaves(size);
        let root = proof::root(&all, size).unwrap();
        let proof = proof::inclusion(&all, index, size).unwrap();
        let (leaf, at) = (all[index as usize], index);
        prop_assert_eq!(verify_inclusion(&leaf, at, size, &root, &proof), Ok(()));
        let other = touch.apply(&proof);
        prop_assume!(other != proof);
        prop_assert!(verify_inclusion(&leaf, at, size, &root, &other).is_err());
        prop_assert!(Path::verify(&leaf, at, size, &root, &other).is_err());
    }

    /// Whatever is shown beside a path that is known is taken, or not and for the same reason, as if it stood alone.
    #[test]
    fn a_known_path_changes_no_verdict(
        (size, known, index, other) in
            (1_u64..400).prop_flat_map(|n| (Just(n), 0..n, 0..n, 0..n + 9)),
        touch in touch(),
        bit in 0_usize..256,
    ) {
        let all = leaves(size);
        let root = proof::root(&all, size).unwrap();
        let proof = |index| proof::inclusion(&all, index, size).unwrap();
        let path =
            Path::verify(&all[known as usize], known, size, &root, &proof(known)).unwrap();
        let (leaf, proof) = (all[index as usize], proof(index));
        let same = |leaf: Hash, index, proof: &[Hash]| {
            let beside = path.verify_inclusion(&leaf, index, proof);
            assert_eq!(beside, verify_inclusion(&leaf, index, size, &root, proof));
            beside
        };
        prop_assert_eq!(same(leaf, index, &proof), Ok(()));
        prop_assert_eq!(same(leaf, index, &touch.apply(&proof)).is_ok(), touch.apply(&proof) == proof);
        prop_assert_eq!(same(leaf, other, &proof).is_ok(), other == index);
        prop_assert!(same(flip(leaf, bit), index, &proof).is_err());
        prop_assert!(same(leaf, index, &[&*proof, &[leaf]].concat()).is_err());
        let (known_leaf, shorter) = (all[known as usize], proof.len().saturating_sub(1));
        prop_assert_eq!(same(leaf, index, &proof[..shorter]).is_ok(), proof.is_empty());
        prop_assert_eq!(same(known_leaf, index, &proof).is_ok(), known == index);
    }

    #[test]
    fn a_proof_serves_one_leaf_at_one_place_in_one_tree(
        (size, index, other) in (2_u64..400).prop_flat_map(|n| (Just(n), 0..n, 0..n)),
        bit in 0_usize..256,
    ) {
        prop_assume!(index != other);
        let all = leaves(size);
        let (root, leaf) = (proof::root(&all, size).unwrap(), all[index as usize]);
        let proof = proof::inclusion(&all, index, size).unwrap();
        prop_assert!(verify_inclusion(&leaf, other, size, &root, &proof).is_err());
        prop_assert!(verify_inclusion(&all[other as usize], index, size, &root, &proof).is_err());
        prop_assert!(verify_inclusion(&flip(leaf, bit), index, size, &root, &proof).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &flip(root, bit), &proof).is_err());
    }

    #[test]
    fn a_mutated_consistency_proof_never_verifies(
        (new, old) in (2_u64..400).prop_flat_map(|new| (Just(new), 1..new)),
        touch in touch(),
        bit in 0_usize..256,
    ) {
        let all = leaves(new);
        let (before, after) = (proof::root(&all, old).unwrap(), proof::root(&all, new).unwrap());
        let proof = proof::consistency(&all, old, new).unwrap();
        prop_assert_eq!(verify_consistency((old, &before), (new, &after), &proof), Ok(()));
        let (bad_before, bad_after) = (flip(before, bit), flip(after, bit));
        prop_assert!(verify_consistency((old, &bad_before), (new, &after), &proof).is_err());
        prop_assert!(verify_consistency((old, &before), (new, &bad_after), &proof).is_err());
        let other = touch.apply(&proof);
        prop_assume!(other != proof);
        prop_assert!(verify_consistency((old, &before), (new, &after), &other).is_err());
    }
}

/// One way to spoil a list of hashes; places count modulo its length.
#[derive(Debug, Clone)]
enum Touch {
    Flip(usize, usize),
    Drop(usize),
    Insert(usize, u8),
    Double(usize),
    Swap(usize, usize),
    Cut(usize),
}

fn touch() -> impl Strategy<Value = Touch> {
    let place = || 0_usize..64;
    prop_oneof![
        (place(), 0_usize..256).prop_map(|(at, bit)| Touch::Flip(at, bit)),
        place().prop_map(Touch::Drop),
        (place(), any::<u8>()).prop_map(|(at, byte)| Touch::Insert(at, byte)),
        place().prop_map(Touch::Double),
        (place(), place()).prop_map(|(a, b)| Touch::Swap(a, b)),
        place().prop_map(Touch::Cut),
    ]
}

impl Touch {
    fn apply(&self, proof: &[Hash]) -> Vec<Hash> {
        let (mut other, n) = (proof.to_vec(), proof.len().max(1));
        match *self {
            Self::Insert(at, byte) => other.insert(at % (proof.len() + 1), Hash([byte; 32])),
            _ if proof.is_empty() => {}
            Self::Flip(at, bit) => other[at % n] = flip(other[at % n], bit),
            Self::Drop(at) => drop(other.remove(at % n)),
            Self::Double(at) => other.insert(at % n, other[at % n]),
            Self::Swap(a, b) => other.swap(a % n, b % n),
            Self::Cut(at) => other.truncate(at % n),
        }
        other
    }
}

fn flip(mut hash: Hash, bit: usize) -> Hash {
    hash.0[bit / 8] ^= 1 << (bit % 8);
    hash
}

/// The hashes of a tree in the order in which `tlog_tiles` stores them.
struct Stored(Vec<tlog_tiles::Hash>);

impl Stored {
    fn of(leaves: &[Hash]) -> Self {
        let mut stored = Self(Vec::new());
        for (n, leaf) in (0..).zip(leaves) {
            let leaf = tlog_tiles::Hash(leaf.0);
            let new = tlog_tiles::stored_hashes_for_record_hash(n, leaf, &stored).unwrap();
            stored.0.extend(new);
        }
        stored
    }
}

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, at: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(at.iter().map(|at| self.0[*at as usize]).collect())
    }
}

fn same(proof: &[Hash]) -> Vec<tlog_tiles::Hash> {
    proof.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}
