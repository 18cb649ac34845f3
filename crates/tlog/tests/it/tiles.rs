//! Tiles are those of C2SP tlog-tiles: paths, widths, which are full when, and proofs made from tiles alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tlog::{
    Hash, bundle,
    proof::{self, ProofError},
    tile::{self, Edge, Id, Resource, Verified, WIDTH},
};

use crate::leaves;

#[test]
fn paths_are_those_of_the_specification() {
    let id = |level, index| Id { level, index };
    for (path, resource) in [
        ("tile/0/x001/x234/067", Resource::Tile { id: id(0, 1_234_067), width: WIDTH }),
        ("tile/0/000", Resource::Tile { id: id(0, 0), width: WIDTH }),
        ("tile/0/x001/067.p/8", Resource::Tile { id: id(0, 1067), width: 8 }),
        ("tile/1/999.p/255", Resource::Tile { id: id(1, 999), width: 255 }),
        ("tile/63/x001/000", Resource::Tile { id: id(63, 1000), width: WIDTH }),
        ("tile/entries/x273/000.p/112", Resource::Entries { index: 273_000, width: 112 }),
        ("tile/entries/007", Resource::Entries { index: 7, width: WIDTH }),
    ] {
        assert_eq!(resource.to_string(), path);
        assert_eq!(path.parse(), Ok(resource));
    }
}

#[test]
fn no_other_path_names_a_tile() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/001/067",
        "tile/0/x001",
        "tile/0/x000/001",
        "tile/0/x1/067",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/08",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/",
        "tile/0/000/",
        "tile/data/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/../000",
        "tile/0/%30%30%30",
        "tile/0/٠٠٠",
    ] {
        assert!(path.parse::<Resource>().is_err(), "{path}");
    }
}

/// "A tree of size 70,000 ...", and of 256, in the specification's own numbers.
#[test]
fn the_worked_examples_have_their_tiles() {
    let id = |level, index| Id { level, index };
    let full = tile::completed(0, 70_000);
    assert_eq!(full.iter().filter(|id| id.level == 0).count(), 273);
    assert_eq!(full.iter().filter(|id| id.level == 1).count(), 1);
    assert_eq!(full.len(), 274);
    assert_eq!(tile::partials(70_000), [(id(0, 273), 112), (id(1, 1), 17), (id(2, 0), 1)]);
    assert_eq!(tile::completed(0, 256), [id(0, 0)]);
    assert_eq!(tile::partials(256), [(id(1, 0), 1)]);
    assert_eq!(tile::completed(65_535, 65_537), [id(0, 255), id(1, 0)]);
    assert_eq!(tile::completed(256, 511), []);
    assert_eq!(
        [0, 1, 272, 273, 274].map(|n| tile::width(id(0, n), 70_000)),
        [256, 256, 256, 112, 0]
    );
    assert_eq!(tile::partials(0), []);
}

#[test]
fn the_edge_hands_out_each_tile_once_and_whole() {
    let all = leaves(66_000);
    let mut edge = Edge::new();
    let mut stored = BTreeMap::new();
    let mut before = 0;
    for step in [1, 254, 1, 1, 300, 64_000, 978, 1, 464].into_iter().chain([0]) {
        let full = edge.append(&all[before..before + step]);
        let after = before + step;
        let mut ids: Vec<Id> = full.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        assert_eq!(ids, tile::completed(before as u64, after as u64));
        stored.extend(full);
        let widths: Vec<(Id, u16)> =
            edge.partials().iter().map(|(id, hashes)| (*id, hashes.len() as u16)).collect();
        assert_eq!(widths, tile::partials(after as u64));
        before = after;
    }
    assert_eq!(edge.size(), 66_000);
    assert_eq!(stored[&Id { level: 0, index: 1 }], all[256..512]);
    let above: Vec<Hash> =
        (0..256).map(|n| tile::root(&stored[&Id { level: 0, index: n }])).collect();
    assert_eq!(stored[&Id { level: 1, index: 0 }], above);

    // The edge comes back from what stands in tiles.
    let rows = edge.partials().iter().map(|(_, hashes)| hashes.to_vec()).collect::<Vec<_>>();
    assert_eq!(Edge::from_partials(66_000, rows.clone()), Some(edge.clone()));
    assert_eq!(Edge::from_partials(66_001, rows), None);
    assert_eq!(Edge::from_partials(256, Vec::new()), None);

    // Proofs from tiles alone are those from leaves, and want no other tile than the named ones.
    stored.extend(edge.partials().iter().map(|(id, hashes)| (*id, hashes.to_vec())));
    for index in [0, 255, 256, 65_535, 65_536, 65_999] {
        let needed = tile::needed_for_inclusion(index, 66_000).unwrap();
        assert!(needed.len() <= 4, "{needed:?}");
        let few: BTreeMap<Id, Vec<Hash>> =
            needed.iter().map(|id| (*id, stored[id].clone())).collect();
        assert_eq!(proof::inclusion(&few, index, 66_000), proof::inclusion(&all, index, 66_000));
    }
    let missing = proof::inclusion(&BTreeMap::<Id, Vec<Hash>>::new(), 0, 66_000);
    assert_eq!(missing, Err(ProofError::Missing { level: 0, index: 1 }));
}

