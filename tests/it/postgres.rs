//! The private cluster starts (as root too), keeps its data over stops and kill -9, freezes and thaws, refuses two
//! owners and strange directories, and does not outlive its owner.

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use haetae::postgres::{Cluster, Database, Options, PostgresError, Stop};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{ConnectOptions, Connection};

use crate::support::{durable_cluster, fresh_database, scratch};

#[tokio::test]
async fn a_new_cluster_is_private_and_durable() {
    let (cluster, fresh) = durable_cluster().await;
    let show = async |name: &'static str| -> String {
        let rows = sqlx::query_scalar("SELECT current_setting($1)").bind(name);
        rows.fetch_one(&fresh.pool).await.unwrap()
    };
    assert_eq!(show("listen_addresses").await, "");
    assert_eq!(show("fsync").await, "on");
    assert_eq!(show("full_page_writes").await, "on");
    assert_eq!(show("synchronous_commit").await, "on");
    assert_eq!(show("data_checksums").await, "on");
    assert_eq!(show("server_encoding").await, "UTF8");

    // nobody but the server's own user (and root) can reach the socket, and that user is not root
    let socket = show("unix_socket_directories").await;
    let facts = std::fs::metadata(&socket).unwrap();
    assert_eq!(facts.mode() & 0o777, 0o700);
    let server = std::fs::metadata(format!("/proc/{}", cluster.pid().unwrap().as_raw_nonzero()));
    assert_eq!(facts.uid(), server.unwrap().uid());
    assert_ne!(facts.uid(), 0);
}

#[tokio::test]
async fn data_survive_a_stop_and_a_second_start_in_the_same_directory() {
    let dir = scratch("twice");
    let cluster = Cluster::start(Options::durable(&dir)).await.unwrap();
    run(&cluster, "CREATE TABLE kept AS SELECT 7 AS n").await;
    drop(cluster);
    let options = Options { ephemeral: true, ..Options::durable(&dir) };
    let again = Cluster::start(options).await.unwrap();
    assert_eq!(number(&again).await, 7);
    drop(again);
    assert!(!dir.exists(), "an ephemeral cluster removes its directory");
}

#[tokio::test]
async fn what_was_committed_survives_kill_9() {
    let (mut cluster, _) = durable_cluster().await;
    run(&cluster, "CREATE TABLE kept AS SELECT 9 AS n").await;
    for _ in 0..3 {
        cluster.kill9().unwrap();
        assert!(cluster.connect_options().connect().await.is_err());
        cluster.restart().await.unwrap();
        assert_eq!(number(&cluster).await, 9);
    }
    cluster.stop(Stop::Immediate).await.unwrap();
    cluster.restart().await.unwrap();
    assert_eq!(number(&cluster).await, 9);
}

#[tokio::test]
async fn a_start_waits_for_the_children_of_a_server_that_was_killed_whatever_else_is_logged() {
    let (mut cluster, _) = durable_cluster().await;
    let mut session = cluster.connect_options().connect().await.unwrap();
    let child: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut session).await.unwrap();
    let child = Pid::from_raw(child).unwrap();
    // It holds the shared memory until it is gone.
    kill_process(child, Signal::STOP).unwrap();
    cluster.kill9().unwrap();
    let mut log = std::fs::OpenOptions::new().append(true).open(cluster.log()).unwrap();
    let others = async {
        for _ in 0..200 {
            writeln!(log, "one of the others: my server is gone").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_process(child, Signal::KILL).unwrap();
    };
    let (restarted, ()) = tokio::join!(cluster.restart(), others);
    restarted.unwrap();
}

#[tokio::test]
async fn a_frozen_cluster_answers_nobody_until_it_is_thawed() {
    let (cluster, _) = durable_cluster().await;
    let mut connection = cluster.connect_options().connect().await.unwrap();
    cluster.freeze().unwrap();
    let mut waiting = Box::pin(sqlx::query("SELECT 1").execute(&mut connection));
    let frozen = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(frozen.is_err(), "a session that was open must freeze too");
    cluster.thaw();
    waiting.await.unwrap();
}

/// Runs only as a process of its own, for the tests below: starts a cluster in `HAETAE_TEST_DIR` and waits to be killed.
#[tokio::test]
#[ignore = "the owner that the tests below kill"]
async fn owner_that_is_killed() {
    let dir = std::env::var("HAETAE_TEST_DIR").unwrap();
    let cluster = Cluster::start(Options::durable(dir)).await.unwrap();
    println!("\nserver {}", cluster.pid().unwrap().as_raw_nonzero());
    tokio::time::sleep(Duration::from_mins(2)).await;
}

