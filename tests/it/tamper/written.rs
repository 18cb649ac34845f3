//! A closed log of one lane that every row gets a copy of, and those who look at it.

use std::sync::Arc;

use haetae::audit::{Config, Key, Range, export, verify, verify_watched};
use haetae::clock::Clock;
use sqlx::PgPool;
use tlog::{Frontier, Hash, Policy, tile};
use tokio::sync::OnceCell;

use crate::audit::lab::{Lab, ORIGIN, eventually};
use crate::support::{Fresh, backup, fresh_database, scratch};

/// 300 refusals between `lane_open` and `lane_close`, a batch each; the first tile is full.
pub const RECORDS: u64 = 302;
/// One of its checkpoints is of this size.
pub const SIGNED: u64 = 201;

/// A copy of the log, and what others have kept of it.
pub struct Written {
    pub fresh: Fresh,
    pub key: Arc<Key>,
    /// The newest checkpoint, as a reviewer may have kept it.
    pub kept: String,
}

impl Written {
    pub async fn copy() -> Self {
        static LOG: OnceCell<(Fresh, Arc<Key>, String)> = OnceCell::const_new();
        let (origin, key, kept) = LOG.get_or_init(write).await;
        Self { fresh: backup(origin).await, key: Arc::clone(key), kept: kept.clone() }
    }

    /// A shorter one that was written two minutes ago.
    pub async fn long_ago() -> Self {
        let fresh = fresh_database().await;
        let key = Arc::new(Key::generate().unwrap());
        let clock = Clock::fixed(Clock::system().unix_ns() - 120_000_000_000);
        let lab = Lab::start_at(&fresh.pool, 1, clock, Arc::clone(&key)).await;
        for _ in 0..3 {
            lab.deny().await.unwrap();
        }
        lab.projected().await;
        assert_eq!(verify(&lab.stop().await).await.unwrap().findings, vec![]);
        Self { fresh, key, kept: String::new() }
    }

    pub const fn pool(&self) -> &PgPool {
        &self.fresh.pool
    }

    pub fn vkey(&self) -> String {
        self.key.vkey(ORIGIN, 0).unwrap()
    }

    /// As superuser: statements that all change something.
    pub async fn run(&self, statements: &[&'static str]) {
        for statement in statements {
            let done = sqlx::query(*statement).execute(self.pool()).await.unwrap();
            assert!(done.rows_affected() > 0, "{statement}");
        }
    }

    /// `haetae log verify`: everything that it finds.
    pub async fn inside(&self) -> Vec<String> {
        let report = verify(self.pool()).await.unwrap();
        report.findings.iter().map(ToString::to_string).collect()
    }

    /// `haetae log verify --trust`, of somebody who wants the cosignatures of this witness: everything that it finds.
    pub async fn inside_with(&self, witness: &str) -> Vec<String> {
        let trust = format!("log {}\nwitness w {witness}\nquorum w\n", self.vkey());
        let (trust, keys): (Policy, _) = (trust.parse().unwrap(), [self.vkey().parse().unwrap()]);
        let report = verify_watched(
            self.pool(),
            &keys,
            Some(&trust),
            Clock::system().unix_ns(),
            Arc::new(|_| {}),
            None,
        );
        report.await.unwrap().findings.iter().map(ToString::to_string).collect()
    }

    /// `haetae-verify` on an export, of somebody who has the log's key and perhaps a checkpoint: everything that it finds.
    pub async fn outside(&self, kept: &[String]) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        export(self.pool(), Range::default(), Clock::system().unix_ns(), &mut file).await.unwrap();
        let trust = haetae_verify::Trust::Keys(vec![self.vkey().parse().unwrap()]);
        let report = haetae_verify::verify_since(file.path(), &trust, kept).unwrap();
        report.findings.iter().map(|found| found.text().en).collect()
    }

    /// A gateway that starts on it with the deployment's key, and with what it remembers, if it does.
    pub async fn start(&self, high_water: Option<&std::path::Path>) -> Lab {
        let config = Config {
            lanes: 1,
            record_ms_max: 60_000,
            commit_ms_max: 60_000,
            high_water_file: high_water.map(std::path::Path::to_owned),
            ..Config::default()
        };
        Lab::signed_by(self.pool(), config, Clock::system(), vec![Arc::clone(&self.key)]).await
    }

