//! Notices reach a receiver that fails, with two gateways of which one is killed in between: each is accepted once by its
//! id, signed by every valid secret, one at a time, and never sent where it may not go.

mod receiver;

use std::time::Duration;

use haetae::registry::orders::store::{Brought, add};
use haetae::registry::store::put_ground;
use haetae::registry::{Sort, tree};
use haetae::webhook::{Secret, store};
use serde_json::json;
use sqlx::{Executor, PgPool};
use uuid::Uuid;
use verdict::stamp::Stamp;

use crate::gate::obligations;
use crate::support::fresh_database;
use crate::support::pair::Pair;
use crate::support::stage::{Caller, eventually, leaves};
use receiver::Receiver;

const RETAILER: &str = "kr-retailer";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_notice_is_accepted_once_whoever_dies() {
    let mut pair = Pair::with(CONFIG).await;
    let pool = pair.stage.pool().await;
    let receiver = Receiver::start().await;
    let secret = Secret::make().unwrap();
    let webhook =
        store::add(&pool, RETAILER, &receiver.url("/hook"), &secret, "kim").await.unwrap();
    receiver.expect(&[&secret]);

    let now = pair.stage.world.clock.unix_s();
    ground(&pool, "short", now + 5 * 86_400).await;
    ground(&pool, "later", now + 200 * 86_400).await;
    let order = tree::parse_one(Sort::Order, "order.toml", ORDER).unwrap();
    add(&pool, &order, Brought { note: None, who: "kim", now }).await.unwrap();
    let test = haetae::webhook::test(&pool, None, webhook, now).await.unwrap();

    // the receiver has refused some by then, and accepted none of those three times
    eventually("the first attempts", async || receiver.attempts() >= 2).await;
    pair.stage.world.gateway.kill9().unwrap();
    eventually("all of them, by the other gateway", async || receiver.kinds().len() >= 3).await;
    pair.stage.world.restart_gateway().await.unwrap();
    // a change of the facts makes no notice again
    ground(&pool, "far", now + 300 * 86_400).await;
    let settled = async || {
        let rows = counts(&pool, webhook).await;
        rows.1 == 0 && rows.0 > 0
    };
    eventually("nothing waits", settled).await;

    let accepted = receiver.accepted();
    assert_eq!(i64::try_from(accepted.len()).unwrap(), counts(&pool, webhook).await.0);
    let about = |text: &str| accepted.iter().filter(|(_, body)| body.contains(text)).count();
    assert_eq!(about("\"ground\":\"kr-retailer.short\""), 1, "{accepted:?}");
    assert_eq!(about("\"order\":\"kr-pipc-2026-1\""), 1);
    assert_eq!(about("kr-retailer.later") + about("kr-retailer.far"), 0);
    assert!(accepted.iter().any(|(id, body)| *id == test && body.contains("webhook.test")));
    let mut bodies: Vec<&str> = accepted.iter().map(|(_, body)| body.as_str()).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), accepted.len(), "no notice under two ids");
    assert!(receiver.attempts() >= 3 * accepted.len(), "each was refused twice");
    assert_eq!(receiver.faults(), Vec::<String>::new(), "one at a time, and each signed");

    // a second secret: both sign, and neither is written anywhere
    let next = Secret::make().unwrap();
    store::rotate(&pool, of(webhook), &next, Duration::from_mins(1)).await.unwrap();
    receiver.expect(&[&next, &secret]);
    let rotated = haetae::webhook::test(&pool, None, webhook, now).await.unwrap();
    let arrived = async || receiver.accepted().iter().any(|(id, _)| *id == rotated);
    eventually("signed by both", arrived).await;
    assert_eq!(receiver.faults(), Vec::<String>::new());
    let logs = ["gateway.log", "second/gateway.log"];
    for log in logs.map(|name| std::fs::read_to_string(pair.stage.world.dir.join(name)).unwrap()) {
        for secret in [&secret, &next] {
            let shown = secret.shown_once();
            assert!(!log.contains(shown.strip_prefix("whsec_").unwrap()), "a secret in a log");
        }
    }
}

