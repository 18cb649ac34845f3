//! A witness that mirrors a real log: it reads and judges all of it, goes on where it was, and says what is wrong with a log
//! that is rolled back, forked, served with wrong tiles or edited records, or that decided otherwise than its facts say.

use std::path::Path;
use std::sync::Arc;

use haetae::app::aside::Running;
use haetae::audit::{Key, Recorded, Text};
use haetae::clock::Clock;
use haetae::witness::Config;
use serde_json::{Value, json};
use tlog::{Checkpoint, Hash, Note, bundle};
use verdict::decision::Outcome;

use super::{config, pages};
use crate::audit::lab::{Lab, ORIGIN, draft, eventually};
use crate::support::served::Served;
use crate::support::stage::plain_http;
use crate::support::{Fresh, fresh_database};

/// A log, its listener, and a witness that mirrors it.
struct Scene {
    lab: Lab,
    served: Served,
    config: Config,
    witness: Running,
    dir: tempfile::TempDir,
    fresh: Fresh,
}

impl Scene {
    async fn open() -> Self {
        let fresh = fresh_database().await;
        let lab = Lab::start(&fresh.pool, 2).await;
        let (served, url) = Served::start(&fresh.pool).await;
        let dir = tempfile::tempdir().unwrap();
        let config = mirroring(dir.path(), &lab.key, &url);
        let witness = haetae::app::witness::start(config.clone()).await.unwrap();
        Self { lab, served, config, witness, dir, fresh }
    }

    /// Some records, of which everything is mirrored and judged when it returns.
    async fn grown(&self) -> Value {
        for _ in 0..20 {
            let _ = self.lab.allow().await;
            self.lab.deny().await.unwrap();
        }
        self.caught_up().await
    }

    async fn caught_up(&self) -> Value {
        eventually("all of the log is judged", async || {
            let sizes: Vec<i64> = sqlx::query_scalar("select size from log_head order by lane")
                .fetch_all(&self.lab.pool)
                .await
                .unwrap();
            let status = self.status().await;
            let judged = |(lane, size): (usize, &i64)| lanes(&status)[lane]["judged"] == *size;
            sizes.iter().enumerate().all(judged)
        })
        .await;
        self.status().await
    }

    /// Records that another process would not judge again.
    fn kept(&self) -> u64 {
        let mirrors = std::fs::read_dir(self.dir.path().join("state/mirror")).unwrap();
        let path = mirrors.last().unwrap().unwrap().path().join("followed.json");
        let Ok(text) = std::fs::read_to_string(path) else { return 0 };
        let kept: Value = serde_json::from_str(&text).unwrap();
        let lanes = kept["lanes"].as_array().unwrap();
        lanes.iter().map(|lane| lane["size"].as_u64().unwrap()).sum()
    }

    async fn status(&self) -> Value {
        let text = self.get("/status.json").await;
        serde_json::from_str(&text).unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.witness.address());
        plain_http().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Waits for the alarm, sees that it is a record of the witness's own log and on its page, and gives the sentence.
    async fn alarmed(&self, what: &str) -> String {
        let mut about = None;
        eventually(&format!("the alarm {what}"), async || {
            let status = self.status().await;
            let alarms = status["alarms"]["newest"].as_array().unwrap().clone();
            let alarm = alarms.iter().find(|alarm| alarm["what"] == what);
            about = alarm.map(|alarm| alarm["about"].as_str().unwrap().to_owned());
            about.is_some()
        })
        .await;
        let about = about.unwrap();
        // On the page it is before the disk has it.
        let is_record = async || self.own_log().await.iter().any(|leaf| leaf["about"] == *about);
        eventually(&format!("a record: {about}"), is_record).await;
        let page = self.get("/status").await;
        assert!(page.contains(what) && page.starts_with("<!doctype html>"), "{page}");
        about
    }

    /// The records of the witness's own log, proven under its key.
    async fn own_log(&self) -> Vec<Value> {
        let status = self.status().await;
        let key: tlog::VerifierKey = status["own_log"]["vkey"].as_str().unwrap().parse().unwrap();
        let note: Note = self.get("/1/log/0/checkpoint").await.parse().unwrap();
        note.verify([&key]).unwrap();
        let checkpoint: Checkpoint = note.text().parse().unwrap();
        let url = format!(
            "http://{}/1/log/0/tile/entries/000.p/{}",
            self.witness.address(),
            checkpoint.size
        );
        let entries = plain_http().get(url).send().await.unwrap().bytes().await.unwrap();
        let leaves: Vec<Vec<u8>> =
            bundle::leaves(&entries).map(|leaf| leaf.unwrap().to_vec()).collect();
        let hashes: Vec<tlog::Hash> = leaves.iter().map(|leaf| tlog::Hash::leaf(leaf)).collect();
        assert_eq!(tlog::proof::root(&hashes, checkpoint.size), Ok(checkpoint.root));
        leaves.iter().map(|leaf| serde_json::from_slice(leaf).unwrap()).collect()
    }