    /// A gateway that has seen the kept checkpoint starts on what is there, and stops.
    pub async fn start_below(&self, name: &str) {
        let dir = scratch(name);
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("high-water.json");
        let root = self.kept.lines().nth(2).unwrap();
        let known = serde_json::json!({"v": 1, "cluster": null, "lanes": [{"lane": 0, "size": RECORDS, "root": root}]});
        std::fs::write(&file, known.to_string()).unwrap();
        self.start(Some(&file)).await.stop().await;
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// The record with which the next generation says why it is there.
    pub async fn rollback(&self) -> String {
        let leaves = crate::audit::lab::leaves(self.pool()).await;
        let leaf = leaves.iter().find(|leaf| leaf["kind"] == "rollback").expect("a rollback");
        format!("rollback: of lane {}, known {}, found {}", leaf["of"], leaf["size"], leaf["found"])
    }

    /// What the gateway itself has recorded as wrong, under this code.
    pub async fn alarm(&self, what: &str) -> String {
        let leaves = self.leaves().await;
        let read = leaves.iter().filter_map(|leaf| serde_json::from_slice(leaf).ok());
        let mut alarms = read.filter(|leaf: &serde_json::Value| leaf["what"] == what);
        format!("{what}: {}", alarms.next().expect(what)["about"].as_str().unwrap())
    }

    /// Leaves of the lane, in order.
    pub async fn leaves(&self) -> Vec<Vec<u8>> {
        let select = "select leaves from log_batch where lane = 0 order by first_index";
        let bundles: Vec<Vec<u8>> =
            sqlx::query_scalar(select).fetch_all(self.pool()).await.unwrap();
        let read = |bundle: &Vec<u8>| {
            tlog::bundle::leaves(bundle).map(|leaf| leaf.unwrap().to_vec()).collect::<Vec<_>>()
        };
        bundles.iter().flat_map(read).collect()
    }

    /// Makes head, marks and tiles those of these leaves, as whoever owns the database can: one batch each, as before.
    pub async fn rebuild(&self, leaves: &[Vec<u8>]) -> Hash {
        let (mut frontier, mut edge) = (Frontier::new(), tile::Edge::new());
        sqlx::query("delete from log_tile").execute(self.pool()).await.unwrap();
        for (index, leaf) in (0_i64..).zip(leaves) {
            let hash = Hash::leaf(leaf);
            frontier.append(hash);
            for (id, hashes) in edge.append(&[hash]) {
                sqlx::query("insert into log_tile values (0, $1, $2, $3)")
                    .bind(i16::from(id.level))
                    .bind(i64::try_from(id.index).unwrap())
                    .bind(Hash::concat(&hashes))
                    .execute(self.pool())
                    .await
                    .unwrap();
            }
            sqlx::query("update log_batch set leaves = $2, marks = $3 where first_index = $1")
                .bind(index)
                .bind(tlog::bundle::encode([leaf.as_slice()]).unwrap())
                .bind(&hash.0[..8])
                .execute(self.pool())
                .await
                .unwrap();
        }
        sqlx::query("update log_head set size = $1, frontier = $2, root = $3")
            .bind(i64::try_from(frontier.size()).unwrap())
            .bind(frontier.to_bytes())
            .bind(frontier.root().0.as_slice())
            .execute(self.pool())
            .await
            .unwrap();
        frontier.root()
    }
}

/// The first that holds these words.
pub fn found(said: &[String], words: &str) -> String {
    let found = said.iter().find(|one| one.contains(words));
    found.unwrap_or_else(|| panic!("nobody said `{words}`: {said:?}")).clone()
}

async fn write() -> (Fresh, Arc<Key>, String) {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    for turn in 0..300 {
        if turn == SIGNED - 1 {
            signed(&lab).await;
        }
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let key = Arc::clone(&lab.key);
    let pool = lab.stop().await;
    let report = verify(&pool).await.unwrap();
    assert_eq!((report.findings, report.records), (vec![], RECORDS));
    let kept = "select note from log_checkpoint order by size desc limit 1";
    let kept = sqlx::query_scalar(kept).fetch_one(&pool).await.unwrap();
    (fresh, key, kept)
}

/// All that is written is under a published checkpoint.
async fn signed(lab: &Lab) {
    let newest = "select exists (select from log_checkpoint where size = $1)";
    let is = async || {
        let newest = sqlx::query_scalar(newest).bind(i64::try_from(SIGNED).unwrap());
        newest.fetch_one(&lab.pool).await.unwrap()
    };
    eventually("a checkpoint of this size is published", is).await;
}