/// Two gateways look at the same obligations, one of them is killed in between: each mark is told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_obligation_is_told_once_at_each_mark_and_counted_by_every_gateway() {
    let mut pair = Pair::with(CONFIG).await;
    let (pool, receiver) = (pair.stage.pool().await, Receiver::start().await);
    let (secret, now) = (Secret::make().unwrap(), pair.stage.world.clock.unix_s());
    receiver.expect(&[&secret]);
    let webhook =
        store::add(&pool, RETAILER, &receiver.url("/hook"), &secret, "kim").await.unwrap();
    obligations::disclosed_contract(&pair.stage).await;
    obligations::obliged(&pair.stage).await;
    // Of two, one is met; a third is one that a supervisor waits for, in the time that its source gives.
    let read_off = "select count(*) from obligation";
    eventually("they are read off", async || {
        sqlx::query_scalar::<_, i64>(read_off).fetch_one(&pool).await.unwrap() == 2
    })
    .await;
    let report = "insert into obligation (org, service, site, code, month, first_s, last_s, decisions, on_file, bundle)
                  select org, service, site, 'FSS_REPORT', month, $1, $1, 1, '{}', bundle from obligation limit 1";
    sqlx::query(report).bind(now - 85 * 86_400).execute(&pool).await.unwrap();
    let told = |kind: &str, code: &str| {
        let about = |body: &String| body.contains(kind) && body.contains(code);
        receiver.accepted().iter().filter(|(_, body)| about(body)).count()
    };
    // A change of the facts has both look at once.
    ground(&pool, "kick-1", now + 300 * 86_400).await;
    eventually("an attempt", async || receiver.attempts() >= 1).await;
    pair.kill_second();
    eventually("both are told", async || {
        told("obligation.overdue", obligations::AGREE) == 1 && told("obligation.due", "FSS") == 1
    })
    .await;
    pair.restart_second().await;
    sqlx::query("update obligation set first_s = first_s - 864000 where code = 'FSS_REPORT'")
        .execute(&pool)
        .await
        .unwrap();
    ground(&pool, "kick-2", now + 300 * 86_400).await;
    eventually("its time is over", async || told("obligation.overdue", "FSS") == 1).await;

    let lee = pair.stage.person(RETAILER, "lee", &["reviewer"]);
    let all = lee.send("GET", "/v1/obligations?state=overdue", &[]).await.json();
    let all = all["obligations"].as_array().unwrap();
    let agree = all.iter().find(|one| one["code"] == obligations::AGREE).unwrap();
    let done = json!({ "reason": "contract 2026-114", "evidence": obligations::EVIDENCE });
    let closed = obligations::close(&lee, agree["id"].as_str().unwrap(), &done).await;
    assert_eq!(closed.status, 200, "{}", closed.text());
    let line = |code: &str, count| {
        format!("haetae_obligations{{code=\"{code}\",state=\"overdue\"}} {count}")
    };
    eventually("both gateways count", async || {
        let (one, none) = (line("FSS_REPORT", 1), line(obligations::AGREE, 0));
        pair.metrics().await.iter().all(|text| text.contains(&one) && text.contains(&none))
    })
    .await;

    ground(&pool, "kick-3", now + 300 * 86_400).await;
    haetae::webhook::test(&pool, None, webhook, now).await.unwrap();
    eventually("nothing waits", async || {
        receiver.kinds().contains(&"webhook.test".to_owned()) && counts(&pool, webhook).await.1 == 0
    })
    .await;
    let mut kinds = receiver.kinds();
    kinds.retain(|kind| kind.starts_with("obligation"));
    kinds.sort_unstable();
    assert_eq!(kinds, ["obligation.due", "obligation.overdue", "obligation.overdue"]);
    assert_eq!(receiver.faults(), Vec::<String>::new(), "one at a time, and each signed");
    says_what_is_due(&receiver);
}

