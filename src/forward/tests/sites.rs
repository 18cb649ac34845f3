//! Which site is used: load, health, recovery, and the change of the list.

use super::*;

#[tokio::test]
async fn the_less_loaded_of_two_sites_is_chosen() {
    let authority = Authority::new();
    let (one, two) = (plain(&authority).await, plain(&authority).await);
    let gateway =
        Gateway::to(vec![one.site("one", &authority, SPIFFE), two.site("two", &authority, SPIFFE)]);
    let busy = gateway.ask("one", false).await.unwrap();
    for _ in 0..20 {
        assert_eq!(gateway.chosen(&["one", "two"]).unwrap(), "two");
    }
    assert_eq!(gateway.chosen(&["one"]).unwrap(), "one", "only what is permitted");
    assert_eq!(gateway.chosen(&["three"]), None);
    assert_eq!(gateway.chosen(&[]), None);
    drop(busy);
    let mut chosen: Vec<_> = (0..64).map(|_| gateway.chosen(&["one", "two"]).unwrap()).collect();
    chosen.sort();
    chosen.dedup();
    assert_eq!(chosen, ["one", "two"]);
}

#[tokio::test]
async fn a_site_that_is_away_is_left_out_and_a_probe_brings_it_back() {
    let authority = Authority::new();
    let up = plain(&authority).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let away = Site {
        base_url: format!("https://127.0.0.1:{port}"),
        ..up.site("away", &authority, SPIFFE)
    };
    let gateway = Gateway::to(vec![up.site("up", &authority, SPIFFE), away]);
    for _ in 0..3 {
        probe::once(&gateway.sites).await;
    }
    for _ in 0..20 {
        assert_eq!(gateway.chosen(&["away", "up"]).unwrap(), "up");
    }
    assert_eq!(gateway.chosen(&["away"]), None);
    let health = gateway.sites.find("away").unwrap().health();
    assert_eq!(
        (health.usable, health.failures, health.why.as_deref()),
        (false, 3, Some("site_unreachable"))
    );

    // It comes back where it was: the entry is the same, so is its state.
    let state = gateway.sites.find("away").unwrap();
    let back =
        Stage::open_at(port, &authority.sign(&[SPIFFE]), None, |_| answer("200 OK", "ok")).await;
    probe::once(&gateway.sites).await;
    assert_eq!(gateway.chosen(&["away"]).unwrap(), "away");
    assert_eq!(state.health().why, None);
    assert_eq!(gateway.whole("away").await.unwrap(), "ok");
    assert_eq!(
        (back.connections(), back.requests().len()),
        (1, 1),
        "the probe's connection is used"
    );
    assert_eq!(up.requests(), [""; 0], "a probe is no request");
}

#[tokio::test]
async fn unchanged_sites_keep_their_connections_when_the_list_is_swapped() {
    let authority = Authority::new();
    let stage = plain(&authority).await;
    let (same, other) =
        (stage.site("same", &authority, SPIFFE), stage.site("other", &authority, SPIFFE));
    let gateway = Gateway::to(vec![same.clone(), other.clone()]);
    gateway.whole("same").await.unwrap();
    gateway.whole("other").await.unwrap();
    assert_eq!(stage.connections(), 2);
    let pinned_anew = Site { identity: "spiffe://kr.example/site/moved".into(), ..other };
    gateway.sites.set(vec![same, pinned_anew]);
    gateway.whole("same").await.unwrap();
    assert_eq!(stage.connections(), 2);
    assert_eq!(failed(gateway.ask("other", false).await), (Failure::Identity, false));
    gateway.sites.set(vec![]);
    assert!(gateway.sites.find("same").is_none());
}

#[tokio::test]
async fn connections_that_are_old_or_idle_are_closed() {
    let authority = Authority::new();
    let stage = plain(&authority).await;
    let config = Config { pool_age_ms: 0, ..Config::default() };
    let gateway = Gateway::with(config, vec![stage.site("s", &authority, SPIFFE)]);
    gateway.whole("s").await.unwrap();
    assert_eq!(gateway.sites.find("s").unwrap().pool.sweep(), 0);
    stage.closed(1).await;
    gateway.whole("s").await.unwrap();
    assert_eq!(stage.connections(), 2);
}

#[tokio::test]
async fn an_entry_that_cannot_be_used_says_why_and_gets_nothing() {
    let pem = Authority::new().pem();
    let (url, key) = ("https://localhost:1", "spki:sha256/AAAA");
    let entries = [
        (
            "http://localhost:1",
            pem.as_str(),
            SPIFFE,
            "the base url `http://localhost:1` is not `https://host[:port]` without a path",
        ),
        (
            "https://localhost/v1",
            &pem,
            SPIFFE,
            "the base url `https://localhost/v1` is not `https://host[:port]` without a path",
        ),
        (
            "https://u@localhost",
            &pem,
            SPIFFE,
            "the base url `https://u@localhost` is not `https://host[:port]` without a path",
        ),
        (url, "", SPIFFE, "the ca holds no certificate"),
        (
            url,
            &pem,
            "",
            "the identity `` is neither `spiffe://domain/path` nor `spki:sha256/` and 32 bytes in base64",
        ),
        (
            url,
            &pem,
            "spiffe://domain",
            "the identity `spiffe://domain` is neither `spiffe://domain/path` nor `spki:sha256/` and 32 bytes in base64",
        ),
        (
            url,
            &pem,
            key,
            "the identity `spki:sha256/AAAA` is neither `spiffe://domain/path` nor `spki:sha256/` and 32 bytes in base64",
        ),
    ];
    for (base_url, ca_pem, identity, why) in entries {
        let site = Site {
            id: "s".into(),
            base_url: base_url.to_owned(),
            ca_pem: ca_pem.to_owned(),
            identity: identity.into(),
        };
        let gateway = Gateway::to(vec![site]);
        assert_eq!(gateway.chosen(&["s"]), None);
        assert_eq!(gateway.sites.find("s").unwrap().health().why.as_deref(), Some(why));
        assert_eq!(failed(gateway.ask("s", false).await), (Failure::SiteInvalid, false));
    }
}
