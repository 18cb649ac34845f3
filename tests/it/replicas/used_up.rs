//! What is used up is used up for both processes: a threshold with room for ten lets ten of a race on both pass, also when
//! one is killed in the middle of its reservations; a ground that serves once serves one of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::task::JoinSet;

use crate::support::pair::Pair;
use crate::support::stage::{
    CHAT, Caller, ORDERS, SEOUL, VIRGINIA, chat, eventually, leaves, number,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_use_up_a_threshold_and_a_ground_as_one() {
    let mut pair = Pair::start().await;
    let pool = pair.stage.pool().await;
    register(&pair).await;
    killed_in_the_middle(&mut pair, &pool).await;
    pair.restart_second().await;
    race(&pair, 40, shanghai).await;
    let allowed = allowed(&pool, SHANGHAI.1).await;
    assert_eq!(allowed.len(), ROOM, "none lost, none taken twice");
    assert_eq!(allowed, confirmed(&pool, "slice").await);

    let passed = race(&pair, 40, virginia).await;
    assert_eq!(passed, 1, "it serves once");
    assert_eq!(confirmed(&pool, "ground").await.len(), 1);
    pair.stop().await;
    let verified =
        pair.stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

/// The second process dies while it has reserved and not recorded; what it had is given to others.
async fn killed_in_the_middle(pair: &mut Pair, pool: &PgPool) {
    let caller = Arc::new(pair.caller(1, "kr-retailer"));
    let mut attempts = 0;
    let (held, asking) = loop {
        if let Some(middle) = in_the_middle(&caller, pool).await {
            break middle;
        }
        attempts += 1;
        assert!(attempts < 10, "it never had two reservations open");
    };
    pair.kill_second();
    held.rollback().await.unwrap();
    assert!(asking.join_all().await.iter().all(|status| *status == 0), "nobody got an answer");
    // What was sent to Postgres before the kill may still have been committed: then it is used up, and on record.
    eventually("Postgres has seen the end of it", async || {
        let open = "select count(*) from pg_stat_activity where application_name = 'haetae-lane' and state = 'active'";
        sqlx::query_scalar::<_, i64>(open).fetch_one(pool).await.unwrap() == 0
    })
    .await;
    let left: i64 = sqlx::query_scalar(RESERVED).fetch_one(pool).await.unwrap();
    println!("killed in the middle: {left} reservations were left behind");
    assert!(left >= 1, "the kill came too late to show anything");
    // As if the time after which they are swept had passed.
    let age =
        "update reservation set made_at = made_at - interval '1 minute' where state = 'reserved'";
    sqlx::query(age).execute(pool).await.unwrap();
}

/// Asks, and holds all commits up until two reservations are open. None: the machine was slow, and the lane gave up first.
async fn in_the_middle(
    caller: &Arc<Caller>,
    pool: &PgPool,
) -> Option<(Transaction<'static, Postgres>, JoinSet<u16>)> {
    assert_eq!(ask(Arc::clone(caller), ORDERS, SEOUL, chat()).await, 200, "its lane is open");
    let mut held = pool.begin().await.unwrap();
    sqlx::query("select 1 from fact_head for update").execute(&mut *held).await.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..MIDDLE {
        asking.spawn(shanghai(Arc::clone(caller)));
    }
    for _ in 0..100 {
        let count: i64 = sqlx::query_scalar(RESERVED).fetch_one(pool).await.unwrap();
        if count >= 2 {
            return Some((held, asking));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Who has gone is not answered, and uses nothing up.
    asking.shutdown().await;
    held.rollback().await.unwrap();
    None
}

/// This many ask at once, half of them at each process; gives how many passed.
async fn race<F>(pair: &Pair, asks: usize, ask: impl Fn(Arc<Caller>) -> F) -> usize
where
    F: Future<Output = u16> + Send + 'static,
{
    let callers = [0, 1].map(|process| Arc::new(pair.caller(process, "kr-retailer")));
    let mut asking = JoinSet::new();
    for number in 0..asks {
        asking.spawn(ask(Arc::clone(&callers[number % 2])));
    }
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|status| matches!(status, 200 | 403)), "{answers:?}");
    answers.into_iter().filter(|status| *status == 200).count()
}

/// A request whose data are a tenth of what may leave China in a year under standard clauses. 0: no answer.
fn shanghai(caller: Arc<Caller>) -> impl Future<Output = u16> + Send + 'static {
    let body = json!({
        "model": "radiology-vlm",
        "messages": [{ "role": "user", "content": format!("Describe picture {}.", number()) }],
    });
    ask(caller, SHANGHAI, SEOUL, body)
}

fn virginia(caller: Arc<Caller>) -> impl Future<Output = u16> + Send + 'static {
    ask(caller, ORDERS, VIRGINIA, chat())
}

