//! The database forgets: a backup is restored, a tail is deleted, a lane is written anew. The gateway finds it at the start
//! or while it serves, never signs that lane again, and the next generation says what was lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use haetae::audit::{AuditError, Config, Key, Range, export, verify};
use haetae::clock::Clock;
use serde_json::Value;
use sqlx::PgPool;
use tlog::{Frontier, Hash};

use super::lab::{Lab, ORIGIN, eventually, leaves};
use crate::support::{Fresh, backup, fresh_database, reopen, scratch};

/// A deployment: its key and where it remembers.
struct House {
    key: Arc<Key>,
    file: PathBuf,
}

impl House {
    fn new() -> Self {
        let dir = scratch("high-water");
        std::fs::create_dir(&dir).unwrap();
        Self { key: Arc::new(Key::generate().unwrap()), file: dir.join("high-water.json") }
    }

    async fn open(&self, pool: &PgPool, remembers: bool) -> Lab {
        let config = Config {
            lanes: 1,
            record_ms_max: 60_000,
            commit_ms_max: 60_000,
            high_water_file: remembers.then(|| self.file.clone()),
            ..Config::default()
        };
        Lab::signed_by(pool, config, Clock::system(), vec![Arc::clone(&self.key)]).await
    }

    /// How far a lane was, by its file.
    fn known(&self, lane: u64) -> i64 {
        let known: Value = serde_json::from_slice(&std::fs::read(&self.file).unwrap()).unwrap();
        let marks = known["lanes"].as_array().unwrap();
        let mark = marks.iter().find(|mark| mark["lane"] == lane);
        mark.map_or(0, |mark| mark["size"].as_i64().unwrap())
    }

    /// One of several replicas of two lanes.
    async fn open_lanes(&self, pool: &PgPool, file: &Path, held: u16) -> Lab {
        let config = Config {
            lanes: 2,
            lanes_held_max: held,
            record_ms_max: 60_000,
            commit_ms_max: 60_000,
            high_water_file: Some(file.to_owned()),
            ..Config::default()
        };
        Lab::signed_by(pool, config, Clock::system(), vec![Arc::clone(&self.key)]).await
    }

    /// Opens, records some refusals, and closes in order.
    async fn record(&self, fresh: &Fresh, count: usize) {
        let lab = self.open(&fresh.pool, true).await;
        for _ in 0..count {
            lab.deny().await.unwrap();
        }
        lab.projected().await;
        lab.stop().await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(self.file.parent().unwrap());
    }
}

async fn size(pool: &PgPool, lane: i32) -> i64 {
    let select = "select size from log_head where lane = $1";
    sqlx::query_scalar(select).bind(lane).fetch_one(pool).await.unwrap()
}

/// None counts as none.
async fn size_of(pool: &PgPool, lane: i32) -> i64 {
    let select = "select coalesce(max(size), 0) from log_head where lane = $1";
    sqlx::query_scalar(select).bind(lane).fetch_one(pool).await.unwrap()
}

async fn of_lane(pool: &PgPool, lane: u64) -> Vec<Value> {
    leaves(pool).await.into_iter().filter(|leaf| leaf["lane"] == lane).collect()
}

