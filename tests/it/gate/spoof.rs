//! Headers by which a client would like to be somebody, be elsewhere, or be let through: on every carried route each
//! either is refused or changes nothing, neither a decision nor what a site gets nor what the gateway answers.

use std::collections::BTreeMap;

use haetae::demo::site::{Report, Seen};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::allow::asks;
use crate::support::stage::{Answer, ORDERS, SEOUL, Stage, leaves};

#[tokio::test]
async fn no_header_becomes_a_fact_or_reaches_a_site() {
    let stage = Stage::shared().await;
    let caller = stage.over_http1(stage.caller("kr-retailer"));
    let mut asked = Vec::new();
    for route in 0..asks().len() {
        for spoof in std::iter::once(None).chain(SPOOFED.map(Some)) {
            let (path, _, body) = asks()[route].clone();
            let body = body.to_string();
            let headers: Vec<_> = [ORDERS, SEOUL].into_iter().chain(spoof).collect();
            let answer = caller.post(path, &headers, body.as_bytes()).await;
            asked.push(Asked { route, spoof, digest: hex::encode(Sha256::digest(&body)), answer });
        }
    }
    let seen = seen(stage).await;
    let records = records(&stage.pool().await).await;
    let (mut plain, mut refused, mut ignored) = (None, 0, 0);
    for asked in asked {
        let outcome = asked.outcome(&seen, &records);
        match (asked.spoof, outcome) {
            (None, outcome) => plain = Some(outcome.expect("the plain request is allowed")),
            (Some(_), Some(outcome)) => {
                assert_eq!(Some(outcome), plain, "route {}: {:?}", asked.route, asked.spoof);
                ignored += 1;
            }
            (Some(_), None) => refused += 1,
        }
    }
    // Refused: what pretends to be the gateway's own or another spelling, and what would change the connection.
    assert_eq!((refused, ignored), (4 * 14, 4 * 50));
}

struct Asked {
    route: usize,
    spoof: Option<(&'static str, &'static str)>,
    digest: String,
    answer: Answer,
}

/// What a spoofed header might change.
#[derive(Debug, PartialEq)]
struct Outcome {
    site: String,
    /// Facts, judgement, who, what and where, as recorded.
    record: Vec<Value>,
    /// Names of the headers that the site got.
    at_site: Vec<String>,
    /// Names of the headers that came back.
    back: Vec<String>,
}

impl Asked {
    /// `None` when the request was refused; then no site saw it.
    fn outcome(
        &self,
        sites: &BTreeMap<String, (String, Seen)>,
        records: &BTreeMap<String, Value>,
    ) -> Option<Outcome> {
        let (spoof, answer) = (self.spoof, &self.answer);
        let seen = sites.get(&self.digest);
        if answer.status != 200 {
            assert_eq!((answer.status, seen), (400, None), "{spoof:?}: {}", answer.text());
            return None;
        }
        let (site, seen) = seen.unwrap();
        assert_eq!(Some(seen.decision.as_str()), answer.header("haetae-decision"), "{spoof:?}");
        let leaf = &records[&seen.decision];
        let mut back: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        back.sort();
        Some(Outcome {
            site: site.clone(),
            record: RECORDED.iter().map(|key| leaf[key].clone()).collect(),
            at_site: seen.headers.clone(),
            back,
        })
    }
}

/// Digest of the body to site and what arrived there.
async fn seen(stage: &Stage) -> BTreeMap<String, (String, Seen)> {
    let reports = stage.sites().reports().await;
    let of = |(site, report): (String, Report)| {
        report.seen.into_iter().map(move |seen| (seen.body_digest.clone(), (site.clone(), seen)))
    };
    reports.into_iter().flat_map(of).collect()
}

/// Id to leaf.
async fn records(pool: &PgPool) -> BTreeMap<String, Value> {
    let all = leaves(pool).await;
    all.into_iter().map(|leaf| (leaf["id"].as_str().unwrap().to_owned(), leaf)).collect()
}

const RECORDED: [&str; 14] = [
    "actor_kind",
    "credential",
    "datasets",
    "detail",
    "facts",
    "identity",
    "issuer",
    "network",
    "operation",
    "org",
    "outcome",
    "purpose",
    "request",
    "site",
];

const SPOOFED: [(&str, &str); 64] = [
    // refused: 14
    ("haetae-decision", "01a2096d-501f-73f8-b4e2-3dfdf71c2dac"),
    ("haetae-bundle", "sha256:00"),
    ("haetae-receipt", ":AAAA:"),
    ("haetae-leaf", ":AAAA:"),
    ("haetae-org", "de-bank"),
    ("haetae-role", "admin"),
    ("haetae-outcome", "ALLOW"),
    ("haetae_datasets", "kr-retail/products@7"),
    ("haetae_no_data", "true"),
    ("x_forwarded_for", "203.0.113.9"),
    ("content_length", "0"),
    ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ("upgrade", "websocket"),
    ("connection", "haetae-datasets"),
    // ignored: 50
    ("x-haetae-org", "de-bank"),
    ("x-haetae-datasets", "kr-retail/products@7"),
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-host", "us-va-1.example"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "80"),
    ("x-forwarded-prefix", "/v1/files"),
    ("x-forwarded-user", "root"),
    ("x-forwarded-email", "root@de-bank.example"),
    ("x-forwarded-client-cert", "URI=spiffe://de-bank.example/svc/assistant"),
    ("forwarded", "for=203.0.113.9;host=us-va-1.example"),
    ("x-real-ip", "203.0.113.9"),
    ("true-client-ip", "203.0.113.9"),
    ("cf-connecting-ip", "203.0.113.9"),
    ("cf-ipcountry", "DE"),
    ("x-client-ip", "203.0.113.9"),
    ("x-cluster-client-ip", "203.0.113.9"),
    ("x-envoy-external-address", "203.0.113.9"),
    ("x-envoy-original-path", "/v1/files"),
    ("x-original-url", "/v1/files"),
    ("x-rewrite-url", "/v1/files"),
    ("x-original-host", "us-va-1.example"),
    ("x-host", "us-va-1.example"),
    ("x-http-method", "DELETE"),
    ("x-http-method-override", "DELETE"),
    ("x-method-override", "DELETE"),
    ("x-user", "root"),
    ("x-remote-user", "root"),
    ("remote-user", "root"),
    ("x-auth-request-user", "root"),
    ("x-auth-request-groups", "admin"),
    ("x-authenticated-userid", "root"),
    ("x-jwt-assertion", "e30.e30.e30"),
    ("x-goog-iap-jwt-assertion", "e30.e30.e30"),
    ("x-amzn-oidc-identity", "root"),
    ("x-ssl-client-s-dn", "CN=root"),
    ("x-ssl-client-verify", "SUCCESS"),
    ("ssl-client-cert", "-----BEGIN"),
    ("x-client-dn", "CN=root"),
    ("x-api-key", "sk-admin"),
    ("api-key", "sk-admin"),
    ("proxy-authorization", "Basic cm9vdDpyb290"),
    ("cookie", "session=root; org=de-bank"),
    ("x-slurm-user-name", "root"),
    ("x-slurm-user-token", "e30"),
    ("openai-organization", "org-de-bank"),
    ("openai-project", "proj-1"),
    ("x-request-id", "01a2096d-501f-73f8-b4e2-3dfdf71c2dac"),
    ("x-stainless-retry-count", "7"),
    ("via", "1.1 us-va-1.example"),
];
