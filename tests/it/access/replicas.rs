//! What is granted holds and what is revoked is over on every replica: two gateways on one database, and in the log no
//! ALLOW after the revocation's own commit.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use haetae::demo::issuer::{Bearer, Mint};
use jsonwebtoken::Algorithm;

use super::*;
use crate::support::pair::Pair;
use crate::support::stage::{
    CHAT, Caller, ORDERS, SEOUL, Stage, chat, eventually, late, leaves, note_sizes,
};

const NAME: &str = "svc-batch";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_revoked_role_is_over_on_both_gateways() {
    let pair = Pair::start().await;
    let stage = &pair.stage;
    let pool = stage.pool().await;
    note_sizes(&pool).await;
    let bundle = bundle().await;
    let grants = |given: bool| {
        let (bench, issuer) =
            (Bench { pool: &pool, bundle: &bundle, at: AT }, &stage.world.issuer.url);
        let wish = if given {
            a_role(&with(to_actor("batch", NAME, "batch"), json!({ "issuer": issuer })))
        } else {
            revoke(Sort::RoleGrant, "batch")
        };
        async move { change(bench, wish, By::Operator, "kim", false).await.unwrap().version }
    };
    let bench = Bench { pool: &pool, bundle: &bundle, at: AT };
    let rows = a_row(&row("batch", "batch", MODEL, "submit"));
    change(bench, rows, By::Operator, "kim", false).await.unwrap();
    let callers = [nobody(stage), pair.second(nobody(stage))];

    // each answer is that of the change before it, on both, at once
    for given in [false, true, false, true] {
        if given || pool_has(&pool).await {
            grants(given).await;
        }
        for caller in &callers {
            let answer = ask(caller).await;
            assert_eq!(answer.0 == 200, given, "{}", answer.1);
            assert!(matches!(answer.0, 200 | 403), "{}", answer.1);
        }
    }
    grants(false).await;

    // and under load no ALLOW is committed after a revocation
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let changes = async {
        let mut live = BTreeMap::new();
        for round in 0..ROUNDS {
            let given = round % 2 == 0;
            live.insert(grants(given).await, given);
            let enough = answered.load(Ordering::Relaxed) + 6;
            eventually("traffic goes on", async || answered.load(Ordering::Relaxed) >= enough)
                .await;
        }
        over.store(true, Ordering::Relaxed);
        live
    };
    let load = async |caller: &Caller| {
        let mut seen = [0; 2];
        while !over.load(Ordering::Relaxed) {
            match ask(caller).await {
                (200, _) => seen[0] += 1,
                (403, _) => seen[1] += 1,
                // The facts moved too often while it was judged, or it was under way when the role was revoked.
                (503 | 0, _) => continue,
                (status, text) => panic!("{status}: {text}"),
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        seen
    };
    let (one, two, live) = tokio::join!(load(&callers[0]), load(&callers[1]), changes);
    for seen in [one, two] {
        assert!(seen[0] > 3 && seen[1] > 3, "both must have been seen by both: {one:?} {two:?}");
    }
    let all = leaves(&pool).await;
    assert_eq!(late(&pool, &all).await.1, Vec::<Value>::new());
    for leaf in all.iter().filter(|leaf| leaf["kind"] == "decision") {
        let given = live.get(&leaf["fact_version"].as_i64().unwrap());
        let allowed = leaf["outcome"].as_str().unwrap().starts_with("ALLOW");
        assert!(given.is_none_or(|given| *given == allowed), "{leaf}");
    }
    let told = async || {
        let all = leaves(&pool).await;
        let acts = all.iter().filter(|leaf| leaf["kind"] == "access_change");
        acts.count() == usize::try_from(ROUNDS).unwrap() + 5
    };
    eventually("each change is a record", told).await;
    by_the_api(stage, &callers).await;
}

/// An administrator of the organisation does the same through one gateway, and it holds on both.
#[expect(clippy::too_many_lines, reason = "most of it is a table")]
async fn by_the_api(stage: &Stage, callers: &[Caller]) {
    let kim = stage.person(RETAILER, "kim", &["admin"]);
    let post = async |path: &str, body: Value| {
        kim.post(&format!("/v1/access{path}"), &[], body.to_string().as_bytes()).await
    };
    let role = json!({ "name": "batch", "role": "batch", "actor": NAME, "issuer": stage.world.issuer.url });
    for changed in [true, false] {
        let answer = post("/roles", role.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            (&answer.json()["id"], &answer.json()["changed"]),
            (&json!("kr-retailer/batch"), &json!(changed))
        );
    }
    // Without a name it stands under a drawn one, which the second answer finds again.
    let other = json!({ "role": "batch", "actor": "svc-other", "issuer": stage.world.issuer.url });
    let (first, second) = (post("/roles", other.clone()).await, post("/roles", other).await);
    let (first, second) = (first.json(), second.json());
    assert_eq!((&first["changed"], &second["changed"]), (&json!(true), &json!(false)));
    assert_eq!(first["id"], second["id"]);
    let name = first["id"].as_str().unwrap().strip_prefix("kr-retailer/g-").unwrap();
    assert_eq!(name.len(), 16, "{name}");
    let revoked = kim.send("POST", &format!("/v1/access/roles/g-{name}/revoke"), &[]).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    for caller in callers {
        assert_eq!(ask(caller).await.0, 200);
    }
    let listed = kim.send("GET", "/v1/access", &[]).await.json();
    assert_eq!(listed["roles"][0]["id"], "kr-retailer/batch");
    let asks = json!({ "actor": NAME, "issuer": stage.world.issuer.url, "service": MODEL, "operation": "submit" });
    let told = post("/explain", asks).await.json();
    assert_eq!(
        (&told["allowed"], &told["because"][0]["row"]),
        (&json!(true), &json!("kr-retailer/batch"))
    );

    let row = |operation: &str| json!({ "out": "allow", "role": "batch", "services": [MODEL], "operations": [operation] });
    for (path, body, status, says) in [
        ("/rows", row("upload"), 403, "you may not give or take `upload`"),
        ("/rows", row("admin"), 403, "row `F01` of the bundle refuses `admin`"),
        (
            "/rows",
            with(row("submit"), json!({ "org": "de-bank" })),
            400,
            "`org` is not yours to say",
        ),
        (
            "/rows",
            with(row("submit"), json!({ "id": "de-bank/x" })),
            400,
            "`id` is not yours to say",
        ),
        ("/rows", with(row("submit"), json!({ "name": "../x" })), 400, "is not an id"),
        (
            "/rows",
            with(row("submit"), json!({ "services": ["*"] })),
            400,
            "is not a name of a service",
        ),
        (
            "/rows",
            with(row("submit"), json!({ "priority": 1 })),
            400,
            "unknown key in an access row",
        ),
        (
            "/roles",
            json!({ "role": "reviewer", "member": "batch" }),
            403,
            "you may not give or take `admin` on `haetae:holds`",
        ),
        ("/roles", json!({ "role": "batch", "member": "batch" }), 400, "comes back to itself"),
    ] {
        let answer = post(path, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(says), "{body}: {}", answer.text());
        assert!(answer.header("haetae-decision").is_some(), "a refusal is a record");
    }
    let twice = br#"{"role":"a","member":"b","role":"reviewer"}"#;
    let answer = kim.post("/v1/access/roles", &[], twice).await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "body_ambiguous".to_owned()),
        "{}",
        answer.text()
    );

    let stranger = stage.person("de-bank", "lee", &["admin"]);
    let path = "/v1/access/roles/batch/revoke";
    assert_eq!(stranger.send("POST", path, &[]).await.status, 404, "there is none of that bank's");
    assert_eq!(ask(&callers[0]).await.0, 200);
    assert_eq!(kim.send("POST", path, &[]).await.status, 200);
    for caller in callers {
        assert_eq!(ask(caller).await.0, 403);
    }
    assert_eq!(kim.send("POST", path, &[]).await.status, 404);
}

/// A service with a right token and no role.
fn nobody(stage: &Stage) -> Caller {
    let bearer = Bearer { org: RETAILER, subject: NAME, roles: &[] };
    let now = haetae::clock::Clock::system().unix_s();
    let token = stage.world.issuer.mint(Mint::Right(Algorithm::EdDSA), bearer, now).unwrap();
    stage.with_authorization(Some(format!("Bearer {token}")))
}

/// Status and text of the answer; 0 when it was cut.
async fn ask(caller: &Caller) -> (u16, String) {
    let body = chat().to_string();
    let answer = caller.post_or_cut(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
    answer.map_or((0, "cut".to_owned()), |answer| (answer.status, answer.text()))
}

async fn pool_has(pool: &PgPool) -> bool {
    let grants = store::show(pool, Some(Sort::RoleGrant)).await.unwrap();
    !grants.is_empty()
}

const ROUNDS: i64 = 16;