fn kinds(leaves: &[Value]) -> Vec<&str> {
    leaves.iter().map(|leaf| leaf["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_found_at_the_start_and_the_next_generation_says_what_was_lost() {
    let (house, fresh) = (House::new(), fresh_database().await);
    house.record(&fresh, 10).await;
    let (first, fresh) = (backup(&fresh).await, reopen(fresh).await);
    let (second, fresh) = (backup(&fresh).await, reopen(fresh).await);
    house.record(&fresh, 5).await;
    let (had, has) = (size(&fresh.pool, 0).await, size(&first.pool, 0).await);
    assert!(had > has);

    let lab = house.open(&first.pool, true).await;
    let leaf = lab.proven(&lab.deny().await.unwrap());
    assert_eq!((leaf["lane"].as_u64(), leaf["index"].as_u64()), (Some(16), Some(2)));
    lab.projected().await;
    lab.stop().await;
    let opened = of_lane(&first.pool, 16).await;
    assert_eq!(kinds(&opened), ["lane_open", "rollback", "decision", "lane_close"]);
    let said = &opened[1];
    assert_eq!(
        (said["of"].as_i64(), said["size"].as_i64(), said["found"].as_i64()),
        (Some(0), Some(had), Some(has))
    );
    let root: Vec<u8> = sqlx::query_scalar("select root from log_head where lane = 0")
        .fetch_one(&fresh.pool)
        .await
        .unwrap();
    assert_eq!(said["root"], Hash::from_slice(&root).unwrap().to_string());
    assert_eq!(size(&first.pool, 0).await, has, "nothing was added to the dead lane");

    // Another replica, which remembers nothing, keeps off the dead lane too.
    let lab = house.open(&first.pool, false).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16);
    lab.projected().await;
    lab.stop().await;
    let findings = verify(&first.pool).await.unwrap().findings;
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let lost = format!(
        "lane 0, index {has}: missing: records {has} to {had} were lost: the database was rolled back, as lane 16 says at index 1"
    );
    assert_eq!(said, [lost]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    export(&first.pool, Range::default(), Clock::system().unix_ns(), &mut file).await.unwrap();
    let vkeys = [0, 16].map(|lane| house.key.vkey(ORIGIN, lane).unwrap().parse().unwrap());
    let report =
        haetae_verify::verify(file.path(), &haetae_verify::Trust::Keys(vkeys.to_vec())).unwrap();
    let said: Vec<String> = report.findings.iter().map(|found| found.text().en).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(&has.to_string()) && said[0].contains("lane 0"), "{said:?}");

    // The backup is restored once more: the generation that went with it is not signed a second time either.
    let lab = house.open(&second.pool, true).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 32);
    lab.stop().await;
    let said = &of_lane(&second.pool, 32).await[1];
    assert_eq!(
        (said["kind"].as_str(), said["of"].as_u64(), said["found"].as_u64()),
        (Some("rollback"), Some(16), Some(0))
    );
}

