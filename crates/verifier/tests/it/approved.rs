//! A record of a proof was decided under a bundle that the reviewer knows, or that is found.

use std::path::PathBuf;

use serde_json::{Value, json};
use tlog::{Checkpoint, Hash, Receipt, Signer as _, SigningKey, key::Kind};

use super::run;

/// A decision under the bundle [`BUNDLE`], alone in its lane: the folder of its proof, and the lane's public key.
fn proof(name: &str) -> (PathBuf, String) {
    let leaf = json!({
        "at": "2026-11-26T02:00:00.000000000Z", "bundle": BUNDLE, "epoch": 1, "id": "019ab000-0000-7000-8000-000000000001", "index": 0,
        "kind": "decision", "lane": 0, "outcome": "ALLOW", "v": 1,
    });
    let leaf = serde_json::to_vec(&leaf).expect("JSON");
    let key = SigningKey::from_seed("gw.example/log/0", Kind::Ed25519, &[7; 32]).expect("a key");
    let checkpoint = Checkpoint::new("gw.example/log/0".to_owned(), 1, Hash::leaf(&leaf));
    let checkpoint = checkpoint.sign(&key).expect("signed").to_string();
    let receipt = Receipt { extra: Some(leaf), index: 0, proof: Vec::new(), checkpoint };
    let dir = std::env::temp_dir().join(format!("haetae-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("proof"), receipt.to_string()).expect("it can be written");
    (dir, key.verifier().to_string())
}

#[test]
fn a_decision_under_another_bundle_than_the_approved_ones_is_found() {
    let (dir, key) = proof("approved");
    let check = |list: &str| {
        std::fs::write(dir.join("bundles"), list).expect("it can be written");
        let path = |file: &str| dir.join(file).to_str().expect("UTF-8").to_owned();
        let (proof, bundles) = (path("proof"), path("bundles"));
        run(&[&proof, "--key", &key, "--bundles", &bundles, "--json"])
    };
    let other = "0".repeat(64);
    let hex = "01".repeat(32);
    for list in [BUNDLE, &format!("# ours\n{other}\n\n  sha256:{hex}\n"), &hex.to_uppercase()] {
        let (code, out, err) = check(list);
        let said: Value = serde_json::from_str(&out).expect("one document");
        assert_eq!((code, &said["bundle"], &*err), (Some(0), &Value::Null, ""), "{list}: {out}");
    }
    for list in [&*other, ""] {
        let (code, out, _) = check(list);
        let said: Value = serde_json::from_str(&out).expect("one document");
        let code_of = |said: &Value| said["code"].as_str().map(str::to_owned);
        assert_eq!((code, &said["exit"]), (Some(1), &json!(1)), "{list}: {out}");
        assert_eq!(code_of(&said).as_deref(), Some("proven"));
        assert_eq!(code_of(&said["bundle"]).as_deref(), Some("bundle_not_approved"));
    }
    let odd = hex.strip_prefix('0').expect("a zero");
    for list in ["x", odd, &format!("{hex}0"), &format!("+{odd}")] {
        let (code, _, err) = check(list);
        assert_eq!(code, Some(2), "{list}");
        assert!(err.contains(&format!("`{list}` in `")) && err.contains("no digest"), "{err}");
    }
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

/// 32 times 1.
const BUNDLE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
