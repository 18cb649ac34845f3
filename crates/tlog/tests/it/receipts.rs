//! A receipt (C2SP tlog-proof) proves one leaf to a reader with a trust file (C2SP tlog-policy), and nothing else.

use proptest::prelude::*;
use tlog::{
    Checkpoint, Frontier, Hash, Policy, Receipt, Signer, SigningKey,
    cosignature::cosign,
    key::{KeyError, Kind},
    note::NoteError,
    policy::{TrustError, Wrong},
    proof::ProofError,
    receipt::{self, ReceiptError},
};

use crate::leaves;

#[test]
fn a_receipt_of_a_batch_verifies_for_its_leaf_alone() {
    let (log, all) = (key("log", Kind::Ed25519, 1), leaves(300));
    let batch = Frontier::new().append_batch(&all[..200]).into_frontier().append_batch(&all[200..]);
    let checkpoint = Checkpoint::new("log".into(), batch.size(), batch.root());
    let checkpoint = checkpoint.sign(&log).unwrap().to_string();
    let policy = Policy::of_log(log.verifier().clone());
    for i in [0, 1, 50, 99] {
        let text =
            receipt::write(batch.first_index() + i as u64, &batch.proof(i).unwrap(), &checkpoint);
        let read: Receipt = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        assert_eq!(read.index, 200 + i as u64);
        let trusted = read.verify(&all[200 + i], &policy).unwrap();
        assert_eq!((trusted.checkpoint.size, trusted.witnessed.len()), (300, 0));
        let other = read.verify(&all[201 + i - i.min(1) * 2], &policy).unwrap_err();
        assert_eq!(other, ReceiptError::Proof(ProofError::Root));
    }
}

#[test]
fn the_text_is_the_specifications() {
    let hashes = leaves(2);
    let text = format!(
        "c2sp.org/tlog-proof@v1\nextra AQID\nindex 73894\n{}\n{}\n\nany checkpoint\n",
        hashes[0], hashes[1]
    );
    let read: Receipt = text.parse().unwrap();
    assert_eq!(read.extra, Some(vec![1, 2, 3]));
    assert_eq!(
        (read.index, &read.proof, read.checkpoint.as_str()),
        (73_894, &hashes, "any checkpoint\n")
    );
    assert_eq!(read.to_string(), text);
    let single: Receipt = "c2sp.org/tlog-proof@v1\nindex 0\n\nx\n".parse().unwrap();
    assert_eq!((single.extra, single.index, single.proof), (None, 0, Vec::new()));
    for bad in [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 00\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AQID\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra AQI\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nAQID\n\nx\n",
        "c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\nx\r\n",
    ] {
        assert_eq!(bad.parse::<Receipt>(), Err(ReceiptError::Shape), "{bad:?}");
    }
    let long =
        format!("c2sp.org/tlog-proof@v1\nindex 0\n{}\nx\n", format!("{}\n", hashes[0]).repeat(65));
    assert_eq!(long.parse::<Receipt>(), Err(ReceiptError::Shape));
}

#[test]
fn every_bit_of_a_receipt_counts() {
    let (log, all) = (key("log", Kind::Ed25519, 1), leaves(11));
    let batch = Frontier::new().append_batch(&all);
    let checkpoint =
        Checkpoint::new("log".into(), 11, batch.root()).sign(&log).unwrap().to_string();
    let text = receipt::write(4, &batch.proof(4).unwrap(), &checkpoint);
    let policy = Policy::of_log(log.verifier().clone());
    let verifies =
        |text: &str| text.parse::<Receipt>().is_ok_and(|r| r.verify(&all[4], &policy).is_ok());
    assert!(verifies(&text));
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let other = String::from_utf8(bytes).unwrap_or_default();
            assert!(!verifies(&other), "bit {bit} of byte {at}: {other}");
        }
    }
}