/// Whose it is, in how many days, and what is to be done.
fn says_what_is_due(receiver: &Receiver) {
    let accepted = receiver.accepted();
    let body = accepted.iter().find(|(_, body)| body.contains("obligation.due")).unwrap();
    let body: serde_json::Value = serde_json::from_str(&body.1).unwrap();
    let (data, text) = (&body["data"], &body["data"]["text"]);
    assert_eq!((&data["org"], &data["days"]), (&json!(RETAILER), &json!(7)));
    assert!(text["en"].as_str().unwrap().starts_with("Report") && text["ko"].is_string(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_never_accepted_is_a_dead_letter_and_what_may_not_be_reached_is_not() {
    let pair = Pair::with(CONFIG).await;
    let stage = &pair.stage;
    let (pool, receiver) = (stage.pool().await, Receiver::start().await);
    let (secret, now) = (Secret::make().unwrap(), stage.world.clock.unix_s());
    receiver.expect(&[&secret]);
    let add = async |url: &str| {
        let id = store::add(&pool, "kr-hospital", url, &secret, "kim").await.unwrap();
        haetae::webhook::test(&pool, None, id, now).await.unwrap()
    };
    let never = add(&receiver.url("/never")).await;
    let gone = add(&receiver.url("/gone")).await;
    let moved = add(&receiver.url("/moved")).await;
    let inside = add("https://10.9.9.9/x").await;
    let metadata = add("https://169.254.169.254/latest").await;
    let six = add("https://[::1]:1/x").await;
    let stuck = async |id: Uuid| {
        let all = store::stuck(&pool, Some("kr-hospital")).await.unwrap();
        all.into_iter().find(|one| one.id == id)
    };
    let is_dead = async |id: Uuid| stuck(id).await.is_some_and(|one| one.state == "dead");
    eventually("given up", async || {
        let mut all = true;
        for id in [never, gone, moved, inside, metadata, six] {
            all &= is_dead(id).await;
        }
        all
    })
    .await;
    let told = async |id: Uuid| {
        let one = stuck(id).await.unwrap();
        (one.attempts, one.status, one.why)
    };
    assert_eq!(told(never).await, (4, Some(500), None));
    assert_eq!(told(gone).await, (1, Some(410), None));
    assert_eq!(told(moved).await, (4, Some(302), None), "a redirect is not followed");
    let forbidden = "every address of this host is one that notices may not go to".to_owned();
    for id in [inside, metadata, six] {
        assert_eq!(told(id).await, (4, None, Some(forbidden.clone())));
    }
    assert!(receiver.paths().iter().all(|path| path != "/secret"), "the redirect's target");
    assert_eq!(receiver.faults(), Vec::<String>::new());
    assert!(store::retry(&pool, gone).await.unwrap());
    eventually("tried again", async || told(gone).await.0 == 2).await;
}

/// An administrator of an organisation does it over the API, for that organisation alone; each change is a record, and the
/// secret is shown once and is nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_registers_tests_and_removes_over_the_api() {
    let pair = Pair::with(CONFIG).await;
    let (pool, receiver) = (pair.stage.pool().await, Receiver::start().await);
    let admin = pair.stage.person(RETAILER, "kim", &["admin"]);
    let other = pair.stage.person("de-bank", "kim", &["admin"]);
    let add = async |who: &Caller, url: &str| {
        let body = json!({ "url": url }).to_string();
        who.post("/v1/webhooks", &[], body.as_bytes()).await
    };
    for url in ["http://hooks.example/x", "https://10.9.9.9/x", "https://user@hooks.example/", "x"]
    {
        let refused = add(&admin, url).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "body_invalid"), "{url}");
    }
    let url = receiver.url("/hook");
    let added = add(&admin, &url).await;
    assert_eq!(added.status, 200, "{}", added.text());
    let (id, secret) = (added.json()["id"].clone(), added.json()["secret"].clone());
    let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
    receiver.expect_shown(secret);
    let twice = add(&admin, &url).await;
    assert_eq!((twice.status, twice.code().as_str()), (409, "not_open"), "{}", twice.text());
    assert_eq!(add(&other, &url).await.status, 200, "another organisation's is its own");

    let listed = admin.send("GET", "/v1/webhooks", &[]).await.json();
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(
        (&listed["webhooks"][0]["id"], &listed["webhooks"][0]["url"]),
        (&json!(id), &json!(url))
    );
    assert!(!listed.to_string().contains(secret), "the secret was shown once");
    let act = async |who: &Caller, what: &str| {
        who.post(&format!("/v1/webhooks/{id}/{what}"), &[], b"").await
    };
    for what in ["test", "rotate", "remove"] {
        assert_eq!(act(&other, what).await.status, 404, "{what} of another organisation's");
    }
    let tested = act(&admin, "test").await;
    let notice: Uuid = tested.json()["notice"].as_str().unwrap().parse().unwrap();
    let arrived = async || receiver.accepted().iter().any(|(id, _)| *id == notice);
    eventually("the test arrives, signed", arrived).await;
    assert_eq!(receiver.faults(), Vec::<String>::new());
    assert!(act(&admin, "rotate").await.json()["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(act(&admin, "remove").await.status, 200);
    assert_eq!(act(&admin, "remove").await.status, 404);
    assert_eq!(admin.send("GET", "/v1/webhooks", &[]).await.json()["webhooks"], json!([]));
    eventually("each change is a record", async || {
        let all = leaves(&pool).await;
        let of_it = all.iter().filter(|leaf| leaf["webhook"] == id);
        let mut acts: Vec<&str> = of_it.filter_map(|leaf| leaf["act"].as_str()).collect();
        acts.sort_unstable();
        acts == ["webhook_added", "webhook_removed", "webhook_rotated"]
    })
    .await;
}

#[tokio::test]
async fn each_login_has_the_rights_it_needs_and_nobody_reads_a_secret_but_the_gateway() {
    let fresh = fresh_database().await;
    let secret = Secret::make().unwrap();
    let as_role = async |role: &'static str| {
        let one = sqlx::postgres::PgPoolOptions::new().max_connections(1);
        let pool = one.connect_with(fresh.options.clone()).await.unwrap();
        pool.execute(role).await.unwrap();
        pool
    };
    let registrar = as_role("SET ROLE haetae_registrar").await;
    let gateway = as_role("SET ROLE haetae_gateway").await;
    let reader = as_role("SET ROLE haetae_reader").await;
    let id = store::add(&registrar, "o", "https://a.example/", &secret, "kim").await.unwrap();
    let twice =
        store::add(&registrar, "o", "https://a.example/", &secret, "kim").await.unwrap_err();
    assert_eq!(twice.to_string(), "`https://a.example/` is registered for `o` already");
    haetae::webhook::test(&registrar, None, id, 0).await.unwrap();
    store::rotate(&registrar, of(id), &secret, Duration::ZERO).await.unwrap();
    let due = store::claim(&gateway, Duration::from_secs(9)).await.unwrap().unwrap();
    assert_eq!((due.webhook, due.secrets.len()), (id, 1), "the old secret is over");
    let none = store::claim(&gateway, Duration::from_secs(9)).await.unwrap();
    assert!(none.is_none(), "one at a time");
    store::release(&gateway, id, due.lease).await.unwrap();
    for (pool, statement) in [
        (&registrar, "SELECT secret FROM webhook_secret"),
        (&reader, "SELECT secret FROM webhook_secret"),
        (&registrar, "DELETE FROM webhook"),
        (&gateway, "DELETE FROM webhook_delivery"),
        (&gateway, "UPDATE webhook SET url = 'https://b.example/'"),
        (&gateway, "UPDATE webhook_delivery SET body = ''"),
        (&reader, "INSERT INTO webhook (org, url, made_by) VALUES ('o', 'u', 'm')"),
        (&gateway, "INSERT INTO webhook (org, url, lease) VALUES ('o', 'u', gen_random_uuid())"),
    ] {
        let error = pool.execute(statement).await.unwrap_err();
        let code =
            error.as_database_error().and_then(|error| error.code().map(|code| code.to_string()));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
    store::remove(&registrar, of(id)).await.unwrap();
    assert!(store::claim(&gateway, Duration::from_secs(9)).await.unwrap().is_none());
    assert!(store::remove(&registrar, of(id)).await.is_err());
}

async fn ground(pool: &PgPool, name: &str, until: i64) {
    let until = Stamp::at(until).unwrap();
    let text = GROUND
        .replace("kr-retailer.va-2026", &format!("kr-retailer.{name}"))
        .replace("\"never\"", &format!("\"{until}\""));
    let entry = tree::parse_one(Sort::Ground, "ground.toml", &text).unwrap();
    put_ground(pool, &entry, "kim").await.unwrap();
}

fn of(webhook: Uuid) -> store::Of<'static> {
    store::Of { webhook, org: None, by: "kim" }
}

/// Delivered and waiting notices.
async fn counts(pool: &PgPool, webhook: Uuid) -> (i64, i64) {
    let all = store::list(pool, Some(RETAILER)).await.unwrap();
    let one = all.iter().find(|one| one.id == webhook).unwrap();
    (one.delivered, one.waiting)
}

const CONFIG: &str = "
[webhooks]
allow = [\"127.0.0.0/8\"]
answer_ms = 1000
retry_ms = 50
attempts_max = 4
look_ms = 50
";
const GROUND: &str = include_str!("../../deploy/ground-example.toml");
const ORDER: &str = include_str!("../../deploy/order-example.toml");
