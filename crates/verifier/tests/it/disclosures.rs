//! One record's proof with what several of its fields hide: one answer, for programs in one JSON document.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tlog::{Checkpoint, Hash, Receipt, Signer as _, SigningKey, key::Kind};

use super::run;

/// A proven record that hides `actor` and `subject`, and a file for what each hides.
struct Proven {
    dir: PathBuf,
    key: String,
}

impl Proven {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("haetae-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut leaf = json!({
            "at": "2026-11-26T02:00:00.000000000Z", "epoch": 1, "id": ID, "index": 0, "kind": "decision", "lane": 0, "v": 1,
        });
        for (field, value) in FIELDS {
            let digest = digest(value);
            let leaf = leaf.as_object_mut().expect("an object");
            leaf.insert(field.into(), digest.as_str().into());
            let values =
                json!([{ "digest": digest, "salt": STANDARD.encode(SALT), "value": value }]);
            let document = json!({
                "field": field, "format": "haetae-disclosure", "id": ID, "index": 0, "lane": 0, "v": 1, "values": values,
            });
            write(&dir.join(field), &document.to_string());
        }
        let leaf = serde_json::to_vec(&leaf).expect("JSON");
        let key =
            SigningKey::from_seed("gw.example/log/0", Kind::Ed25519, &[7; 32]).expect("a key");
        let vkey = key.verifier();
        let signed = Checkpoint::new(vkey.name().to_owned(), 1, Hash::leaf(&leaf)).sign(&key);
        let checkpoint = signed.expect("signed").to_string();
        let receipt = Receipt { extra: Some(leaf), index: 0, proof: Vec::new(), checkpoint };
        write(&dir.join("proof"), &receipt.to_string());
        Self { dir, key: vkey.to_string() }
    }

    fn path(&self, file: &str) -> String {
        self.dir.join(file).to_str().expect("UTF-8").to_owned()
    }

    /// With the disclosures of these files.
    fn check(&self, shown: &[&str], more: &[&str]) -> (Option<i32>, String, String) {
        let (proof, key) = (self.path("proof"), self.key.clone());
        let mut words = vec![proof, "--key".into(), key];
        words.extend(shown.iter().flat_map(|file| ["--disclosure".into(), self.path(file)]));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Drop for Proven {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn several_disclosures_are_one_json_document() {
    let proven = Proven::new("several");
    let (code, out, err) = proven.check(&["actor", "subject"], &["--json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let said: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!((&said["exit"], &said["code"]), (&json!(0), &json!("proven")), "{said:#}");
    let shown = said["disclosures"].as_array().expect("an array");
    let files: Vec<&Value> = shown.iter().map(|each| &each["file"]).collect();
    assert_eq!(files, [&json!(proven.path("actor")), &json!(proven.path("subject"))]);
    for (each, (field, value)) in shown.iter().zip(FIELDS) {
        assert_eq!((&each["exit"], &each["code"]), (&json!(0), &json!("disclosed")), "{each}");
        for language in ["en", "ko"] {
            let text = each[language].as_str().expect("a sentence");
            assert!(text.contains(field) && text.contains(value), "{text}");
        }
    }

    // One that is wrong is said where it stands, and the whole is not whole.
    let text = std::fs::read_to_string(proven.path("actor")).expect("it is there");
    write(Path::new(&proven.path("actor")), &text.replace("ha-eun", "ha-yun"));
    let (code, out, _) = proven.check(&["actor", "subject"], &["--json"]);
    let said: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!((code, &said["exit"], &said["code"]), (Some(1), &json!(1), &json!("proven")));
    let exits = [&said["disclosures"][0]["exit"], &said["disclosures"][1]["exit"]];
    assert_eq!(exits, [&json!(1), &json!(0)], "{said:#}");

    let (code, out, _) = proven.check(&[], &["--json"]);
    let said: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!((code, said.get("disclosures")), (Some(0), None), "none was asked for");
}

#[test]
fn sentences_are_a_line_for_the_record_and_for_each_disclosure() {
    let proven = Proven::new("lines");
    let (code, out, _) = proven.check(&["actor", "subject"], &[]);
    assert_eq!((code, out.lines().count()), (Some(0), 3), "{out}");
}

#[test]
fn nothing_is_said_when_one_of_them_cannot_be_read() {
    let proven = Proven::new("unreadable");
    for more in [&[][..], &["--json"]] {
        let (code, out, err) = proven.check(&["actor", "none"], more);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(err.contains("none`: No such file or directory"), "{err}");
    }
}

#[test]
fn nothing_is_disclosed_of_a_record_that_is_not_proven() {
    let proven = Proven::new("unproven");
    let other = SigningKey::from_seed("gw.example/log/0", Kind::Ed25519, &[8; 32]).expect("a key");
    let proven = Proven { key: other.verifier().to_string(), dir: proven.dir.clone() };
    let (code, out, _) = proven.check(&["actor"], &["--json"]);
    let said: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!((code, &said["exit"], &said["disclosures"]), (Some(1), &json!(1), &json!([])));
    assert!(!out.contains("ha-eun"), "{out}");
}

fn digest(value: &str) -> String {
    STANDARD.encode(Sha256::new().chain_update(SALT).chain_update(value).finalize())
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("it can be written");
}

const ID: &str = "019ab000-0000-7000-8000-000000000001";
const FIELDS: [(&str, &str); 2] = [("actor", "ha-eun.seo@kr.example"), ("subject", "case 17")];
const SALT: [u8; 16] = [3; 16];
