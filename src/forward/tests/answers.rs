//! What a site sends arrives as it comes, and only what may cross.

use super::*;

fn chunk(text: &str) -> Step {
    Step::Say(format!("{:x}\r\n{text}\r\n", text.len()))
}

#[tokio::test]
async fn each_event_arrives_before_the_site_makes_the_next() {
    let authority = Authority::new();
    let go = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&go);
    let script = move |_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut steps = vec![Step::Say(head.to_owned())];
        let wait = || Step::Wait(Arc::clone(&permits));
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            steps.extend([wait(), chunk(event)]);
        }
        steps.extend([wait(), Step::Say("0\r\n\r\n".to_owned())]);
        steps
    };
    let stage = Stage::open(&authority.sign(&[SPIFFE]), None, script).await;
    let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);

    // The head comes before any event: the site waits for the first permit.
    let mut body = gateway.ask("s", true).await.unwrap().into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        go.add_permits(1);
        assert_eq!(next(&mut body).await.unwrap().unwrap(), event);
    }
    assert!(gateway.ended.lock().unwrap().is_empty(), "not before the end");
    go.add_permits(1);
    assert!(next(&mut body).await.is_none());
    let end = gateway.end();
    assert_eq!((end.whole, end.bytes_back, end.why), (true, 27, None));
}

#[tokio::test]
async fn a_whole_answer_leaves_the_connection_for_the_next_request() {
    let authority = Authority::new();
    let stage = Stage::open(&authority.sign(&[SPIFFE]), None, |number| match number {
        0 => answer("200 OK", "one"),
        1 => vec![
            Step::Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()),
            chunk("two"),
            Step::Say("0\r\nx-trailer: dropped\r\n\r\n".to_owned()),
        ],
        2 => vec![Step::Say("HTTP/1.1 204 No Content\r\n\r\n".to_owned())],
        _ => answer("429 Too Many Requests", "four"),
    })
    .await;
    let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);
    for expected in ["one", "two", "", "four"] {
        assert_eq!(gateway.whole("s").await.unwrap(), expected);
    }
    assert_eq!((stage.connections(), stage.requests().len()), (1, 4));
    let ended = gateway.ended.lock().unwrap();
    let statuses: Vec<_> = ended.iter().map(|sent| (sent.status, sent.whole)).collect();
    assert_eq!(
        statuses,
        [(Some(200), true), (Some(200), true), (Some(204), true), (Some(429), true)]
    );
}

#[tokio::test]
async fn a_body_of_known_length_is_done_with_its_last_byte() {
    let authority = Authority::new();
    let stage = plain(&authority).await;
    let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);
    let mut body = gateway.ask("s", false).await.unwrap().into_body();
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(2));
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "ok");
    assert!(http_body::Body::is_end_stream(&body));
    assert!(gateway.end().whole, "hyper's server does not ask again");
}

#[tokio::test]
async fn only_headers_on_the_list_reach_the_caller() {
    let authority = Authority::new();
    let head = "200 OK\r\ncontent-type: application/json\r\ncache-control: no-cache\r\nretry-after: 3\r\n\
        openai-processing-ms: 7\r\nx-ratelimit-remaining-requests: 9\r\nx-request-id: site-1\r\n\
        set-cookie: a=b\r\nserver: uvicorn\r\nlocation: https://o.example/\r\nwww-authenticate: Basic\r\n\
        haetae-decision: forged\r\nhaetae-receipt: forged\r\naccess-control-allow-origin: *\r\n\
        alt-svc: h3=\":443\"\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nstrict-transport-security: x";
    let stage = Stage::open(&authority.sign(&[SPIFFE]), None, |_| answer(head, "{}")).await;
    let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);
    let response = gateway.ask("s", false).await.unwrap();
    let mut names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "cache-control",
        "content-type",
        "haetae-site-request-id",
        "openai-processing-ms",
        "retry-after",
        "x-ratelimit-remaining-requests",
    ];
    assert_eq!(names, expected);
    assert_eq!(response.headers()["haetae-site-request-id"], "site-1");
}

#[tokio::test]
async fn upgrades_redirects_and_refusals_of_the_gateway_do_not_reach_the_caller() {
    let authority = Authority::new();
    let heads = [
        ("101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade", Failure::Protocol),
        ("302 Found\r\nlocation: https://o.example/", Failure::Protocol),
        ("307 Temporary Redirect\r\nlocation: https://o.example/", Failure::Protocol),
        ("401 Unauthorized", Failure::Refused),
        ("403 Forbidden", Failure::Refused),
        ("407 Proxy Authentication Required", Failure::Refused),
    ];
    let script = move |number: usize| answer(heads[number].0, "secret");
    let stage = Stage::open(&authority.sign(&[SPIFFE]), None, script).await;
    for (head, failure) in heads {
        let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);
        assert_eq!(failed(gateway.ask("s", false).await), (failure, true), "{head}");
        let status = head.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(gateway.end(), Sent { status: Some(status), ..cut_by(failure) }, "{head}");
    }
}

#[tokio::test]
async fn an_answer_may_have_so_many_bytes_unless_it_is_a_stream() {
    let authority = Authority::new();
    let stage = Stage::open(&authority.sign(&[SPIFFE]), None, |number| match number {
        0 => answer("200 OK", "12345"),
        1 => answer("200 OK", "123456"),
        _ => vec![
            Step::Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()),
            chunk("1234"),
            chunk("56"),
            Step::Say("0\r\n\r\n".to_owned()),
        ],
    })
    .await;
    let config = Config { response_max_bytes: 5, ..Config::default() };
    let site = stage.site("s", &authority, SPIFFE);
    let gateway = || Gateway::with(config.clone(), vec![site.clone()]);

    assert_eq!(gateway().whole("s").await.unwrap(), "12345");
    assert_eq!(failed(gateway().ask("s", false).await), (Failure::TooLarge, true));
    let cut = gateway();
    let error = cut.ask("s", false).await.unwrap().into_body().collect().await.unwrap_err();
    assert_eq!(error, Cut(Failure::TooLarge));
    assert_eq!(cut.end().why, Some("response_too_large"));
    let streamed = gateway();
    let body = streamed.ask("s", true).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "123456");
}
