//! Notes, keys and checkpoints are those of C2SP signed-note and tlog-checkpoint: the specification's example verifies,
//! another implementation reads ours and we read its, and a note that was touched is refused.

use proptest::prelude::*;
use signed_note::{Note as TheirNote, StandardSigner, StandardVerifier, VerifierList};
use tlog::{
    Checkpoint, Hash, Note, Signer, SigningKey, VerifierKey,
    cosignature::cosign,
    key::{KeyError, Kind, SignError},
    note::{NoteError, Signature},
};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

#[test]
fn the_specifications_example_verifies() {
    let key: VerifierKey = VKEY.parse().unwrap();
    assert_eq!((key.name(), key.id(), key.kind()), ("example.com/foo", 0x530d_903a, Kind::Ed25519));
    assert_eq!(key.to_string(), VKEY);
    let note: Note = NOTE.parse().unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), NOTE);
    let verified = note.verify([&key]).unwrap();
    assert_eq!((verified.len(), verified[0].key, verified[0].at), (1, &key, None));
}

#[test]
fn what_we_sign_another_implementation_verifies() {
    let key = key("log.example/a", Kind::Ed25519, 7);
    let root = Hash::leaf(b"x");
    let note = Checkpoint::new("log.example/a".into(), 42, root).sign(&key).unwrap().to_string();
    let theirs = TheirNote::from_bytes(note.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
    let (good, unknown) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 0));
    let text = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((text.origin(), text.size(), text.hash().0), ("log.example/a", 42, root.0));
}

#[test]
fn what_another_implementation_signs_we_verify() {
    let key = key("log.example/b", Kind::Ed25519, 9);
    let signer = StandardSigner::new(&key.to_skey()).unwrap();
    let root = tlog_tiles::Hash(Hash::EMPTY.0);
    let text = tlog_tiles::Checkpoint::new("log.example/b", 0, root, "").unwrap().to_bytes();
    let mut theirs = TheirNote::new(&text, &[]).unwrap();
    theirs.add_sigs(&[&signer]).unwrap();
    let note: Note = String::from_utf8(theirs.to_bytes()).unwrap().parse().unwrap();
    note.verify([key.verifier()]).unwrap();
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    assert_eq!(checkpoint, Checkpoint::new("log.example/b".into(), 0, Hash::EMPTY));
    // Ed25519 is deterministic: the same checkpoint again is the same note.
    assert_eq!(checkpoint.sign(&key).unwrap(), note);
}

#[test]
fn keys_are_read_as_they_are_written() {
    for kind in [Kind::Ed25519, Kind::Cosignature] {
        let key = key("witness.example/서울", kind, 3);
        let again = SigningKey::from_skey(&key.to_skey()).unwrap();
        assert_eq!((again.to_skey(), again.verifier()), (key.to_skey(), key.verifier()));
        assert_eq!(key.verifier().to_string().parse().as_ref(), Ok(key.verifier()));
        assert!(!format!("{key:?}").contains("PRIVATE"), "a secret must not be printed");
        let secret = key.to_skey();
        let secret = secret.rsplit('+').next().unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }
    let ids = [Kind::Ed25519, Kind::Cosignature].map(|kind| key("a", kind, 3).verifier().id());
    assert_ne!(ids[0], ids[1], "one key for two kinds has two ids");
}