#[test]
fn a_quorum_of_groups_is_counted_as_the_specification_says() {
    let key = |name: &str, seed| key(name, Kind::Cosignature, seed);
    let (x, y) = ([key("x1", 11), key("x2", 12), key("x3", 13)], [key("y1", 21), key("y2", 22)]);
    let log = SigningKey::from_seed("log.example", Kind::Ed25519, &[1; 32]).unwrap();
    let text = format!(
        "# two operators\nlog {}\n\n \twitness X1\t{} https://x1.example/\nwitness X2 {}\nwitness X3 {}\n\
         group X 2 X1 X2 X3\nwitness Y1 {}\nwitness Y2 {}\ngroup Y any Y1 Y2\ngroup XY all X Y\nquorum XY\n",
        log.verifier(),
        x[0].verifier(),
        x[1].verifier(),
        x[2].verifier(),
        y[0].verifier(),
        y[1].verifier(),
    );
    let policy: Policy = text.parse().unwrap();
    assert_eq!((policy.logs.len(), policy.witnesses.len()), (1, 5));
    assert_eq!(policy.witnesses[0].url.as_deref(), Some("https://x1.example/"));
    for (names, enough) in [
        (vec![], false),
        (vec!["X1", "X2"], false),
        (vec!["X1", "Y1"], false),
        (vec!["X1", "X3", "Y2"], true),
        (vec!["X1", "X2", "X3", "Y1", "Y2"], true),
        (vec!["Y1", "Y2"], false),
    ] {
        assert_eq!(policy.is_enough(&names), enough, "{names:?}");
    }

    let mut note = Checkpoint::new("log.example".into(), 1, Hash::EMPTY).sign(&log).unwrap();
    note.push(cosign(&note, &x[0], 100).unwrap());
    note.push(cosign(&note, &y[1], 200).unwrap());
    let few = policy.check(&note.to_string()).unwrap_err();
    assert_eq!(few, TrustError::Quorum { cosigned: 2 });
    note.push(cosign(&note, &x[2], 300).unwrap());
    let note = note.to_string();
    let trusted = policy.check(&note).unwrap();
    let seen: Vec<(&str, u64)> =
        trusted.witnessed.iter().map(|(witness, at)| (witness.name.as_str(), *at)).collect();
    assert_eq!(seen, [("X1", 100), ("X3", 300), ("Y2", 200)]);
    assert_eq!(trusted.log.key, *log.verifier());
}

#[test]
fn a_checkpoint_is_trusted_only_under_the_key_of_its_origin() {
    let (a, b) = (key("a", Kind::Ed25519, 1), key("b", Kind::Ed25519, 2));
    let text =
        format!("log {}\nlog {} https://b.example\nquorum none\n", a.verifier(), b.verifier());
    let policy: Policy = text.parse().unwrap();
    let signed = |origin: &str, key| {
        Checkpoint::new(origin.into(), 1, Hash::EMPTY).sign(key).unwrap().to_string()
    };
    assert_eq!(policy.check(&signed("a", &a)).unwrap().log.key, *a.verifier());
    assert_eq!(
        policy.check(&signed("b", &b)).unwrap().log.url.as_deref(),
        Some("https://b.example")
    );
    let unsigned = Err(TrustError::Note(NoteError::Unsigned));
    assert_eq!(policy.check(&signed("a", &b)).map(drop), unsigned);
    assert_eq!(policy.check(&signed("c", &a)).map(drop), Err(TrustError::UnknownLog("c".into())));
}

/// Keys of types that we cannot check (0x06 is ML-DSA-44) are other people's business, and never enough.
#[test]
fn a_key_of_another_type_counts_for_nothing_and_spoils_nothing() {
    let log = key("l", Kind::Ed25519, 1);
    let witnesses = ["w1", "w2"].map(|name| key(name, Kind::Cosignature, name.as_bytes()[1]));
    let other = "w3+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let [w1, w2] = witnesses.each_ref().map(SigningKey::verifier);
    let text = |quorum: &str| {
        format!(
            "log {other}\nlog {}\nwitness W1 {w1}\nwitness W2 {w2}\nwitness W3 {other}\nwitness W4 {other}\ngroup G 2 W1 W2 W3\ngroup H all G W4\nquorum {quorum}\n",
            log.verifier()
        )
    };
    let policy: Policy = text("G").parse().unwrap();
    assert_eq!((policy.logs.len(), policy.witnesses.len()), (1, 2));
    for (names, enough) in
        [(vec!["W1"], false), (vec!["W1", "W3"], false), (vec!["W1", "W2"], true)]
    {
        assert_eq!(policy.is_enough(&names), enough, "{names:?}");
    }
    let mut note = Checkpoint::new("l".into(), 1, Hash::EMPTY).sign(&log).unwrap();
    for witness in &witnesses {
        note.push(cosign(&note, witness, 100).unwrap());
    }
    let note = note.to_string();
    assert!(policy.check(&note).is_ok());
    for never in ["H", "W3"] {
        let policy: Policy = text(never).parse().unwrap();
        assert_eq!(policy.check(&note), Err(TrustError::Quorum { cosigned: 2 }), "{never}");
    }
    let twice = format!("witness W {other}\nwitness W {w1}\nquorum none\n");
    let twice = twice.parse::<Policy>().unwrap_err();
    assert_eq!((twice.line, twice.wrong), (2, Wrong::Duplicate("W".into())));
}

