//! Each lane goes its own way: lanes whose listener takes every request and never answers keep no other waiting.

use std::sync::{Arc, Mutex};

use haetae::app::witness::start;
use serde_json::json;

use super::pages::{self, Page, serve, split, status, submit};
use super::{body, config};
use crate::audit::lab::{Lab, ORIGIN, eventually};
use crate::support::fresh_database;
use crate::support::served::Served;

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_never_answers_keeps_no_other_waiting() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 3).await;
    let (_served, behind) = Served::start(&fresh.pool).await;
    // Whose checkpoint was asked for, in order.
    let asked = Arc::new(Mutex::new(Vec::<u16>::new()));
    let noted = Arc::clone(&asked);
    let url = serve(move |path| {
        let (lane, what) = split(path);
        if what == "checkpoint" {
            noted.lock().unwrap().push(lane);
        }
        if lane == 2 { Page::Of(format!("{behind}{path}")) } else { Page::Never }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let log = |lane| format!("log {}\n", lab.key.vkey(ORIGIN, lane).unwrap());
    let mut config = config(dir.path(), &[0, 1, 2].map(log).concat());
    let mirror = json!([{ "log": ORIGIN, "entries": true, "remote": { "url": url } }]);
    config.mirror = serde_json::from_value(mirror).unwrap();
    let witness = start(config).await.unwrap();

    // One after the other, the lane would never be asked twice without the others in between.
    eventually("the lane is asked again before the others", async || {
        asked.lock().unwrap().windows(2).any(|two| two == [2, 2])
    })
    .await;
    eventually("the lane is judged", async || {
        let _ = lab.allow().await;
        let status = status(&witness).await;
        let lane = pages::lane(&status, 2);
        lane["judged"].as_u64() > Some(0) && lane["judged"] == lane["mirrored"]
    })
    .await;
    let note = haetae::audit::checkpoint(&lab.pool, 2, 0).await.unwrap().unwrap().1;
    assert_eq!(submit(&witness, body(0, &[], &note)).await.0, 200);
    // Of a log that is new what it shows is looked at first, which could not be done yet.
    let note = haetae::audit::checkpoint(&lab.pool, 0, 0).await.unwrap().unwrap().1;
    let (code, said) = submit(&witness, body(0, &[], &note)).await;
    assert!(code == 503 && said.contains("looks first at what the log shows"), "{code}: {said}");
    witness.stop().await;
    lab.stop().await;
}