/// Two replicas, a lane each; after the backup each takes the other's, of which it signed nothing itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_a_lane_knows_how_far_it_was() {
    let (one, other) = (House::new(), House::new());
    let fresh = fresh_database().await;
    let pair = async |pool: &PgPool| {
        let of = async |house: &House, held| one.open_lanes(pool, &house.file, held).await;
        (of(&one, 1).await, of(&other, 1).await)
    };
    let deny = async |(one, other): &(Lab, Lab)| {
        for _ in 0..5 {
            one.deny().await.unwrap();
            other.deny().await.unwrap();
        }
    };
    let both = pair(&fresh.pool).await;
    deny(&both).await;
    both.1.stop().await;
    both.0.stop().await;
    let (restored, fresh) = (backup(&fresh).await, reopen(fresh).await);
    let both = pair(&fresh.pool).await;
    deny(&both).await;
    let had = [size(&fresh.pool, 0).await, size(&fresh.pool, 1).await];
    let knows = |house: &House| (0..).zip(&had).all(|(lane, had)| house.known(lane) >= *had);
    eventually("each knows of both lanes", async || knows(&one) && knows(&other)).await;
    both.1.stop().await;
    both.0.stop().await;

    // One that remembers nothing comes first, and goes on with a lane; the other finds what it lost.
    let nothing = House::new();
    let forgetful = one.open_lanes(&restored.pool, &nothing.file, 1).await;
    forgetful.deny().await.unwrap();
    let lab = one.open_lanes(&restored.pool, &other.file, 1).await;
    eventually("both lanes are dead, and others go on", async || {
        let dead = "select array_agg(lane order by lane) from log_head where dead_at is not null";
        let dead: Option<Vec<i32>> =
            sqlx::query_scalar(dead).fetch_one(&restored.pool).await.unwrap();
        dead.is_some_and(|dead| dead == [0, 1])
            && size_of(&restored.pool, 17).await > 0
            && size_of(&restored.pool, 16).await > 0
    })
    .await;
    for lane in [16, 17] {
        assert_eq!(kinds(&of_lane(&restored.pool, lane).await)[..2], ["lane_open", "rollback"]);
    }
    lab.stop().await;
    forgetful.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_deleted_in_service_with_its_head_rewound_is_found_without_a_request() {
    let (house, fresh) = (House::new(), fresh_database().await);
    let lab = house.open(&fresh.pool, true).await;
    for _ in 0..20 {
        lab.deny().await.unwrap();
    }
    let had = size(&fresh.pool, 0).await;
    let bundles: Vec<Vec<u8>> = sqlx::query_scalar(
        "select leaves from log_batch where first_index < 5 order by first_index",
    )
    .fetch_all(&fresh.pool)
    .await
    .unwrap();
    let mut frontier = Frontier::new();
    for leaf in bundles.iter().flat_map(|bundle| tlog::bundle::leaves(bundle)) {
        frontier.append(Hash::leaf(leaf.unwrap()));
    }
    // All that a superuser can make consistent, checkpoints included.
    let mut transaction = fresh.pool.begin().await.unwrap();
    for statement in ["delete from log_batch where first_index >= 5", "delete from log_checkpoint"]
    {
        sqlx::query(statement).execute(&mut *transaction).await.unwrap();
    }
    sqlx::query("update log_head set size = $1, frontier = $2, root = $3 where lane = 0")
        .bind(i64::try_from(frontier.size()).unwrap())
        .bind(frontier.to_bytes())
        .bind(frontier.root().0.as_slice())
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    eventually("the next generation is open", async || {
        kinds(&of_lane(&fresh.pool, 16).await).starts_with(&["lane_open", "rollback"])
    })
    .await;
    let said = of_lane(&fresh.pool, 16).await;
    assert_eq!(
        (said[1]["size"].as_i64(), said[1]["found"].as_u64()),
        (Some(had), Some(frontier.size()))
    );
    eventually("it records again", async || lab.deny().await.is_ok()).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_written_anew_is_found_though_it_is_as_long() {
    for forgetful in [false, true] {
        let (house, fresh) = (House::new(), fresh_database().await);
        house.record(&fresh, 8).await;
        let had = size(&fresh.pool, 0).await;
        // The last record is another one. Somebody who does not remember does not go on with it either: nobody sealed it.
        let bundles: Vec<Vec<u8>> =
            sqlx::query_scalar("select leaves from log_batch order by first_index")
                .fetch_all(&fresh.pool)
                .await
                .unwrap();
        let mut all: Vec<Vec<u8>> = bundles
            .iter()
            .flat_map(|bundle| tlog::bundle::leaves(bundle).map(|leaf| leaf.unwrap().to_vec()))
            .collect();
        let last = String::from_utf8(all.pop().unwrap()).unwrap();
        let forged = last.replace("\"why\":\"drain\"", "\"why\":\"other\"").into_bytes();
        let mut frontier = Frontier::new();
        for leaf in &all {
            frontier.append(Hash::leaf(leaf));
        }
        let hash = Hash::leaf(&forged);
        frontier.append(hash);
        for statement in [
            "delete from log_checkpoint",
            "delete from log_batch where first_index = (select max(first_index) from log_batch)",
        ] {
            sqlx::query(statement).execute(&fresh.pool).await.unwrap();
        }
        let insert = "insert into log_batch (lane, first_index, count, epoch, leaves, marks)
                      select 0, $1, 1, epoch, $2, $3 from log_head where lane = 0";
        sqlx::query(insert)
            .bind(had - 1)
            .bind(tlog::bundle::encode([forged.as_slice()]).unwrap())
            .bind(&hash.0[..8])
            .execute(&fresh.pool)
            .await
            .unwrap();
        sqlx::query("update log_head set frontier = $1, root = $2 where lane = 0")
            .bind(frontier.to_bytes())
            .bind(frontier.root().0.as_slice())
            .execute(&fresh.pool)
            .await
            .unwrap();
        let lab = house.open(&fresh.pool, !forgetful).await;
        assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16, "forgetful: {forgetful}");
        assert_eq!(size(&fresh.pool, 0).await, had);
        lab.projected().await;
        lab.stop().await;
        let findings = verify(&fresh.pool).await.unwrap().findings;
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(!said.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_nothing_is_explained_and_goes_on_in_the_same_lane() {
    let (house, fresh) = (House::new(), fresh_database().await);
    house.record(&fresh, 3).await;
    // As after a promotion: the same records under another timeline.
    let text = std::fs::read_to_string(&house.file).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    assert!(file["cluster"].as_str().unwrap().ends_with("/1"), "{text}");
    file["cluster"] = Value::from("1234567890/1");
    std::fs::write(&house.file, file.to_string()).unwrap();
    let lab = house.open(&fresh.pool, true).await;
    eventually("the change is in the log", async || {
        lab.leaves().await.iter().any(|leaf| leaf["what"] == "database_changed")
    })
    .await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 0);
    lab.projected().await;
    lab.stop().await;
    assert_eq!(verify(&fresh.pool).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_refuses_the_start() {
    let (house, fresh) = (House::new(), fresh_database().await);
    std::fs::write(&house.file, "{}").unwrap();
    let config = Config {
        origin: ORIGIN.to_owned(),
        high_water_file: Some(house.file.clone()),
        ..Config::default()
    };
    let (tracker, stop) =
        (tokio_util::task::TaskTracker::new(), tokio_util::sync::CancellationToken::new());
    let started = haetae::audit::Audit::start_with_key(
        &config,
        &house.key,
        fresh.pool.clone(),
        Clock::system(),
        &tracker,
        stop,
    );
    assert!(matches!(started.map(drop), Err(AuditError::HighWater { .. })));
}