    async fn stop(self) {
        self.witness.stop().await;
        self.lab.stop().await;
    }
}

fn mirroring(dir: &Path, key: &Key, url: &str) -> Config {
    let log = |lane| format!("log {}\n", key.vkey(ORIGIN, lane).unwrap());
    let mut config = config(dir, &format!("{}{}", log(0), log(1)));
    let mirror = json!([{ "log": ORIGIN, "entries": true, "remote": { "url": url } }]);
    config.mirror = serde_json::from_value(mirror).unwrap();
    config
}

fn lanes(status: &Value) -> &Vec<Value> {
    status["mirrors"][0]["lanes"].as_array().unwrap()
}

/// Of a bundle that is known only the facts are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_under_rules_that_are_known_is_judged() {
    let scene = Scene::open().await;
    let _ = scene.lab.allow().await;
    scene.caught_up().await;
    // Other facts than those of the allow, in whichever lane they come to stand.
    for _ in 0..8 {
        scene.lab.deny().await.unwrap();
    }
    let status = scene.caught_up().await;
    let mirror = &status["mirrors"][0];
    assert_eq!((&mirror["judged"], &mirror["not_judgeable"]), (&json!(9), &json!(0)), "{mirror}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_mirrored_and_judged_and_a_restart_goes_on() {
    let scene = Scene::open().await;
    let status = scene.grown().await;
    let mirror = &status["mirrors"][0];
    assert_eq!((&mirror["decisions"], &mirror["judged"]), (&json!(40), &json!(40)), "{mirror}");
    assert_eq!((&mirror["findings"], &status["alarms"]["total"]), (&json!(0), &json!(0)));
    assert!(lanes(&status).iter().all(|lane| lane["trouble"].is_null()), "{status}");
    let kinds: Vec<Value> = scene.own_log().await.iter().map(|leaf| leaf["kind"].clone()).collect();
    assert_eq!(kinds, ["lane_open"]);

    // Another process of it reads only what is new.
    let sizes = |status: &Value| -> u64 {
        lanes(status).iter().map(|lane| lane["judged"].as_u64().unwrap()).sum()
    };
    let judged = sizes(&scene.status().await);
    eventually("how far it was judged is on the disk", async || scene.kept() == judged).await;
    let Scene { lab, served, config, witness, dir, fresh } = scene;
    witness.stop().await;
    let witness = haetae::app::witness::start(config.clone()).await.unwrap();
    let scene = Scene { lab, served, config, witness, dir, fresh };
    let status = scene.caught_up().await;
    assert_eq!(status["mirrors"][0]["decisions"], 0, "{status}");
    let status = scene.grown().await;
    assert_eq!(
        (&status["mirrors"][0]["judged"], &status["alarms"]["total"]),
        (&json!(40), &json!(0))
    );

    // Who is no reader gets no records, and says so; the tree is followed all the same.
    scene.served.let_in("stranger.example");
    let _ = scene.lab.allow().await;
    eventually("the trouble is said", async || {
        let status = scene.status().await;
        lanes(&status).iter().any(|lane| lane["trouble"] == "not_let_in")
    })
    .await;
    assert_eq!(scene.status().await["alarms"]["total"], 0);
    assert!(scene.dir.path().join("state/mirror").exists() && scene.config.mirror[0].entries);
    scene.stop().await;
}

/// Hashes are fetched again, and nothing that was judged is judged twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_begins_anew_is_judged_on_from_where_it_was() {
    let scene = Scene::open().await;
    let judged: u64 =
        lanes(&scene.grown().await).iter().map(|lane| lane["judged"].as_u64().unwrap()).sum();
    eventually("how far it was judged is on the disk", async || scene.kept() == judged).await;
    let Scene { lab, served, config, witness, dir, fresh } = scene;
    witness.stop().await;
    let mirror = std::fs::read_dir(dir.path().join("state/mirror")).unwrap().last().unwrap();
    std::fs::write(mirror.unwrap().path().join("lane-0/level-0"), "").unwrap();
    let witness = haetae::app::witness::start(config.clone()).await.unwrap();
    let scene = Scene { lab, served, config, witness, dir, fresh };
    scene.alarmed("mirror_broken").await;
    let status = scene.caught_up().await;
    assert_eq!(status["mirrors"][0]["decisions"], 0, "{status}");
    let status = scene.grown().await;
    assert_eq!(status["mirrors"][0]["judged"], 40, "{status}");
    assert_eq!(status["alarms"]["total"], 1, "{status}");
    scene.stop().await;
}