#[tokio::test]
async fn a_server_does_not_outlive_an_owner_that_is_killed() {
    let dir = scratch("owner");
    let (mut owner, server) = spawn_owner(&dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    until_gone(server).await;
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_server_left_without_owner_and_watcher_is_stopped_by_the_next_start() {
    let dir = scratch("leftover");
    let (mut owner, server) = spawn_owner(&dir);
    kill_process(watcher_of(&dir), Signal::KILL).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    test_kill_process(server).expect("nobody has stopped it");
    let options = Options { ephemeral: true, ..Options::durable(&dir) };
    let cluster = Cluster::start(options).await.unwrap();
    assert_ne!(cluster.pid(), Some(server));
    until_gone(server).await;
}

#[tokio::test]
async fn two_owners_of_one_directory_are_refused() {
    let dir = scratch("owners");
    let options = Options { ephemeral: true, ..Options::durable(&dir) };
    let _first = Cluster::start(options.clone()).await.unwrap();
    let second = Cluster::start(options).await.unwrap_err();
    let expected = format!(
        "`{}` is in use by another haetae: stop that one, or choose another directory",
        dir.display()
    );
    assert_eq!(second.to_string(), expected);
}

#[tokio::test]
async fn somebody_elses_directory_is_left_alone() {
    let dir = scratch("foreign");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("thesis.txt"), "mine").unwrap();
    let mode = std::fs::metadata(&dir).unwrap().mode();
    let error = Cluster::start(Options::durable(&dir)).await.unwrap_err();
    assert!(matches!(error, PostgresError::Occupied { .. }), "{error}");
    assert_eq!(std::fs::metadata(&dir).unwrap().mode(), mode);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let base = scratch("long");
    let dir = base.join("d".repeat(100));
    let options = Options { ephemeral: true, ..Options::durable(&dir) };
    let cluster = Cluster::start(options).await.unwrap();
    let url = cluster.url();
    let socket = url.split_once("?host=").unwrap().1.split_once('&').unwrap().0;
    assert!(socket.starts_with("/tmp/haetae-"), "{url}");
    assert_eq!(std::fs::metadata(socket).unwrap().mode() & 0o777, 0o700);
    run(&cluster, "CREATE TABLE kept AS SELECT 1 AS n").await;
    drop(cluster);
    assert!(!std::path::Path::new(socket).exists());
    std::fs::remove_dir(&base).unwrap();
}

#[tokio::test]
async fn the_url_and_the_options_lead_to_the_same_database() {
    let (cluster, _) = durable_cluster().await;
    run(&cluster, "CREATE TABLE kept AS SELECT 3 AS n").await;
    let given = Database::open(Some(&cluster.url()), Options::durable("/nowhere")).await.unwrap();
    let mut connection = given.connect_options().connect().await.unwrap();
    let n: i32 = sqlx::query_scalar("SELECT n FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(n, 3);
}

#[tokio::test]
async fn each_fresh_database_is_its_own() {
    let (one, two) = (fresh_database().await, fresh_database().await);
    sqlx::query("CREATE TABLE here (n int)").execute(&one.pool).await.unwrap();
    let mut connection = two.options.connect().await.unwrap();
    let there: bool = sqlx::query_scalar("SELECT to_regclass('here') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(!there);
    assert_ne!(one.name, two.name);
}

/// This test binary again, as another process that owns a cluster; and the server's process id.
fn spawn_owner(dir: &Path) -> (Child, Pid) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres::owner_that_is_killed", "--ignored", "--nocapture"])
        .env("HAETAE_TEST_DIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = lines.find_map(|line| line.strip_prefix("server ")?.parse().ok());
    (owner, Pid::from_raw(number.expect("the owner ended early")).unwrap())
}

fn watcher_of(dir: &Path) -> Pid {
    let pid_file = format!("{}/data/postmaster.pid\0", dir.display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let watches = |number: &i32| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("haetae-postgres-watcher\0") && line.contains(&pid_file)
    };
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Pid::from_raw(numbers.find(watches).expect("a watcher")).unwrap()
}

async fn until_gone(pid: Pid) {
    for _ in 0..1_000 {
        if test_kill_process(pid).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{pid:?} still runs after 20 s");
}

async fn run(cluster: &Cluster, statement: &'static str) {
    let mut connection = cluster.connect_options().connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn number(cluster: &Cluster) -> i32 {
    let mut connection = cluster.connect_options().connect().await.unwrap();
    let n = sqlx::query_scalar("SELECT n FROM kept").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    n
}
