//! A checkpoint that the reviewer kept is held against one record's proof as far as it can be, and is never passed over.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tlog::{Checkpoint, Hash, Receipt, Signer as _, SigningKey, key::Kind};

use super::run;

/// A record, alone in its lane, with its proof, and checkpoints beside it.
struct Kept {
    dir: PathBuf,
    key: SigningKey,
    root: Hash,
}

impl Kept {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("haetae-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let leaf = json!({
            "at": "2026-11-26T02:00:00.000000000Z", "epoch": 1, "id": "019ab000-0000-7000-8000-000000000001", "index": 0,
            "kind": "lane_open", "lane": 0, "v": 1,
        });
        let leaf = serde_json::to_vec(&leaf).expect("JSON");
        let kept = Self { dir, key: key(7), root: Hash::leaf(&leaf) };
        let checkpoint = signed(ORIGIN, 1, kept.root, &kept.key);
        let receipt = Receipt { extra: Some(leaf), index: 0, proof: Vec::new(), checkpoint };
        write(&kept.dir.join("proof"), &receipt.to_string());
        kept
    }

    /// The proof under this key, with this file of checkpoints: exit code and JSON, and the sentences in both languages.
    fn check(&self, notes: &str, key: &SigningKey) -> (Option<i32>, Value, [String; 2]) {
        let path = |file: &str| self.dir.join(file).to_str().expect("UTF-8").to_owned();
        write(&self.dir.join("kept"), notes);
        let (proof, kept, key) = (path("proof"), path("kept"), key.verifier().to_string());
        let words = [&proof, "--key", &key, "--checkpoint", &kept];
        let (code, out, err) = run(&[&words[..], &["--json"]].concat());
        assert_eq!(err, "");
        let json: Value = serde_json::from_str(&out).expect("one document");
        assert_eq!(json.get("exit"), Some(&json!(code)));
        let said = ["en", "ko"].map(|lang| {
            let (plain, out, _) = run(&[&words[..], &["--lang", lang]].concat());
            assert_eq!(plain, code);
            out
        });
        (code, json, said)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn what_can_be_compared_with_a_proof_is_and_what_cannot_is_said() {
    let kept = Kept::new("compared");
    let (own, other) = (&kept.key, &key(8));
    let of = |origin: &str, size: u64, root: Hash, key| signed(origin, size, root, key);
    let another = Hash::leaf(b"another");
    for (note, code, name, en, ko) in [
        (of(ORIGIN, 1, kept.root, own), 0, "checkpoint_same", "of the same tree", "같은 트리"),
        (of(ORIGIN, 1, another, own), 1, "fork", "FORKED: ", "로그가 갈라짐: "),
        (of(ORIGIN, 1, another, other), 1, "checkpoint", "does not count", "유효하지 않습니다"),
        (of(ORIGIN, 2, another, other), 1, "checkpoint", "does not count", "유효하지 않습니다"),
        (
            of(ORIGIN, 2, another, own),
            3,
            "checkpoint_not_compared",
            "was not compared, as the proof is of another tree (`gw.example/log/0`, size 1)",
            "비교하지 못했습니다",
        ),
        (
            of("gw.example/log/1", 1, kept.root, own),
            3,
            "checkpoint_not_compared",
            "your checkpoint (`gw.example/log/1`, size 1) was not compared",
            "가지고 계신 체크포인트(`gw.example/log/1`, 크기 1)",
        ),
    ] {
        let (exit, json, said) = kept.check(&note, own);
        assert_eq!((exit, &json["code"]), (Some(code), &json!("proven")), "{json:#}");
        let compared = json["checkpoints"].as_array().expect("an array");
        assert_eq!(compared.len(), 1, "{json:#}");
        assert_eq!((&compared[0]["code"], &compared[0]["exit"]), (&json!(name), &json!(code)));
        for (said, part) in said.iter().zip([en, ko]) {
            assert_eq!(said.lines().count(), 2, "{said}");
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn the_worst_of_several_is_the_exit_code() {
    let kept = Kept::new("worst");
    let note = |size, root| signed(ORIGIN, size, root, &kept.key);
    let (same, longer) = (note(1, kept.root), note(2, kept.root));
    let fork = note(1, Hash::leaf(b"another"));
    let (code, json, _) = kept.check(&format!("{same}{longer}"), &kept.key);
    assert_eq!((code, json["checkpoints"].as_array().map(Vec::len)), (Some(3), Some(2)));
    assert_eq!(kept.check(&format!("{longer}{fork}{same}"), &kept.key).0, Some(1));
    assert_eq!(kept.check(&format!("{fork}{longer}"), &kept.key).0, Some(1));
}

#[test]
fn nothing_is_compared_with_a_proof_that_does_not_count() {
    let kept = Kept::new("uncounted");
    let note = signed(ORIGIN, 1, kept.root, &kept.key);
    let (code, json, said) = kept.check(&note, &key(8));
    assert_eq!(
        (code, &json["code"], &json["checkpoints"]),
        (Some(1), &json!("checkpoint"), &json!([]))
    );
    assert!(said[0].starts_with("NOT proven: "), "{}", said[0]);
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, Kind::Ed25519, &[seed; 32]).expect("a key")
}

fn signed(origin: &str, size: u64, root: Hash, key: &SigningKey) -> String {
    Checkpoint::new(origin.to_owned(), size, root).sign(key).expect("signed").to_string()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("it can be written");
}

const ORIGIN: &str = "gw.example/log/0";
