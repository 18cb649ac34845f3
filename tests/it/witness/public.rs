//! What anybody may read on /status is what a regulator may publish: of a trouble its kind, and since when. Addresses and errors are for
//! the operator.

use std::net::TcpListener;
use std::sync::Arc;

use haetae::clock::Clock;
use haetae::witness::Witness;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::get;
use super::pages::{ORIGIN, Page, Same, mirroring_each, serve, split};
use crate::audit::lab::eventually;

const AWAY: &str = "away.example/log";

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Each lane's origin, kind of trouble, and since when.
fn troubles(status: &Value) -> Vec<(String, Option<String>, Option<i64>)> {
    let mirrors = status["mirrors"].as_array().unwrap().iter();
    let lanes = mirrors.flat_map(|mirror| mirror["lanes"].as_array().unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of = |lane: &Value| {
        (text(&lane["origin"]).unwrap(), text(&lane["trouble"]), lane["trouble_since"].as_i64())
    };
    lanes.map(of).collect()
}

/// The row of the page says what the machine is told.
fn agree(page: &str, (origin, kind, since): &(String, Option<String>, Option<i64>)) {
    let row = page.lines().find(|line| line.starts_with(&format!("<tr><td>{origin}<td>"))).unwrap();
    match kind {
        None => assert!(row.ends_with("<td>none") && since.is_none(), "{row}"),
        Some(kind) => {
            let since = OffsetDateTime::from_unix_timestamp(since.unwrap()).unwrap();
            let since = since.format(&Rfc3339).unwrap();
            assert!(row.contains(&format!("<td><code>{kind}</code> since {since}: ")), "{row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_trouble_anybody_sees_the_kind_and_the_operator_all() {
    // Of lane 1 there are no tiles, of lane 2 no checkpoint that could be read.
    let url = serve(|path| match split(path) {
        (1, what) if what != "checkpoint" => Page::Nothing,
        (2, _) => Page::Given(b"<html>proxy 10.9.8.7: no such host</html>".to_vec()),
        (lane, what) => Same::new(u8::try_from(lane).unwrap(), b"x", 20).page(what),
    })
    .await;
    let (dir, nowhere) = (tempfile::tempdir().unwrap(), nowhere());
    let away = format!("http://{nowhere}");
    let config = mirroring_each(dir.path(), &[(ORIGIN, 3, &url, 1), (AWAY, 1, &away, 1)]);
    let witness = Arc::new(Witness::open(&config, Clock::system()).unwrap());
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    witness.watch(&tracker, &stop);
    let expected = [None, Some("not_served"), Some("not_signed"), Some("not_reached")];
    let mut json = String::new();
    eventually("each has its kind", async || {
        json = get(&witness, "/status.json").await.2;
        let status: Value = serde_json::from_str(&json).unwrap();
        let mirrored = status["mirrors"][0]["lanes"][0]["mirrored"] == 20;
        let kinds = troubles(&status).into_iter().map(|(_, kind, _)| kind);
        mirrored && kinds.eq(expected.map(|kind| kind.map(str::to_owned)))
    })
    .await;
    let page = get(&witness, "/status").await.2;
    let status: Value = serde_json::from_str(&json).unwrap();
    for lane in troubles(&status) {
        agree(&page, &lane);
    }
    for shown in [&json, &page] {
        for word in ["127.0.0.1", "10.9.8.7", "http:", "refused", "os error", "answers 404"] {
            assert!(!shown.contains(word), "{word}: {shown}");
        }
    }
    let said = witness.stands();
    assert!(said.contains(&format!("followed {ORIGIN}/0: 20 records\n")), "{said}");
    let line = said.lines().find(|line| line.contains(AWAY)).unwrap();
    assert!(line.starts_with(&format!("STANDS STILL {AWAY}/0: not_reached since ")), "{said}");
    assert!(line.contains(&format!("`{away}/0/checkpoint` does not answer: ")), "{said}");
    assert!(said.contains(&format!("`{url}/1/tile/0/000.p/20` answers 404")), "{said}");
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}
