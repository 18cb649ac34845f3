//! The signing key changes while the log is in use: a reader who trusts the old key, or the new one, loses nothing in
//! between, and a key that was removed signs no more.

use std::sync::Arc;

use haetae::audit::{Config, Key, verify, verify_with};
use haetae::clock::Clock;
use tlog::{Hash, Policy, Receipt, VerifierKey};

use super::lab::{Lab, ORIGIN, carried};
use crate::support::fresh_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_key_sign_together_while_readers_change() {
    let pool = fresh_database().await.pool;
    let (old, new) = (Arc::new(Key::generate().unwrap()), Arc::new(Key::generate().unwrap()));
    let vkey = |key: &Key| -> VerifierKey { key.vkey(ORIGIN, 0).unwrap().parse().unwrap() };
    let mut trusted = Vec::new();
    for keys in [vec![&old], vec![&old, &new], vec![&new, &old], vec![&new]] {
        let config = Config { lanes: 1, record_ms_max: 60_000, ..Config::default() };
        let keys = keys.into_iter().map(Arc::clone).collect();
        let lab = Lab::signed_by(&pool, config, Clock::system(), keys).await;
        let proof = lab.deny().await.unwrap();
        let (leaf, receipt) = carried(&proof);
        let leaf = Hash::leaf(&leaf);
        let receipt: Receipt = receipt.parse().unwrap();
        trusted.push(
            [&old, &new].map(|key| receipt.verify(&leaf, &Policy::of_log(vkey(key))).is_ok()),
        );
        lab.stop().await;
    }
    assert_eq!(trusted, [[true, false], [true, true], [true, true], [false, true]]);

    // The log says of each time who signs, and is whole under the keys of its owner.
    let opened: Vec<(String, bool)> = super::lab::leaves(&pool)
        .await
        .iter()
        .filter(|leaf| leaf["kind"] == "lane_open")
        .map(|leaf| (leaf["key"].as_str().unwrap().to_owned(), leaf["also"].is_array()))
        .collect();
    let (old, new) = (vkey(&old), vkey(&new));
    let said = [(&old, false), (&old, true), (&new, true), (&new, false)];
    assert_eq!(opened, said.map(|(key, also)| (key.to_string(), also)));
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    assert_eq!(verify_with(&pool, &[old.clone(), new]).await.unwrap().findings, []);
    let findings = verify_with(&pool, &[old]).await.unwrap().findings;
    assert!(findings.iter().all(|found| found.what.code() == "checkpoint"), "{findings:?}");
    assert!(!findings.is_empty(), "the last checkpoints are not of the old key");
}