/// Only what is to be kept needs room.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_what_is_mirrored_is_judged() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 2).await;
    let (_served, url) = Served::start(&fresh.pool).await;
    let dir = tempfile::tempdir().unwrap();
    let config = mirroring(dir.path(), &lab.key, &url);
    let _ = lab.allow().await;
    lab.stop().await;
    let mut tree = config.clone();
    tree.mirror[0].entries = false;
    let whole = |status: &Value, what: &str| {
        let published = |lane: &Value| lane["published"].as_u64() > Some(0);
        lanes(status).iter().all(|lane| published(lane) && lane[what] == lane["published"])
    };
    let until = async |witness: &Running, what: &str| {
        let is_whole = async || whole(&pages::status(witness).await, what);
        eventually(&format!("all is {what}"), is_whole).await;
    };
    let witness = haetae::app::witness::start(tree).await.unwrap();
    until(&witness, "mirrored").await;
    witness.stop().await;
    let full = Config { room_min_mb: 1 << 40, ..config };
    let witness = haetae::app::witness::start(full).await.unwrap();
    until(&witness, "judged").await;
    let status = pages::status(&witness).await;
    assert_eq!(status["mirrors"][0]["judged"], 1, "{status}");
    assert_eq!(status["room"]["short"], true, "{status}");
    let mirror = std::fs::read_dir(dir.path().join("state/mirror")).unwrap();
    let mirror = mirror.last().unwrap().unwrap().path();
    let kept = ["0", "1"].map(|lane| mirror.join(lane).exists());
    let texts = std::fs::read_dir(mirror.join("text")).unwrap().count();
    assert_eq!((kept, texts), ([false; 2], 0));
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_does_not_follow_from_its_facts_is_an_alarm() {
    let scene = Scene::open().await;
    let (mut wrong, refused) = (draft(Outcome::Allow, 0), draft(Outcome::Deny, 0));
    (wrong.facts, wrong.detail) = (refused.facts, refused.detail);
    let Recorded::Permit(permit) = scene.lab.audit.record(wrong).await.unwrap() else { panic!() };
    let about = scene.alarmed("judged").await;
    assert!(
        about.contains(&*permit.proof().id)
            && about.contains("judged again, the outcome is DENY, not ALLOW"),
        "{about}"
    );
    assert_eq!(scene.status().await["mirrors"][0]["findings"], 1);
    scene.stop().await;
}