#[test]
fn a_wrong_line_of_a_trust_file_is_named() {
    let (log, witness) = (key("l", Kind::Ed25519, 1), key("w", Kind::Cosignature, 2));
    let (log, witness) = (log.verifier().to_string(), witness.verifier().to_string());
    let again = key("w2", Kind::Cosignature, 2).verifier().to_string();
    for (text, line, wrong) in [
        (String::new(), 0, Wrong::NoQuorum),
        ("quorum nobody\n".into(), 1, Wrong::Undefined("nobody".into())),
        ("quorum none\nquorum none\n".into(), 2, Wrong::SecondQuorum),
        (format!("log {log}\nlog {log}\nquorum none\n"), 2, Wrong::Duplicate("l".into())),
        (format!("witness W {log}\n"), 1, Wrong::NotAWitness),
        (format!("witness W {witness}\nwitness V {again}\n"), 2, Wrong::Duplicate("V".into())),
        (format!("witness none {witness}\n"), 1, Wrong::Duplicate("none".into())),
        (format!("witness W {witness}\ngroup W any W\n"), 2, Wrong::Duplicate("W".into())),
        (format!("witness W {witness}\ngroup G any W W\n"), 2, Wrong::Duplicate("W".into())),
        (format!("witness W {witness}\ngroup G 2 W\n"), 2, Wrong::Threshold),
        (format!("witness W {witness}\ngroup G 0 W\n"), 2, Wrong::Threshold),
        (format!("witness W {witness}\ngroup G +1 W\n"), 2, Wrong::Threshold),
        (format!("witness W {witness}\ngroup G 01 W\n"), 2, Wrong::Threshold),
        (format!("witness W {witness}\ngroup G all\n"), 2, Wrong::Threshold),
        (
            format!("witness W {witness}\ngroup G any W\ngroup H any W\n"),
            3,
            Wrong::Duplicate("W".into()),
        ),
        ("group G any G\n".into(), 1, Wrong::Undefined("G".into())),
        ("group G any none\n".into(), 1, Wrong::Undefined("none".into())),
        ("\n\nlogs x\n".into(), 3, Wrong::Line),
        ("log x\n".into(), 1, Wrong::Key(KeyError::Shape)),
        ("quorum none\r\n".into(), 1, Wrong::Control),
    ] {
        let error = text.parse::<Policy>().unwrap_err();
        assert_eq!((error.line, error.wrong), (line, wrong), "{text:?}");
    }
}

proptest! {
    #![proptest_config(crate::cases(32))]

    /// A byte changed, a piece cut out, a line doubled: of a receipt of any leaf of any tree, witnessed too.
    #[test]
    fn a_mutated_receipt_never_verifies(
        (size, index) in (1_u64..400).prop_flat_map(|size| (Just(size), 0..size)),
        (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
        cut in 1_usize..60,
        touch in 0_usize..3,
    ) {
        let (log, witness) = (key("log", Kind::Ed25519, 1), key("w", Kind::Cosignature, 2));
        let all = leaves(size);
        let root = tlog::proof::root(&all, size).unwrap();
        let mut note = Checkpoint::new("log".into(), size, root).sign(&log).unwrap();
        note.push(cosign(&note, &witness, 1_700_000_000).unwrap());
        let trust = format!("log {}\nwitness W {}\nquorum W\n", log.verifier(), witness.verifier());
        let policy: Policy = trust.parse().unwrap();
        let proof = tlog::proof::inclusion(&all, index, size).unwrap();
        let text = receipt::write(index, &proof, &note.to_string());
        let leaf = all[usize::try_from(index).unwrap()];
        let verifies = |bytes: &[u8]| {
            let read = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Receipt>().ok());
            read.is_some_and(|receipt| receipt.verify(&leaf, &policy).is_ok())
        };
        prop_assert!(verifies(text.as_bytes()));
        let mut other = text.clone().into_bytes();
        let at = at.index(other.len());
        match touch {
            0 => other[at] = byte,
            1 => drop(other.drain(at..(at + cut).min(text.len()))),
            _ => {
                let line = text[..text.len() - 1].lines().nth(at % text.lines().count()).unwrap();
                let place = text.find(line).unwrap();
                other.splice(place..place, format!("{line}\n").into_bytes());
            }
        }
        // Twice the same signature is still that signature.
        let doubled = touch == 2 && other.windows(4).filter(|bytes| bytes == b"\n\xe2\x80\x94").count() > 2;
        prop_assume!(other != text.as_bytes() && !doubled);
        prop_assert!(!verifies(&other), "{}", String::from_utf8_lossy(&other));
    }
}

fn key(name: &str, kind: Kind, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, kind, &[seed; 32]).unwrap()
}