/// Asks again while the answer is that nothing can be decided now.
async fn ask(
    caller: Arc<Caller>,
    dataset: (&'static str, &'static str),
    site: (&'static str, &'static str),
    body: Value,
) -> u16 {
    let body = body.to_string();
    loop {
        let answer = match caller.try_post(CHAT, &[dataset, site], body.as_bytes()).await {
            Ok(answer) => answer,
            Err(error) => {
                println!("no answer: {error:?}");
                return 0;
            }
        };
        match answer.status().as_u16() {
            503 => tokio::time::sleep(Duration::from_millis(50)).await,
            status => return status,
        }
    }
}

/// A service without a profile, a dataset from Shanghai of 100,000 people, clauses that cover it up to 1,000,000 a year, and
/// a consent for Virginia that serves once.
async fn register(pair: &Pair) {
    let dir = pair.stage.world.dir.join("registry");
    let organisation = dir.join("organisations/kr-retailer.toml");
    let text = std::fs::read_to_string(&organisation).unwrap();
    std::fs::write(&organisation, format!("{text}\n{SERVICE}")).unwrap();
    std::fs::write(dir.join("datasets/shanghai.toml"), DATASET).unwrap();
    std::fs::write(dir.join("grounds/clauses.toml"), CLAUSES).unwrap();
    let once = std::fs::read_to_string(&pair.stage.world.sources.ground).unwrap();
    let once = format!("{once}\n[details]\nsingle_use = true\n");
    std::fs::write(dir.join("grounds/once.toml"), once).unwrap();
    let apply = ["registry", "--config", "haetae.toml", "--by", "a test", "apply", "registry"];
    pair.stage.world.program.run(&apply).await.unwrap();
}

/// Ids of the ALLOWs that name this dataset.
async fn allowed(pool: &PgPool, dataset: &str) -> BTreeSet<String> {
    let all = leaves(pool).await;
    let names = |leaf: &&Value| {
        leaf["kind"] == "decision"
            && leaf["outcome"].as_str().unwrap().starts_with("ALLOW")
            && leaf["datasets"] == json!([dataset])
    };
    all.iter().filter(names).map(|leaf| leaf["id"].as_str().unwrap().to_owned()).collect()
}

/// Ids of the decisions whose reservations of this kind are confirmed.
async fn confirmed(pool: &PgPool, kind: &str) -> BTreeSet<String> {
    let select =
        "select distinct decision::text from reservation_item join reservation using (decision)
                  where kind = $1 and state = 'confirmed'";
    let ids: Vec<String> = sqlx::query_scalar(select).bind(kind).fetch_all(pool).await.unwrap();
    ids.into_iter().collect()
}

const RESERVED: &str = "select count(*) from reservation where state = 'reserved'";
/// Of the 1,000,000 people of R21's threshold, 100,000 each.
const ROOM: usize = 10;
/// Sent to the process that is killed.
const MIDDLE: usize = 6;
const SHANGHAI: (&str, &str) = ("haetae-datasets", "kr-retail/shanghai@1");

const SERVICE: &str = r#"
[[services]]
name = "radiology-vlm"
role = "entrustment"
purposes = [{ code = "dpv:ServiceProvision", recurring = true }]
"#;

const DATASET: &str = r#"
id = "kr-retail/shanghai@1"
use_by = ["kr-retailer"]
regimes = ["CN.PIPL"]
origins = ["CN"]
categories = ["pd:General"]
class = "confidential"
identifiability = "personal"
subjects = 100000
sensitive_subjects = 0
records = 100000
level = "catalogue"
"#;

const CLAUSES: &str = r#"
id = "kr-retailer.cn-scc"
org = "kr-retailer"
regime = "CN.PIPL"
type = "cn.scc"
level = "verified"
evidence = "dms:scc/2026-9"
valid_from = "2026-01-01"
valid_until = "never"

[scope]
categories = ["pd:General"]
roles = ["*"]
recipients = ["*"]
places = ["KR"]

[details]
separate_consent = true
impact_assessment_ref = "dms:pia/2026-9"
"#;
