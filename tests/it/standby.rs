//! A primary with real streaming standbys: commits wait for a quorum where that is asked for; when the primary dies and a standby is
//! promoted under load, nothing that was acknowledged is lost and the gateway goes on at the new server by itself; a standby that
//! was behind is found as what it is, a database that was rolled back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haetae::audit::{Config, Durability, Key};
use haetae::clock::Clock;
use haetae::postgres::{Cluster, Options};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

use crate::audit::lab::{Lab, leaves};
use crate::chaos::{chance::Chance, judge, load::Load, record::Log, serves};
use crate::support::stage::{Stage, eventually};
use crate::support::{durable_cluster, scratch};

async fn standby_of(primary: &Cluster, name: &str) -> Cluster {
    let options = Options { ephemeral: true, ..Options::durable(scratch(name)) };
    primary.standby(name, options).await.unwrap()
}

async fn pool(cluster: &Cluster) -> PgPool {
    let options = cluster.connect_options();
    PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap()
}

/// From now on commits of the primary wait until one of these standbys has them on its disk.
async fn wait_for_one_of(primary: &PgPool, standbys: &str) {
    for statement in [
        format!("alter system set synchronous_standby_names = 'ANY 1 ({standbys})'"),
        "select pg_reload_conf()".to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(primary).await.unwrap();
    }
    eventually("the standby is synchronous", async || {
        let select = "select exists (select from pg_stat_replication where sync_state = 'quorum')";
        sqlx::query_scalar(select).fetch_one(primary).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_load_loses_nothing_that_was_acknowledged() {
    let mut chance = Chance::seeded();
    let mut stage = Stage::start().await;
    let standby = standby_of(&stage.world.cluster, "standby1").await;
    let primary = stage.pool().await;
    wait_for_one_of(&primary, "standby1").await;
    primary.close().await;

    // The gateway knows both servers, and that a quorum is wanted.
    stage.world.gateway.terminate();
    assert!(stage.world.gateway.ended().await.unwrap().success());
    let file = stage.world.dir.join("haetae.toml");
    let socket = |cluster: &Cluster| cluster.connect_options().get_socket().unwrap().clone();
    let hosts = [socket(&stage.world.cluster), socket(&standby)];
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[database]\n", &format!("[database]\nhosts = {hosts:?}\n"));
    let text = text.replace("[audit]\n", "[audit]\ndurability = \"quorum\"\n");
    std::fs::write(&file, text).unwrap();
    stage.world.restart_gateway().await.unwrap();
    let ready = stage.console("/readyz").await.text();
    assert!(ready.contains("ANY 1 (standby1)"), "{ready}");

    let load = Load::start(&stage, &mut chance);
    serves(&stage).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.world.cluster.kill9().unwrap();
    let died = Instant::now();
    standby.promote().await.unwrap();
    let writable = Instant::now();
    serves(&stage).await;
    println!(
        "standby: writable {} ms after the primary died, the gateway serves {} ms later",
        writable.duration_since(died).as_millis(),
        writable.elapsed().as_millis()
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = load.stop().await;
    let pool = pool(&standby).await;
    judge::all_ends(&pool, Instant::now()).await;
    stage.world.gateway.terminate();
    assert!(stage.world.gateway.ended().await.unwrap().success());

    let log = Log::read(&pool).await;
    judge::every_answer_is_on_record(&told, &log);
    let allowed = told.iter().filter(|told| told.status == 200).count();
    assert!(allowed > 20, "only {allowed} were allowed: that shows little");
    judge::every_arrival_was_allowed(&judge::arrived(&stage).await, &log);
    let report = haetae::audit::verify(&pool).await.unwrap();
    assert_eq!(report.findings, []);
    let explained = leaves(&pool).await.iter().any(|leaf| leaf["what"] == "database_changed");
    assert!(explained, "the other timeline is explained in the log");
    assert!(!leaves(&pool).await.iter().any(|leaf| leaf["kind"] == "rollback"));
}

/// A deployment: its key and what it remembers.
struct House {
    key: Arc<Key>,
    file: PathBuf,
}

impl House {
    async fn open(&self, pool: &PgPool) -> Lab {
        let config = Config {
            lanes: 1,
            record_ms_max: 60_000,
            commit_ms_max: 60_000,
            high_water_file: Some(self.file.clone()),
            ..Config::default()
        };
        Lab::signed_by(pool, config, Clock::system(), vec![Arc::clone(&self.key)]).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_was_behind_is_found_and_its_lane_is_not_signed() {
    let (mut primary, fresh) = durable_cluster().await;
    let mut standby = standby_of(&primary, "standby2").await;
    let dir = scratch("stale");
    std::fs::create_dir(&dir).unwrap();
    let house =
        House { key: Arc::new(Key::generate().unwrap()), file: dir.join("high-water.json") };
    let lab = house.open(&fresh.pool).await;
    lab.deny().await.unwrap();
    let behind = pool(&standby).await;
    eventually("the standby has it", async || leaves(&behind).await.len() >= 2).await;
    behind.close().await;
    // The standby is away while more is recorded: asynchronous, so nobody waits for it.
    standby.stop(haetae::postgres::Stop::Fast).await.unwrap();
    for _ in 0..5 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let _primary_pool = lab.stop().await;
    let had: i64 =
        sqlx::query_scalar("select size from log_head").fetch_one(&fresh.pool).await.unwrap();
    fresh.pool.close().await;
    primary.kill9().unwrap();
    standby.restart().await.unwrap();
    standby.promote().await.unwrap();

    let stale = pool(&standby).await;
    let lab = house.open(&stale).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16);
    lab.projected().await;
    lab.stop().await;
    let all = leaves(&stale).await;
    let said = all.iter().find(|leaf| leaf["kind"] == "rollback").expect("a rollback");
    assert_eq!((said["of"].as_i64(), said["size"].as_i64()), (Some(0), Some(had)));
    assert!(said["found"].as_i64() < Some(had));
    let cluster = |key: &str| said[key].as_str().unwrap().split_once('/').unwrap();
    let ((system, timeline), (known_system, known)) =
        (cluster("cluster"), cluster("cluster_known"));
    assert_eq!((system, timeline, known), (known_system, "2", "1"), "the same database, promoted");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_quorum_is_wanted_a_database_without_one_is_not_ready() {
    let (cluster, fresh) = durable_cluster().await;
    let config = Config { durability: Durability::Quorum, ..Config::default() };
    let lab = Lab::start_with(&fresh.pool, config).await;
    eventually("the cause is named", async || {
        let causes = lab.audit.health().causes;
        causes.iter().any(|cause| cause.contains("`synchronous_standby_names` is empty"))
    })
    .await;
    assert!(!lab.audit.health().ready);
    lab.stop().await;
    let lab = Lab::start_with(&fresh.pool, Config::default()).await;
    eventually("it is said how durable a commit is", async || {
        let health = lab.audit.health();
        health.ready && health.durability.contains("one server")
    })
    .await;
    lab.stop().await;
    drop(cluster);
}