#[test]
fn what_is_no_key_is_refused() {
    for (text, why) in [
        ("", KeyError::Shape),
        ("example.com/foo", KeyError::Shape),
        ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Shape),
        ("example.com/foo+530d903+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Shape),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", KeyError::Shape),
        ("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
        ("example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ("a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        (
            "example.com/foo+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Unsupported(6),
        ),
    ] {
        assert_eq!(text.parse::<VerifierKey>(), Err(why), "{text}");
    }
    let (mut no_point, mut weak) = ([0; 32], [0; 32]);
    (no_point[0], weak[0]) = (2, 1);
    for public in [no_point, weak] {
        assert_eq!(VerifierKey::new("a", Kind::Ed25519, &public), Err(KeyError::Point));
    }
    assert_eq!(SigningKey::from_skey(VKEY).unwrap_err(), KeyError::Shape);
}

#[test]
fn unknown_signatures_are_ignored_and_bad_ones_are_not() {
    let (log, other) = (key("log", Kind::Ed25519, 1), key("other", Kind::Ed25519, 2));
    let namesake = key("log", Kind::Ed25519, 3);
    let mut note = Note::sign("text\n".into(), &log).unwrap();
    note.push(Note::sign("text\n".into(), &other).unwrap().signatures()[0].clone());
    note.push(Note::sign("text\n".into(), &namesake).unwrap().signatures()[0].clone());
    let note: Note = note.to_string().parse().unwrap();
    let by = |keys: &[&VerifierKey]| note.verify(keys.iter().copied()).map(|found| found.len());
    assert_eq!(by(&[log.verifier()]), Ok(1));
    assert_eq!(by(&[log.verifier(), other.verifier()]), Ok(2));
    assert_eq!(by(&[key("log", Kind::Ed25519, 4).verifier()]), Err(NoteError::Unsigned));
    assert_eq!(by(&[]), Err(NoteError::Unsigned));

    // A bad signature under a known name and id spoils the note even beside a good one.
    let mut bad = Note::sign("text\n".into(), &log).unwrap();
    bad.push(Note::sign("another text\n".into(), &other).unwrap().signatures()[0].clone());
    let both = bad.verify([log.verifier(), other.verifier()]);
    assert_eq!(both, Err(NoteError::BadSignature("other".into())));
    assert_eq!(bad.verify([log.verifier()]).map(|found| found.len()), Ok(1));
}

/// Whoever repeats a line a thousand times has not made us check it a thousand times; and a line that differs is not passed over.
#[test]
fn one_line_of_each_key_counts_and_every_other_is_checked() {
    let log = key("log", Kind::Ed25519, 1);
    let mut note = Note::sign("text\n".into(), &log).unwrap();
    let mut spoilt = note.signatures()[0].clone();
    spoilt.bytes[0] ^= 1;
    note.push(note.signatures()[0].clone());
    assert_eq!(note.verify([log.verifier()]).map(|found| found.len()), Ok(1));
    note.push(spoilt.clone());
    assert_eq!(note.verify([log.verifier()]), Err(NoteError::BadSignature("log".into())));
    let mut first =
        format!("text\n\n{spoilt}\n{}\n", note.signatures()[0]).parse::<Note>().unwrap();
    assert_eq!(first.verify([log.verifier()]), Err(NoteError::BadSignature("log".into())));
    first.push(spoilt);
    assert!(first.verify([log.verifier()]).is_err());
}

/// A witness may cosign one checkpoint again; the first line counts.
#[test]
fn some_cosignatures_of_one_witness_may_stand_together() {
    let (log, witness) = (key("log", Kind::Ed25519, 1), key("witness", Kind::Cosignature, 2));
    let mut note = Checkpoint::new("log".into(), 5, Hash::EMPTY).sign(&log).unwrap();
    for at in 1..=17 {
        note.push(cosign(&note, &witness, at).unwrap());
        let found = note.verify([witness.verifier()]).unwrap();
        assert_eq!((found.len(), found[0].at), (1, Some(1)), "{at}");
    }
    note.push(cosign(&note, &witness, 18).unwrap());
    assert_eq!(note.verify([witness.verifier()]), Err(NoteError::BadSignature("witness".into())));
}

/// What a name of ours may not have, one of somebody else's may.
#[test]
fn a_strange_name_spoils_no_note() {
    let log = key("log", Kind::Ed25519, 1);
    let note = Note::sign("text\n".into(), &log).unwrap().to_string();
    let read = |line: &str| format!("{note}\u{2014} {line} AAAAAA0=\n").parse::<Note>();
    for strange in ["a\u{7f}", "a\u{81}", "a\u{200b}"] {
        assert!(
            read(strange).is_ok_and(|note| note.verify([log.verifier()]).is_ok()),
            "{strange:?}"
        );
    }
    for forbidden in ["", "a+b", "a\u{a0}b", "a\u{85}", "a\tb"] {
        assert_eq!(read(forbidden), Err(NoteError::Shape), "{forbidden:?}");
    }
}

#[test]
fn text_may_hold_empty_lines_and_looks_like_signatures() {
    let log = key("log", Kind::Ed25519, 1);
    let text = "one\n\n\u{2014} not a signature\n\nlast\n";
    let note = Note::sign(text.into(), &log).unwrap();
    let read: Note = note.to_string().parse().unwrap();
    assert_eq!((read.text(), read.verify([log.verifier()]).is_ok()), (text, true));
    for text in ["", "no newline", "tab\t\n", "carriage return\r\n", "nul\0\n"] {
        assert_eq!(Note::sign(text.into(), &log), Err(SignError::Text), "{text:?}");
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let sig = "\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";
    for note in [
        String::new(),
        "text\n".into(),
        "text\n\n".into(),
        format!("text\n{sig}\n"),
        format!("text\n\n{sig}"),
        format!("text\n\n{sig}\r\n"),
        format!("text\t\n\n{sig}\n"),
        format!("text\n\n{sig}\nx\n"),
        format!("text\n\n{}\n", sig.replace('\u{2014}', "-")),
        format!("text\n\n{}\n", sig.replace("foo ", "foo  ")),
        format!("text\n\n{}\n", sig.replace("foo", "f+o")),
        format!("text\n\n{}\n", sig.replace('=', "")),
        "text\n\n\u{2014} a AAAAAA==\n".into(),
    ] {
        assert_eq!(note.parse::<Note>(), Err(NoteError::Shape), "{note:?}");
    }
    let large = format!("{}\n\n{sig}\n", "x".repeat(Note::BYTES_MAX));
    assert_eq!(large.parse::<Note>(), Err(NoteError::TooLarge));
}

#[test]
fn checkpoints_have_one_form() {
    let root = Hash::EMPTY.to_string();
    let good = format!("example.com/log\n10\n{root}\nextension\n");
    let read: Checkpoint = good.parse().unwrap();
    assert_eq!((read.size, read.extensions.as_slice()), (10, ["extension".to_string()].as_slice()));
    assert_eq!(read.to_string(), good);
    for bad in [
        String::new(),
        format!("\n10\n{root}\n"),
        "log\n10\n".into(),
        format!("log\n10\n{root}"),
        format!("log\n010\n{root}\n"),
        format!("log\n+10\n{root}\n"),
        format!("log\n\n{root}\n"),
        format!("log\n18446744073709551616\n{root}\n"),
        format!("log\n10\n{}\n", &root[..40]),
        format!("log\n10\n{root}\n\n"),
        format!("log\n10\n{root}\n\nextension\n"),
    ] {
        assert!(bad.parse::<Checkpoint>().is_err(), "{bad:?}");
    }
    let log = key("log", Kind::Ed25519, 1);
    for origin in ["", "two\nlines"] {
        let checkpoint = Checkpoint::new(origin.into(), 1, Hash::EMPTY);
        assert_eq!(checkpoint.sign(&log), Err(SignError::Text));
    }
}

#[test]
fn a_cosignature_covers_its_time_and_the_whole_text() {
    let (log, witness) = (key("log", Kind::Ed25519, 1), key("witness", Kind::Cosignature, 2));
    let note = Checkpoint::new("log".into(), 5, Hash::EMPTY).sign(&log).unwrap();
    let signature = cosign(&note, &witness, 1_679_315_147).unwrap();
    assert_eq!(signature.bytes.len(), 8 + 64);
    // The specification's message, written out, under the same key.
    let message = format!("cosignature/v1\ntime 1679315147\nlog\n5\n{}\n", Hash::EMPTY);
    assert_eq!(signature.bytes[8..], witness.sign(message.as_bytes()).unwrap());
    let signed = |signature| {
        let mut note = note.clone();
        note.push(signature);
        note.to_string().parse::<Note>().unwrap()
    };
    let found = signed(signature.clone());
    let found = found.verify([witness.verifier()]).unwrap();
    assert_eq!((found.len(), found[0].at), (1, Some(1_679_315_147)));

    let mut later = signature.clone();
    later.bytes[7] ^= 1;
    let bad = signed(later).verify([witness.verifier()]).map(|found| found.len());
    assert_eq!(bad, Err(NoteError::BadSignature("witness".into())));
    let other = Checkpoint::new("log".into(), 6, Hash::EMPTY).sign(&log).unwrap();
    let mut moved = other;
    moved.push(signature);
    assert!(moved.verify([witness.verifier()]).is_err());
    assert_eq!(cosign(&note, &witness, 1 << 63), Err(SignError::Text));
    // Nor is there one without a time, though its witness signs it.
    assert_eq!(cosign(&note, &witness, 0), Err(SignError::Text));
    let message = format!("cosignature/v1\ntime 0\nlog\n5\n{}\n", Hash::EMPTY);
    let bytes = [&[0; 8][..], &witness.sign(message.as_bytes()).unwrap()].concat();
    let timeless = Signature { name: "witness".into(), id: witness.verifier().id(), bytes };
    assert!(signed(timeless).verify([witness.verifier()]).is_err());
}

#[test]
fn a_key_signs_only_what_its_kind_is_for() {
    let (log, witness) = (key("log", Kind::Ed25519, 1), key("witness", Kind::Cosignature, 2));
    assert_eq!(Note::sign("text\n".into(), &witness), Err(SignError::Kind(Kind::Cosignature)));
    let note = Note::sign("text\n".into(), &log).unwrap();
    assert_eq!(cosign(&note, &log, 1), Err(SignError::Kind(Kind::Ed25519)));
}

proptest! {
    #![proptest_config(crate::cases(128))]

    #[test]
    fn a_mutated_note_never_verifies(at in 0_usize..200, byte: u8) {
        let log = key("log", Kind::Ed25519, 1);
        let note = Checkpoint::new("log".into(), 5, Hash::EMPTY).sign(&log).unwrap().to_string();
        let mut bytes = note.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(Ok(read)) = String::from_utf8(bytes).map(|text| text.parse::<Note>()) {
            prop_assert!(read.verify([log.verifier()]).is_err(), "{read}");
        }
    }
}

fn key(name: &str, kind: Kind, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, kind, &[seed; 32]).unwrap()
}