/// More texts than memory holds at once: judged in pieces, each with its own.
#[tokio::test(flavor = "multi_thread")]
async fn facts_that_are_very_large_are_judged_all_the_same() {
    let scene = Scene::open().await;
    scene.served.is_away(true);
    for number in 1..=10 {
        let mut large = draft(Outcome::Allow, 0);
        // Spaces say nothing, and make another text of it.
        let facts = [&*large.facts.bytes, &vec![b' '; (3 << 20) + number]].concat();
        large.facts = Arc::new(Text::new(facts.into()));
        scene.lab.audit.record(large).await.unwrap();
    }
    scene.served.is_away(false);
    let status = scene.caught_up().await;
    let mirror = &status["mirrors"][0];
    assert_eq!((&mirror["judged"], &mirror["not_judgeable"]), (&json!(10), &json!(0)), "{mirror}");
    assert_eq!(status["alarms"]["total"], 0, "{status}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_that_are_not_the_signed_trees_are_an_alarm_and_not_taken_over() {
    let scene = Scene::open().await;
    scene.grown().await;
    scene.served.spoil(|path, body| {
        if path.contains("/tile/0/")
            && let Some(last) = body.last_mut()
        {
            *last ^= 1;
        }
    });
    for _ in 0..20 {
        let _ = scene.lab.allow().await;
    }
    let about = scene.alarmed("tree_root").await;
    assert!(about.contains("do not lead to the root that was signed"), "{about}");
    // Served right again, it goes on.
    scene.served.spoil(|_, _| {});
    scene.caught_up().await;
    scene.stop().await;
}

/// The tiles above and at the right edge are the log's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_full_tile_is_no_fork() {
    let scene = Scene::open().await;
    scene.grown().await;
    scene.served.spoil(|path, body| {
        if path.ends_with("/tile/0/000") {
            body[Hash::BYTES * 255] ^= 1;
        }
    });
    for _ in 0..800 {
        let _ = scene.lab.allow().await;
    }
    let about = scene.alarmed("tree_root").await;
    assert!(about.contains("do not lead to the root that was signed"), "{about}");
    scene.served.spoil(|_, _| {});
    scene.caught_up().await;
    let alarms = scene.status().await;
    assert!(!alarms.to_string().contains("does not extend"), "{alarms}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_served_otherwise_than_before_is_an_alarm() {
    let scene = Scene::open().await;
    scene.grown().await;
    scene.served.spoil(|path, body| {
        let text = String::from_utf8_lossy(body).into_owned();
        if path.contains("/0/tile/entries/") && text.contains("lane_open") {
            // The build's name, of the same length.
            let at = text.find("haetae 0").unwrap();
            let at = body.windows(8).position(|bytes| bytes == b"haetae 0").unwrap_or(at);
            body[at] = b'X';
        }
    });
    let about = scene.alarmed("record_edited").await;
    assert!(about.contains("index 0 is served with other bytes"), "{about}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shows_less_than_before_is_an_alarm() {
    let scene = Scene::open().await;
    scene.grown().await;
    let url = scene.config.mirror[0].remote.url.clone();
    let old = plain_http().get(format!("{url}/0/checkpoint")).send().await.unwrap();
    let old = old.bytes().await.unwrap().to_vec();
    let status = scene.grown().await;
    let size = lanes(&status)[0]["mirrored"].as_u64().unwrap();
    scene.served.spoil(move |path, body| {
        if path.ends_with("/0/checkpoint") {
            body.clone_from(&old);
        }
    });
    let about = scene.alarmed("rolled_back").await;
    assert!(about.contains(&format!("one of {size} was seen before")), "{about}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_signed_with_the_real_key_is_an_alarm_and_never_followed() {
    let scene = Scene::open().await;
    let status = scene.grown().await;
    let size = lanes(&status)[0]["mirrored"].as_u64().unwrap();
    let other = fresh_database().await;
    let key = Arc::clone(&scene.lab.key);
    let forked = Lab::start_at(&other.pool, 2, Clock::system(), key).await;
    for _ in 0..120 {
        let _ = forked.allow().await;
    }
    eventually("the other history is published", async || {
        let note = haetae::audit::checkpoint(&other.pool, 0, 0).await.unwrap();
        let note = note.map(|(_, note)| note);
        note.and_then(|note| note.lines().nth(1)?.parse().ok()).is_some_and(|to: u64| to > size)
    })
    .await;
    scene.served.show(&other.pool).await;
    let about = scene.alarmed("fork").await;
    assert!(about.contains("does not extend") || about.contains("no part of"), "{about}");
    // The signed note that shows it is kept, and the mirror stays with what it had.
    let status = scene.status().await;
    assert!(status["logs"].as_array().unwrap().iter().any(|log| log["evidence"] != 0), "{status}");
    assert_eq!(lanes(&status)[0]["mirrored"], size, "{status}");
    forked.stop().await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_that_nobody_approved_are_an_alarm() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    let (served, url) = Served::start(&fresh.pool).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = mirroring(dir.path(), &lab.key, &url);
    let approved = dir.path().join("approved.txt");
    std::fs::write(&approved, format!("# none of the lab's\nsha256:{}\n", "ab".repeat(32)))
        .unwrap();
    config.mirror[0].bundles = Some(approved.clone());
    let witness = haetae::app::witness::start(config.clone()).await.unwrap();
    let scene = Scene { lab, served, config: config.clone(), witness, dir, fresh };
    let _ = scene.lab.allow().await;
    let about = scene.alarmed("bundle_not_approved").await;
    let digest = tlog::Hash(draft(Outcome::Allow, 0).bundle.digest);
    assert!(about.contains(&digest.to_string()), "{about}");
    let other = tempfile::tempdir().unwrap();
    let mut config = mirroring(other.path(), &scene.lab.key, &config.mirror[0].remote.url);
    std::fs::write(&approved, "nonsense\n").unwrap();
    config.mirror[0].bundles = Some(approved);
    let refused = haetae::app::witness::start(config).await.err().unwrap().to_string();
    assert!(refused.contains("`nonsense`"), "{refused}");
    scene.stop().await;
}
