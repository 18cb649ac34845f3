//! Proves the outer face of forwarding without a permit: what may be chosen, what is shown and counted, and that the
//! watch over the sites runs by itself and stops when told. Attempts need a permit, which only audit makes: they are
//! proven beside the code, in `src/forward/tests.rs`, against real TLS sites.

use std::{sync::Arc, time::Duration};

use haetae::forward::{Config, ConfigError, Forward, Site};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

fn authority_pem() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    params.self_signed(&key).unwrap().pem()
}

#[tokio::test]
async fn a_site_that_is_not_there_is_found_out_by_itself() {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let config = Config { probe_ms: 10, ..Config::default() };
    let forward = Forward::new(&config, &tracker, stop.clone()).unwrap();
    let id: Arc<str> = "mute".into();
    assert_eq!(forward.choose(std::slice::from_ref(&id)), None, "no site yet");

    // Nobody listens at a port that was just given back.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    forward.set_sites(vec![Site {
        id: Arc::clone(&id),
        base_url: format!("https://127.0.0.1:{port}"),
        ca_pem: authority_pem(),
        identity: "spiffe://kr.example/site/mute".into(),
    }]);
    let usable = || forward.health().iter().any(|site| site.usable);
    assert!(usable(), "a new site is trusted until it fails");
    let found_out = async {
        while usable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found_out).await.unwrap();
    assert_eq!(forward.choose(&[id]), None);
    let health = forward.health();
    assert_eq!(health[0].why.as_deref(), Some("site_unreachable"));

    let mut registry = prometheus_client::registry::Registry::default();
    forward.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("haetae_site_failures_total{site=\"mute\",kind=\"site_unreachable\"}"));
    assert!(text.contains("haetae_site_in_flight{site=\"mute\"} 0"), "{text}");

    stop.cancel();
    tracker.close();
    tokio::time::timeout(Duration::from_secs(20), tracker.wait()).await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_with_its_cause() {
    let build = |text: &str| {
        let config: Config = toml::from_str(text).unwrap();
        Forward::new(&config, &TaskTracker::new(), CancellationToken::new()).err().unwrap()
    };
    assert!(matches!(build("client_key = 'k.pem'"), ConfigError::Half));
    let missing = build("client_certificate = 'no/such.pem'\nclient_key = 'no/such.key'");
    insta::assert_snapshot!(
        missing,
        @"cannot read the client certificate or key `no/such.pem`: I/O error: No such file or directory (os error 2)"
    );
    let unknown = toml::from_str::<Config>("conect_ms = 1").unwrap_err().to_string();
    assert!(unknown.contains("unknown field `conect_ms`"), "{unknown}");
}