/// Small trees, and some of three levels of tiles.
fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1_u64..3_000, 1 => 65_000_u64..67_000, 1 => Just(65_536)]
}

proptest! {
    #![proptest_config(crate::cases(32))]

    #[test]
    fn a_tree_by_tiles_is_the_tree_by_leaves(
        (new, old, index) in (1_u64..3000).prop_flat_map(|n| (Just(n), 0..=n, 0..n)),
    ) {
        let all = leaves(new);
        let mut edge = Edge::new();
        let mut tiles: BTreeMap<Id, Vec<Hash>> = edge.append(&all).into_iter().collect();
        tiles.extend(edge.partials().into_iter().map(|(id, hashes)| (id, hashes.to_vec())));
        for (id, hashes) in &tiles {
            prop_assert_eq!(usize::from(tile::width(*id, new)), hashes.len());
        }
        prop_assert_eq!(proof::root(&tiles, new), proof::root(&all, new));
        prop_assert_eq!(proof::inclusion(&tiles, index, new), proof::inclusion(&all, index, new));
        let needed = tile::needed_for_consistency(old, new).unwrap();
        tiles.retain(|id, _| needed.contains(id));
        prop_assert_eq!(proof::consistency(&tiles, old, new), proof::consistency(&all, old, new));
    }

    /// Roots of smaller trees come from tiles that were held against the larger one's, and from no others.
    #[test]
    fn verified_tiles_are_those_of_the_signed_tree(
        (size, smaller) in sizes().prop_flat_map(|n| (Just(n), prop::collection::vec(0..=n, 1..5))),
        (which, place, bit) in any::<(prop::sample::Index, prop::sample::Index, u8)>(),
    ) {
        let all = leaves(size);
        let root = proof::root(&all, size).unwrap();
        let mut edge = Edge::new();
        let mut tiles: BTreeMap<Id, Vec<Hash>> = edge.append(&all).into_iter().collect();
        tiles.extend(edge.partials().into_iter().map(|(id, hashes)| (id, hashes.to_vec())));
        let needed = tile::needed_for_roots(smaller.iter().copied(), size);
        // An edge for each, and the way up from there.
        prop_assert!(needed.len() <= 6 * (smaller.len() + 1), "{needed:?}");
        tiles.retain(|id, _| needed.contains(id));
        prop_assert_eq!(tiles.len(), needed.len());
        let verified = Verified::new(tiles.clone(), size, &root).unwrap();
        for size in &smaller {
            prop_assert_eq!(proof::root(&verified, *size), proof::root(&all, *size));
        }

        let id = *which.get(&needed);
        let mut missing = tiles.clone();
        missing.remove(&id);
        let without = Verified::new(missing, size, &root);
        prop_assert!(without.is_err() || smaller.iter().any(|size| proof::root(without.as_ref().unwrap(), *size).is_err()));
        let mut short = tiles.clone();
        short.get_mut(&id).unwrap().pop();
        prop_assert_eq!(Verified::new(short, size, &root), Err(ProofError::Length));
        let hashes = tiles.get_mut(&id).unwrap();
        let place = place.index(hashes.len());
        hashes[place].0[usize::from(bit) % Hash::BYTES] ^= 1;
        prop_assert_eq!(Verified::new(tiles, size, &root), Err(ProofError::Root));
    }

    #[test]
    fn a_path_read_is_the_path_written(level in 0_u8..64, index: u64, width in 1_u16..=256) {
        for resource in [Resource::Tile { id: Id { level, index }, width }, Resource::Entries { index, width }] {
            prop_assert_eq!(resource.to_string().parse(), Ok(resource));
        }
    }

    #[test]
    fn a_bundle_read_is_the_bundle_written(
        leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        cut in 0_usize..300,
    ) {
        let bytes = bundle::encode(leaves.iter().map(Vec::as_slice)).unwrap();
        let read: Result<Vec<&[u8]>, _> = bundle::leaves(&bytes).collect();
        prop_assert_eq!(read.unwrap(), leaves.clone());
        // Cut anywhere: either between two leaves, or an error and then nothing.
        let cut = &bytes[..bytes.len().saturating_sub(cut)];
        let read: Vec<_> = bundle::leaves(cut).collect();
        prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        let whole: usize = read.iter().flatten().map(|leaf| leaf.len() + 2).sum();
        prop_assert_eq!(read.last().is_some_and(Result::is_err), whole != cut.len());
    }
}

#[test]
fn a_bundle_refuses_what_its_length_cannot_say() {
    assert_eq!(bundle::encode([[1, 2].as_slice(), &[]]), Ok(vec![0, 2, 1, 2, 0, 0]));
    assert_eq!(bundle::encode([vec![7; 65_535].as_slice()]).unwrap().len(), 65_537);
    assert_eq!(bundle::encode([vec![7; 65_536].as_slice()]), Err(bundle::BundleError::TooLarge));
}
