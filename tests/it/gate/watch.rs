//! What operators see: readiness names every part, metrics count what really happened, and the console's port serves no
//! workload.

use super::allow::asks;
use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, VIRGINIA, chat, plain_http};

#[tokio::test]
async fn readiness_names_every_part_and_metrics_count_what_happened() {
    let stage = Stage::shared().await;
    let ready = stage.console("/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()), "{}", ready.text());
    let json = ready.json();
    let parts: Vec<&str> = json["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["name"].as_str().unwrap())
        .collect();
    let issuer = format!("issuer {}", stage.world.issuer.url);
    let own = ["audit", "privacy", "durability", "registry", "policy", &*issuer];
    let sites = ["site eu-fra-1", "site kr-seo-1", "site us-va-1"];
    let expected = [own.as_slice(), &sites].concat();
    assert_eq!(parts, expected);

    let (allow, deny) = (DECIDED[0], DECIDED[1]);
    let before = stage.console("/metrics").await;
    assert_eq!(
        before.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(before.text().ends_with("# EOF\n"));
    let caller = stage.caller("kr-retailer");
    for (headers, status) in [([ORDERS, SEOUL], 200), ([ORDERS, VIRGINIA], 403)] {
        let answer = caller.post(CHAT, &headers, chat().to_string().as_bytes()).await;
        assert_eq!(answer.status, status);
    }
    let stranger = stage.with_authorization(None);
    assert_eq!(stranger.send("GET", "/v1/models", &[]).await.status, 401);
    let after = stage.console("/metrics").await.text();
    for name in [allow, deny, TURNED_AWAY, LATENCY] {
        let (was, is) = (sum(&before.text(), name), sum(&after, name));
        assert!(is > was, "{name}: {was} and then {is}");
    }
}

#[tokio::test]
async fn the_consoles_port_serves_no_workload_and_the_data_port_no_console() {
    let stage = Stage::shared().await;
    let (sites, caller) = (stage.sites(), stage.caller("kr-retailer"));
    let http = plain_http();
    for (path, _, body) in asks() {
        let body = body.to_string();
        let url = format!("http://{}{path}", stage.world.console);
        let request = http.post(url).header("authorization", caller.authorization());
        let request = request.header("content-type", "application/json").body(body.clone());
        assert_eq!(request.send().await.unwrap().status(), 404, "{path}");
        assert_eq!(sites.arrivals(body.as_bytes()).await, [], "{path}");
    }
    for path in ["/readyz", "/metrics", "/healthz", "/v1/decisions", "/v1/log", "/v1/in-force"] {
        assert_eq!(caller.send("GET", path, &[]).await.status, 404, "{path}");
    }
}

/// The sum of all samples whose line begins so.
fn sum(metrics: &str, name: &str) -> f64 {
    let values = metrics.lines().filter(|line| line.starts_with(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

const DECIDED: [&str; 2] =
    ["haetae_decisions_total{outcome=\"allow", "haetae_decisions_total{outcome=\"deny\""];
const TURNED_AWAY: &str = "haetae_turned_away_total{";
const LATENCY: &str = "haetae_decision_seconds_count";
